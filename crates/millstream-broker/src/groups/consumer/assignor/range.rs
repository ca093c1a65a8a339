//! Of each topic, every subscriber has one run of partitions; topics with as many partitions and subscribers are cut alike.
//!
//! Static members come first, by their instance ids, so that a restart under another member id changes nothing.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Partitions, Subscriber, Task};

/// How a topic is cut.
struct Cut {
    /// The first partition that nobody has yet.
    next: i32,
    each: i32,
    /// How many of those that are still to come have one more.
    more: i32,
}

pub(super) fn assign(task: &Task<'_>) -> Vec<Partitions> {
    let mut subscribers: BTreeMap<Uuid, i32> = BTreeMap::new();
    for topic in task.members.iter().flat_map(|member| member.topics.iter()) {
        *subscribers.entry(*topic).or_default() += 1;
    }
    let cut = |(topic, subscribers): (Uuid, i32)| {
        let count = task.topics.get(&topic).copied().unwrap_or(0);
        let cut = Cut {
            next: 0,
            each: count.checked_div(subscribers).unwrap_or(0),
            more: count.checked_rem(subscribers).unwrap_or(0),
        };
        (topic, cut)
    };
    let mut cuts: BTreeMap<Uuid, Cut> = subscribers.into_iter().map(cut).collect();
    let mut order: Vec<(usize, &Subscriber<'_>)> = task.members.iter().enumerate().collect();
    order.sort_by_key(|(_, member)| (member.instance_id.is_none(), member.instance_id, member.id));
    let mut targets = vec![Partitions::new(); task.members.len()];
    for (index, member) in order {
        let Some(target) = targets.get_mut(index) else {
            continue;
        };
        for topic in member.topics.iter() {
            if let Some(run) = cuts.get_mut(topic).and_then(Cut::take) {
                target.insert(*topic, run.collect());
            }
        }
    }
    targets
}

impl Cut {
    fn take(&mut self) -> Option<std::ops::Range<i32>> {
        let count = self.each + i32::from(self.more > 0);
        let start = self.next;
        self.more = (self.more - 1).max(0);
        self.next += count;
        (count > 0).then_some(start..self.next)
    }
}
