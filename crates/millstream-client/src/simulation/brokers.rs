//! What brokers answer in the simulation: produce requests one by one for each connection, and questions about the cluster, sometimes of before the last change.
//!
//! An append is acknowledged when its replicas have it. A leader that changes before that may lose it, and a request that waited for it is
//! told that this broker leads no longer: the client cannot know which.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    BrokerId, InitProducerIdResponse, MetadataResponse, ProduceRequest, ProduceResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::cluster::{Appended, NODES};
use super::world::{Happening, Link, PARTITIONS, TOPIC, World, Written};
use crate::exchange::{Answer, Loss, Node, Outgoing, Ticket};
use crate::wire::api::{Call, Reply};

impl World {
    pub(super) fn serve(&mut self, link: Link) {
        let connection = self.connections.get_mut(&link).unwrap();
        if connection.serving {
            return;
        }
        let Some(request) = connection.queue.pop_front() else {
            return;
        };
        connection.serving = true;
        let incarnation = connection.incarnation;
        if self.chance(self.faults.restarted) {
            self.cluster.restart(link.0);
        }
        if self.chance(self.faults.moved) {
            let number = self.random.i32(0..PARTITIONS);
            self.cluster.move_leader(number, &mut self.random);
        }
        let Call::Produce(produce) = &request.call else {
            panic!("a request that nobody serves: {:?}", request.call);
        };
        let written = self.append(link.0, produce);
        let delay = self.delay();
        let happening = Happening::Replicated(link, incarnation, request.ticket, written);
        self.schedule(delay, happening);
        // The leader may change while the batch waits for its replicas.
        if self.chance(self.faults.moved) {
            let number = self.random.i32(0..PARTITIONS);
            self.cluster.move_leader(number, &mut self.random);
        }
    }

    pub(super) fn append(&mut self, node: Node, request: &ProduceRequest) -> Vec<(i32, Written)> {
        let mut written = Vec::new();
        for part in request
            .topic_data
            .iter()
            .flat_map(|topic| &topic.partition_data)
        {
            let fault = self.chance(self.faults.refused).then(|| {
                let codes = [
                    ResponseError::NotEnoughReplicas,
                    ResponseError::CorruptMessage,
                    ResponseError::KafkaStorageError,
                ];
                self.random.choice(codes).unwrap()
            });
            let bytes: Bytes = part.records.clone().unwrap();
            let appended = self.cluster.append(node, part.index, &bytes, fault);
            let epoch = self.cluster.partitions.get(&part.index).unwrap().epoch;
            written.push((
                part.index,
                match appended {
                    Appended::At(place) => Written::At(place, epoch),
                    Appended::Duplicate(offset) => Written::Done(offset),
                    Appended::Refused(code) => Written::Failed(code),
                },
            ));
        }
        written
    }

    pub(super) fn replicate(&mut self, number: i32, place: usize) {
        let partition = self.cluster.partitions.get_mut(&number).unwrap();
        partition.replicated = partition.replicated.max(place + 1).min(partition.log.len());
    }

    /// The answer to a produce request goes out, unless the connection is gone.
    pub(super) fn replicated(
        &mut self,
        link: Link,
        incarnation: u64,
        ticket: Ticket,
        written: &[(i32, Written)],
    ) {
        let mut responses = Vec::new();
        for (number, written) in written {
            let response = PartitionProduceResponse::default().with_index(*number);
            let partition = self.cluster.partitions.get(number).unwrap();
            let slow = self.random.u32(0..1000) < self.faults.refused;
            responses.push(match written {
                Written::At(_, epoch) if *epoch != partition.epoch => {
                    response.with_error_code(ResponseError::NotLeaderOrFollower.code())
                }
                Written::At(..) if slow => {
                    response.with_error_code(ResponseError::RequestTimedOut.code())
                }
                Written::At(place, _) => {
                    let offset = partition.log.get(*place).unwrap().offset;
                    self.replicate(*number, *place);
                    response.with_base_offset(offset)
                }
                Written::Done(offset) => {
                    // What is there already is acknowledged when the replicas have it.
                    let log = &self.cluster.partitions.get(number).unwrap().log;
                    match log.iter().position(|entry| entry.offset == *offset) {
                        Some(place) => {
                            self.replicate(*number, place);
                            response.with_base_offset(*offset)
                        }
                        None => response.with_error_code(ResponseError::NotLeaderOrFollower.code()),
                    }
                }
                Written::Failed(code) => response.with_error_code(code.code()),
            });
        }
        if !self.is_current(link, incarnation) {
            return;
        }
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
            .with_partition_responses(responses);
        let reply = ProduceResponse::default().with_responses(vec![topic]);
        if self.chance(self.faults.lost_answer) {
            // Nothing more comes by this connection until the client gives it up.
            self.cluster.happened.insert("answer lost");
            return;
        }
        let reply = Box::new(Reply::Produce(reply));
        let answer = Happening::Answer(link, incarnation, ticket, reply);
        self.schedule(Duration::from_micros(50), answer);
        let connection = self.connections.get_mut(&link).unwrap();
        connection.serving = false;
        self.serve(link);
    }

    /// Questions about the cluster. An answer may be lost, and may be of before the last change.
    pub(super) fn control(&mut self, node: Node, request: Outgoing) {
        let reply = match request.call {
            Call::Metadata(_) => Reply::Metadata(self.metadata()),
            Call::InitProducerId(_) => {
                self.cluster.producer_ids += 1;
                let id = self.cluster.producer_ids.into();
                let reply = InitProducerIdResponse::default().with_producer_id(id);
                Reply::InitProducerId(reply.with_producer_epoch(0))
            }
            call => panic!("a request to {node} that nobody serves: {call:?}"),
        };
        if self.chance(self.faults.cut) {
            let answer: Answer = Err(Loss::Unknown);
            self.machines.answer(request.ticket, answer, self.now);
            return;
        }
        let delay = self.delay();
        self.schedule(delay, Happening::Tell(request.ticket, Box::new(reply)));
    }

    fn metadata(&mut self) -> MetadataResponse {
        let brokers = (0..NODES).map(|node| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node))
                .with_host(StrBytes::from_static_str("broker"))
                .with_port(node)
        });
        let stale = self.chance(self.faults.moved * 5);
        let partitions = self.cluster.partitions.iter().map(|(number, partition)| {
            // A broker that has not heard of the newest leader names one of before.
            let behind = i32::from(stale && partition.epoch > 0);
            MetadataResponsePartition::default()
                .with_partition_index(*number)
                .with_leader_id(BrokerId((partition.leader + behind) % NODES))
                .with_leader_epoch(partition.epoch - behind)
        });
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str(TOPIC))))
            .with_partitions(partitions.collect());
        if stale {
            self.cluster.happened.insert("stale metadata");
        }
        MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_topics(vec![topic])
    }
}
