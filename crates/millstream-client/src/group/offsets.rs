//! Committed offsets of a group: of this client as its member, or of partitions that are assigned by hand.
//!
//! A state machine of (event, now). One request at a time, in the order in which they were asked for: a commit that is repeated because its answer was lost
//! can then never undo a later one. A member's commit waits while the group rebalances, and fails if its partitions are no longer this member's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::membership::{Identity, Membership};
use super::protocol::NO_GENERATION;
use crate::clock::{Time, backoff, earlier};
use crate::cluster::{Cluster, Role, by_topic};
use crate::config::Resolved;
use crate::error::{Error, Outcome};
use crate::exchange::{Answer, Lane, Loss, Outgoing, Owner, Step, Target, Ticket};
use crate::fetcher::Place;
use crate::fetcher::position::Position;
use crate::wire::api::{Call, Reply};
use crate::wire::{first_refusal, text};

#[derive(Debug)]
enum Task {
    Commit(Vec<(Place, Position)>),
    Read(Vec<Place>),
}

#[derive(Debug)]
struct Job {
    number: u64,
    group: String,
    task: Task,
    began: Time,
    retry_at: Time,
    attempts: u32,
    /// The request on its way.
    asked: Option<u64>,
    /// Whether the coordinator may have done it.
    doubt: bool,
    /// As which member the commit was sent.
    sent_as: Option<Identity>,
}

/// What came of a job, by its number.
#[derive(Debug)]
pub(crate) enum Settled {
    Committed(u64, Result<(), Error>),
    Read(u64, Result<Vec<(Place, Option<Position>)>, Error>),
}

/// Commits and reads of offsets.
#[derive(Debug)]
pub(crate) struct Offsets {
    jobs: VecDeque<Job>,
    request_timeout: Duration,
    retry_backoff: Duration,
    give_up: Duration,
    numbers: u64,
    stepped: Time,
    pub(crate) settled: VecDeque<Settled>,
}

impl Offsets {
    pub(crate) fn new(config: &Resolved) -> Self {
        Self {
            jobs: VecDeque::new(),
            request_timeout: config.request_timeout,
            retry_backoff: config.retry_backoff,
            give_up: config.max_block,
            numbers: 0,
            stepped: Time::ZERO,
            settled: VecDeque::new(),
        }
    }

    pub(crate) fn commit(&mut self, group: &str, next: Vec<(Place, Position)>, now: Time) -> u64 {
        self.push(group, Task::Commit(next), now)
    }

    pub(crate) fn read(&mut self, group: &str, places: Vec<Place>, now: Time) -> u64 {
        self.push(group, Task::Read(places), now)
    }

    fn push(&mut self, group: &str, task: Task, now: Time) -> u64 {
        self.numbers += 1;
        self.jobs.push_back(Job {
            number: self.numbers,
            group: group.to_owned(),
            task,
            began: now,
            retry_at: now,
            attempts: 0,
            asked: None,
            doubt: false,
            sent_as: None,
        });
        self.numbers
    }

    /// When it wants to act next.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        let job = self.jobs.front().filter(|job| job.asked.is_none())?;
        let retry = Some(job.retry_at).filter(|at| *at > self.stepped);
        earlier(retry, Some(job.began + self.give_up))
    }

    pub(crate) fn step(
        &mut self,
        step: &mut Step<'_>,
        cluster: &mut Cluster,
        membership: Option<&Membership>,
    ) {
        self.stepped = step.now;
        self.expire(step.now);
        let Some(job) = self.jobs.front_mut() else {
            return;
        };
        if job.asked.is_some() || step.now < job.retry_at {
            return;
        }
        let membership = membership.filter(|one| one.group() == job.group);
        let call = match &job.task {
            Task::Read(places) => Call::OffsetFetch(read_request(cluster, &job.group, places)),
            Task::Commit(next) => {
                if let Some(error) = membership.and_then(|one| one.refusal(next, cluster)) {
                    return self.finish(Err(error));
                }
                let committer = match membership.map(Membership::committer) {
                    // The group decides who owns what; its coordinator would refuse the commit.
                    Some(None) => return,
                    Some(Some(identity)) => Some(identity.clone()),
                    None => None,
                };
                job.sent_as = committer;
                let instance = membership.and_then(Membership::instance);
                let request = commit_request(cluster, &job.group, next);
                Call::OffsetCommit(signed(request, job.sent_as.as_ref(), instance))
            }
        };
        let Some(node) = cluster.coordinator(Role::Group, &job.group, step.now) else {
            return;
        };
        self.numbers += 1;
        job.asked = Some(self.numbers);
        step.out.push(Outgoing {
            ticket: Ticket {
                owner: Owner::Offsets,
                number: self.numbers,
            },
            target: Target::Node(node),
            lane: Lane::Group,
            call,
            patience: self.request_timeout,
        });
    }

    /// Gives up what has waited too long.
    fn expire(&mut self, now: Time) {
        while let Some(job) = self.jobs.front()
            && job.asked.is_none()
            && now >= job.began + self.give_up
        {
            let outcome = if job.doubt {
                Outcome::Unknown
            } else {
                Outcome::NotApplied
            };
            let what = format!("a request to the coordinator of group `{}`", job.group);
            let error = Error::timed_out(what, self.give_up, outcome);
            self.finish(Err(error));
        }
    }

    /// Takes the answer to one of its requests.
    pub(crate) fn answer(
        &mut self,
        number: u64,
        answer: Answer,
        now: Time,
        (cluster, membership): (&mut Cluster, Option<&mut Membership>),
    ) {
        let Some(job) = self
            .jobs
            .front_mut()
            .filter(|job| job.asked == Some(number))
        else {
            return;
        };
        job.asked = None;
        let code = match &answer {
            Ok(Reply::OffsetCommit(reply)) => commit_code(reply),
            Ok(Reply::OffsetFetch(reply)) => read_code(reply),
            Ok(_) => ResponseError::UnknownServerError.code(),
            Err(Loss::Impossible(_)) => 0,
            Err(Loss::NotSent) => ResponseError::CoordinatorNotAvailable.code(),
            Err(Loss::Unknown) => {
                job.doubt = true;
                ResponseError::CoordinatorNotAvailable.code()
            }
        };
        let sent_as = job.sent_as.take();
        match (ResponseError::try_from_code(code), answer) {
            (Some(code), _) if sent_as.is_some() && is_of_another_generation(code) => {
                job.retry_at = now + backoff(self.retry_backoff, job.attempts);
                job.attempts = job.attempts.saturating_add(1);
                // Refused in the generation that still holds: the group has gone on without this member.
                if let Some(membership) = membership
                    && membership.committer() == sent_as.as_ref()
                {
                    membership.commit_refused(code, now, cluster);
                }
            }
            (Some(code), _) if code.is_retriable() => {
                job.retry_at = now + backoff(self.retry_backoff, job.attempts);
                job.attempts = job.attempts.saturating_add(1);
                cluster.coordinator_lost(Role::Group, &job.group, now);
            }
            (Some(code), _) => {
                let error = Error::Broker {
                    api: match job.task {
                        Task::Commit(_) => "OffsetCommit",
                        Task::Read(_) => "OffsetFetch",
                    },
                    place: format!("group `{}`", job.group),
                    code,
                };
                self.finish(Err(error));
            }
            (None, Err(Loss::Impossible(error))) => self.finish(Err(error)),
            (None, Ok(Reply::OffsetFetch(reply))) => {
                let positions = positions(&reply, cluster);
                self.finish(Ok(positions));
            }
            (None, _) => self.finish(Ok(BTreeMap::new())),
        }
    }

    fn finish(&mut self, result: Result<BTreeMap<Place, Position>, Error>) {
        let Some(job) = self.jobs.pop_front() else {
            return;
        };
        self.settled.push_back(match job.task {
            Task::Commit(_) => Settled::Committed(job.number, result.map(drop)),
            Task::Read(places) => {
                let found = result.map(|positions| {
                    let places = places.into_iter();
                    places
                        .map(|place| (place, positions.get(&place).copied()))
                        .collect()
                });
                Settled::Read(job.number, found)
            }
        });
    }
}

fn is_of_another_generation(code: ResponseError) -> bool {
    matches!(
        code,
        ResponseError::RebalanceInProgress
            | ResponseError::IllegalGeneration
            | ResponseError::UnknownMemberId
    )
}

fn commit_code(reply: &OffsetCommitResponse) -> i16 {
    let partitions = reply.topics.iter().flat_map(|topic| &topic.partitions);
    first_refusal(partitions.map(|one| one.error_code))
}

fn read_code(reply: &OffsetFetchResponse) -> i16 {
    let groups = reply.groups.iter().map(|group| group.error_code);
    let partitions = reply
        .groups
        .iter()
        .flat_map(|group| &group.topics)
        .flat_map(|topic| &topic.partitions)
        .map(|one| one.error_code);
    first_refusal(groups.chain(partitions))
}

fn positions(reply: &OffsetFetchResponse, cluster: &Cluster) -> BTreeMap<Place, Position> {
    let topics = reply.groups.iter().flat_map(|group| &group.topics);
    let mut found = BTreeMap::new();
    for topic in topics {
        let Some(known) = cluster.find(topic.name.0.as_str()) else {
            continue;
        };
        for one in &topic.partitions {
            if one.committed_offset >= 0 {
                let position = Position {
                    offset: one.committed_offset,
                    epoch: one.committed_leader_epoch,
                };
                found.insert((known, one.partition_index), position);
            }
        }
    }
    found
}

fn commit_request(
    cluster: &Cluster,
    group: &str,
    next: &[(Place, Position)],
) -> OffsetCommitRequest {
    let partitions = next.iter().map(|((topic, partition), position)| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(position.offset)
            .with_committed_leader_epoch(position.epoch)
            .with_committed_metadata(Some(StrBytes::default()));
        (*topic, partition)
    });
    let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| {
        OffsetCommitRequestTopic::default()
            .with_name(cluster.topic_name(topic))
            .with_partitions(partitions)
    });
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_topics(topics.collect())
}

/// A commit in the name of a member, or of nobody.
fn signed(
    request: OffsetCommitRequest,
    identity: Option<&Identity>,
    instance: Option<&str>,
) -> OffsetCommitRequest {
    request
        .with_generation_id_or_member_epoch(identity.map_or(NO_GENERATION, |one| one.generation))
        .with_member_id(identity.map_or(StrBytes::default(), |one| text(&one.id)))
        .with_group_instance_id(instance.map(text))
}

fn read_request(cluster: &Cluster, group: &str, places: &[Place]) -> OffsetFetchRequest {
    let topics = by_topic(places.iter().copied())
        .into_iter()
        .map(|(topic, partitions)| {
            OffsetFetchRequestTopics::default()
                .with_name(cluster.topic_name(topic))
                .with_partition_indexes(partitions)
        });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(group)))
        .with_member_epoch(-1)
        .with_topics(Some(topics.collect()));
    OffsetFetchRequest::default()
        .with_require_stable(true)
        .with_groups(vec![group])
}
