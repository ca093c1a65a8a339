//! What a transaction concludes from the coordinators' answers.
//!
//! A request that found no answer is sent again: each of them may be done twice. Only what says that another client has taken over, or that the id may not be
//! used, ends all transactions; anything else that is refused for good ends the open one.

use kafka_protocol::ResponseError;

use super::{Asked, Ended, State, Transaction};
use crate::clock::Time;
use crate::cluster::{Cluster, Role};
use crate::error::Error;
use crate::exchange::{Answer, Loss};
use crate::producer::Producer;
use crate::wire::api::Reply;
use crate::wire::first_refusal;

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
        match self.code(answer, producer) {
            Ok(None) => {
                self.retry.attempts = 0;
                self.done(asked);
            }
            Ok(Some(code)) => self.refused(&asked, code, now, cluster),
            Err(Loss::Impossible(error)) => self.fail(error),
            Err(loss @ (Loss::NotSent | Loss::Unknown)) => {
                let becomes_part = !matches!(asked, Asked::Identity | Asked::End);
                self.parts.known |= becomes_part && matches!(loss, Loss::Unknown);
                self.coordinator_lost(&asked, now, cluster);
                self.retry(now);
            }
        }
    }

    /// The first refusal in an answer; of an id it takes the id.
    fn code(
        &mut self,
        answer: Answer,
        producer: &mut Producer,
    ) -> Result<Option<ResponseError>, Loss> {
        let code = match answer? {
            Reply::InitProducerId(reply) => {
                if reply.error_code == 0 {
                    self.identity = Some((reply.producer_id.0, reply.producer_epoch));
                    producer.begin_epoch();
                }
                reply.error_code
            }
            Reply::AddPartitionsToTxn(reply) => {
                let topics = reply.results_by_topic_v3_and_below.iter();
                let partitions = topics.flat_map(|topic| &topic.results_by_partition);
                first_refusal(partitions.map(|one| one.partition_error_code))
            }
            Reply::AddOffsetsToTxn(reply) => reply.error_code,
            Reply::TxnOffsetCommit(reply) => {
                let partitions = reply.topics.iter().flat_map(|topic| &topic.partitions);
                first_refusal(partitions.map(|one| one.error_code))
            }
            Reply::EndTxn(reply) => reply.error_code,
            _ => ResponseError::UnknownServerError.code(),
        };
        Ok(ResponseError::try_from_code(code))
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
}
