//! A member's producer, and the short way of a record into it.
//!
//! rdkafka sends by the topic's name: for each record it makes a C string, and librdkafka looks the name up under a lock.
//! librdkafka's own handle of a topic needs neither, which saves 4 % of a service that copies; rdkafka has no word for it, so
//! this is the one file of the library with `unsafe` code. Invariants: a handle belongs to the producer beside it, is given
//! back once, and before that producer is closed. What the short way cannot carry (headers, a time of its own) goes
//! by rdkafka; the order within a partition is that of the calls on either way.
#![expect(
    unsafe_code,
    reason = "rdkafka does not know librdkafka's topic handles"
)]

use std::cell::RefCell;
use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};

use rdkafka::IntoOpaque as _;
use rdkafka::bindings;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::{RDKafkaRespErr, RDKafkaTopic};

use super::super::producer::client_record;
use super::deliveries::Deliveries;
use crate::log::Outgoing;
use crate::record::Headers;

/// A producer with the handles of the topics it has sent to.
pub(super) struct Outlet {
    producer: BaseProducer<Deliveries>,
    /// A service has a handful of outputs: the first match is found faster than a hash.
    handles: RefCell<Vec<(Box<str>, NonNull<RDKafkaTopic>)>>,
}

impl Outlet {
    pub(super) const fn new(producer: BaseProducer<Deliveries>) -> Self {
        Self {
            producer,
            handles: RefCell::new(Vec::new()),
        }
    }

    /// Serves delivery reports; see [`BaseProducer::poll`].
    pub(super) fn poll(&self, wait: std::time::Duration) {
        self.producer.poll(wait);
    }

    /// Hands a record to the client, which copies it; its delivery is reported with `token`.
    pub(super) fn send(&self, record: &Outgoing<'_>, token: usize) -> Result<(), KafkaError> {
        let is_plain = record.headers.is_none_or(Headers::is_empty) && record.timestamp.is_none();
        match self.handle(record.topic) {
            Some(topic) if is_plain => produce(topic, record, token),
            _ => {
                let sent = self.producer.send(client_record(record, token));
                sent.map_err(|(error, _)| error)
            }
        }
    }

    /// The handle of a topic; `None` when the client has none to give, which it then says of the name.
    fn handle(&self, topic: &str) -> Option<NonNull<RDKafkaTopic>> {
        let known = self.handles.borrow();
        if let Some((_, handle)) = known.iter().find(|(name, _)| **name == *topic) {
            return Some(*handle);
        }
        drop(known);
        let name = CString::new(topic).ok()?;
        let client = self.producer.client().native_ptr();
        // SAFETY: the client lives as long as `self`; the name is copied; without a configuration the handle has the client's.
        let handle =
            unsafe { bindings::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
        let handle = NonNull::new(handle)?;
        self.handles.borrow_mut().push((topic.into(), handle));
        Some(handle)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        for (_, handle) in self.handles.get_mut().drain(..) {
            // SAFETY: made by `handle`, in nobody else's hands, and the producer is dropped after this.
            unsafe { bindings::rd_kafka_topic_destroy(handle.as_ptr()) };
        }
    }
}

fn produce(
    topic: NonNull<RDKafkaTopic>,
    record: &Outgoing<'_>,
    token: usize,
) -> Result<(), KafkaError> {
    let (value, value_len) = parts(record.value);
    let (key, key_len) = parts(record.key);
    let partition = record.partition.map_or(-1, |partition| partition.0);
    // SAFETY: the handle is its owner's until it is dropped, and that one called. Key and value are read during the call
    // only, because of the flag. The opaque is a number that comes back in the delivery report; nobody follows it.
    let code = unsafe {
        bindings::rd_kafka_produce(
            topic.as_ptr(),
            partition,
            bindings::RD_KAFKA_MSG_F_COPY,
            value.cast_mut(),
            value_len,
            key,
            key_len,
            token.into_ptr(),
        )
    };
    if code == 0 {
        return Ok(());
    }
    // SAFETY: reads a variable of this thread.
    let error: RDKafkaRespErr = unsafe { bindings::rd_kafka_last_error() };
    Err(KafkaError::MessageProduction(error.into()))
}

/// Null is not the same as empty: the latter has an address.
fn parts(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| {
        (bytes.as_ptr().cast(), bytes.len())
    })
}
