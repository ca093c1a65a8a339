//! ConsumerGroupHeartbeat: a member joins, shows that it lives, says what has changed, and hears what it should have.
//!
//! One heartbeat may do all of this: make or change the member, begin a new epoch of the group, make the target of that epoch, and bring the member
//! one step closer to it. An answer has the assignment only when it has changed or the client has told everything anew, which it
//! does after it missed an answer.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use super::assignor::{self, Assignor, Subscriber, Task};
use super::member::{AWAY, Member, Partitions, Position, Profile, each};
use super::reconcile::{self, Situation};
use super::subscribed;
use super::{Change, Group};
use crate::groups::group::Turn;
use crate::topics::Refused;

/// What a client says; `None` is "as before".
#[derive(Clone, Debug, Default)]
pub(crate) struct Beat {
    pub(crate) member_id: StrBytes,
    /// 0 to join.
    pub(crate) epoch: i32,
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) rack_id: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) client_host: StrBytes,
    pub(crate) rebalance_timeout_ms: Option<i32>,
    pub(crate) names: Option<BTreeSet<TopicName>>,
    pub(crate) pattern: Option<StrBytes>,
    pub(crate) assignor: Option<Assignor>,
    pub(crate) owned: Option<Partitions>,
}

/// What a member hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) member_id: StrBytes,
    pub(crate) epoch: i32,
    /// `None` when it is as before.
    pub(crate) assigned: Option<Partitions>,
}

/// Refuses what is no regular expression.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), Refused> {
    subscribed::compile(pattern).map(drop).map_err(|error| {
        let text =
            format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {error}.");
        Refused::new(ResponseError::InvalidRegularExpression, text)
    })
}

/// A member as an event finds it.
pub(super) struct Entry {
    pub(super) member: Member,
    /// The static member whose place it takes.
    pub(super) replaces: Option<StrBytes>,
}

impl Beat {
    /// Whether the client told everything anew.
    fn is_full(&self) -> bool {
        let all = self.rebalance_timeout_ms.is_some() && self.owned.is_some();
        self.epoch == 0 || (all && (self.names.is_some() || self.pattern.is_some()))
    }

    fn update(&self, profile: &mut Profile) {
        fn set<T: Clone>(told: &Option<T>, known: &mut T) {
            if let Some(told) = told {
                known.clone_from(told);
            }
        }
        profile.client_id.clone_from(&self.client_id);
        profile.client_host.clone_from(&self.client_host);
        profile.classic = None;
        set(
            &self.rebalance_timeout_ms,
            &mut profile.rebalance_timeout_ms,
        );
        set(&self.names, &mut profile.names);
        set(&self.pattern, &mut profile.pattern);
        if self.instance_id.is_some() {
            profile.instance_id.clone_from(&self.instance_id);
        }
        if self.rack_id.is_some() {
            profile.rack_id.clone_from(&self.rack_id);
        }
        if self.assignor.is_some() {
            profile.assignor = self.assignor;
        }
    }
}

impl Group {
    /// A heartbeat of a member that stays or joins.
    pub(crate) fn heartbeat(&mut self, beat: &Beat, turn: &mut Turn<'_>) -> Result<Heard, Refused> {
        self.check_room(&beat.member_id, turn.rules.consumer.max_size)?;
        let mut entry = self.entry(beat)?;
        let before = entry.member.position.assigned.clone();
        beat.update(&mut entry.member.profile);
        let member = self.advance(entry, beat.owned.as_ref(), turn)?;
        self.touch(&member.id, turn.now.steady, &turn.rules.consumer);
        self.watch_revocation(&member.id, turn.now.steady);
        let changed = beat.is_full() || before != member.position.assigned;
        Ok(Heard {
            epoch: member.position.epoch,
            assigned: changed.then_some(member.position.assigned),
            member_id: member.id,
        })
    }

    pub(super) fn check_room(&self, member_id: &StrBytes, max_size: usize) -> Result<(), Refused> {
        if self.members.len() < max_size || self.members.contains_key(member_id) {
            return Ok(());
        }
        let text =
            format!("The consumer group has reached its maximum capacity of {max_size} members.");
        Err(Refused::new(ResponseError::GroupMaxSizeReached, text))
    }

    /// The member that a heartbeat comes from, which may be a new one.
    fn entry(&self, beat: &Beat) -> Result<Entry, Refused> {
        let known = |id: &StrBytes| self.members.get(id).cloned();
        let Some(instance_id) = &beat.instance_id else {
            let member = match known(&beat.member_id) {
                Some(member) => member,
                None if beat.epoch == 0 => Member::new(beat.member_id.clone()),
                None => return Err(self.unknown(&beat.member_id)),
            };
            check_epoch(&member, beat)?;
            return Ok(Entry {
                member,
                replaces: None,
            });
        };
        let holder = self.statics.get(instance_id).and_then(known);
        let Some(holder) = holder else {
            if beat.epoch != 0 {
                return Err(unknown_instance(instance_id));
            }
            let member =
                known(&beat.member_id).unwrap_or_else(|| Member::new(beat.member_id.clone()));
            return Ok(Entry {
                member,
                replaces: None,
            });
        };
        if beat.epoch == 0 {
            if holder.position.epoch != AWAY && holder.profile.classic.is_none() {
                return Err(unreleased(beat, instance_id, &holder.id));
            }
            return Ok(Entry {
                replaces: Some(holder.id.clone()),
                member: successor(holder, beat.member_id.clone()),
            });
        }
        check_instance(&holder, &beat.member_id, instance_id)?;
        check_epoch(&holder, beat)?;
        Ok(Entry {
            member: holder,
            replaces: None,
        })
    }

    pub(super) fn unknown(&self, member_id: &StrBytes) -> Refused {
        let text = format!(
            "Member {} is not a member of group {}.",
            member_id.as_str(),
            self.id.as_str()
        );
        Refused::new(ResponseError::UnknownMemberId, text)
    }

    /// Brings a member that was made or changed one step on, and the group with it; gives the member as it is then.
    pub(super) fn advance(
        &mut self,
        entry: Entry,
        owned: Option<&Partitions>,
        turn: &mut Turn<'_>,
    ) -> Result<Member, Refused> {
        let Entry {
            mut member,
            replaces,
        } = entry;
        let mut change = self.unchanged();
        change.removed.extend(replaces.iter().cloned());
        let former = self.members.get(replaces.as_ref().unwrap_or(&member.id));
        let resubscribed = former.is_none_or(|former| {
            former.profile.names != member.profile.names
                || former.profile.pattern != member.profile.pattern
        });
        let looked = self.subscribed.stored == Some(turn.topics.version());
        let mut version = self.subscribed.stored;
        if resubscribed || !looked || self.epoch > self.assignment_epoch {
            version = Some(self.renew(&mut change, &mut member, resubscribed, turn));
        }
        let target_epoch = change.assignment_epoch;
        if !member.is_reconciled_to(target_epoch) {
            let is_held = |topic, partition| self.held.contains_key(&(topic, partition));
            let situation = Situation {
                epoch: target_epoch,
                owned,
                is_held: &is_held,
            };
            member.position = reconcile::step(&member, &situation);
        }
        if self.members.get(&member.id) != Some(&member) {
            change.put.push(member.clone());
        }
        self.carry_out(change, turn)
            .map_err(|unwritten| Refused::new(unwritten.code(), unwritten.to_string()))?;
        self.subscribed.stored = version;
        Ok(member)
    }

    /// Begins a new epoch if something has changed that it is about, and makes the target of the newest one. Returns the version of the
    /// catalogue that all this is about.
    fn renew(
        &mut self,
        change: &mut Change,
        member: &mut Member,
        resubscribed: bool,
        turn: &Turn<'_>,
    ) -> u64 {
        let leaving = change.removed.first();
        let others = self.members.values();
        let others = others.filter(|one| one.id != member.id && Some(&one.id) != leaving);
        let mut all: Vec<&Member> = others.chain([&*member]).collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        let profiles = all.iter().map(|one| &one.profile);
        let topics = self.subscribed.look_up(profiles, turn.topics);
        let settled = self.epoch == self.assignment_epoch;
        if resubscribed || (settled && topics.hash != self.topics_hash) {
            change.epoch += 1;
        }
        change.topics_hash = topics.hash;
        if change.epoch <= self.assignment_epoch {
            return topics.version;
        }
        let subscribers = all.iter().zip(topics.by_member);
        let subscribers = subscribers.map(|(one, topics)| Subscriber {
            id: &one.id,
            instance_id: one.profile.instance_id.as_ref(),
            topics,
            target: &one.target,
        });
        let task = Task {
            members: subscribers.collect(),
            topics: &topics.counts,
        };
        let targets = preferred(&all).assign(&task);
        change.assignment_epoch = change.epoch;
        let mut own = None;
        for (one, target) in all.into_iter().zip(targets) {
            if one.id == member.id {
                own = Some(target);
            } else if one.target != target {
                change.put.push(Member {
                    target,
                    ..one.clone()
                });
            }
        }
        member.target = own.unwrap_or_default();
        topics.version
    }

    /// The assignor that is used.
    pub(super) fn assignor(&self) -> Assignor {
        preferred(&self.members.values().collect::<Vec<_>>())
    }
}

/// The assignor that most members ask for.
fn preferred(members: &[&Member]) -> Assignor {
    let votes = |assignor: &Assignor| {
        let asks = members
            .iter()
            .filter(|one| one.profile.assignor == Some(*assignor));
        asks.count()
    };
    // `max_by_key` takes the last of equals.
    let elected = assignor::ALL.into_iter().rev().max_by_key(votes);
    elected.unwrap_or(Assignor::Uniform)
}

/// A static member takes the place of another one.
pub(super) fn successor(former: Member, id: StrBytes) -> Member {
    Member {
        id,
        position: Position {
            epoch: 0,
            previous_epoch: 0,
            ..former.position
        },
        ..former
    }
}

/// Whether a member is where the group believes it to be. One that is an epoch behind may have missed an answer: it goes on if it holds
/// nothing that it should not. One that joins again holds nothing.
fn check_epoch(member: &Member, beat: &Beat) -> Result<(), Refused> {
    let known = member.position.epoch;
    let is_part = |owned: &Partitions| {
        let assigned = &member.position.assigned;
        each(owned).all(|(topic, partition)| {
            assigned
                .get(&topic)
                .is_some_and(|all| all.contains(&partition))
        })
    };
    let missed =
        beat.epoch == member.position.previous_epoch && beat.owned.as_ref().is_some_and(is_part);
    let how = match beat.epoch.cmp(&known) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less if beat.epoch == 0 || missed => return Ok(()),
        std::cmp::Ordering::Less => "smaller",
        std::cmp::Ordering::Greater => "greater",
    };
    let text = format!(
        "The consumer group member has a {how} member epoch ({}) than the one known by the group coordinator ({known}). \
         The member must abandon all its partitions and rejoin.",
        beat.epoch
    );
    Err(Refused::new(ResponseError::FencedMemberEpoch, text))
}

pub(super) fn unknown_instance(instance_id: &StrBytes) -> Refused {
    let text = format!("Instance id {} is unknown.", instance_id.as_str());
    Refused::new(ResponseError::UnknownMemberId, text)
}

/// Whether an instance is still the member that asks.
pub(super) fn check_instance(
    holder: &Member,
    member_id: &StrBytes,
    instance_id: &StrBytes,
) -> Result<(), Refused> {
    if holder.id == *member_id {
        return Ok(());
    }
    let text = format!(
        "Static member {} with instance id {} was fenced by member {}.",
        member_id.as_str(),
        instance_id.as_str(),
        holder.id.as_str()
    );
    Err(Refused::new(ResponseError::FencedInstanceId, text))
}

fn unreleased(beat: &Beat, instance_id: &StrBytes, holder: &StrBytes) -> Refused {
    let text = format!(
        "Static member {} with instance id {} cannot join the group because the instance id is owned by {} member.",
        beat.member_id.as_str(),
        instance_id.as_str(),
        holder.as_str()
    );
    Refused::new(ResponseError::UnreleasedInstanceId, text)
}
