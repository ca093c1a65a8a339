//! Records whose effects the cluster will never take, several of them, and what their handlers requested.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Bench, SECOND, Script, copier, kafka};
use crate::codec::{Json, Text};
use crate::error::Class;
use crate::log::SendError;
use crate::policy::OnError;
use crate::testing::{Faults, simulate_with};
use crate::{Context, OpenRecord, ProcessError, Record, Service, Topic};

/// Refuses every effect but dead letters whose value is `huge`.
pub(super) fn refuses_huge(log: &Script) {
    log.refuse(|topic, value| {
        let huge = topic == "out" && value == "huge";
        huge.then(|| SendError::Failed(kafka(Class::Refused)))
    });
}

/// The replay for the second comes while the dead letter of the first is under way.
#[test]
fn two_refused_records_close_together_are_dead_lettered_once_each() {
    let mut bench = Bench::new(copier().on_error(OnError::dead_letter()));
    refuses_huge(&bench.log);
    bench.log.write(0, &["huge", "huge", "last"]);
    bench.log.assign([0]);
    bench.settle();
    assert_eq!(bench.log.values("in.dlq"), ["huge", "huge"]);
    assert_eq!(bench.log.values("out"), ["last"]);
    bench.after(SECOND);
    assert_eq!(bench.log.calls().last().unwrap(), "commit in[0]=3");
}

/// What was acknowledged before the refused record is not written again.
#[test]
fn a_refused_record_waits_for_what_came_before_it() {
    let mut bench = Bench::new(copier().on_error(OnError::dead_letter()));
    refuses_huge(&bench.log);
    bench.log.acknowledge_at_once(false);
    bench.log.write(0, &["first", "huge", "last"]);
    bench.log.assign([0]);
    bench.settle();
    assert_eq!(bench.log.all_sent().len(), 1);
    bench.log.report(bench.log.sent("out")[0].token, Ok(()));
    bench.log.acknowledge_at_once(true);
    bench.after(Duration::from_millis(1));
    assert_eq!(bench.log.values("in.dlq"), ["huge"]);
    assert_eq!(bench.log.values("out"), ["first", "last"]);
}

static NUMBERS: Topic<String, u64> = Topic::new("numbers", &Text, &Json).partitions(3);
static COPIES: Topic<String, String> = Topic::new("copies", &Text, &Text).max_message_bytes(2_000);
static DEAD: Topic<String, u64> = Topic::new("numbers.dlq", &Text, &Json);

/// Whether the copy of a number is more than the cluster takes. Two in a row are.
const fn is_huge(number: u64) -> bool {
    number % 5 < 2
}

/// Copies numbers. Some stay open until the next copy; and the handlers of those that are refused pause their input, which
/// nobody resumes.
fn copy_number(
    open: &mut Vec<OpenRecord>,
    number: Record<String, u64>,
    context: &mut Context,
) -> Result<(), ProcessError> {
    if number.value % 5 == 3 {
        open.push(context.keep_open());
        return Ok(());
    }
    let size = if is_huge(number.value) {
        context.pause(&NUMBERS);
        2_000_000
    } else {
        open.drain(..).for_each(|record| context.close(record));
        1
    };
    let copy = format!("{}{}", number.value, " ".repeat(size));
    context.emit(&COPIES, &number.key, &copy)
}

#[test]
fn refused_records_close_together_become_dead_letters_and_pause_nothing() {
    let faults = Faults {
        fatal_send: 0.01,
        ..Faults::all()
    };
    simulate_with(0..100, faults, |world| {
        let service = Service::new("numbers", Vec::new).input(&NUMBERS, copy_number);
        let policy = OnError::dead_letter().dead_letter_limit(1.0);
        let service = service.output(&COPIES).on_error(policy).threads(2);
        world.start(service).unwrap();
        for number in 0..60 {
            world.send(&NUMBERS, &format!("key {}", number / 10), &number);
        }
        world.run().unwrap();
        let copies = world.read(&COPIES).into_iter();
        let copied: BTreeSet<u64> = copies
            .map(|copy| copy.value.trim().parse().unwrap())
            .collect();
        let is_copied = |number: &u64| !is_huge(*number) && number % 5 != 3;
        assert_eq!(copied, (0..60).filter(is_copied).collect());
        let dead: BTreeSet<u64> = world
            .read(&DEAD)
            .into_iter()
            .map(|dead| dead.value)
            .collect();
        assert_eq!(dead, (0..60).filter(|number| is_huge(*number)).collect());
    });
}
