//! Every record gets through, whoever comes and goes.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::Duration;

use millstream::codec::{Json, Text};
use millstream::{Cluster, Context, NextOffset, Record, Service, Start, Topic, TopicSpec};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::running::{Running, group, lag, numbers_on, quick, wait_for_numbers};
use crate::support::{PATIENCE, admin, brokers, cluster, eventually, numbers, unique, write};

type Numbers = Topic<String, u64>;

/// Copies one topic to another.
pub(crate) fn copy(name: &str, from: &Numbers, to: &Numbers) -> Service<()> {
    let target = to.clone();
    let on_number = move |(): &mut (), record: Record<String, u64>, context: &mut Context| {
        context.emit(&target, &record.key, &record.value)
    };
    quick(Service::new(name, || ()).input(from, on_number).output(to))
}

fn sorted(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers
}

fn first(count: u64) -> Vec<u64> {
    (0..count).collect()
}

#[test]
fn a_copy_is_whole_and_a_restart_goes_on_where_it_ended() {
    let (from, to) = (numbers(3), numbers(3));
    let name = group();
    for partition in 0..3 {
        write(
            &from,
            partition,
            (0..1_000).map(|n| n * 3 + partition as u64),
        );
    }
    let running = Running::start(copy(&name, &from, &to));
    assert_eq!(sorted(wait_for_numbers(&to, 3_000)), first(3_000));
    let summary = running.stop().unwrap();
    assert_eq!(
        (summary.read, summary.written, summary.failed),
        (3_000, 3_000, 0)
    );

    write(&from, 0, 3_000..3_100);
    let running = Running::start(copy(&name, &from, &to));
    wait_for_numbers(&to, 3_100);
    let summary = running.stop().unwrap();
    assert_eq!(
        summary.read, 100,
        "nothing that was committed is read again"
    );
    assert_eq!(sorted(numbers_on(&to)), first(3_100));
}

/// What is done is committed again and again while the service runs, not only at its end.
#[test]
fn commits_follow_the_flow() {
    let (from, to) = (numbers(1), numbers(1));
    let name = group();
    let running = Running::start(copy(&name, &from, &to));
    for count in 1..=5 {
        write(&from, 0, count..count + 1);
        eventually("what is done is committed", || {
            let group = admin().group(&name).ok();
            let committed = group.and_then(|group| group.offsets.first()?.committed);
            committed == Some(NextOffset::new(i64::try_from(count).unwrap()))
        });
    }
    running.stop().unwrap();
}

#[test]
fn shutdown_drains_what_is_under_way_and_commits_it() {
    let (from, to) = (numbers(1), numbers(1));
    let name = group();
    write(&from, 0, 0..500);
    // What is emitted stays in the client for a second: at the stop, everything is under way.
    let slow = cluster().property("linger.ms", "1000").unwrap();
    let seen = std::sync::mpsc::channel();
    let (target, sender) = (to.clone(), seen.0);
    let on_number = move |(): &mut (), record: Record<String, u64>, context: &mut Context| {
        let _ = sender.send(record.value);
        context.emit(&target, &record.key, &record.value)
    };
    let service = Service::new(&*name, || ())
        .input(&from, on_number)
        .output(&to);
    let running = Running::on(slow, service.commit_every(Duration::from_secs(60)));
    for number in 0..500 {
        assert_eq!(seen.1.recv_timeout(PATIENCE), Ok(number));
    }
    assert_eq!(running.stop().unwrap().written, 500);
    assert_eq!(numbers_on(&to), first(500));
    assert_eq!(lag(&name), [Some(0)]);
}

// fault 18
#[test]
fn members_that_come_and_go_lose_nothing() {
    let (from, to) = (numbers(4), numbers(4));
    let name = group();
    let steady = Running::start(copy(&name, &from, &to));
    let mut next = 0;
    for _ in 0..4 {
        let visitor = Running::start(copy(&name, &from, &to).threads(2));
        for partition in 0..4 {
            write(&from, partition, next..next + 250);
            next += 250;
        }
        eventually("some of the new records are copied", || {
            numbers_on(&to).len() as u64 > next - 1_000
        });
        visitor.stop().unwrap();
    }
    let mut copied = Vec::new();
    eventually("every record is copied", || {
        copied = sorted(numbers_on(&to));
        copied.dedup();
        copied.len() as u64 == next
    });
    assert_eq!(copied, first(next));
    steady.stop().unwrap();
    let copies = numbers_on(&to).len() as u64;
    // A revocation drains and commits before it gives a partition away: nothing is processed twice.
    assert_eq!(copies, next);
}

/// Runs a copier of two threads until each of them has handled a record; answers the names of the threads.
fn two_threads_of(cluster: Cluster) -> BTreeSet<String> {
    let (from, to) = (numbers(2), numbers(2));
    let (told, names) = channel();
    let target = to.clone();
    let on_number = move |(): &mut (), record: Record<String, u64>, context: &mut Context| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = told.send(name);
        context.emit(&target, &record.key, &record.value)
    };
    let service = quick(Service::new(group(), || ()).input(&from, on_number));
    let running = Running::on(cluster, service.output(&to).threads(2));
    let mut next = 0;
    let mut seen = BTreeSet::new();
    eventually("both threads have handled a record", || {
        for partition in 0..2 {
            write(&from, partition, [next]);
            next += 1;
        }
        seen.extend(names.try_iter());
        seen.len() == 2
    });
    assert_eq!(
        sorted(wait_for_numbers(&to, usize::try_from(next).unwrap())),
        first(next)
    );
    running.stop().unwrap();
    seen.iter()
        .filter_map(|name| Some(name.rsplit_once('-')?.1.to_owned()))
        .collect()
}

#[test]
fn two_threads_share_the_partitions() {
    let both = BTreeSet::from(["0".to_owned(), "1".to_owned()]);
    assert_eq!(two_threads_of(cluster()), both);
}

/// With one name for both, each would throw the other out of the group.
#[test]
fn two_threads_of_a_static_member_share_the_partitions() {
    let named = cluster()
        .property("group.instance.id", unique("instance"))
        .unwrap();
    let both = BTreeSet::from(["0".to_owned(), "1".to_owned()]);
    assert_eq!(two_threads_of(named), both);
}

#[test]
fn records_of_equal_partition_meet_in_one_state() {
    let (left, right, to) = (numbers(2), numbers(2), numbers(1));
    let sum = |target: &Numbers| {
        let target = target.clone();
        move |sum: &mut u64, record: Record<String, u64>, context: &mut Context| {
            *sum += record.value;
            context.emit(&target, &record.key, &*sum)
        }
    };
    let service = quick(
        Service::new(group(), || 0)
            .input(&left, sum(&to))
            .input(&right, sum(&to))
            .output(&to),
    );
    write(&left, 0, [1, 2]);
    write(&right, 0, [10, 20]);
    write(&right, 1, [500]);
    let running = Running::start(service);
    let sums = wait_for_numbers(&to, 5);
    assert!(
        sums.contains(&33),
        "the sum of partition 0 over both topics: {sums:?}"
    );
    assert!(sums.contains(&500), "the sum of partition 1: {sums:?}");
    running.stop().unwrap();
}

#[test]
fn inputs_with_unequal_partition_counts_are_refused_by_name() {
    let (left, right) = (numbers(2), numbers(3));
    let nothing = |(): &mut (), _: Record<String, u64>, _: &mut Context| Ok(());
    let service = Service::new("join", || ())
        .input(&left, nothing)
        .input(&right, nothing);
    let error = Running::start(service).ended().unwrap_err().to_string();
    let (left, right) = (left.name(), right.name());
    assert_eq!(
        error,
        format!(
            "the inputs of service `join` must have equal partition counts: `{left}` has 2, `{right}` has 3"
        )
    );
}

#[test]
fn topics_are_created_as_declared_and_a_mismatch_is_told() {
    let from = Topic::<String, u64>::new("x", &Text, &Json)
        .named(unique("made"))
        .partitions(3);
    let nothing = |(): &mut (), _: Record<String, u64>, _: &mut Context| Ok(());
    let running = Running::start(quick(Service::new(group(), || ()).input(&from, nothing)));
    eventually("the topic is there", || {
        admin()
            .topic(from.name())
            .is_ok_and(|topic| topic.partitions.len() == 3)
    });
    running.stop().unwrap();
    let other = from.clone().partitions(5);
    let service = quick(Service::new(group(), || ()).input(&other, nothing));
    let error = Running::start(service).ended().unwrap_err().to_string();
    let name = from.name();
    assert_eq!(
        error,
        format!("topic `{name}` has partitions 3 on the cluster, but 5 is declared")
    );
}

// fault 20
#[test]
fn partitions_that_are_added_are_picked_up() {
    let (from, to) = (numbers(1), numbers(1));
    let quick_refresh = cluster()
        .property("topic.metadata.refresh.interval.ms", "500")
        .unwrap();
    let running = Running::on(quick_refresh, copy(&group(), &from, &to));
    write(&from, 0, [0]);
    wait_for_numbers(&to, 1);
    admin().raise_partitions(from.name(), 3).unwrap();
    eventually("the topic has its new partitions", || {
        admin()
            .topic(from.name())
            .is_ok_and(|topic| topic.partitions.len() == 3)
    });
    write(&from, 2, [1]);
    assert_eq!(sorted(wait_for_numbers(&to, 2)), [0, 1]);
    running.stop().unwrap();
}

/// What is written to a new partition before the service has heard of it is read, from its first record on.
#[test]
fn a_service_that_starts_at_the_end_reads_added_partitions_from_their_start() {
    let (from, to) = (numbers(1), numbers(1));
    let name = group();
    let slow_refresh = cluster()
        .property("topic.metadata.refresh.interval.ms", "3000")
        .unwrap();
    write(&from, 0, [100]);
    let service = copy(&name, &from, &to).start_from(Start::Latest);
    let running = Running::on(slow_refresh, service);
    eventually("the start is committed", || {
        let group = admin().group(&name).ok();
        group.is_some_and(|group| group.unread() == 0 && !group.offsets.is_empty())
    });
    admin().raise_partitions(from.name(), 3).unwrap();
    eventually("the topic has its new partitions", || {
        admin()
            .topic(from.name())
            .is_ok_and(|topic| topic.partitions.len() == 3)
    });
    write(&from, 2, [0, 1]);
    assert_eq!(sorted(wait_for_numbers(&to, 2)), [0, 1]);
    running.stop().unwrap();
}

/// A topic whose batches are small.
pub(crate) fn narrow(max_message_bytes: u32) -> Topic<String, String> {
    let topic = Topic::new("x", &Text, &Text).named(unique("narrow"));
    let spec = TopicSpec {
        partitions: Some(1),
        max_message_bytes: Some(max_message_bytes),
        ..TopicSpec::named(topic.name())
    };
    admin().create(&spec).unwrap();
    topic
}

/// A member of `group` that has its partitions, never polls again, and so holds up every rebalance.
fn silent_member(group: &str, topic: &Numbers) -> BaseConsumer {
    let mut config = ClientConfig::new();
    let settings = [
        ("bootstrap.servers", brokers().as_str()),
        ("group.id", group),
        ("partition.assignment.strategy", "range"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    config.extend(settings);
    let member: BaseConsumer = config.create().unwrap();
    member.subscribe(&[topic.name()]).unwrap();
    eventually("the member has its partitions", || {
        member.poll(Duration::from_millis(10));
        member.assignment().unwrap().count() > 0
    });
    member
}

/// The client's close waits for the answer to its request to join, which waits for the other members.
#[test]
fn a_member_that_still_waits_to_join_has_nothing_to_wait_for_when_it_stops() {
    let (from, other, to) = (numbers(2), numbers(2), numbers(2));
    let name = group();
    let silent = silent_member(&name, &from);
    // Two inputs: a member gives up what it has before it joins again, which takes a poll.
    let ignore = |(): &mut (), _: Record<String, u64>, _: &mut Context| Ok(());
    let service = copy(&name, &from, &to).input(&other, ignore);
    let (running, lines) = Running::logged(cluster(), service);
    eventually("the group waits for the silent member", || {
        let found = admin().group(&name).ok();
        found.is_some_and(|found| found.group.state == "PreparingRebalance")
    });
    assert_eq!(running.stop().unwrap().read, 0);
    assert!(lines.tell(&["the client did not leave the group in time", &name]));
    drop(silent);
}
