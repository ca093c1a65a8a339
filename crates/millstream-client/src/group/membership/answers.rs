//! What a member concludes from the coordinator's answers.
//!
//! Three kinds of refusal differ in what is lost: a rebalance loses nothing, another generation or an unknown member loses all partitions at once,
//! anything else that is not retriable ends the membership with its error.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{JoinGroupResponse, SyncGroupResponse};

use super::super::messages;
use super::super::protocol::{NO_GENERATION, decode_assignment};
use super::{Identity, Membership, Plan, Pulse, State};
use crate::clock::Time;
use crate::cluster::{Cluster, Role};
use crate::error::Error;
use crate::exchange::{Answer, Loss};
use crate::fetcher::Place;
use crate::wire::Malformed;
use crate::wire::api::Reply;

impl Membership {
    /// Takes the answer to one of its requests. The next step acts on it.
    pub(crate) fn answer(&mut self, number: u64, answer: Answer, now: Time, cluster: &mut Cluster) {
        if self.pulse.asked == Some(number) {
            self.pulse.asked = None;
            self.heartbeat_answered(answer, now, cluster);
            return;
        }
        match self.state {
            State::Joining(asked) if asked == number => self.join_answered(answer, now, cluster),
            State::Syncing(asked) if asked == number => self.sync_answered(answer, now, cluster),
            State::Leaving(Some(asked), until) if asked == number => match answer {
                // Whatever it says: a member that is not known has left.
                Ok(_) => self.end(Ok(())),
                Err(_) => {
                    cluster.coordinator_lost(Role::Group, &self.settings.group, now);
                    self.state = State::Leaving(None, until);
                    self.retry_at = now + self.settings.retry_backoff;
                }
            },
            _ => {}
        }
    }

    fn join_answered(&mut self, answer: Answer, now: Time, cluster: &mut Cluster) {
        let joined = match answer {
            Ok(Reply::JoinGroup(joined)) => joined,
            Ok(_) => {
                return self.failed(ResponseError::UnknownServerError, "JoinGroup", now, cluster);
            }
            Err(loss) => return self.unanswered(loss, now, cluster),
        };
        match ResponseError::try_from_code(joined.error_code) {
            None => self.joined(&joined, now, cluster),
            Some(ResponseError::MemberIdRequired) => {
                self.identity.id = joined.member_id.to_string();
                self.again(now);
            }
            Some(code) => self.failed(code, "JoinGroup", now, cluster),
        }
    }

    fn joined(&mut self, joined: &JoinGroupResponse, now: Time, cluster: &mut Cluster) {
        self.identity = Identity {
            id: joined.member_id.to_string(),
            generation: joined.generation_id,
        };
        // A heartbeat of the generation before says nothing about this one, and is not waited for.
        self.pulse = Pulse {
            asked: None,
            due: now,
            heard: now,
        };
        self.planned.clear();
        let members: Result<Vec<_>, _> = match joined.leader == joined.member_id {
            true => joined.members.iter().map(messages::member).collect(),
            false => Ok(Vec::new()),
        };
        match members {
            Ok(members) => {
                for topic in members.iter().flat_map(|one| &one.subscription.topics) {
                    cluster.topic(topic, now);
                }
                let plan = Plan {
                    members,
                    only_watches: joined.skip_assignment,
                };
                self.state = State::Planning(plan, now + self.settings.request_timeout);
            }
            Err(source) => self.end(Err(self.malformed(source))),
        }
    }

    fn malformed(&self, source: Malformed) -> Error {
        Error::Group {
            group: self.settings.group.clone(),
            source,
        }
    }

    fn sync_answered(&mut self, answer: Answer, now: Time, cluster: &mut Cluster) {
        let synced = match answer {
            Ok(Reply::SyncGroup(synced)) => synced,
            Ok(_) => {
                return self.failed(ResponseError::UnknownServerError, "SyncGroup", now, cluster);
            }
            Err(loss) => return self.unanswered(loss, now, cluster),
        };
        match ResponseError::try_from_code(synced.error_code) {
            None => self.synced(&synced, now, cluster),
            Some(code) => self.failed(code, "SyncGroup", now, cluster),
        }
    }

    fn synced(&mut self, synced: &SyncGroupResponse, now: Time, cluster: &mut Cluster) {
        let assigned = match decode_assignment(&synced.assignment) {
            Ok(assigned) => assigned,
            Err(source) => return self.end(Err(self.malformed(source))),
        };
        let mut places: BTreeSet<Place> = BTreeSet::new();
        for (name, numbers) in assigned {
            let topic = cluster.topic(&name, now);
            places.extend(numbers.into_iter().map(|number| (topic, number)));
        }
        self.attempts = 0;
        self.pulse.heard = now;
        self.pulse.due = now + self.settings.config.heartbeat_interval;
        let held = |place: &&Place| self.owned.contains_key(place);
        let added: Vec<_> = places.iter().filter(|one| !held(one)).copied().collect();
        let owned = self.owned.keys();
        let revoked: Vec<_> = owned.filter(|one| !places.contains(one)).copied().collect();
        if revoked.is_empty() {
            self.state = State::Stable;
            self.add(added);
        } else {
            self.revoke(revoked, added);
        }
    }

    fn heartbeat_answered(&mut self, answer: Answer, now: Time, cluster: &mut Cluster) {
        self.pulse.due = now + self.settings.config.heartbeat_interval;
        let code = match answer {
            Ok(Reply::Heartbeat(reply)) => ResponseError::try_from_code(reply.error_code),
            Ok(_) => Some(ResponseError::UnknownServerError),
            Err(_) => Some(ResponseError::CoordinatorNotAvailable),
        };
        if !matches!(self.state, State::Stable | State::Revoking(..)) {
            return;
        }
        match code {
            None => self.pulse.heard = now,
            Some(ResponseError::RebalanceInProgress) => {
                self.pulse.heard = now;
                // Who has partitions to give up joins when that is done.
                if matches!(self.state, State::Stable) {
                    self.want(now);
                }
            }
            Some(
                ResponseError::NotCoordinator
                | ResponseError::CoordinatorNotAvailable
                | ResponseError::CoordinatorLoadInProgress,
            ) => {
                cluster.coordinator_lost(Role::Group, &self.settings.group, now);
                self.pulse.due = now + self.settings.retry_backoff;
            }
            Some(code) => self.failed(code, "Heartbeat", now, cluster),
        }
    }

    /// A commit was refused as that of another generation or of nobody.
    pub(crate) fn commit_refused(&mut self, code: ResponseError, now: Time, cluster: &mut Cluster) {
        if matches!(self.state, State::Stable | State::Revoking(..)) {
            self.failed(code, "OffsetCommit", now, cluster);
        }
    }

    fn unanswered(&mut self, loss: Loss, now: Time, cluster: &mut Cluster) {
        match loss {
            Loss::Impossible(error) => self.end(Err(error)),
            Loss::NotSent | Loss::Unknown => {
                cluster.coordinator_lost(Role::Group, &self.settings.group, now);
                self.retry(now);
            }
        }
    }

    fn failed(&mut self, code: ResponseError, api: &'static str, now: Time, cluster: &mut Cluster) {
        match code {
            ResponseError::RebalanceInProgress => self.again(now),
            ResponseError::UnknownMemberId | ResponseError::IllegalGeneration => {
                if code == ResponseError::UnknownMemberId {
                    self.identity.id.clear();
                }
                self.identity.generation = NO_GENERATION;
                self.lose(now);
            }
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable => {
                cluster.coordinator_lost(Role::Group, &self.settings.group, now);
                self.retry(now);
            }
            code if code.is_retriable() => self.retry(now),
            code => {
                let error = Error::Broker {
                    api,
                    place: format!("group `{}`", self.settings.group),
                    code,
                };
                self.end(Err(error));
            }
        }
    }
}
