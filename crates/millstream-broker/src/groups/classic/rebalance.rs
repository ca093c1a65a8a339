//! The rebalance: gathering the members, agreeing on a protocol, and everything that only time brings about.
//!
//! Members that do not join within the longest rebalance timeout of all are left behind, unless they are static; so are
//! those that join but never ask for their assignment. A member whose session ends is removed, but not while it
//! waits for an answer from here: that it waits shows that it lives.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::join;
use super::member::Member;
use super::{Gathering, Group, Moment, State, Turn};
use crate::alarms::NEVER;

const SHORTEST_GATHERING_MS: i64 = 100;

impl Group {
    /// Something changed that the members have to agree upon anew.
    pub(crate) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::PreparingRebalance => self.complete_if_all_joined(turn),
            State::Empty => self.gather_first(turn),
            State::CompletingRebalance => {
                self.take_assignments_back(ResponseError::RebalanceInProgress, turn.now);
                self.gather_again(turn);
            }
            State::Stable => self.gather_again(turn),
        }
    }

    fn gather_first(&mut self, turn: &mut Turn<'_>) {
        self.enter(State::PreparingRebalance, turn.now);
        let delay_ms = turn.rules.initial_delay_ms;
        if delay_ms <= 0 {
            return self.complete_join(turn);
        }
        self.gathering = Some(Gathering::Initial {
            deadline: turn.now.steady + delay_ms,
            delay_ms,
            remaining_ms: (self.rebalance_timeout_ms() - delay_ms).max(0),
            someone_came: false,
        });
    }

    fn gather_again(&mut self, turn: &mut Turn<'_>) {
        self.nobody_owes_sync();
        self.enter(State::PreparingRebalance, turn.now);
        self.wait_for_rejoins(turn.now);
        if self.all_joined() {
            self.complete_join(turn);
        }
    }

    fn wait_for_rejoins(&mut self, now: Moment) {
        // A client that asks for no time at all must not keep the broker busy.
        let timeout_ms = self.rebalance_timeout_ms().max(SHORTEST_GATHERING_MS);
        self.gathering = Some(Gathering::Rejoining {
            deadline: now.steady + timeout_ms,
        });
    }

    /// Goes on when nobody is missing. A first rebalance waits for its delay in any case.
    pub(super) fn complete_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.gathering, Some(Gathering::Rejoining { .. })) && self.all_joined() {
            self.complete_join(turn);
        }
    }

    /// Starts a new generation of those who joined.
    fn complete_join(&mut self, turn: &mut Turn<'_>) {
        self.leave_behind(|member| member.joining.is_none() && member.instance_id.is_none());
        if !self.members.is_empty() && !self.elect_leader() {
            // Only static members are left, and none of them has come yet.
            return self.wait_for_rejoins(turn.now);
        }
        self.gathering = None;
        self.generation = self.generation.wrapping_add(1).max(0);
        self.nobody_owes_sync();
        self.protocol = self.elect_protocol();
        self.find_out_subscription();
        if self.members.is_empty() {
            self.leader = None;
            self.enter(State::Empty, turn.now);
            if let Err(error) = turn.store.save(self) {
                // At the next start the last generation would be there again, and its sessions run out.
                tracing::warn!(group = self.id.as_str(), %error, "failed to store that the group is empty");
            }
            return;
        }
        self.enter(State::CompletingRebalance, turn.now);
        tracing::info!(
            group = self.id.as_str(),
            generation = self.generation,
            members = self.members.len(),
            "group rebalanced"
        );
        ::metrics::counter!(crate::metrics::GROUP_REBALANCES).increment(1);
        self.sync_deadline = turn.now.steady + self.rebalance_timeout_ms();
        let answers: Vec<_> = self.members.keys().map(|id| self.joined(id)).collect();
        for (member, answer) in self.members.values_mut().zip(answers) {
            member.answer_join(answer);
            member.touch(turn.now.steady);
            member.is_new = false;
            member.owes_sync = true;
        }
    }

    /// Sees that the leader is one of those who joined.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &StrBytes| {
            self.members
                .get(id)
                .is_some_and(|member| member.joining.is_some())
        };
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let Some(elected) = self.members.keys().find(|id| joined(id)).cloned() else {
            return false;
        };
        self.leader = Some(elected);
        true
    }

    fn leave_behind(&mut self, gone: impl Fn(&Member) -> bool) {
        let members = self.members.values();
        let gone: Vec<StrBytes> = members
            .filter(|member| gone(member))
            .map(|member| member.id.clone())
            .collect();
        for id in gone {
            tracing::info!(
                group = self.id.as_str(),
                member = id.as_str(),
                "member left behind by a rebalance"
            );
            ::metrics::counter!(crate::metrics::GROUP_MEMBERS_LOST).increment(1);
            self.remove(&id);
        }
    }

    pub(super) fn nobody_owes_sync(&mut self) {
        self.sync_deadline = NEVER;
        for member in self.members.values_mut() {
            member.owes_sync = false;
        }
    }

    /// Does what is due at `turn.now`.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        self.end_pending(turn);
        self.end_sessions(turn);
        let now = turn.now.steady;
        match self.gathering {
            Some(Gathering::Initial {
                deadline,
                delay_ms,
                remaining_ms,
                someone_came: true,
            }) if deadline <= now && remaining_ms > 0 => {
                let longer = turn.rules.initial_delay_ms.min(remaining_ms);
                self.gathering = Some(Gathering::Initial {
                    deadline: now + longer,
                    delay_ms: longer,
                    remaining_ms: (remaining_ms - delay_ms).max(0),
                    someone_came: false,
                });
            }
            Some(Gathering::Initial { deadline, .. } | Gathering::Rejoining { deadline })
                if deadline <= now =>
            {
                self.complete_join(turn);
            }
            _ => {}
        }
        if self.sync_deadline <= now {
            self.leave_behind(|member| member.owes_sync);
            self.rebalance(turn);
        }
    }

    /// Forgets ids that nobody came back with.
    fn end_pending(&mut self, turn: &mut Turn<'_>) {
        let before = self.pending.len();
        let now = turn.now.steady;
        self.pending.retain(|_, deadline| *deadline > now);
        if self.pending.len() < before {
            self.go_on_without(turn);
        }
    }

    fn end_sessions(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.steady;
        let due = |member: &Member| member.expires_at <= now;
        let due: Vec<StrBytes> = self
            .members
            .values()
            .filter(|member| due(member))
            .map(|member| member.id.clone())
            .collect();
        for id in due {
            match self.members.get_mut(&id) {
                // Its session starts anew with the answer that it waits for.
                Some(member) if member.is_waiting() => member.expires_at = NEVER,
                // The removal of another one may have answered it.
                Some(member) if member.expires_at > now => {}
                Some(member) => {
                    let unknown = ResponseError::UnknownMemberId;
                    member.answer_join(join::refused(StrBytes::new(), unknown));
                    tracing::info!(
                        group = self.id.as_str(),
                        member = id.as_str(),
                        "session ended"
                    );
                    ::metrics::counter!(crate::metrics::GROUP_MEMBERS_LOST).increment(1);
                    self.remove(&id);
                    match self.state {
                        State::Stable | State::CompletingRebalance => self.rebalance(turn),
                        State::PreparingRebalance | State::Empty => self.go_on_without(turn),
                    }
                }
                None => {}
            }
        }
    }

    /// Someone is no longer waited for: perhaps nobody is missing now, or nobody is left.
    fn go_on_without(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::PreparingRebalance && self.all_joined() {
            self.complete_join(turn);
        }
    }

    /// Refuses everything that waits: the group is served here no longer, or no longer as this one.
    pub(crate) fn abandon(&mut self, gone: ResponseError) {
        for member in self.members.values_mut() {
            let id = member.id.clone();
            member.answer_join(join::refused(id, gone));
            member.answer_sync(super::sync::refused(gone));
        }
    }
}
