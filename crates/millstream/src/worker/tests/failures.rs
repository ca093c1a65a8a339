//! What becomes of a record that fails.

use std::time::Duration;

use super::refused::refuses_huge;
use super::{Bench, IN, OUT, SECOND, Script, copier, kafka, part};
use crate::codec::{NoKey, Text};
use crate::context::Context;
use crate::error::{Class, ProcessError};
use crate::log::{Event, Log as _, SendError};
use crate::policy::OnError;
use crate::record::Record;
use crate::service::Service;
use crate::topic::{NextOffset, Topic};

const QUICK: OnError = OnError::retry(2).backoff(SECOND, SECOND);

fn bench(policy: OnError) -> Bench<()> {
    Bench::new(copier().on_error(policy))
}

fn header(log: &Script, name: &str) -> String {
    let sent = log.sent("in.dlq");
    let value = sent[0].headers.get(name).unwrap_or_default().to_vec();
    String::from_utf8(value).unwrap()
}

#[test]
fn a_failed_record_is_tried_again_while_other_partitions_go_on() {
    let mut bench = bench(QUICK);
    bench.log.write(0, &["flaky", "after"]);
    bench.log.write(1, &["other"]);
    bench.log.assign([0, 1]);
    bench.settle();
    assert_eq!(bench.log.values("out"), ["other"]);
    bench.after(SECOND);
    assert_eq!(bench.log.values("out"), ["other", "flaky", "after"]);
}

// fault 28
#[test]
fn a_poison_record_goes_to_its_dead_letter_topic_with_bytes_reason_and_origin() {
    let mut bench = bench(QUICK.then_dead_letter());
    bench.log.write(0, &["first", "bad", "last"]);
    bench.log.assign([0]);
    bench.settle();
    bench.after(SECOND);
    bench.after(SECOND);
    assert_eq!(bench.log.values("out"), ["first", "last"]);
    assert_eq!(bench.log.values("in.dlq"), ["bad"]);
    let told = [
        ("own", "header"),
        ("millstream-dlq-reason", "process"),
        ("millstream-dlq-error", "a bad record"),
        ("millstream-dlq-service", "copier"),
        ("millstream-dlq-topic", "in"),
        ("millstream-dlq-partition", "0"),
        ("millstream-dlq-offset", "1"),
        ("millstream-dlq-timestamp", "1000"),
        ("millstream-dlq-attempts", "3"),
    ];
    for (name, value) in told {
        assert_eq!(header(&bench.log, name), value, "{name}");
    }
}

#[test]
fn bytes_that_cannot_be_decoded_are_not_retried_and_keep_their_position() {
    let mut bench = bench(QUICK.then_dead_letter());
    bench.log.write_bytes(0, &[b"ab\xff", b"fine"]);
    bench.log.assign([0]);
    bench.settle();
    assert_eq!(bench.log.values("out"), ["fine"]);
    assert_eq!(header(&bench.log, "millstream-dlq-reason"), "decode");
    assert_eq!(header(&bench.log, "millstream-dlq-attempts"), "1");
    let error = header(&bench.log, "millstream-dlq-error");
    assert!(
        error.starts_with("value: failed to decode text at byte 2"),
        "{error}"
    );
}

#[test]
fn a_permanent_failure_is_not_retried() {
    let mut bench = bench(QUICK.then_dead_letter());
    bench.log.write(0, &["hopeless"]);
    bench.log.assign([0]);
    bench.settle();
    assert_eq!(header(&bench.log, "millstream-dlq-attempts"), "1");
}

// fault 6
#[test]
fn a_panic_is_contained_and_treated_as_declared_while_others_go_on() {
    let mut bench = bench(OnError::dead_letter());
    bench.log.write(0, &["panic", "after"]);
    bench.log.write(1, &["other"]);
    bench.log.assign([0, 1]);
    bench.settle();
    assert_eq!(bench.log.values("out"), ["after", "other"]);
    assert_eq!(header(&bench.log, "millstream-dlq-reason"), "panic");
    assert_eq!(
        header(&bench.log, "millstream-dlq-error"),
        "a handler's panic"
    );
}

#[test]
fn stop_names_the_record_and_commits_what_came_before() {
    let mut bench = bench(OnError::stop());
    bench.log.write(0, &["first", "bad", "never"]);
    bench.log.assign([0]);
    assert_eq!(
        bench.failed(),
        "service `copier` stopped at in[0]@1: a bad record"
    );
    assert_eq!(bench.log.values("out"), ["first"]);
    assert_eq!(bench.log.calls(), ["admit in[0]", "commit now in[0]=1"]);
}

#[test]
fn a_flood_of_dead_letters_stops_the_service() {
    let mut bench = bench(OnError::dead_letter());
    bench.log.write(0, &["bad"; 20]);
    bench.log.assign([0]);
    assert_eq!(
        bench.failed(),
        "service `copier` stopped at in[0]@10: 11 of the last 11 records could not be processed, \
         more than the limit of 0.1; the last: a bad record"
    );
    assert_eq!(bench.log.values("in.dlq").len(), 10);
    assert_eq!(bench.log.calls(), ["admit in[0]", "commit now in[0]=10"]);
}

#[test]
fn an_undeclared_output_stops_the_service_even_if_the_handler_hides_it() {
    static OTHER: Topic<(), String> = Topic::new("other", &NoKey, &Text);
    let hides = |(): &mut (), record: Record<(), String>, context: &mut Context| {
        let _ = context.emit(&OTHER, &(), &record.value);
        Ok(())
    };
    let mut bench = Bench::new(Service::new("hider", || ()).input(&IN, hides).output(&OUT));
    bench.log.write(0, &["first"]);
    bench.log.assign([0]);
    assert_eq!(
        bench.failed(),
        "service `hider` emitted to topic `other`, which it does not declare as an output"
    );
    assert_eq!(
        bench.log.calls(),
        ["admit in[0]"],
        "the record is not committed"
    );
}

#[test]
fn what_a_failed_handler_emitted_is_not_sent() {
    let half = |(): &mut (), record: Record<(), String>, context: &mut Context| {
        context.emit(&OUT, &(), &record.value)?;
        Err(ProcessError::new("half way"))
    };
    let service = Service::new("half", || ()).input(&IN, half).output(&OUT);
    let mut bench = Bench::new(service.on_error(OnError::dead_letter()));
    bench.log.write(0, &["first"]);
    bench.log.assign([0]);
    bench.settle();
    assert_eq!(bench.log.values("out"), Vec::<String>::new());
    assert_eq!(bench.log.values("in.dlq"), ["first"]);
}

// fault 30
#[test]
fn an_effect_the_cluster_will_never_take_fails_its_record() {
    let mut bench = bench(OnError::dead_letter());
    refuses_huge(&bench.log);
    bench.log.write(0, &["first", "huge", "last"]);
    bench.log.assign([0]);
    bench.settle();
    assert_eq!(bench.log.values("in.dlq"), ["huge"]);
    assert_eq!(header(&bench.log, "millstream-dlq-reason"), "refused");
    assert_eq!(
        header(&bench.log, "millstream-dlq-error"),
        "failed to deliver a record: broker said no"
    );
    assert_eq!(bench.log.values("out").last().unwrap(), "last");
    bench.after(SECOND);
    assert_eq!(bench.log.calls().last().unwrap(), "commit in[0]=3");
}

/// The state is made anew after a failed delivery, and that panics: the other partition is drained and committed.
#[test]
fn a_state_that_cannot_be_made_ends_the_service_in_order() {
    let mut made = 0..;
    let made = std::sync::Mutex::new(move || made.next());
    let init = move || assert!((made.lock().unwrap())() < Some(2), "no file");
    let service = Service::new("files", init).input(&IN, super::copy);
    let mut bench = Bench::new(service.output(&OUT));
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a"]);
    bench.log.write(1, &["x"]);
    bench.log.assign([0, 1]);
    bench.settle();
    let sent = bench.log.sent("out");
    bench
        .log
        .report(sent[0].token, Err(kafka(Class::Retriable)));
    bench.step();
    bench.log.report(sent[1].token, Ok(()));
    assert_eq!(
        bench.failed(),
        "a worker of service `files` panicked: the state of partition 0 cannot be made: no file"
    );
    assert_eq!(
        bench.log.calls(),
        ["admit in[0] in[1]", "commit now in[1]=1"]
    );
}

/// No permission to write, a broken sequence: the next record would fail in the same way.
#[test]
fn a_fatal_error_of_the_producer_ends_the_service_with_that_error_and_blames_no_record() {
    for class in [Class::Fatal, Class::Fenced] {
        let mut bench = bench(OnError::dead_letter());
        bench.log.acknowledge_at_once(false);
        bench.log.write(0, &["a", "b", "c"]);
        bench.log.write(1, &["x"]);
        bench.log.assign([0, 1]);
        bench.settle();
        let sent = bench.log.sent("out");
        bench.log.report(sent[0].token, Ok(()));
        bench.log.report(sent[3].token, Ok(()));
        bench.log.report(sent[1].token, Err(kafka(class)));
        bench.log.report(sent[2].token, Err(kafka(class)));
        assert_eq!(bench.failed(), "failed to deliver a record: broker said no");
        assert_eq!(bench.log.values("in.dlq"), Vec::<String>::new());
        assert_eq!(bench.log.values("out").len(), 4, "nothing is sent again");
        assert_eq!(
            bench.log.calls(),
            ["admit in[0] in[1]", "commit now in[0]=1 in[1]=1"]
        );
    }
}

#[test]
fn a_client_that_takes_nothing_any_more_ends_the_service_too() {
    let mut bench = bench(OnError::dead_letter());
    bench
        .log
        .refuse(|_, value| (value == "b").then(|| SendError::Failed(kafka(Class::Fatal))));
    bench.log.write(0, &["a", "b", "c"]);
    bench.log.assign([0]);
    assert_eq!(bench.failed(), "failed to deliver a record: broker said no");
    assert_eq!(bench.log.values("out"), ["a"]);
    assert_eq!(bench.log.values("in.dlq"), Vec::<String>::new());
    assert_eq!(bench.log.calls(), ["admit in[0]", "commit now in[0]=1"]);
}

// fault 29
#[test]
fn a_dead_letter_that_cannot_be_written_halts_its_partition_only() {
    let mut bench = bench(OnError::dead_letter());
    bench
        .log
        .refuse(|topic, _| (topic == "in.dlq").then(|| SendError::Failed(kafka(Class::Refused))));
    bench.log.write(0, &["first", "bad", "never"]);
    bench.log.write(1, &["other"]);
    bench.log.assign([0, 1]);
    bench.settle();
    bench.after(SECOND);
    assert_eq!(bench.log.values("out"), ["first", "other"]);
    let calls = bench.log.calls();
    assert_eq!(calls.last().unwrap(), "commit in[0]=1 in[1]=1", "{calls:?}");
    bench.log.write(1, &["more"]);
    bench.after(Duration::from_secs(60));
    assert_eq!(bench.log.values("out"), ["first", "other", "more"]);
    bench.after(SECOND);
    assert!(!bench.worker.is_ready());
    assert_eq!(
        bench.worker.halted().map(ToString::to_string).unwrap(),
        "service `copier` halted a partition at in[0]@1: the dead letter cannot be written"
    );
    // What was not written is not counted, and the end of the service says so.
    let totals = bench.worker.totals();
    assert_eq!((totals.dead_lettered, totals.written), (0, 3));
    bench.worker.stop();
    let error = bench.error();
    assert_eq!(
        error.to_string(),
        "service `copier` halted a partition at in[0]@1: the dead letter cannot be written"
    );
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(
        source.to_string(),
        "failed to deliver a record: broker said no"
    );
}

#[test]
fn only_what_is_acknowledged_is_counted_as_written() {
    let mut bench = bench(OnError::dead_letter());
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a", "bad", "c"]);
    bench.log.assign([0]);
    bench.settle();
    let counted = |bench: &mut Bench<()>| {
        bench.after(SECOND);
        let totals = bench.worker.totals();
        (totals.written, totals.dead_lettered)
    };
    assert_eq!(counted(&mut bench), (0, 0));
    bench.log.report(bench.log.sent("out")[0].token, Ok(()));
    assert_eq!(counted(&mut bench), (1, 0));
    bench.log.report(bench.log.sent("in.dlq")[0].token, Ok(()));
    assert_eq!(counted(&mut bench), (2, 1));
}

fn refuses_dead_letters(log: &Script) {
    log.refuse(|topic, _| (topic == "in.dlq").then(|| SendError::Failed(kafka(Class::Refused))));
}

/// Who has it now may cope with it; this member leaves nothing behind.
#[test]
fn a_halted_partition_that_was_given_away_is_no_reason_any_more() {
    let mut bench = bench(OnError::dead_letter());
    refuses_dead_letters(&bench.log);
    bench.log.write(0, &["bad"]);
    bench.log.write(1, &["fine", "bad"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.event(Event::Revoked(vec![part(0)]));
    bench.settle();
    bench.log.assign([1]);
    bench.settle();
    let halted = bench.worker.halted().map(ToString::to_string).unwrap();
    assert!(halted.contains(" at in[1]@1: "), "{halted}");
    bench.log.event(Event::Revoked(vec![part(1)]));
    bench.settle();
    bench.worker.stop();
    bench.settle_to_the_end();
}

/// Eight of forty are under the ten that always may; that they come again does not make them more.
#[test]
fn a_dead_letter_counts_once_however_often_its_partition_is_replayed() {
    let mut bench = bench(OnError::dead_letter());
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["fine"; 32]);
    bench.log.write(0, &["bad"; 8]);
    bench.log.assign([0]);
    bench.settle();
    for round in 1..4 {
        let last = bench.log.sent("in.dlq").pop().unwrap();
        bench.log.report(last.token, Err(kafka(Class::Retriable)));
        bench.settle();
        bench.after(SECOND);
        assert_eq!(bench.log.values("in.dlq").len(), 8 * (round + 1));
    }
    bench.log.event(Event::Lost(vec![part(0)]));
    bench.settle();
    bench.log.seek(&part(0), NextOffset::new(0)).unwrap();
    bench.log.assign([0]);
    bench.settle();
    assert_eq!(bench.log.values("in.dlq").len(), 8 * 5);
}

/// The group is deleted, the metadata too large: what was done will be processed again.
#[test]
fn a_stop_whose_commit_is_refused_is_no_success() {
    let stopped = |class| {
        let mut bench = bench(OnError::stop());
        bench.log.write(0, &["a"]);
        bench.log.assign([0]);
        bench.settle();
        bench.log.commits_fail_with(class);
        bench.worker.stop();
        bench
    };
    let error = stopped(Class::Refused).failed();
    assert_eq!(error, "failed to deliver a record: broker said no");
    stopped(Class::Fenced).settle_to_the_end();
}

/// Nothing of it is left to be processed again.
#[test]
fn a_stop_commits_nothing_of_a_topic_that_is_gone() {
    let mut bench = bench(OnError::stop());
    bench.log.write(0, &["a"]);
    bench.log.write(1, &["x"]);
    bench.log.assign([0, 1]);
    bench.settle();
    bench.log.partition_counts([("in", 0)]);
    bench.log.commits_fail_with(Class::Fatal);
    bench.worker.stop();
    bench.settle_to_the_end();
}
