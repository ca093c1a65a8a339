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

use super::membership::{Claim, Identity, Membership, refusal};
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

/// Attempts with a topic that the coordinator does not know.
const UNKNOWN_TOPIC: u32 = 5;

#[derive(Debug)]
enum Task {
    Commit(Vec<Claim>),
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

    pub(crate) fn commit(&mut self, group: &str, next: Vec<Claim>, now: Time) -> u64 {
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

    /// Whether commits of a group are not settled.
    pub(crate) fn is_busy(&self, group: &str) -> bool {
        let mut jobs = self.jobs.iter().filter(|job| job.group == group);
        jobs.any(|job| matches!(job.task, Task::Commit(_)))
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
        if let Some(error) = cluster.coordinator_refusal(Role::Group, &job.group) {
            return self.finish(Err(error));
        }
        let membership = membership.filter(|one| one.group() == job.group);
        let call = match &job.task {
            Task::Read(places) => Call::OffsetFetch(read_request(cluster, &job.group, places)),
            Task::Commit(next) => {
                if let Some(error) = refusal(membership, &job.group, next, cluster) {
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
            lane: Lane::Offsets,
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
            let what = format!("a request to the coordinator of group `{}`", job.group);
            let error = Error::timed_out(what, self.give_up, Outcome::NotApplied);
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
        let verdict = match answer {
            Ok(reply) => job.verdict(&reply, cluster),
            Err(Loss::Impossible(error)) => Verdict::Failed(error),
            Err(loss) => {
                job.doubt |= matches!(loss, Loss::Unknown);
                Verdict::Again(ResponseError::CoordinatorNotAvailable)
            }
        };
        let sent_as = job.sent_as.take();
        match verdict {
            Verdict::Done(found) => self.finish(Ok(found)),
            Verdict::Failed(error) => self.finish(Err(error)),
            Verdict::Again(code) => {
                job.retry_at = now + backoff(self.retry_backoff, job.attempts);
                job.attempts = job.attempts.saturating_add(1);
                if matches!(
                    code,
                    ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable
                ) {
                    cluster.coordinator_lost(Role::Group, &job.group, now);
                }
                // Refused in the generation that still holds: the group has gone on without this member.
                if is_of_another_generation(code)
                    && let Some(membership) = membership
                    && membership.committer() == sent_as.as_ref()
                {
                    membership.commit_refused(code, now, cluster);
                }
            }
        }
    }

    fn finish(&mut self, result: Result<Found, Error>) {
        let Some(job) = self.jobs.pop_front() else {
            return;
        };
        let result = result.map_err(|error| error.in_doubt(job.doubt));
        self.settled.push_back(match job.task {
            Task::Commit(_) => Settled::Committed(job.number, result.map(drop)),
            Task::Read(places) => {
                let found = result.map(|positions| {
                    let places = places.into_iter();
                    places
                        .map(|place| (place, positions.get(&place).copied().flatten()))
                        .collect()
                });
                Settled::Read(job.number, found)
            }
        });
    }
}

/// Where something is committed, and where nothing is.
type Found = BTreeMap<Place, Option<Position>>;

/// What an answer means for a job.
enum Verdict {
    Done(Found),
    Again(ResponseError),
    Failed(Error),
}

impl Job {
    /// What the coordinator says of all that was asked for. What it does not name was not done.
    fn verdict(&mut self, reply: &Reply, cluster: &Cluster) -> Verdict {
        let codes = match (&mut self.task, reply) {
            (Task::Commit(claims), Reply::OffsetCommit(reply)) => {
                let codes = commit_codes(reply, cluster);
                let all = claims.len();
                claims.retain(|claim| codes.get(&claim.place) != Some(&0));
                // What was committed is neither repeated nor denied.
                self.doubt |= claims.len() < all && !claims.is_empty();
                let silent = ResponseError::CoordinatorNotAvailable.code();
                let code = |claim: &Claim| codes.get(&claim.place).copied().unwrap_or(silent);
                claims.iter().map(code).collect()
            }
            (Task::Read(places), Reply::OffsetFetch(reply)) => {
                let found = positions(reply, cluster);
                let code = read_code(reply);
                if code == 0 && places.iter().all(|place| found.contains_key(place)) {
                    return Verdict::Done(found);
                }
                let silent = ResponseError::CoordinatorNotAvailable.code();
                vec![if code == 0 { silent } else { code }]
            }
            _ => vec![ResponseError::UnknownServerError.code()],
        };
        let codes = codes.into_iter().filter_map(ResponseError::try_from_code);
        let codes: Vec<_> = codes.collect();
        let is_final = |code: &&ResponseError| !self.may_repeat(**code);
        match (codes.iter().find(is_final), codes.first()) {
            (Some(code), _) => Verdict::Failed(self.refused(*code)),
            (None, Some(code)) => Verdict::Again(*code),
            (None, None) => Verdict::Done(Found::new()),
        }
    }

    fn may_repeat(&self, code: ResponseError) -> bool {
        match code {
            // It may be so new that the coordinator has not heard of it, or it is gone.
            ResponseError::UnknownTopicOrPartition => self.attempts < UNKNOWN_TOPIC,
            code if is_of_another_generation(code) => self.sent_as.is_some(),
            code => code.is_retriable(),
        }
    }

    fn refused(&self, code: ResponseError) -> Error {
        Error::Broker {
            api: match self.task {
                Task::Commit(_) => "OffsetCommit",
                Task::Read(_) => "OffsetFetch",
            },
            place: format!("group `{}`", self.group),
            code,
        }
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

fn commit_codes(reply: &OffsetCommitResponse, cluster: &Cluster) -> BTreeMap<Place, i16> {
    let mut codes = BTreeMap::new();
    for topic in &reply.topics {
        if let Some(known) = cluster.find(topic.name.0.as_str()) {
            let partitions = topic.partitions.iter();
            codes.extend(partitions.map(|one| ((known, one.partition_index), one.error_code)));
        }
    }
    codes
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

fn positions(reply: &OffsetFetchResponse, cluster: &Cluster) -> Found {
    let topics = reply.groups.iter().flat_map(|group| &group.topics);
    let mut found = BTreeMap::new();
    for topic in topics {
        let Some(known) = cluster.find(topic.name.0.as_str()) else {
            continue;
        };
        for one in &topic.partitions {
            let position = Position {
                offset: one.committed_offset,
                epoch: one.committed_leader_epoch,
            };
            let is_committed = position.offset >= 0;
            found.insert(
                (known, one.partition_index),
                is_committed.then_some(position),
            );
        }
    }
    found
}

fn commit_request(cluster: &Cluster, group: &str, next: &[Claim]) -> OffsetCommitRequest {
    let partitions = next.iter().map(|claim| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(claim.place.1)
            .with_committed_offset(claim.position.offset)
            .with_committed_leader_epoch(claim.position.epoch)
            .with_committed_metadata(Some(StrBytes::default()));
        (claim.place.0, partition)
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
