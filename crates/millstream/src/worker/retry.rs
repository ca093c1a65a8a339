//! A record that waits for its retry: an owned copy, kept until its time comes.
//!
//! The client's buffer cannot be held for seconds, so the record is copied out; this is the one place where a record
//! costs an allocation of the engine's own. Its partition is paused meanwhile, so there is at most one per partition.

use std::sync::Arc;

use crate::clock::Moment;
use crate::log::Message;
use crate::record::{Headers, Timestamp};
use crate::topic::{Offset, Partition};

use super::partition::SlotId;

/// A record waiting for its retry.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) slot: SlotId,
    pub(crate) record: OwnedRecord,
    /// The number of the attempt to come.
    pub(crate) attempt: u32,
    pub(crate) due: Moment,
}

/// A record's bytes, apart from the client's buffer.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRecord {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: Partition,
    pub(crate) offset: Offset,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Headers,
    pub(crate) timestamp: Timestamp,
}

impl OwnedRecord {
    /// Copies a record.
    pub(crate) fn copy(message: &dyn Message, topic: &Arc<str>) -> Self {
        Self {
            topic: Arc::clone(topic),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.value().map(<[u8]>::to_vec),
            headers: message.headers(),
            timestamp: message.timestamp(),
        }
    }
}

impl Message for OwnedRecord {
    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn headers(&self) -> Headers {
        self.headers.clone()
    }

    fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    fn topic(&self) -> &str {
        &self.topic
    }

    fn partition(&self) -> Partition {
        self.partition
    }

    fn offset(&self) -> Offset {
        self.offset
    }
}
