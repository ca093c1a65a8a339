//! What becomes of the producer's requests: verdicts for batches, the producer id, and reports for the application.
//!
//! Every batch of a request gets a verdict, one that the response does not name too: it may have been written.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;

use super::partition::{Undelivered, Verdict};
use super::{Delivery, Identity, Producer};
use crate::clock::{Time, backoff};
use crate::cluster::{Cluster, Leader, Topic};
use crate::error::Error;
use crate::exchange::{Answer, Loss, Node};
use crate::wire::api::Reply;

impl Producer {
    /// Takes the answer to one of its requests.
    pub(crate) fn answer(&mut self, number: u64, answer: Answer, now: Time, cluster: &mut Cluster) {
        self.urgent = true;
        if let Identity::Asked {
            number: asked,
            attempts,
        } = self.identity
            && asked == number
        {
            self.identified(answer, attempts, now);
            self.report(cluster);
            return;
        }
        let Some(request) = self.requests.remove(&number) else {
            return;
        };
        if let Some(broker) = self.brokers.get_mut(&request.node) {
            broker.in_flight = broker.in_flight.saturating_sub(1);
        }
        let mut reply = match answer {
            Ok(Reply::Produce(reply)) => Ok(reply),
            Ok(_) => Err(Loss::Unknown),
            Err(loss) => Err(loss),
        };
        if let Ok(reply) = &reply {
            self.throttle(request.node, reply, now);
        } else {
            cluster.stale(now);
        }
        for (topic, partition, first) in request.batches {
            let verdict = match &mut reply {
                Ok(reply) => verdict(reply, cluster, (topic, partition), now),
                Err(Loss::NotSent) => Verdict::NotSent,
                Err(Loss::Unknown) => Verdict::Lost,
                Err(Loss::Impossible(error)) => Verdict::Impossible(Error::Refused {
                    reason: error.to_string(),
                }),
            };
            let first_backoff = self.retry_backoff;
            if let Some((partition, limits)) = self.partition(topic, partition, 0) {
                partition.answered(first, verdict, now, first_backoff, limits);
            }
        }
        self.report(cluster);
    }

    fn throttle(&mut self, node: Node, reply: &ProduceResponse, now: Time) {
        let millis = u64::try_from(reply.throttle_time_ms).unwrap_or(0);
        if millis > 0
            && let Some(broker) = self.brokers.get_mut(&node)
        {
            broker.quiet_until = now + Duration::from_millis(millis);
        }
    }

    fn identified(&mut self, answer: Answer, attempts: u32, now: Time) {
        let refused = match answer {
            Ok(Reply::InitProducerId(reply)) => {
                match ResponseError::try_from_code(reply.error_code) {
                    // An id that is none would write without idempotence.
                    None if reply.producer_id.0 < 0 => None,
                    None => {
                        self.identity = Identity::Known(reply.producer_id.0);
                        return;
                    }
                    Some(code) if code.is_retriable() => None,
                    Some(code) => Some(format!("no producer id: {code}")),
                }
            }
            Err(Loss::Impossible(error)) => Some(error.to_string()),
            _ => None,
        };
        self.identity = Identity::Unknown {
            from: now + backoff(self.retry_backoff, attempts),
            attempts: attempts.saturating_add(1),
        };
        if let Some(reason) = refused {
            for partition in self.partitions.iter_mut().flatten() {
                partition.fail_all(&reason);
            }
        }
    }

    /// Collects what became of batches, and forgets partitions that are idle.
    pub(super) fn report(&mut self, cluster: &Cluster) {
        for (topic, number) in std::mem::take(&mut self.active) {
            let Some((partition, _)) = self.partition(topic, number, 0) else {
                continue;
            };
            let delivered = std::mem::take(&mut partition.delivered);
            if !partition.is_idle() {
                self.active.push((topic, number));
            }
            for one in delivered {
                self.used = self.used.saturating_sub(one.size);
                if let Err(undelivered) = &one.result {
                    self.failure
                        .get_or_insert_with(|| undelivered.reason.clone());
                }
                let failed = |undelivered: Undelivered| Error::Undelivered {
                    topic: cluster.name(topic).to_owned(),
                    partition: number,
                    reason: undelivered.reason,
                    outcome: undelivered.outcome,
                };
                self.deliveries.push(Delivery {
                    topic,
                    partition: number,
                    first: one.first,
                    count: one.count.unsigned_abs(),
                    result: one.result.map_err(failed),
                });
            }
        }
    }
}

/// What the response says of a partition. One that it does not name may have been written.
fn verdict(
    reply: &ProduceResponse,
    cluster: &mut Cluster,
    (topic, partition): (Topic, i32),
    now: Time,
) -> Verdict {
    let of_topic = reply
        .responses
        .iter()
        .filter(|one| one.name.0.as_str() == cluster.name(topic));
    let found: Option<&PartitionProduceResponse> = of_topic
        .flat_map(|one| &one.partition_responses)
        .find(|one| one.index == partition);
    let Some(found) = found else {
        return Verdict::Lost;
    };
    match ResponseError::try_from_code(found.error_code) {
        None => Verdict::Written(found.base_offset),
        Some(ResponseError::DuplicateSequenceNumber) => Verdict::Written(-1),
        Some(code) => {
            let leader = Leader {
                node: found.current_leader.leader_id.0,
                epoch: found.current_leader.leader_epoch,
            };
            cluster.moved(topic, partition, leader);
            cluster.stale(now);
            Verdict::Failed(code)
        }
    }
}
