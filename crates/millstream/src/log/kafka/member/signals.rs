//! The consumer's callbacks: they hand on what happened and decide nothing.
//!
//! They run inside of the worker's own `poll`, and what they tell waits in a channel until that poll has returned. While the
//! client closes nobody polls for the channel any more, so a rebalance is answered at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use super::super::config::{forward_error, forward_log};
use super::super::statistics::{self, Statistics};
use super::commits::Answer;

use crate::config::Cluster;
use crate::topic::{NextOffset, Partition, TopicPartition};

/// What a callback of the consumer hands on.
pub(super) enum Signal {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
    /// A commit was answered while something else was waited for.
    Committed(Answer),
    /// The client wrote that it reset this position.
    Reset(TopicPartition, NextOffset),
    Statistics(Statistics),
}

/// The consumer's callbacks.
pub(super) struct Signals {
    pub(super) cluster: Cluster,
    pub(super) events: Sender<Signal>,
    /// While the client closes, a revocation is answered at once: nobody polls for it any more.
    pub(super) closing: AtomicBool,
}

impl ClientContext for Signals {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(&self.cluster, level, facility, message);
        // The client resets a position by itself and tells it only here. The line is a hint of where to look: what
        // was lost is found out from the cluster.
        if facility == "OFFSET"
            && let Some((partition, wanted)) = statistics::reset(message)
        {
            self.tell(Signal::Reset(partition, wanted));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&self.cluster, &error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(statistics) => self.tell(Signal::Statistics(statistics::of_interest(statistics))),
            Err(error) => tracing::warn!(%error, "the client's statistics cannot be read"),
        }
    }
}

impl ConsumerContext for Signals {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Acquire) {
            answer_at_once(consumer, code, list);
            return;
        }
        let partitions = partitions(list);
        self.tell(match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Signal::Assigned(partitions),
            _ if consumer.assignment_lost() => Signal::Lost(partitions),
            _ => Signal::Revoked(partitions),
        });
    }
}

/// While the client closes: nothing is taken any more and everything is given back.
fn answer_at_once(
    consumer: &BaseConsumer<Signals>,
    code: RDKafkaRespErr,
    list: &TopicPartitionList,
) {
    let is_assign = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    let answered = match (consumer.rebalance_protocol(), is_assign) {
        (RebalanceProtocol::Cooperative, true) => consumer.incremental_assign(list),
        (RebalanceProtocol::Cooperative, false) => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    };
    if let Err(error) = answered {
        tracing::warn!(%error, "could not give partitions back while closing");
    }
}

impl Signals {
    pub(super) const fn new(cluster: Cluster, events: Sender<Signal>) -> Self {
        Self {
            cluster,
            events,
            closing: AtomicBool::new(false),
        }
    }

    pub(super) fn tell(&self, signal: Signal) {
        // The receiver is gone only when the member is being dropped: nobody wants to know any more.
        let _ = self.events.send(signal);
    }
}

/// The partitions of a list; those of one topic share its name.
pub(super) fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let mut topic: Option<Arc<str>> = None;
    let elements = list.elements();
    let partitions = elements.iter().map(|element| {
        let name = match &topic {
            Some(name) if **name == *element.topic() => Arc::clone(name),
            _ => Arc::from(element.topic()),
        };
        topic = Some(Arc::clone(&name));
        TopicPartition::new(name, Partition(element.partition()))
    });
    partitions.collect()
}
