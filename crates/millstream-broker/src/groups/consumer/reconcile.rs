//! From what a member has to what it should have: give back first, take when it is free.
//!
//! ```text
//!               something to give back            it was given back
//!   Stable ───────────────────────────▶ Unrevoked ────────────────┐
//!     ▲  ▲                                                        ▼
//!     │  └──── everything is free ──── the target's epoch ── others still hold some
//!     │                                                           ▼
//!     └────────────────── they gave it back ──────────────── Unreleased
//! ```
//!
//! A member moves to the epoch of the target only when it holds nothing that it should not have; until then its commits count under its old
//! epoch. A partition is assigned only while nobody holds it, the member itself included.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::member::{Member, Partitions, Position, State, each};

/// What a step of a member depends on beside itself.
pub(super) struct Situation<'a> {
    /// The epoch of the target.
    pub(super) epoch: i32,
    /// What the client says that it still holds; `None` when it says nothing.
    pub(super) owned: Option<&'a Partitions>,
    /// Whether somebody holds a partition.
    pub(super) is_held: &'a dyn Fn(Uuid, i32) -> bool,
}

/// The next position of a member, which is the same as long as it cannot go on.
pub(super) fn step(member: &Member, situation: &Situation<'_>) -> Position {
    let position = &member.position;
    match position.state {
        State::Stable if position.epoch == situation.epoch => position.clone(),
        State::Unrevoked if situation.holds_any(&position.revoking) => position.clone(),
        State::Unrevoked => next(member, position.epoch.saturating_add(1), situation),
        State::Stable | State::Unreleased => next(member, position.epoch, situation),
    }
}

impl Situation<'_> {
    /// Whether the client may still hold one of them.
    fn holds_any(&self, partitions: &Partitions) -> bool {
        let Some(owned) = self.owned else {
            return true;
        };
        each(partitions).any(|(topic, partition)| {
            owned
                .get(&topic)
                .is_some_and(|all| all.contains(&partition))
        })
    }
}

fn next(member: &Member, epoch: i32, situation: &Situation<'_>) -> Position {
    let had = &member.position.assigned;
    let target = &member.target;
    let mut assigned = both(had, target);
    let revoking = less(had, target);
    let moved = |epoch, state, assigned, revoking| Position {
        epoch,
        previous_epoch: match epoch == member.position.epoch {
            true => member.position.previous_epoch,
            false => member.position.epoch,
        },
        state,
        assigned,
        revoking,
    };
    if !revoking.is_empty() && situation.holds_any(&revoking) {
        return moved(epoch, State::Unrevoked, assigned, revoking);
    }
    let mut state = State::Stable;
    for (topic, partition) in each(&less(target, &assigned)) {
        if (situation.is_held)(topic, partition) {
            state = State::Unreleased;
        } else {
            assigned.entry(topic).or_default().insert(partition);
        }
    }
    moved(situation.epoch, state, assigned, Partitions::new())
}

fn both(one: &Partitions, other: &Partitions) -> Partitions {
    combine(one, |topic, all| {
        other
            .get(topic)
            .map_or(BTreeSet::new(), |others| all & others)
    })
}

fn less(one: &Partitions, other: &Partitions) -> Partitions {
    combine(one, |topic, all| {
        other
            .get(topic)
            .map_or_else(|| all.clone(), |others| all - others)
    })
}

fn combine(one: &Partitions, with: impl Fn(&Uuid, &BTreeSet<i32>) -> BTreeSet<i32>) -> Partitions {
    one.iter()
        .map(|(topic, all)| (*topic, with(topic, all)))
        .filter(|(_, all)| !all.is_empty())
        .collect()
}
