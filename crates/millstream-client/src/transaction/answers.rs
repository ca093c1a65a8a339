//! What a transaction concludes from the coordinators' answers.
//!
//! A request that found no answer is sent again: each of them may be done twice. Only what says that another client has taken over, or that the id may not be
//! used, ends all transactions; anything else that is refused for good ends the open one.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;

use super::{Asked, Ended, State, Transaction};
use crate::clock::Time;
use crate::cluster::{Cluster, Role};
use crate::error::Error;
use crate::exchange::{Answer, Loss};
use crate::fetcher::Place;
use crate::producer::Producer;
use crate::wire::api::Reply;

impl Transaction {
    /// Takes the answer to its request.
    pub(crate) fn answer(
        &mut self,
        number: u64,
        answer: Answer,
        now: Time,
        (cluster, producer): (&mut Cluster, &mut Producer),
    ) {
        let Some((_, asked)) = self.asked.take_if(|(asked, _)| *asked == number) else {
            return;
        };
        match self.code(answer, &asked, cluster, producer) {
            Ok(None) => {
                self.retry.attempts = 0;
                self.done(asked);
            }
            Ok(Some(code)) => self.refused(&asked, code, now, cluster),
            Err(Loss::Impossible(error)) => self.fail(error),
            Err(loss @ (Loss::NotSent | Loss::Unknown)) => {
                let becomes_part = !matches!(asked, Asked::Identity | Asked::End);
                self.parts.known |= becomes_part && matches!(loss, Loss::Unknown);
                self.parts.end.doubt |= self.commits(&asked) && matches!(loss, Loss::Unknown);
                self.coordinator_lost(&asked, now, cluster);
                self.retry(now);
            }
        }
    }

    /// What an answer refuses of all that was asked for; of an id it takes the id.
    fn code(
        &mut self,
        answer: Answer,
        asked: &Asked,
        cluster: &Cluster,
        producer: &mut Producer,
    ) -> Result<Option<ResponseError>, Loss> {
        let code = match (answer?, asked) {
            (Reply::InitProducerId(reply), _) => {
                if reply.error_code == 0 && reply.producer_id.0 >= 0 {
                    self.identity = Some((reply.producer_id.0, reply.producer_epoch));
                    producer.begin_epoch();
                }
                match reply.producer_id.0 {
                    ..0 if reply.error_code == 0 => ResponseError::UnknownServerError.code(),
                    _ => reply.error_code,
                }
            }
            (Reply::AddPartitionsToTxn(reply), Asked::Partitions(places)) => {
                let topics = reply.results_by_topic_v3_and_below.iter();
                let codes = topics.flat_map(|topic| {
                    let codes = topic.results_by_partition.iter();
                    codes.map(|one| (&topic.name, one.partition_index, one.partition_error_code))
                });
                refusal(codes, places.iter().copied(), cluster)
            }
            (Reply::AddOffsetsToTxn(reply), Asked::Group) => reply.error_code,
            (Reply::TxnOffsetCommit(reply), Asked::Offsets) => {
                let codes = reply.topics.iter().flat_map(|topic| {
                    let codes = topic.partitions.iter();
                    codes.map(|one| (&topic.name, one.partition_index, one.error_code))
                });
                let claims = self.parts.offsets.front().map(|one| one.next.as_slice());
                let places = claims.unwrap_or_default().iter().map(|claim| claim.place);
                refusal(codes, places, cluster)
            }
            (Reply::EndTxn(reply), Asked::End) => reply.error_code,
            _ => ResponseError::UnknownServerError.code(),
        };
        Ok(ResponseError::try_from_code(code))
    }

    /// Whether a request ends the transaction by a commit.
    fn commits(&self, asked: &Asked) -> bool {
        matches!(asked, Asked::End) && self.state == State::Ending(Ended::Committed)
    }

    fn done(&mut self, asked: Asked) {
        self.parts.known |= !matches!(asked, Asked::Identity);
        match (asked, self.state) {
            (Asked::Identity, _) => self.renew = false,
            (Asked::Partitions(places), _) => {
                for place in places {
                    self.parts.wanted.remove(&place);
                    self.parts.added.insert(place);
                }
            }
            (Asked::Group, _) => {
                if let Some(offsets) = self.parts.offsets.front_mut() {
                    offsets.added = true;
                }
            }
            (Asked::Offsets, _) => drop(self.parts.offsets.pop_front()),
            (Asked::End, State::Ending(how)) => self.finish(how),
            (Asked::End, _) => {}
        }
    }

    fn coordinator_lost(&self, asked: &Asked, now: Time, cluster: &mut Cluster) {
        match (asked, self.parts.offsets.front()) {
            (Asked::Offsets, Some(offsets)) => {
                cluster.coordinator_lost(Role::Group, &offsets.group, now);
            }
            _ => cluster.coordinator_lost(Role::Transaction, &self.id, now),
        }
    }

    fn refused(&mut self, asked: &Asked, code: ResponseError, now: Time, cluster: &mut Cluster) {
        use ResponseError as Code;
        let error = Error::Broker {
            api: match asked {
                Asked::Identity => "InitProducerId",
                Asked::Partitions(_) => "AddPartitionsToTxn",
                Asked::Group => "AddOffsetsToTxn",
                Asked::Offsets => "TxnOffsetCommit",
                Asked::End => "EndTxn",
            },
            place: format!("transactional id `{}`", self.id),
            code,
        };
        if self.commits(asked) {
            return self.commit_refused(error, code, now, cluster);
        }
        let is_abort = self.state == State::Ending(Ended::Aborted) && matches!(asked, Asked::End);
        match code {
            Code::NotCoordinator | Code::CoordinatorNotAvailable => {
                self.coordinator_lost(asked, now, cluster);
                self.retry(now);
            }
            // The end of the transaction before is still being written.
            Code::ConcurrentTransactions | Code::UnknownTopicOrPartition => self.retry(now),
            // It has no such transaction: what was lost on the way never became part of one. The next epoch fences what may still come.
            Code::InvalidTxnState | Code::InvalidProducerIdMapping if is_abort => {
                self.broken = Some(error);
                self.finish(Ended::Aborted);
            }
            Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTxnState
            | Code::UnsupportedVersion => self.fail(error),
            code if code.is_retriable() => self.retry(now),
            _ if matches!(asked, Asked::Identity) => self.fail(error),
            _ => self.break_off(error),
        }
    }

    /// A commit that the coordinator may have applied, now or in an earlier attempt, can neither be aborted nor be done again: there is no way back.
    fn commit_refused(
        &mut self,
        error: Error,
        code: ResponseError,
        now: Time,
        cluster: &mut Cluster,
    ) {
        use ResponseError as Code;
        let doubt = self.parts.end.doubt;
        match code {
            Code::NotCoordinator | Code::CoordinatorNotAvailable => {
                self.coordinator_lost(&Asked::End, now, cluster);
                self.retry(now);
            }
            code if code.is_retriable() => self.retry(now),
            // Said before anything is changed, by a coordinator that has no such transaction to commit.
            Code::InvalidProducerIdMapping | Code::TransactionAbortable if !doubt => {
                self.break_off(error);
            }
            Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTxnState
            | Code::UnsupportedVersion => self.fail(error.in_doubt(doubt)),
            _ => self.fail(error.in_doubt(true)),
        }
    }
}

/// The code that decides: one that is final before one that is not, and what the answer does not name, or was not tried, is asked for again.
fn refusal<'a>(
    codes: impl Iterator<Item = (&'a TopicName, i32, i16)>,
    mut asked: impl Iterator<Item = Place>,
    cluster: &Cluster,
) -> i16 {
    let (mut done, mut refused) = (BTreeSet::new(), Vec::new());
    for (topic, partition, code) in codes {
        match ResponseError::try_from_code(code) {
            None => {
                if let Some(topic) = cluster.find(topic.0.as_str()) {
                    done.insert((topic, partition));
                }
            }
            Some(ResponseError::OperationNotAttempted) => {}
            Some(code) => refused.push(code),
        }
    }
    let is_final = |code: &&ResponseError| !code.is_retriable();
    let found = refused.iter().find(is_final).or(refused.first());
    match found {
        Some(code) => code.code(),
        None if asked.all(|place| done.contains(&place)) => 0,
        None => ResponseError::NetworkException.code(),
    }
}
