//! Everybody has as many partitions as the others, within what they subscribe to, and as few as possible move.
//!
//! Whoever has a partition keeps it. What nobody has goes to the subscriber with the least; then partitions move from who has more to
//! who has at least two less, one of each topic at a time, so that a topic is spread. Each move makes the sum of squares smaller: it ends.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Partitions, Task};

struct Balance {
    targets: Vec<Partitions>,
    loads: Vec<usize>,
    /// The members that subscribe to each topic.
    subscribers: BTreeMap<Uuid, Vec<usize>>,
}

pub(super) fn assign(task: &Task<'_>) -> Vec<Partitions> {
    let mut balance = Balance {
        targets: vec![Partitions::new(); task.members.len()],
        loads: vec![0; task.members.len()],
        subscribers: BTreeMap::new(),
    };
    for (index, member) in task.members.iter().enumerate() {
        for topic in member.topics.iter() {
            balance.subscribers.entry(*topic).or_default().push(index);
        }
    }
    let mut free = balance.keep(task);
    // Who can be given little by others is served first.
    free.sort_by_key(|(topic, _)| balance.subscribers.get(topic).map_or(0, Vec::len));
    for (topic, partitions) in free {
        for partition in partitions {
            if let Some(index) = balance.least_loaded(&topic) {
                balance.give(index, topic, partition);
            }
        }
    }
    balance.even_out();
    balance.targets
}

impl Balance {
    /// Everybody keeps what it has and still subscribes to; gives what is left.
    fn keep(&mut self, task: &Task<'_>) -> Vec<(Uuid, BTreeSet<i32>)> {
        let topics = task.topics.iter();
        let mut free: BTreeMap<Uuid, BTreeSet<i32>> = topics
            .map(|(topic, count)| (*topic, (0..*count).collect()))
            .collect();
        for (index, member) in task.members.iter().enumerate() {
            let kept = member.target.iter();
            for (topic, partitions) in kept.filter(|(topic, _)| member.topics.contains(topic)) {
                for partition in partitions {
                    if free
                        .get_mut(topic)
                        .is_some_and(|free| free.remove(partition))
                    {
                        self.give(index, *topic, *partition);
                    }
                }
            }
        }
        free.into_iter().collect()
    }

    fn give(&mut self, index: usize, topic: Uuid, partition: i32) {
        if let (Some(target), Some(load)) = (self.targets.get_mut(index), self.loads.get_mut(index))
        {
            target.entry(topic).or_default().insert(partition);
            *load += 1;
        }
    }

    /// Takes the last partition of a topic away.
    fn take(&mut self, index: usize, topic: &Uuid) -> Option<i32> {
        let target = self.targets.get_mut(index)?;
        let partitions = target.get_mut(topic)?;
        let last = partitions.pop_last()?;
        if partitions.is_empty() {
            target.remove(topic);
        }
        *self.loads.get_mut(index)? -= 1;
        Some(last)
    }

    fn load(&self, index: usize) -> usize {
        self.loads.get(index).copied().unwrap_or(0)
    }

    fn least_loaded(&self, topic: &Uuid) -> Option<usize> {
        let subscribers = self.subscribers.get(topic)?.iter().copied();
        subscribers.min_by_key(|index| self.load(*index))
    }

    fn most_loaded(&self, topic: &Uuid) -> Option<usize> {
        let subscribers = self.subscribers.get(topic)?.iter().copied();
        let has_some = |index: &usize| {
            let target = self.targets.get(*index);
            target.is_some_and(|target| target.contains_key(topic))
        };
        subscribers
            .filter(has_some)
            .max_by_key(|index| self.load(*index))
    }

    fn even_out(&mut self) {
        let topics: Vec<Uuid> = self.subscribers.keys().copied().collect();
        loop {
            let mut moved = false;
            for topic in &topics {
                moved |= self.move_one(topic).is_some();
            }
            if !moved {
                return;
            }
        }
    }

    fn move_one(&mut self, topic: &Uuid) -> Option<()> {
        let (from, to) = (self.most_loaded(topic)?, self.least_loaded(topic)?);
        if self.load(from) < self.load(to) + 2 {
            return None;
        }
        let partition = self.take(from, topic)?;
        self.give(to, *topic, partition);
        Some(())
    }
}
