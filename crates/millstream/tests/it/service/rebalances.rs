//! Partitions that move while something of them waits, and members that stop while they move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use millstream::http::Health;
use millstream::{
    Context, Error, NextOffset, OnError, ProcessError, Record, Service, Start, Topic, TopicSpec,
};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::delivery::copy;
use super::running::{Running, group, lag, numbers_on, quick};
use crate::support::{admin, brokers, eventually, numbers, write};

type Numbers = Topic<String, u64>;

/// A handler that fails on a number below 10 until the gate opens.
#[derive(Clone, Default)]
struct Gate {
    is_open: Arc<AtomicBool>,
    failures: Arc<AtomicU64>,
}

impl Gate {
    fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// Copies `from` to `to`, records below 10 only when the gate is open.
    fn copier(&self, name: &str, from: &Numbers, to: &Numbers) -> Service<()> {
        let (gate, target) = (self.clone(), to.clone());
        let on_number = move |(): &mut (), record: Record<String, u64>, context: &mut Context| {
            if record.value < 10 && !gate.is_open.load(Ordering::Acquire) {
                gate.failures.fetch_add(1, Ordering::AcqRel);
                return Err(ProcessError::new("the gate is closed"));
            }
            context.emit(&target, &record.key, &record.value)
        };
        let retries = OnError::retry(1_000_000);
        let wait = Duration::from_millis(50);
        quick(Service::new(name, || ()).input(from, on_number).output(to))
            .on_error(retries.backoff(wait, wait))
    }
}

fn wait_for_members(group: &str, count: usize) {
    eventually(&format!("{count} members have their share"), || {
        let found = admin().group(group).ok();
        found.is_some_and(|found| {
            found.group.state == "Stable"
                && found.group.members.len() == count
                && found
                    .group
                    .members
                    .iter()
                    .all(|member| !member.partitions.is_empty())
        })
    });
}

fn wait_for_all(to: &Numbers, expected: &[u64]) {
    eventually(&format!("{expected:?} are copied"), || {
        let copied = numbers_on(to);
        expected.iter().all(|number| copied.contains(number))
    });
}

/// The first record of each partition waits for its retry while a second member comes and goes.
fn retries_outlive_rebalances(
    service: impl Fn(&Gate, &str) -> Service<()>,
    from: &Numbers,
    to: &Numbers,
) {
    let (gate, name) = (Gate::default(), group());
    write(from, 0, [0, 10]);
    write(from, 1, [1, 11]);
    let first = Running::start(service(&gate, &name));
    eventually("both partitions wait for a retry", || {
        gate.failures.load(Ordering::Acquire) >= 4
    });
    let second = Running::start(service(&gate, &name));
    wait_for_members(&name, 2);
    gate.open();
    wait_for_all(to, &[0, 1, 10, 11]);
    write(from, 0, [12]);
    write(from, 1, [13]);
    wait_for_all(to, &[12, 13]);
    second.stop().unwrap();
    wait_for_members(&name, 1);
    write(from, 0, [14]);
    write(from, 1, [15]);
    wait_for_all(to, &[14, 15]);
    first.stop().unwrap();
}

#[test]
fn a_partition_that_waits_for_a_retry_is_read_on_after_a_rebalance() {
    let (from, to) = (numbers(2), numbers(1));
    retries_outlive_rebalances(|gate, name| gate.copier(name, &from, &to), &from, &to);
}

/// Several inputs: everything is taken back at each rebalance, also from who keeps it.
#[test]
fn partitions_of_several_inputs_that_wait_for_a_retry_are_read_on_after_a_rebalance() {
    let (from, other, to) = (numbers(2), numbers(2), numbers(1));
    let ignore = |(): &mut (), _: Record<String, u64>, _: &mut Context| Ok(());
    let service = |gate: &Gate, name: &str| gate.copier(name, &from, &to).input(&other, ignore);
    retries_outlive_rebalances(service, &from, &to);
}

/// The members of one service stop at the same time: each leaves while the others still commit.
#[test]
fn members_that_stop_in_the_middle_of_a_rebalance_have_committed() {
    let (from, to) = (numbers(8), numbers(1));
    for round in 0..3 {
        let name = group();
        for partition in 0..8 {
            write(&from, partition, 0..50);
        }
        let service = copy(&name, &from, &to).threads(8);
        let running = Running::start(service.commit_every(Duration::from_secs(600)));
        let expected = 8 * 50 * (round + 1) * (round + 2) / 2;
        eventually("everything is copied", || numbers_on(&to).len() >= expected);
        running.stop().unwrap();
        assert_eq!(lag(&name), [Some(0); 8], "round {round}");
    }
}

/// The first record is under way when the first member stops: the next one finds where the group began.
#[test]
fn a_group_that_starts_at_the_end_keeps_its_start() {
    let (from, to) = (numbers(1), numbers(1));
    let (gate, name) = (Gate::default(), group());
    write(&from, 0, [100, 101]);
    let service = || gate.copier(&name, &from, &to).start_from(Start::Latest);
    let first = Running::start(service());
    eventually("the start is committed", || {
        let group = admin().group(&name).ok();
        let committed = group.and_then(|group| group.offsets.first()?.committed);
        committed == Some(NextOffset::new(2))
    });
    write(&from, 0, [0, 10]);
    eventually("the first record waits for its retry", || {
        gate.failures.load(Ordering::Acquire) > 0
    });
    first.stop().unwrap();
    gate.open();
    let second = Running::start(service());
    wait_for_all(&to, &[0, 10]);
    second.stop().unwrap();
    assert_eq!(numbers_on(&to), [0, 10]);
}

/// A topic that grows beside one that does not: what must meet would no longer meet.
#[test]
fn an_input_that_grows_alone_stops_the_service_with_both_counts() {
    let (left, right, to) = (numbers(2), numbers(2), numbers(1));
    let name = group();
    let ignore = |(): &mut (), _: Record<String, u64>, _: &mut Context| Ok(());
    let quick_refresh = crate::support::cluster()
        .property("topic.metadata.refresh.interval.ms", "500")
        .unwrap();
    let service = copy(&name, &left, &to).input(&right, ignore);
    let running = Running::on(quick_refresh, service);
    wait_for_members(&name, 1);
    admin().raise_partitions(left.name(), 3).unwrap();
    let error = running.ended().unwrap_err().to_string();
    let (left, right) = (left.name(), right.name());
    assert_eq!(
        error,
        format!(
            "the inputs of service `{name}` must have equal partition counts: `{left}` has 3, `{right}` has 2"
        )
    );
}

/// A member without a partition has its share too; and one that waits for the cluster has none.
#[test]
fn a_member_is_ready_when_it_has_its_share_be_it_none() {
    let (from, to) = (numbers(1), numbers(1));
    let name = group();
    let healths = [Health::new(), Health::new(), Health::new()];
    let running = healths.each_ref().map(|health| {
        assert!(!health.is_ready());
        Running::start(copy(&name, &from, &to).health(health))
    });
    eventually("all members are ready", || {
        healths.iter().all(Health::is_ready)
    });
    let found = admin().group(&name).unwrap().group;
    assert_eq!(found.members.len(), 3);
    running.into_iter().for_each(|running| {
        running.stop().unwrap();
    });
}

/// A topic that is deleted under a service is given back; the service reads its other input's successor when it is there.
#[test]
fn a_topic_that_vanishes_and_comes_back_is_read_from_its_start() {
    let (from, to) = (numbers(1), numbers(1));
    let quick_refresh = crate::support::cluster()
        .property("topic.metadata.refresh.interval.ms", "500")
        .unwrap();
    let running = Running::on(quick_refresh, copy(&group(), &from, &to));
    write(&from, 0, [1, 2, 3]);
    wait_for_all(&to, &[1, 2, 3]);
    admin().delete(from.name()).unwrap();
    eventually("the topic is gone", || admin().topic(from.name()).is_err());
    admin()
        .create(&TopicSpec {
            partitions: Some(1),
            ..TopicSpec::named(from.name())
        })
        .unwrap();
    write(&from, 0, [4, 5]);
    wait_for_all(&to, &[4, 5]);
    running.stop().unwrap();
}

/// A member without partitions that did not say so would hold up each rebalance until its session ends.
#[test]
fn a_member_without_partitions_leaves_the_group_when_it_stops() {
    let (from, to) = (numbers(1), numbers(1));
    let name = group();
    let idle = Health::new();
    // No session ends while the test waits.
    let service = || copy(&name, &from, &to).session_timeout(Duration::from_secs(120));
    let busy = Running::start(service());
    wait_for_members(&name, 1);
    let second = Running::start(service().health(&idle));
    eventually("the second member has its share", || idle.is_ready());
    second.stop().unwrap();
    wait_for_members(&name, 1);
    busy.stop().unwrap();
    eventually("nobody is left in the group", || {
        let found = admin().group(&name).ok();
        found.is_some_and(|found| found.group.members.is_empty())
    });
}

/// A member that is never polled: it joins, and as long as what it is given waits for a poll, it does not join again.
fn member_without_polls(group: &str, topic: &Numbers) -> BaseConsumer {
    let member: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .create()
        .unwrap();
    member.subscribe(&[topic.name()]).unwrap();
    member
}

/// A second member without polls: the first one gives a partition away and joins again, to which the group waits for the second.
fn second_member_awaited(group: &str, topic: &Numbers) -> BaseConsumer {
    let second = member_without_polls(group, topic);
    eventually("one partition is given away", || {
        lag(group).contains(&Some(0))
    });
    eventually("the group waits for the second member", || {
        let found = admin().group(group).ok();
        found.is_some_and(|found| found.group.state == "PreparingRebalance")
    });
    second
}

// fault 17
/// The commit of a member that stops in the middle of a rebalance meets a group of a new generation, and is made again.
#[test]
fn a_stop_in_the_middle_of_a_rebalance_commits_what_is_done() {
    let (from, to) = (numbers(2), numbers(1));
    let name = group();
    for partition in 0..2 {
        write(&from, partition, 0..50);
    }
    let health = Health::new();
    let service = copy(&name, &from, &to).commit_every(Duration::from_secs(600));
    let first = Running::start(service.health(&health));
    eventually("everything is copied", || numbers_on(&to).len() == 100);
    let second = second_member_awaited(&name, &from);
    let stopping = std::thread::spawn(move || first.stop());
    eventually("the first member stops", || {
        health.missing().contains(&format!("{name} (draining)"))
    });
    eventually("the first member has stopped", || {
        second.poll(Duration::from_millis(10));
        stopping.is_finished()
    });
    stopping.join().unwrap().unwrap();
    assert_eq!(lag(&name), [Some(0), Some(0)]);
}

// fault 5
/// The group waits for a member that is gone, and the commit of one that stops waits behind its own request to join.
#[test]
fn a_stop_while_the_group_waits_for_a_member_that_is_gone_ends_by_its_own_deadline() {
    let (from, to) = (numbers(2), numbers(1));
    let name = group();
    for partition in 0..2 {
        write(&from, partition, 0..50);
    }
    let service = copy(&name, &from, &to).commit_every(Duration::from_secs(600));
    let first = Running::start(service.drain_within(Duration::from_secs(1)));
    eventually("everything is copied", || numbers_on(&to).len() == 100);
    let second = second_member_awaited(&name, &from);
    // The second one is never polled: the group waits for longer than any test does, unless the machine is so busy that its session ends.
    let committed = match first.stop() {
        // Whichever comes first: the worker that gives up its commit, or the deadline.
        Err(Error::LastCommit { service, .. } | Error::Stuck { service, .. }) => {
            assert_eq!(service, name);
            1
        }
        Ok(_) => 2,
        Err(other) => panic!("{other}"),
    };
    drop(second);
    // What was not committed is there for the next one, and a stop that reports success has committed all.
    let done = lag(&name).into_iter().filter(|lag| *lag == Some(0));
    assert_eq!(done.count(), committed);
}
