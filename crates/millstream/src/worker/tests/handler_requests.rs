//! Records kept open and inputs paused, in the simulated cluster and on the scripted log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Bench, IN, OUT, SECOND, kafka};
use crate::codec::{Json, Text};
use crate::error::Class;
use crate::log::SendError;
use crate::policy::OnError;
use crate::testing::{Faults, World, simulate, simulate_with};
use crate::topic::{NextOffset, Partition};
use crate::worker::watermark::LOOKED;
use crate::{Context, OpenRecord, ProcessError, Record, Service, Topic};

static STEPS: Topic<String, u32> = Topic::new("steps", &Text, &Json).partitions(3);
static ORDERS: Topic<String, u32> = Topic::new("orders", &Text, &Json).partitions(3);
static SUMS: Topic<String, u32> = Topic::new("sums", &Text, &Json).partitions(3);

/// Adds up the steps of each key until a zero ends them: a fold that must not forget what it has read.
#[derive(Default)]
struct Fold {
    open: BTreeMap<String, (u32, Vec<OpenRecord>)>,
}

impl Fold {
    fn on_step(
        &mut self,
        step: Record<String, u32>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        if step.value > 0 {
            let (sum, records) = self.open.entry(step.key).or_default();
            *sum += step.value;
            records.push(context.keep_open());
            return Ok(());
        }
        let (sum, records) = self.open.remove(&step.key).unwrap_or_default();
        context.emit(&SUMS, &step.key, &sum)?;
        records.into_iter().for_each(|record| context.close(record));
        Ok(())
    }
}

#[test]
fn what_is_kept_open_is_not_committed_and_does_not_hold_up_a_stop() {
    let mut world = World::new();
    let service = Service::new("fold", Fold::default)
        .input(&STEPS, Fold::on_step)
        .output(&SUMS);
    let running = world.start(service).unwrap();
    let first = Partition(0);
    world.record(&STEPS, "a", &0).partition(first).send();
    world.record(&STEPS, "a", &1).partition(first).send();
    world.record(&STEPS, "b", &0).partition(first).send();
    world.advance(Duration::from_secs(5)).unwrap();
    assert_eq!(
        world.committed(running, "steps", first),
        Some(NextOffset::new(1))
    );
    world.stop(running).unwrap();
    assert_eq!(
        world.committed(running, "steps", first),
        Some(NextOffset::new(1))
    );
    world.add_worker(running);
    world.record(&STEPS, "a", &2).partition(first).send();
    world.record(&STEPS, "a", &0).partition(first).send();
    world.run().unwrap();
    let sums: Vec<(String, u32)> = world
        .read(&SUMS)
        .into_iter()
        .map(|sum| (sum.key, sum.value))
        .collect();
    assert!(sums.contains(&("a".to_owned(), 3)), "{sums:?}");
    assert_eq!(
        world.committed(running, "steps", first),
        Some(NextOffset::new(5))
    );
}

/// Steps whose sum tells which of them were seen: each is a power of two, so that one that is lost or counted twice shows.
#[test]
fn a_fold_over_open_records_is_rebuilt_whatever_happens() {
    // Few answers are sent, so a producer has to fail often to fail at one of them.
    let faults = Faults {
        fatal_send: 0.05,
        ..Faults::all()
    };
    simulate_with(0..60, faults, |world| {
        let service = || {
            Service::new("fold", Fold::default)
                .input(&STEPS, Fold::on_step)
                .output(&SUMS)
        };
        world.start(service().threads(2)).unwrap();
        for step in 0..6 {
            for key in 0..8 {
                world.send(&STEPS, &format!("key {key}"), &(1 << step));
            }
        }
        for key in 0..8 {
            world.send(&STEPS, &format!("key {key}"), &0);
        }
        world.run().unwrap();
        // A zero that is handled again after its sum is out finds only those steps that are read again with it.
        let sums = world.read(&SUMS).into_iter();
        let sums: BTreeSet<(String, u32)> = sums.map(|sum| (sum.key, sum.value)).collect();
        for key in 0..8 {
            let whole = (format!("key {key}"), 63);
            assert!(sums.contains(&whole), "{whole:?} is not in {sums:?}");
        }
    });
}

/// A fold of the scripted log: `keep` is kept open until `answer`, which closes it and emits; everything else is copied.
fn fold(policy: OnError) -> Bench<Vec<OpenRecord>> {
    let on_record =
        |open: &mut Vec<OpenRecord>, record: Record<(), String>, context: &mut Context| {
            match record.value.as_str() {
                "keep" => {
                    open.push(context.keep_open());
                    return Ok(());
                }
                "answer" => open.drain(..).for_each(|record| context.close(record)),
                _ => {}
            }
            context.emit(&OUT, &(), &record.value)
        };
    Bench::new(
        Service::new("fold", Vec::new)
            .input(&IN, on_record)
            .output(&OUT)
            .on_error(policy),
    )
}

/// The producer takes nothing any more when the answer is to be sent: who comes next must find the record it was kept for.
#[test]
fn a_record_stays_open_when_the_effects_that_close_it_cannot_be_sent() {
    let mut fold = fold(OnError::stop());
    fold.log
        .refuse(|_, value| (value == "answer").then(|| SendError::Failed(kafka(Class::Fatal))));
    fold.log.write(0, &["keep", "answer"]);
    fold.log.assign([0]);
    assert_eq!(fold.failed(), "failed to deliver a record: broker said no");
    assert_eq!(fold.log.calls(), ["admit in[0]"], "nothing is committed");
}

/// The producer fails when the answer is under way; an effect from before it is acknowledged during the drain.
#[test]
fn a_record_stays_open_when_the_effects_that_close_it_are_lost() {
    let mut fold = fold(OnError::stop());
    fold.log.acknowledge_at_once(false);
    fold.log.write(0, &["keep", "copied", "answer"]);
    fold.log.assign([0]);
    fold.settle();
    let sent = fold.log.sent("out");
    fold.log.report(sent[1].token, Err(kafka(Class::Fatal)));
    fold.step();
    fold.log.report(sent[0].token, Ok(()));
    assert_eq!(fold.failed(), "failed to deliver a record: broker said no");
    assert_eq!(fold.log.calls(), ["admit in[0]"], "nothing is committed");
}

/// Each refused record behind an open one is dead-lettered again at the replay for the next; it counts once.
#[test]
fn refused_records_behind_an_open_one_are_passed_and_count_once() {
    let mut fold = fold(OnError::dead_letter().dead_letter_limit(0.0));
    fold.log.refuse(|topic, value| {
        let huge = topic == "out" && value.starts_with("huge");
        huge.then(|| SendError::Failed(kafka(Class::Refused)))
    });
    let huge = ["huge 1", "huge 2", "huge 3", "huge 4", "huge 5"];
    fold.log.write(0, &["keep"]);
    fold.log.write(0, &huge);
    fold.log.write(0, &["answer"]);
    fold.log.assign([0]);
    fold.settle();
    let dead: BTreeSet<String> = fold.log.values("in.dlq").into_iter().collect();
    assert_eq!(dead, huge.map(str::to_owned).into());
    fold.after(SECOND);
    assert_eq!(fold.log.calls().last().unwrap(), "commit in[0]=7");
}

/// The answer is the timer's, and it is refused. The state has given away what it was to close, so that nobody would ever close it:
/// the partition is halted and says so.
#[test]
fn a_timer_that_closes_a_record_and_is_refused_halts_its_partition() {
    for is_refused_at_once in [true, false] {
        let on_record =
            |open: &mut Vec<OpenRecord>, _: Record<(), String>, context: &mut Context| {
                open.push(context.keep_open());
                Ok(())
            };
        let on_tick = |open: &mut Vec<OpenRecord>, context: &mut Context| {
            context.emit(&OUT, &(), &"answer".to_owned())?;
            open.drain(..).for_each(|record| context.close(record));
            Ok(())
        };
        let service = Service::new("ticker", Vec::new).input(&IN, on_record);
        let mut bench = Bench::new(service.every(SECOND, on_tick).output(&OUT));
        bench.log.acknowledge_at_once(false);
        if is_refused_at_once {
            let refused = || SendError::Failed(kafka(Class::Refused));
            bench.log.refuse(move |_, _| Some(refused()));
        }
        bench.log.write(0, &["keep"]);
        bench.log.assign([0]);
        bench.settle();
        bench.after(SECOND);
        for sent in bench.log.sent("out") {
            bench.log.report(sent.token, Err(kafka(Class::Refused)));
        }
        bench.settle();
        let reason =
            "service `ticker` halted partition 0: a timer's record that closes others is refused";
        assert!(!bench.worker.is_ready());
        assert_eq!(
            bench.worker.halted().map(ToString::to_string).unwrap(),
            reason
        );
        bench.worker.stop();
        assert_eq!(bench.failed(), reason);
        let commits = bench.log.calls().into_iter();
        let commits = commits.filter(|call| call.starts_with("commit"));
        assert_eq!(commits.count(), 0);
    }
}

/// Pauses its input at `stop`, whose effect the cluster never takes.
#[test]
fn an_input_is_not_paused_by_a_handler_whose_effects_are_refused() {
    let on_record = |(): &mut (), record: Record<(), String>, context: &mut Context| {
        if record.value == "stop" {
            context.pause(&IN);
        }
        context.emit(&OUT, &(), &record.value)
    };
    let service = Service::new("pauses", || ())
        .input(&IN, on_record)
        .output(&OUT);
    let mut bench = Bench::new(service.on_error(OnError::dead_letter()));
    bench.log.refuse(|topic, value| {
        let stop = topic == "out" && value == "stop";
        stop.then(|| SendError::Failed(kafka(Class::Refused)))
    });
    bench.log.write(0, &["first", "stop", "last"]);
    bench.log.assign([0]);
    bench.settle();
    assert_eq!(bench.log.values("in.dlq"), ["stop"]);
    assert_eq!(bench.log.values("out"), ["first", "last"]);
}

/// The state that a timer paused is made anew when its effect cannot be sent: nobody would resume what the lost one paused.
#[test]
fn an_input_is_not_paused_by_a_timer_whose_partition_is_replayed() {
    let on_tick = |(): &mut (), context: &mut Context| {
        context.pause(&IN);
        context.emit(&OUT, &(), &"tick".to_owned())
    };
    let mut bench = Bench::new(super::copier().every(SECOND * 10, on_tick));
    bench.log.assign([0]);
    bench.settle();
    bench.log.refuse(|_, value| {
        let tick = value == "tick";
        tick.then(|| SendError::Failed(kafka(Class::Retriable)))
    });
    bench.after(SECOND * 10);
    bench.log.write(0, &["record"]);
    bench.after(SECOND);
    assert_eq!(bench.log.values("out"), ["record"]);
}

/// Takes at most two orders at a time; a step of any value finishes one.
#[derive(Default)]
struct Bounded {
    taken: u32,
}

impl Bounded {
    fn on_order(
        &mut self,
        order: Record<String, u32>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        self.taken += 1;
        if self.taken >= 2 {
            context.pause(&ORDERS);
        }
        context.emit(&SUMS, &order.key, &self.taken)
    }

    fn on_tick(&mut self, context: &mut Context) -> Result<(), ProcessError> {
        self.taken = 0;
        context.resume(&ORDERS);
        Ok(())
    }
}

#[test]
fn an_input_that_is_paused_gives_no_records_until_it_is_resumed_and_loses_none() {
    simulate(0..60, |world| {
        let service = Service::new("bounded", Bounded::default)
            .input_paused(&ORDERS, Bounded::on_order)
            .input(&STEPS, |_, _, _| Ok(()))
            .every(Duration::from_millis(50), Bounded::on_tick)
            .output(&SUMS);
        world.start(service.threads(2)).unwrap();
        for order in 0..40 {
            world.send(&ORDERS, &format!("order {order}"), &order);
            world.send(&STEPS, &format!("step {order}"), &order);
        }
        world.run().unwrap();
        let taken = world.read(&SUMS);
        assert!(taken.iter().all(|taken| taken.value <= 2));
        let keys: BTreeSet<String> = taken.into_iter().map(|taken| taken.key).collect();
        assert_eq!(
            keys,
            (0..40).map(|order| format!("order {order}")).collect()
        );
    });
}

#[test]
fn a_service_that_pauses_what_it_does_not_read_is_stopped() {
    let mut world = World::new();
    let service = Service::new("wrong", || ()).input(&STEPS, |(), _, context: &mut Context| {
        context.pause(&ORDERS);
        Ok(())
    });
    world.start(service).unwrap();
    world.send(&STEPS, "a", &1);
    assert_eq!(
        world.run().unwrap_err().to_string(),
        "service `wrong` is not valid: it pauses or resumes topic `orders`, which is not an input"
    );
}

/// Each record closes the one before: all of them are under way at once when the cluster was away for a moment.
#[test]
fn the_work_of_closing_grows_with_what_is_under_way_and_not_with_its_square() {
    let looked = |count: usize| {
        let on_record =
            |open: &mut Vec<OpenRecord>, record: Record<(), String>, context: &mut Context| {
                open.drain(..).for_each(|record| context.close(record));
                open.push(context.keep_open());
                context.emit(&OUT, &(), &record.value)
            };
        let service = Service::new("chain", Vec::new).input(&IN, on_record);
        let mut bench = Bench::new(service.output(&OUT));
        bench.log.acknowledge_at_once(false);
        bench.log.write(0, &vec!["x"; count]);
        bench.log.assign([0]);
        bench.settle();
        let before = LOOKED.get();
        for sent in bench.log.sent("out") {
            bench.log.report(sent.token, Ok(()));
        }
        bench.settle();
        LOOKED.get() - before
    };
    let (once, twice) = (looked(1_000), looked(2_000));
    assert!(
        twice < once * 3,
        "{once} looks for 1,000, {twice} for 2,000"
    );
}
