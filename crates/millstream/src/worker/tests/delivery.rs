//! Effects, their reports, and what is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Bench, IN, OUT, SECOND, copier, kafka, part};
use crate::context::Context;
use crate::error::{Class, ProcessError};
use crate::log::{Event, SendError};
use crate::policy::Start;
use crate::record::Record;
use crate::service::Service;
use crate::topic::NextOffset;

fn bench() -> Bench<()> {
    Bench::new(copier())
}

#[test]
fn only_what_is_acknowledged_is_committed_and_the_flow_goes_on() {
    let mut bench = bench();
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a", "b", "c"]);
    bench.log.assign([0]);
    bench.settle();
    bench.after(SECOND);
    assert_eq!(bench.log.calls(), ["admit in[0]"]);
    let sent = bench.log.sent("out");
    bench.log.report(sent[1].token, Ok(()));
    bench.after(SECOND);
    assert_eq!(
        bench.log.calls(),
        Vec::<String>::new(),
        "the first is still under way"
    );
    bench.log.report(sent[0].token, Ok(()));
    bench.log.write(0, &["d"]);
    bench.after(SECOND);
    assert_eq!(bench.log.calls(), ["commit in[0]=2"]);
    assert_eq!(bench.log.values("out"), ["a", "b", "c", "d"]);
}

#[test]
fn a_commit_waits_for_the_answer_to_the_one_before_and_is_repeated_when_that_failed() {
    let mut bench = bench();
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    bench.settle();
    bench.after(SECOND);
    bench.log.write(0, &["b"]);
    bench.after(SECOND);
    assert_eq!(bench.log.calls(), ["admit in[0]", "commit in[0]=1"]);
    // fault 17
    let offsets = vec![(part(0), NextOffset::new(1))];
    bench.log.event(Event::Committed {
        offsets,
        result: Err(kafka(Class::Retriable)),
    });
    bench.settle();
    bench.after(SECOND);
    assert_eq!(bench.log.calls(), ["commit in[0]=2"]);
    let offsets = vec![(part(0), NextOffset::new(2))];
    bench.log.event(Event::Committed {
        offsets,
        result: Ok(()),
    });
    bench.settle();
    bench.after(SECOND);
    assert_eq!(
        bench.log.calls(),
        Vec::<String>::new(),
        "nothing new is done"
    );
}

// fault 12
#[test]
fn a_failed_delivery_replays_its_partition_from_the_watermark_with_a_fresh_state() {
    let made = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&made);
    let count = |seen: &mut u32, record: Record<(), String>, context: &mut Context| {
        *seen += 1;
        context.emit(&OUT, &(), &format!("{}{seen}", record.value))
    };
    let init = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        0
    };
    let mut bench = Bench::new(Service::new("counter", init).input(&IN, count).output(&OUT));
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a", "b", "c"]);
    bench.log.write(1, &["x"]);
    bench.log.assign([0, 1]);
    bench.settle();
    let sent = bench.log.sent("out");
    bench.log.report(sent[0].token, Ok(()));
    bench
        .log
        .report(sent[1].token, Err(kafka(Class::Retriable)));
    bench.log.report(sent[2].token, Ok(()));
    bench.settle();
    assert_eq!(bench.log.calls(), ["admit in[0] in[1]", "pause in[0]"]);
    bench.log.acknowledge_at_once(true);
    bench.after(Duration::from_millis(100));
    assert_eq!(bench.log.calls(), ["seek in[0]=1", "resume in[0]"]);
    assert_eq!(
        bench.log.values("out"),
        ["a1", "b2", "c3", "x1", "b1", "c2"]
    );
    assert_eq!(
        made.load(Ordering::Relaxed),
        3,
        "two partitions, and one made anew"
    );
    bench.log.report(sent[1].token, Ok(()));
    bench.after(SECOND);
    assert_eq!(
        bench.log.calls(),
        ["commit in[0]=3"],
        "a late report is about nothing"
    );
}

#[test]
fn the_wait_before_a_replay_doubles_while_nothing_gets_through() {
    let mut bench = bench();
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["a"]);
    bench.log.assign([0]);
    bench.settle();
    for wait in [100, 200, 400] {
        let last = bench.log.sent("out").pop().unwrap();
        bench.log.report(last.token, Err(kafka(Class::Retriable)));
        bench.settle();
        let tries = bench.log.sent("out").len();
        bench.after(Duration::from_millis(wait - 1));
        assert_eq!(bench.log.sent("out").len(), tries, "not before {wait} ms");
        bench.after(Duration::from_millis(1));
        assert_eq!(bench.log.sent("out").len(), tries + 1, "after {wait} ms");
    }
}

// fault 11
#[test]
fn a_full_log_pauses_reading_and_the_group_is_still_served() {
    let mut bench = bench();
    bench.log.write(0, &["a", "b", "c"]);
    bench.log.assign([0]);
    bench
        .log
        .refuse(|_, value| (value == "b").then_some(SendError::Full));
    for _ in 0..5 {
        bench.step();
    }
    assert_eq!(bench.log.values("out"), ["a"]);
    assert_eq!(bench.log.calls(), ["admit in[0]"]);
    bench.clock.advance(SECOND);
    bench.step();
    assert_eq!(bench.log.calls(), ["pause in[0]"]);
    bench.log.event(Event::Assigned(vec![part(1)]));
    bench.step();
    let calls = bench.log.calls();
    assert_eq!(
        calls,
        ["admit in[1]", "pause in[1]"],
        "the group does not wait for the log"
    );
    bench.log.take_all();
    bench.settle();
    assert_eq!(bench.log.values("out"), ["a", "b", "c"]);
    assert_eq!(bench.log.calls()[..2], ["resume in[0]", "resume in[1]"]);
}

#[test]
fn a_timer_is_called_for_each_partition_and_its_effects_hold_the_commit() {
    let tick = |_: &mut u32, context: &mut Context| -> Result<(), ProcessError> {
        context.emit(&OUT, &(), &format!("tick {}", context.partition()))
    };
    let nothing = |_: &mut u32, _: Record<(), String>, _: &mut Context| Ok(());
    let service = Service::new("ticker", || 0)
        .input(&IN, nothing)
        .output(&OUT);
    let mut bench = Bench::new(service.every(SECOND * 10, tick));
    bench.log.acknowledge_at_once(false);
    bench.log.assign([0, 1]);
    bench.settle();
    bench.after(SECOND * 9);
    assert_eq!(bench.log.values("out"), Vec::<String>::new());
    bench.after(SECOND);
    assert_eq!(bench.log.values("out"), ["tick 0", "tick 1"]);
    bench.log.write(0, &["a"]);
    bench.settle();
    bench.after(SECOND);
    assert_eq!(bench.log.calls(), ["admit in[0] in[1]"]);
    bench.log.report(bench.log.sent("out")[0].token, Ok(()));
    bench.after(SECOND);
    assert_eq!(bench.log.calls(), ["commit in[0]=1"]);
    bench.after(SECOND * 100);
    assert_eq!(
        bench.log.values("out").len(),
        4,
        "a late timer is called once"
    );
}

#[test]
fn a_failed_timer_is_called_again_and_stops_nothing() {
    let tick = |calls: &mut u32, context: &mut Context| -> Result<(), ProcessError> {
        *calls += 1;
        match calls {
            1 => Err(ProcessError::new("not now")),
            2 => panic!("not now either"),
            _ => context.emit(&OUT, &(), &"at last".to_owned()),
        }
    };
    let nothing = |_: &mut u32, _: Record<(), String>, _: &mut Context| Ok(());
    let service = Service::new("ticker", || 0)
        .input(&IN, nothing)
        .output(&OUT);
    let mut bench = Bench::new(service.every(SECOND, tick));
    bench.log.assign([0]);
    bench.settle();
    bench.after(SECOND);
    bench.after(SECOND);
    bench.after(SECOND);
    assert_eq!(bench.log.values("out"), ["at last"]);
}

// fault 22
#[test]
fn a_position_that_is_gone_is_counted_with_the_exact_gap() {
    let lost = |start, wanted: i64, first: i64, end: i64| {
        let mut bench = Bench::new(copier().start_from(start));
        bench.log.assign([0]);
        bench.log.event(Event::OutOfRange {
            partition: part(0),
            wanted: NextOffset::new(wanted),
            start: NextOffset::new(first),
            end: NextOffset::new(end),
        });
        bench.settle();
        bench.worker.totals().lost
    };
    assert_eq!(lost(Start::Earliest, 17, 40, 90), 23);
    assert_eq!(lost(Start::Latest, 17, 40, 90), 73);
    // fault 21: made anew and shorter, nothing was there to be lost
    assert_eq!(lost(Start::Earliest, 17, 0, 5), 0);
}

#[test]
fn a_service_told_to_fail_names_the_gap() {
    let mut bench = Bench::new(copier().start_from(Start::Fail));
    bench.log.assign([0]);
    bench.log.event(Event::OutOfRange {
        partition: part(0),
        wanted: NextOffset::new(17),
        start: NextOffset::new(40),
        end: NextOffset::new(90),
    });
    assert_eq!(
        bench.failed(),
        "service `copier` cannot read in[0] from offset 17: the cluster has 40 to 90"
    );
}
