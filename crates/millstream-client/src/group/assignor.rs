//! How the leader of a group shares out partitions: pure functions from subscriptions to assignments.
//!
//! `range` gives each member neighbouring partitions of each topic, exactly as Kafka's `RangeAssignor` does. `cooperative-sticky` follows the rules of
//! Kafka's `CooperativeStickyAssignor`: balanced first, then as few moves as possible, and a partition that moves is given to nobody until its
//! owner has given it up. Among equally good assignments it may choose another one than Java; only the leader's choice counts.

use std::collections::{BTreeMap, BTreeSet};

use super::protocol::{Partitions, Subscription};

/// A member as the leader sees it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    /// The name of a static member.
    pub(crate) instance: Option<String>,
    pub(crate) subscription: Subscription,
}

/// The assignment of each member, by its id.
pub(crate) type Assignments = BTreeMap<String, Partitions>;

/// How partitions are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    Range,
    CooperativeSticky,
}

impl Strategy {
    pub(crate) const ALL: [Strategy; 2] = [Self::Range, Self::CooperativeSticky];

    /// The name by which members agree on it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether a member keeps its partitions while the group rebalances.
    pub(crate) fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// `counts` are the partitions of each topic; a topic that is not there is left out.
    pub(crate) fn assign(self, members: &[Member], counts: &BTreeMap<String, i32>) -> Assignments {
        let mut members: Vec<&Member> = members.iter().collect();
        // Static members first, by their names, so that they keep their order when their ids change.
        members.sort_by_key(|member| {
            let instance = &member.instance;
            (instance.is_none(), instance.clone(), member.id.clone())
        });
        match self {
            Self::Range => range(&members, counts),
            Self::CooperativeSticky => {
                let mut plan = Plan::new(members, counts);
                plan.keep();
                plan.fill();
                plan.balance();
                plan.withhold()
            }
        }
    }
}

/// The strategy of this name; the configuration allows no other names.
pub(crate) fn strategy(name: &str) -> Strategy {
    let mut all = Strategy::ALL.into_iter();
    all.find(|one| one.name() == name)
        .unwrap_or(Strategy::CooperativeSticky)
}

fn range(members: &[&Member], counts: &BTreeMap<String, i32>) -> Assignments {
    let mut assignments = nothing(members);
    for (topic, count) in counts {
        let readers: Vec<_> = members
            .iter()
            .filter(|member| member.subscription.topics.contains(topic))
            .collect();
        let Some(each) = usize::try_from(*count)
            .ok()
            .and_then(|count| count.checked_div(readers.len()))
        else {
            continue;
        };
        let more = usize::try_from(*count).unwrap_or(0) % readers.len();
        let mut numbers = 0..*count;
        for (place, reader) in readers.iter().enumerate() {
            let share = each + usize::from(place < more);
            let taken: BTreeSet<i32> = numbers.by_ref().take(share).collect();
            if let Some(assigned) = assignments.get_mut(&reader.id)
                && !taken.is_empty()
            {
                assigned.insert(topic.clone(), taken);
            }
        }
    }
    assignments
}

fn nothing(members: &[&Member]) -> Assignments {
    let ids = members.iter().map(|member| member.id.clone());
    ids.map(|id| (id, Partitions::new())).collect()
}

/// A partition, by the name of its topic.
type Part<'a> = (&'a str, i32);

/// A sticky assignment in the making; members go by their places.
struct Plan<'a> {
    members: Vec<&'a Member>,
    all: BTreeSet<Part<'a>>,
    assigned: Vec<BTreeSet<Part<'a>>>,
}

impl<'a> Plan<'a> {
    fn new(members: Vec<&'a Member>, counts: &'a BTreeMap<String, i32>) -> Self {
        let all = counts
            .iter()
            .flat_map(|(topic, count)| (0..*count).map(|number| (topic.as_str(), number)));
        Self {
            all: all.collect(),
            assigned: vec![BTreeSet::new(); members.len()],
            members,
        }
    }

    /// Everybody keeps what it owns. Of two that claim a partition the one of the newer generation owns it; if both are of the same, neither does.
    fn keep(&mut self) {
        let mut owners: BTreeMap<Part<'a>, (i32, Option<usize>)> = BTreeMap::new();
        for (place, member) in self.members.iter().enumerate() {
            let subscription = &member.subscription;
            for part in owned(subscription) {
                if !self.all.contains(&part) || !subscription.topics.contains(part.0) {
                    continue;
                }
                let claim = (subscription.generation, Some(place));
                owners
                    .entry(part)
                    .and_modify(|owner| match owner.0.cmp(&claim.0) {
                        std::cmp::Ordering::Less => *owner = claim,
                        std::cmp::Ordering::Equal => owner.1 = None,
                        std::cmp::Ordering::Greater => {}
                    })
                    .or_insert(claim);
            }
        }
        for (part, (_, owner)) in owners {
            if let Some(assigned) = owner.and_then(|owner| self.assigned.get_mut(owner)) {
                assigned.insert(part);
            }
        }
    }

    /// What nobody owns goes to whoever has least.
    fn fill(&mut self) {
        let taken: BTreeSet<_> = self.assigned.iter().flatten().copied().collect();
        let free: Vec<_> = self.all.difference(&taken).copied().collect();
        for part in free {
            let least = self.reader_with_least(part);
            if let Some(assigned) = least.and_then(|place| self.assigned.get_mut(place)) {
                assigned.insert(part);
            }
        }
    }

    fn reader_with_least(&self, part: Part<'a>) -> Option<usize> {
        let readers = self.members.iter().enumerate();
        readers
            .filter(|(_, member)| member.subscription.topics.contains(part.0))
            .map(|(place, _)| place)
            .min_by_key(|place| self.load(*place))
    }

    fn load(&self, place: usize) -> usize {
        self.assigned.get(place).map_or(0, BTreeSet::len)
    }

    /// Moves partitions one by one, from whoever has most, as long as that evens the loads.
    fn balance(&mut self) {
        while let Some((part, from, to)) = self.next_move() {
            if let Some(giver) = self.assigned.get_mut(from) {
                giver.remove(&part);
            }
            if let Some(taker) = self.assigned.get_mut(to) {
                taker.insert(part);
            }
        }
    }

    fn next_move(&self) -> Option<(Part<'a>, usize, usize)> {
        let mut givers: Vec<usize> = (0..self.members.len()).collect();
        givers.sort_by_key(|place| std::cmp::Reverse(self.load(*place)));
        givers.into_iter().find_map(|from| {
            let topics: BTreeSet<&str> = self.assigned.get(from)?.iter().map(|one| one.0).collect();
            // Whether a partition can move depends on its topic alone.
            let (load, topic, to) = topics
                .into_iter()
                .filter_map(|topic| {
                    let to = self.reader_with_least((topic, 0))?;
                    Some((self.load(to), topic, to))
                })
                .min()?;
            let last = (topic, 0)..=(topic, i32::MAX);
            let part = self.assigned.get(from)?.range(last).next_back()?;
            (load + 1 < self.load(from)).then_some((*part, from, to))
        })
    }

    /// What has to be given up first is given to nobody: its owner gives it up, and the group rebalances once more.
    fn withhold(self) -> Assignments {
        let mut moving = BTreeSet::new();
        for (member, assigned) in self.members.iter().zip(&self.assigned) {
            let gone = owned(&member.subscription).filter(|part| !assigned.contains(part));
            moving.extend(gone);
        }
        let mut assignments = nothing(&self.members);
        for (member, assigned) in self.members.iter().zip(&self.assigned) {
            let keeps: BTreeSet<_> = owned(&member.subscription).collect();
            let Some(partitions) = assignments.get_mut(&member.id) else {
                continue;
            };
            for part in assigned {
                if keeps.contains(part) || !moving.contains(part) {
                    let numbers = partitions.entry(part.0.to_owned()).or_default();
                    numbers.insert(part.1);
                }
            }
        }
        assignments
    }
}

fn owned(subscription: &Subscription) -> impl Iterator<Item = Part<'_>> {
    let topics = subscription.owned.iter();
    topics.flat_map(|(topic, numbers)| numbers.iter().map(|number| (topic.as_str(), *number)))
}

#[cfg(test)]
mod tests {
    use super::super::protocol::NO_GENERATION;
    use super::*;

    fn member(id: &str, topics: &[&str]) -> Member {
        Member {
            id: id.to_owned(),
            instance: None,
            subscription: Subscription {
                topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
                owned: Partitions::new(),
                generation: NO_GENERATION,
            },
        }
    }

    fn counts(counts: &[(&str, i32)]) -> BTreeMap<String, i32> {
        let counts = counts.iter();
        counts
            .map(|(topic, count)| ((*topic).to_owned(), *count))
            .collect()
    }

    fn said(assignments: &Assignments) -> String {
        let members = assignments.iter().map(|(id, partitions)| {
            let parts: Vec<_> = partitions
                .iter()
                .map(|(topic, numbers)| {
                    let numbers: Vec<_> = numbers.iter().map(i32::to_string).collect();
                    format!("{topic}{}", numbers.join(","))
                })
                .collect();
            format!("{id}: {}", parts.join(" "))
        });
        members.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn range_gives_neighbours_and_the_first_members_one_more() {
        let members = [member("b", &["t", "u"]), member("a", &["t", "u"])];
        let plan = Strategy::Range.assign(&members, &counts(&[("t", 3), ("u", 3)]));
        assert_eq!(said(&plan), "a: t0,1 u0,1; b: t2 u2");
        let members = [
            member("a", &["t"]),
            member("b", &["u"]),
            member("c", &["t"]),
        ];
        let plan = Strategy::Range.assign(&members, &counts(&[("t", 1), ("u", 2)]));
        assert_eq!(said(&plan), "a: t0; b: u0,1; c: ");
    }

    #[test]
    fn static_members_come_first_by_their_names() {
        let mut last = member("z", &["t"]);
        last.instance = Some("one".to_owned());
        let plan = Strategy::Range.assign(&[member("a", &["t"]), last], &counts(&[("t", 1)]));
        assert_eq!(said(&plan), "a: ; z: t0");
    }

    /// Lets every member own what it was assigned.
    fn settle(members: &mut [Member], plan: &Assignments, generation: i32) {
        for member in members {
            member.subscription.owned = plan[&member.id].clone();
            member.subscription.generation = generation;
        }
    }

    #[test]
    fn a_partition_that_moves_is_withheld_until_its_owner_gives_it_up() {
        let counts = counts(&[("t", 4)]);
        let mut members = vec![member("a", &["t"])];
        let plan = Strategy::CooperativeSticky.assign(&members, &counts);
        settle(&mut members, &plan, 1);
        members.push(member("b", &["t"]));
        let plan = Strategy::CooperativeSticky.assign(&members, &counts);
        assert_eq!(said(&plan), "a: t0,1; b: ");
        settle(&mut members, &plan, 2);
        let plan = Strategy::CooperativeSticky.assign(&members, &counts);
        assert_eq!(said(&plan), "a: t0,1; b: t2,3");
    }

    #[test]
    fn of_two_claims_the_newer_generation_counts() {
        let counts = counts(&[("t", 2)]);
        let mut members = vec![member("a", &["t"]), member("b", &["t"])];
        for (member, generation) in members.iter_mut().zip([3, 4]) {
            member.subscription.owned = [("t".to_owned(), [1].into())].into();
            member.subscription.generation = generation;
        }
        let plan = Strategy::CooperativeSticky.assign(&members, &counts);
        assert_eq!(said(&plan), "a: t0; b: t1");
    }

    /// Random groups: every partition that somebody reads has one owner, loads are even as far as subscriptions allow, and nothing moves without need.
    #[test]
    fn random_groups_are_balanced_and_stay_as_they_are() {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..2000 {
            let topics = ["s", "t", "u"];
            let counts: BTreeMap<String, i32> = topics
                .map(|topic| (topic.to_owned(), random.i32(1..12)))
                .into();
            let equal = random.bool();
            let mut members: Vec<Member> = (0..random.usize(1..8))
                .map(|place| {
                    let read = topics.iter().filter(|_| equal || random.bool());
                    member(&format!("m{place}"), &read.copied().collect::<Vec<_>>())
                })
                .collect();
            for generation in 1..4 {
                let plan = Strategy::CooperativeSticky.assign(&members, &counts);
                settle(&mut members, &plan, generation);
            }
            let before = Strategy::CooperativeSticky.assign(&members, &counts);
            assert_balanced(&members, &counts, &before, round);
            // A member leaves: what stays moves only as far as balance asks for it.
            let gone = members.remove(random.usize(0..members.len()));
            let after = Strategy::CooperativeSticky.assign(&members, &counts);
            if equal && !members.is_empty() {
                let moved = members.iter().any(|one| {
                    !before[&one.id].iter().all(|(topic, numbers)| {
                        after[&one.id]
                            .get(topic)
                            .is_some_and(|now| now.is_superset(numbers))
                    })
                });
                assert!(!moved, "round {round}: {} lost, {}", gone.id, said(&after));
            }
        }
    }

    fn assert_balanced(
        members: &[Member],
        counts: &BTreeMap<String, i32>,
        plan: &Assignments,
        round: i32,
    ) {
        let load = |id: &str| plan[id].values().map(BTreeSet::len).sum::<usize>();
        for (topic, count) in counts {
            let readers: Vec<_> = members
                .iter()
                .filter(|one| one.subscription.topics.contains(topic))
                .collect();
            let given = readers.iter().filter_map(|one| plan[&one.id].get(topic));
            let given: Vec<i32> = given.flatten().copied().collect();
            let expected = if readers.is_empty() { 0 } else { *count };
            assert_eq!(i32::try_from(given.len()), Ok(expected), "round {round}");
            for giver in readers
                .iter()
                .filter(|one| plan[&one.id].contains_key(topic))
            {
                for taker in &readers {
                    assert!(
                        load(&giver.id) <= load(&taker.id) + 1,
                        "round {round}: {}",
                        said(plan)
                    );
                }
            }
        }
        for member in members {
            for topic in plan[&member.id].keys() {
                assert!(member.subscription.topics.contains(topic), "round {round}");
            }
        }
    }
}
