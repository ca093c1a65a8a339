//! Members of a group on a real broker: they share, give up, leave, and stand beside members of another client.

use std::collections::BTreeSet;
use std::time::Duration;

use millstream_client::{Client, Error, Event, Position, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::support::{Broker, fresh, until};

/// A client and what its group has assigned to it.
struct Member {
    client: Client,
    topic: Topic,
    owned: BTreeSet<i32>,
    revoked: BTreeSet<i32>,
}

impl Member {
    fn join(broker: &Broker, group: &str, topic: &str, properties: &[(&str, &str)]) -> Self {
        let mut client = broker.client(properties);
        let topic = client.topic(topic);
        client.join(group, None, &[topic]).unwrap();
        Self {
            client,
            topic,
            owned: BTreeSet::new(),
            revoked: BTreeSet::new(),
        }
    }

    /// One poll; what is revoked is given up at once.
    fn turn(&mut self) {
        let numbers = |places: Vec<(Topic, i32)>| places.into_iter().map(|(_, number)| number);
        match self.client.poll(Duration::from_millis(10)).unwrap() {
            Some(Event::Assigned(places)) => self.owned.extend(numbers(places)),
            Some(Event::Revoked(places)) => {
                for number in numbers(places) {
                    self.owned.remove(&number);
                    self.revoked.insert(number);
                }
                self.client.release();
            }
            Some(Event::Lost(places)) => panic!("{places:?} were lost"),
            _ => {}
        }
    }

    fn leave(mut self) {
        self.client.leave();
        until(
            &mut self.client,
            "the member left",
            |_, event| match event {
                Some(Event::Left(result)) => {
                    result.unwrap();
                    Some(())
                }
                _ => None,
            },
        );
    }
}

/// Polls all members in turn until the condition holds.
fn settle(members: &mut [&mut Member], what: &str, holds: impl Fn(&[&mut Member]) -> bool) {
    let mut turns = 0;
    while !holds(members) {
        for member in members.iter_mut() {
            member.turn();
        }
        turns += 1;
        assert!(turns < 3000, "never happened: {what}");
    }
}

fn shares(strategy: &str) -> (BTreeSet<i32>, BTreeSet<i32>) {
    let broker = Broker::start();
    let (name, group) = (broker.topic(4), fresh("group"));
    let properties = [
        ("partition.assignment.strategy", strategy),
        ("heartbeat.interval.ms", "100"),
    ];
    let mut one = Member::join(&broker, &group, &name, &properties);
    settle(&mut [&mut one], "one member has all", |all| {
        all[0].owned.len() == 4
    });
    let mut two = Member::join(&broker, &group, &name, &properties);
    settle(&mut [&mut one, &mut two], "two members share", |all| {
        all.iter().all(|member| member.owned.len() == 2)
    });
    assert!(one.owned.is_disjoint(&two.owned));
    let (revoked, owned) = (one.revoked.clone(), one.owned.clone());
    two.leave();
    settle(&mut [&mut one], "the other has all again", |all| {
        all[0].owned.len() == 4
    });
    (revoked, owned)
}

#[test]
fn cooperative_members_give_up_only_what_moves() {
    let (revoked, kept) = shares("cooperative-sticky");
    assert_eq!(revoked.len(), 2);
    assert!(revoked.is_disjoint(&kept), "{revoked:?} and {kept:?}");
}

#[test]
fn range_members_give_up_everything_and_get_neighbours() {
    let (revoked, kept) = shares("range");
    assert_eq!(revoked, [0, 1, 2, 3].into());
    assert!(kept == [0, 1].into() || kept == [2, 3].into(), "{kept:?}");
}

#[test]
fn a_member_stands_beside_one_of_librdkafka() {
    let broker = Broker::start();
    let (name, group) = (broker.topic(4), fresh("group"));
    for strategy in ["range", "cooperative-sticky"] {
        let group = format!("{group}-{strategy}");
        let mut config = broker.rdkafka();
        config.set("group.id", &group);
        config.set("heartbeat.interval.ms", "100");
        config.set("partition.assignment.strategy", strategy);
        let theirs: BaseConsumer = config.create().unwrap();
        theirs.subscribe(&[&name]).unwrap();
        let count = |theirs: &BaseConsumer| theirs.assignment().unwrap().count();
        let mut turns = 0;
        while count(&theirs) < 4 {
            drop(theirs.poll(Duration::from_millis(10)));
            turns += 1;
            assert!(turns < 3000, "librdkafka was never assigned all");
        }
        let properties = [
            ("partition.assignment.strategy", strategy),
            ("heartbeat.interval.ms", "100"),
        ];
        let mut ours = Member::join(&broker, &group, &name, &properties);
        settle(&mut [&mut ours], "both share", |all| {
            drop(theirs.poll(Duration::from_millis(10)));
            all[0].owned.len() == 2 && count(&theirs) == 2
        });
        drop(theirs);
        settle(&mut [&mut ours], "ours has all", |all| {
            all[0].owned.len() == 4
        });
        ours.leave();
    }
}

#[test]
fn a_member_commits_what_it_owns_and_nothing_else() {
    let broker = Broker::start();
    let (name, group) = (broker.topic(2), fresh("group"));
    let mut member = Member::join(&broker, &group, &name, &[("heartbeat.interval.ms", "100")]);
    settle(&mut [&mut member], "one member has all", |all| {
        all[0].owned.len() == 2
    });
    let topic = member.topic;
    let position = Position {
        offset: 7,
        epoch: 0,
    };
    let committed = |client: &mut Client| {
        until(client, "the commit", |_, event| match event {
            Some(Event::Committed { result, .. }) => Some(result),
            _ => None,
        })
    };
    member.client.commit(&group, &[(topic, 1, position)]);
    committed(&mut member.client).unwrap();
    member.client.read_committed(&group, &[(topic, 1)]);
    let found = until(&mut member.client, "positions", |_, event| match event {
        Some(Event::Positions { result, .. }) => Some(result.unwrap()),
        _ => None,
    });
    assert_eq!(found, [(topic, 1, Some(position))]);
    member.client.commit(&group, &[(topic, 5, position)]);
    let error: Error = committed(&mut member.client).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "failed to commit `{name}` partition 5 for group `{group}`: it is no longer assigned to this member"
        )
    );
    member.leave();
}

#[test]
fn leaving_does_not_wait_for_a_group_that_rebalances() {
    let broker = Broker::start();
    let (name, group) = (broker.topic(2), fresh("group"));
    // This member never gives up what it has, so the group waits for it as long as the broker lets it.
    let mut slow = Member::join(
        &broker,
        &group,
        &name,
        &[("partition.assignment.strategy", "range")],
    );
    settle(&mut [&mut slow], "one member has all", |all| {
        all[0].owned.len() == 2
    });
    let properties = [
        ("partition.assignment.strategy", "range"),
        ("request.timeout.ms", "30000"),
    ];
    let mut second = Member::join(&broker, &group, &name, &properties);
    // By then its join has been sent, and is not answered.
    for _ in 0..50 {
        second.turn();
    }
    assert_eq!(second.owned, BTreeSet::new());
    second.leave();
}
