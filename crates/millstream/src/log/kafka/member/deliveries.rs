//! The producer's callback: delivery reports, kept for the poll that runs it.
//!
//! librdkafka calls it inside of the worker's own `poll`, on the worker's thread, so the reports wait in a buffer of that
//! thread: no lock and, the buffer being reused, no allocation for a report.

use std::cell::RefCell;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::super::config::{forward_error, forward_log};
use super::super::headers;
use crate::config::Cluster;

/// The producer's callbacks.
pub(super) struct Deliveries {
    pub(super) cluster: Cluster,
}

/// One delivery report.
pub(super) struct Report {
    pub(super) token: usize,
    pub(super) bytes: usize,
    pub(super) failure: Option<Failure>,
}

/// Why a record was not delivered, and where it was to go.
pub(super) struct Failure {
    pub(super) error: KafkaError,
    pub(super) topic: String,
    pub(super) partition: i32,
}

impl Failure {
    /// Where the record was to go.
    pub(super) fn place(&self) -> (String, i32) {
        (self.topic.clone(), self.partition)
    }

    pub(super) fn code(&self) -> Option<RDKafkaErrorCode> {
        self.error.rdkafka_error_code()
    }
}

thread_local! {
    /// The reports of the poll that is running on this thread: the callback runs inside of it, so that no lock is needed.
    pub(super) static REPORTS: RefCell<Vec<Report>> = const { RefCell::new(Vec::new()) };
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(&self.cluster, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&self.cluster, &error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let (message, failure) = match result {
            Ok(message) => (message, None),
            Err((error, message)) => {
                let failure = Failure {
                    error: error.clone(),
                    topic: message.topic().to_owned(),
                    partition: message.partition(),
                };
                (message, Some(failure))
            }
        };
        let report = Report {
            token,
            bytes: headers::memory_of(message),
            failure,
        };
        REPORTS.with(|reports| reports.borrow_mut().push(report));
    }
}
