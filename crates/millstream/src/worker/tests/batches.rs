//! Batches that the cluster refuses as a whole, counted: a batch is a round trip.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Bench, IN, OUT, SECOND, Script, copier, copy, kafka};
use crate::context::Context;
use crate::error::Class;
use crate::policy::OnError;
use crate::record::Record;
use crate::service::Service;

/// A cluster that takes what was sent since its last answer as one batch for each topic, and refuses one with a huge record.
#[derive(Default)]
struct Batches {
    answered: usize,
    count: usize,
}

impl Batches {
    fn answer(&mut self, log: &Script) {
        let sent = log.all_sent();
        let mut batches: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for sent in sent.into_iter().skip(self.answered) {
            self.answered += 1;
            batches.entry(sent.topic.clone()).or_default().push(sent);
        }
        for (topic, batch) in batches {
            self.count += 1;
            let is_refused = topic == "out" && batch.iter().any(|sent| sent.value == "huge");
            let class = if batch.len() == 1 {
                Class::Refused
            } else {
                Class::Abortable
            };
            for sent in batch {
                let result = if is_refused {
                    Err(kafka(class))
                } else {
                    Ok(())
                };
                log.report(sent.token, result);
            }
        }
    }

    /// Lets the worker and the cluster take turns until `is_done`.
    fn run<S: 'static>(&mut self, bench: &mut Bench<S>, is_done: impl Fn(&Script) -> bool) {
        for _ in 0..10_000 {
            bench.step();
            self.answer(&bench.log);
            if is_done(&bench.log) {
                return;
            }
        }
        panic!("not done after {} batches", self.count);
    }

    /// As [`run`](Self::run), until nothing is sent any more.
    fn settle<S: 'static>(&mut self, bench: &mut Bench<S>) {
        let mut quiet = 0;
        while quiet < 20 {
            let before = self.count;
            bench.step();
            self.answer(&bench.log);
            quiet = if self.count == before { quiet + 1 } else { 0 };
        }
    }
}

fn bench() -> Bench<()> {
    let bench = Bench::new(copier().on_error(OnError::dead_letter().dead_letter_limit(1.0)));
    bench.log.acknowledge_at_once(false);
    bench
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn write(log: &Script, partition: i32, values: &[String]) {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    log.write(partition, &values);
}

/// The values on a topic, each where it was written last: in what order a reader has all of them for good.
fn in_order(log: &Script) -> Vec<String> {
    let mut values = Vec::new();
    for value in log.values("out").into_iter().rev() {
        if value != "huge" && !values.contains(&value) {
            values.push(value);
        }
    }
    values.reverse();
    values
}

#[test]
fn of_a_refused_batch_only_the_record_to_blame_is_failed_and_the_others_go_on_in_batches() {
    let mut bench = bench();
    let mut values = numbers(0..1_000);
    values.insert(100, "huge".to_owned());
    write(&bench.log, 0, &values);
    bench.log.assign([0]);
    let mut batches = Batches::default();
    batches.run(&mut bench, |log| {
        log.values("out").last().is_some_and(|last| last == "999")
    });
    assert_eq!(bench.log.values("in.dlq"), ["huge"]);
    assert_eq!(in_order(&bench.log), numbers(0..1_000));
    // One by one it was a batch for each of the 256 records of the first burst.
    assert!(batches.count < 50, "{} batches", batches.count);
    batches.run(&mut bench, |_| true);
    bench.after(SECOND);
    assert_eq!(bench.log.calls().last().unwrap(), "commit in[0]=1001");
    let totals = bench.worker.totals();
    assert_eq!((totals.dead_lettered, totals.failed), (1, 1));
}

#[test]
fn partitions_that_are_not_in_the_refused_batch_do_not_wait_for_the_one_to_blame() {
    let mut bench = bench();
    write(&bench.log, 0, &numbers(0..100));
    bench.log.write(0, &["huge"]);
    bench.log.assign([0, 1]);
    let mut batches = Batches::default();
    batches.run(&mut bench, |log| log.values("out").len() > 101);
    assert_eq!(
        bench.log.values("in.dlq"),
        Vec::<String>::new(),
        "it is not found yet"
    );
    write(&bench.log, 1, &numbers(500..600));
    let before = batches.count;
    batches.run(&mut bench, |log| {
        log.values("out").contains(&"599".to_owned())
    });
    assert!(
        batches.count <= before + 2,
        "{} batches",
        batches.count - before
    );
    batches.run(&mut bench, |log| !log.values("in.dlq").is_empty());
    assert_eq!(bench.log.values("in.dlq"), ["huge"]);
    assert!(batches.count < 50, "{} batches", batches.count);
}

/// Every batch has records of both partitions in it, so each time both are refused.
#[test]
fn two_partitions_whose_records_share_every_batch_are_told_apart() {
    let mut bench = bench();
    let mut values = numbers(0..60);
    values.insert(30, "huge".to_owned());
    write(&bench.log, 0, &values);
    write(&bench.log, 1, &numbers(100..160));
    bench.log.assign([0, 1]);
    let mut batches = Batches::default();
    batches.run(&mut bench, |log| log.values("in.dlq") == ["huge"]);
    batches.settle(&mut bench);
    bench.after(SECOND);
    assert_eq!(
        bench.log.calls().last().unwrap(),
        "commit in[0]=61 in[1]=60"
    );
    assert!(batches.count < 60, "{} batches", batches.count);
}

/// The effects of one record share a batch, so it is never a batch of one.
#[test]
fn a_record_that_is_alone_with_its_own_effects_is_to_blame() {
    let twice = |(): &mut (), record: Record<(), String>, context: &mut Context| {
        context.emit(&OUT, &(), &record.value)?;
        context.emit(&OUT, &(), "beside it")
    };
    let service = Service::new("twice", || ()).input(&IN, twice).output(&OUT);
    let mut bench = Bench::new(service.on_error(OnError::dead_letter()));
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a", "b", "huge", "c"]);
    bench.log.assign([0]);
    let mut batches = Batches::default();
    batches.run(&mut bench, |log| log.values("in.dlq") == ["huge"]);
    batches.run(&mut bench, |log| {
        log.values("out").contains(&"c".to_owned())
    });
    batches.run(&mut bench, |_| true);
    bench.after(SECOND);
    assert_eq!(bench.log.calls().last().unwrap(), "commit in[0]=4");
}

/// A client that says for which record a batch was refused is believed.
#[test]
fn a_record_that_is_refused_for_itself_is_failed_at_once() {
    let mut bench = bench();
    bench.log.write(0, &["a", "huge", "b"]);
    bench.log.assign([0]);
    bench.settle();
    for sent in bench.log.sent("out") {
        let class = if sent.value == "huge" {
            Class::Refused
        } else {
            Class::Abortable
        };
        bench.log.report(sent.token, Err(kafka(class)));
    }
    bench.log.acknowledge_at_once(true);
    bench.settle();
    assert_eq!(bench.log.values("in.dlq"), ["huge"]);
    assert_eq!(bench.log.values("out"), ["a", "huge", "b", "a", "b"]);
}

/// The cluster takes one of a timer's two records, and refuses both as a batch. Nothing of it can be read again, so the timer is
/// called alone: its refusal costs neither the state nor the records beside it.
#[test]
fn a_timer_whose_batch_is_refused_has_its_partition_replayed_once() {
    let made = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&made);
    let init = move || {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let on_tick = |(): &mut (), context: &mut Context| {
        context.emit(&OUT, &(), "fine")?;
        context.emit(&OUT, &(), "huge")
    };
    let service = Service::new("ticker", init).input(&IN, copy).output(&OUT);
    let mut bench = Bench::new(service.every(SECOND, on_tick));
    bench.log.acknowledge_at_once(false);
    bench.log.assign([0]);
    let mut batches = Batches::default();
    for number in 0..10 {
        batches.settle(&mut bench);
        bench.log.write(0, &[&number.to_string()]);
        bench.clock.advance(SECOND);
    }
    batches.settle(&mut bench);
    assert_eq!(made.load(Ordering::Relaxed), 2, "one made anew");
    bench.worker.stop();
    bench.settle_to_the_end();
    let calls = bench.log.calls();
    assert_eq!(calls.last().unwrap(), "commit now in[0]=10");
}
