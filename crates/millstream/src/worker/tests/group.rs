//! Partitions come and go.

use std::sync::Arc;
use std::time::Duration;

use super::{Bench, IN, ManualClock, OUT, Progress, SECOND, copier, kafka, part};
use crate::codec::{NoKey, Text};
use crate::context::Context;
use crate::error::Class;
use crate::log::{Event, SendError};
use crate::policy::OnError;
use crate::record::Record;
use crate::service::Service;
use crate::topic::{NextOffset, Partition, Topic, TopicPartition};
use crate::worker::partition::VISITED;

#[test]
fn a_revoked_partition_is_drained_and_committed_before_it_is_released() {
    let mut bench = Bench::new(copier());
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a", "b"]);
    bench.log.write(1, &["x"]);
    bench.log.assign([0, 1]);
    bench.settle();
    bench.log.calls();
    bench.log.event(Event::Revoked(vec![part(0)]));
    bench.log.write(0, &["never"]);
    for _ in 0..10 {
        bench.step();
    }
    assert_eq!(
        bench.log.calls(),
        Vec::<String>::new(),
        "two effects are under way"
    );
    let sent = bench.log.sent("out");
    bench.log.report(sent[0].token, Ok(()));
    bench.log.report(sent[1].token, Ok(()));
    bench.settle();
    assert_eq!(bench.log.calls(), ["commit now in[0]=2", "release in[0]"]);
    assert_eq!(bench.log.values("out"), ["a", "b", "x"]);
}

#[test]
fn a_drain_ends_with_its_budget_and_late_reports_are_dropped() {
    let mut bench = Bench::new(copier().drain_within(SECOND));
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a", "b"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.calls();
    let sent = bench.log.sent("out");
    bench.log.report(sent[0].token, Ok(()));
    bench.log.event(Event::Revoked(vec![part(0)]));
    bench.step();
    bench.after(SECOND);
    assert_eq!(bench.log.calls(), ["commit now in[0]=1", "release in[0]"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.report(sent[1].token, Ok(()));
    bench.after(SECOND);
    assert_eq!(
        bench.log.calls(),
        ["admit in[0]"],
        "the report is of an older epoch"
    );
}

// fault 17
#[test]
fn a_refused_commit_is_tried_again_within_the_budget_before_a_partition_is_released() {
    let mut bench = Bench::new(copier());
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.calls();
    bench.log.commits_fail(2);
    bench.log.event(Event::Revoked(vec![part(0)]));
    for _ in 0..5 {
        bench.step();
    }
    assert_eq!(bench.log.calls(), ["commit now in[0]=1"]);
    for _ in 0..2 {
        bench.clock.advance(SECOND / 10);
        bench.step();
    }
    let calls = bench.log.calls();
    assert_eq!(
        calls,
        ["commit now in[0]=1", "commit now in[0]=1", "release in[0]"]
    );
}

// fault 3, fault 19
#[test]
fn a_lost_partition_is_dropped_without_a_commit() {
    let mut bench = Bench::new(copier());
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.calls();
    bench.log.event(Event::Lost(vec![part(0)]));
    bench.settle();
    bench.after(SECOND);
    assert_eq!(bench.log.calls(), ["release in[0]"]);
}

#[test]
fn a_record_waiting_for_its_retry_is_left_to_the_next_holder() {
    let mut bench = Bench::new(copier().on_error(OnError::retry(9)));
    bench.log.write(0, &["a", "bad"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.calls();
    bench.log.event(Event::Revoked(vec![part(0)]));
    bench.settle();
    bench.after(SECOND * 60);
    assert_eq!(bench.log.calls(), ["commit now in[0]=1", "release in[0]"]);
}

#[test]
fn a_full_log_does_not_keep_a_revocation_beyond_its_budget() {
    let mut bench = Bench::new(copier().drain_within(SECOND));
    bench
        .log
        .refuse(|_, value| (value == "b").then_some(SendError::Full));
    bench.log.write(0, &["a", "b"]);
    bench.log.assign([0, 1]);
    for _ in 0..5 {
        bench.step();
    }
    bench.clock.advance(SECOND);
    bench.step();
    bench.log.calls();
    bench.log.event(Event::Revoked(vec![part(0)]));
    bench.step();
    bench.after(SECOND);
    let calls = bench.log.calls();
    assert_eq!(
        calls,
        ["commit now in[0]=1", "release in[0]", "resume in[1]"]
    );
}

#[test]
fn stopping_drains_and_commits_everything_once() {
    let mut bench = Bench::new(copier());
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a"]);
    bench.log.write(1, &["x"]);
    bench.log.assign([0, 1]);
    bench.settle();
    bench.log.calls();
    bench.worker.stop();
    bench.log.write(0, &["never"]);
    assert_eq!(bench.step(), Progress::Busy);
    for sent in bench.log.sent("out") {
        bench.log.report(sent.token, Ok(()));
    }
    bench.step();
    assert_eq!(bench.step(), Progress::Stopped);
    assert_eq!(bench.log.calls(), ["commit now in[0]=1 in[1]=1"]);
    assert_eq!(bench.log.values("out"), ["a", "x"]);
}

#[test]
fn a_start_position_that_is_not_answered_is_asked_for_again() {
    let mut bench = Bench::new(copier());
    bench.log.admissions_fail(2);
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    bench.step();
    assert!(!bench.worker.is_ready());
    for _ in 0..2 {
        bench.clock.advance(SECOND);
        bench.step();
    }
    bench.settle();
    assert!(bench.worker.is_ready());
    assert_eq!(bench.log.values("out"), ["a"]);
}

#[test]
fn inputs_of_equal_partition_share_one_state() {
    static LEFT: Topic<(), String> = Topic::new("in", &NoKey, &Text);
    static RIGHT: Topic<(), String> = Topic::new("right", &NoKey, &Text);
    let count = |seen: &mut Vec<String>, record: Record<(), String>, _: &mut Context| {
        seen.push(record.position.to_string());
        Ok(())
    };
    let service = Service::new("join", Vec::new)
        .input(&LEFT, count)
        .input(&RIGHT, count);
    let mut bench = Bench::new(service);
    let right = TopicPartition::new("right", Partition(0));
    bench.log.write(0, &["a"]);
    bench.log.event(Event::Assigned(vec![part(0), right]));
    bench.settle();
    bench.after(SECOND);
    assert_eq!(
        bench.log.calls(),
        ["admit in[0] right[0]", "commit in[0]=1"]
    );
}

#[test]
fn a_client_that_fails_for_good_ends_the_worker_without_a_drain() {
    let mut bench = Bench::new(copier().drain_within(Duration::from_secs(3_600)));
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.calls();
    bench.log.breaks(kafka(Class::Refused));
    assert_eq!(bench.failed(), "failed to deliver a record: broker said no");
    assert_eq!(bench.log.calls(), Vec::<String>::new());
}

/// 256 records of a handler that takes seconds would keep a stop waiting for minutes.
#[test]
fn a_slow_handler_is_asked_to_stop_after_each_record() {
    let clock = Arc::new(ManualClock::default());
    let hand = Arc::clone(&clock);
    let slow = move |(): &mut (), record: Record<(), String>, context: &mut Context| {
        hand.advance(SECOND);
        context.emit(&OUT, &(), &record.value)
    };
    let service = Service::new("slow", || ()).input(&IN, slow).output(&OUT);
    let mut bench = Bench::with_clock(service, clock);
    bench.log.write(0, &["a", "b", "c"]);
    bench.log.assign([0]);
    bench.step();
    bench.step();
    assert_eq!(bench.log.values("out"), ["a"]);
}
/// A client remembers what it was told to pause, whoever held the partition meanwhile.
#[test]
fn a_partition_that_was_paused_when_it_left_is_resumed_when_it_comes_back() {
    let mut bench = Bench::new(copier().on_error(OnError::retry(1)));
    bench.log.write(0, &["a", "flaky", "b"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.event(Event::Revoked(vec![part(0)]));
    bench.settle();
    bench.log.calls();
    bench.log.assign([0]);
    bench.settle();
    assert_eq!(bench.log.calls(), ["admit in[0]", "resume in[0]"]);
    assert_eq!(bench.log.values("out"), ["a", "b"]);
}

#[test]
fn an_input_that_has_grown_alone_stops_the_worker_when_partitions_are_assigned() {
    static LEFT: Topic<(), String> = Topic::new("in", &NoKey, &Text);
    static RIGHT: Topic<(), String> = Topic::new("right", &NoKey, &Text);
    let ignore = |(): &mut (), _: Record<(), String>, _: &mut Context| Ok(());
    let service = Service::new("join", || ())
        .input(&LEFT, ignore)
        .input(&RIGHT, ignore);
    let mut bench = Bench::new(service);
    bench.log.partition_counts([("in", 2), ("right", 1)]);
    bench.log.assign([0]);
    assert_eq!(
        bench.failed(),
        "the inputs of service `join` must have equal partition counts: `in` has 2, `right` has 1"
    );
}

/// Looking for each partition among all of them costs the square of their number.
#[test]
fn the_work_of_commits_and_drains_grows_with_the_partitions_and_not_with_their_square() {
    const PARTITIONS: i32 = 400;
    let mut bench = Bench::new(copier());
    let all = || (0..PARTITIONS).map(part).collect::<Vec<_>>();
    for number in 0..PARTITIONS {
        bench.log.write(number, &["a"]);
    }
    bench.log.assign(0..PARTITIONS);
    bench.settle();
    let before = VISITED.get();
    bench.after(SECOND);
    let offsets = all().into_iter().map(|part| (part, NextOffset::new(1)));
    bench.log.event(Event::Committed {
        offsets: offsets.collect(),
        result: Ok(()),
    });
    bench.settle();
    bench.log.event(Event::Revoked(all()));
    bench.settle();
    let visited = VISITED.get() - before;
    let most = 20 * u64::try_from(PARTITIONS).unwrap();
    assert!(visited < most, "{visited} slots were looked at");
}

/// Everything was lost: the worker holds nothing and is not ready before the group has given it its next share, be it none.
#[test]
fn a_member_that_has_lost_everything_is_not_ready_until_its_next_share() {
    let mut bench = Bench::new(copier());
    assert!(!bench.worker.is_ready());
    bench.log.assign([0, 1]);
    bench.settle();
    assert!(bench.worker.is_ready());
    bench.log.event(Event::Lost(vec![part(0)]));
    bench.settle();
    assert!(bench.worker.is_ready(), "one partition is left");
    bench.log.event(Event::Lost(vec![part(1)]));
    bench.settle();
    assert!(!bench.worker.is_ready(), "none is left");
    bench.log.assign([]);
    bench.settle();
    assert!(bench.worker.is_ready());
}

/// READ on one of several topics is withdrawn: what was done of the others is committed.
#[test]
fn a_member_that_may_not_read_any_more_commits_what_is_done() {
    let mut bench = Bench::new(copier());
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.event(Event::Forbidden(kafka(Class::Fatal)));
    let error = (0..20).find_map(|_| bench.worker.step(Duration::ZERO).err());
    assert_eq!(error.unwrap().class(), Class::Fatal);
    assert!(
        bench
            .log
            .calls()
            .iter()
            .any(|call| call.starts_with("commit now in[0]=1"))
    );
}

/// The commit of a stop waits behind a request to join, which is answered when a member that is gone has left the group.
#[test]
fn a_stop_whose_commit_is_not_answered_ends_within_its_budget_and_says_that_nothing_is_lost() {
    let mut bench = Bench::new(copier().drain_within(SECOND));
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    bench.settle();
    bench.log.commits_fail(u32::MAX);
    bench.worker.stop();
    let tenth = SECOND / 10;
    let ended = (0..50).find_map(|_| {
        bench.clock.advance(tenth);
        bench.worker.step(Duration::ZERO).err()
    });
    assert_eq!(
        ended.unwrap().to_string(),
        "service `copier` stopped without an answer to its last commit; nothing is lost, but what is not committed will be processed again"
    );
}
