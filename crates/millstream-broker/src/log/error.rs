//! Why an append or a read was refused: what is answered to the client, not an error of the broker.
//!
//! Each has the protocol's code and a text for the answer's message. Storage errors say what the system said; the
//! file they happened on is in the broker's log.

use kafka_protocol::ResponseError;

/// Why a batch was not appended. Nothing of it is visible, now or later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("record batch is corrupt: {0}")]
    Corrupt(String),
    #[error("record batch is not valid: {0}")]
    InvalidRecord(&'static str),
    #[error("record batch of {size} bytes is larger than `max.message.bytes` of {limit}")]
    TooLarge { size: usize, limit: u32 },
    #[error("record batch of {size} bytes is larger than `segment.bytes` of {limit}")]
    TooLargeForSegment { size: usize, limit: u32 },
    #[error("message format {0} is not supported, only 2 is")]
    UnsupportedFormat(i8),
    #[error("compression type {0} is unknown")]
    UnsupportedCompression(i16),
    #[error("timestamp {timestamp} is not within the limits around the broker's time {now}")]
    InvalidTimestamp { timestamp: i64, now: i64 },
    #[error("timestamps are those of the broker, which only the broker may give")]
    TimestampType,
    #[error(
        "sequence {sequence} of producer {producer_id} is out of order, {expected} was expected"
    )]
    OutOfOrderSequence {
        producer_id: i64,
        sequence: i32,
        expected: i32,
    },
    #[error("epoch {epoch} of producer {producer_id} is older than {current}")]
    InvalidProducerEpoch {
        producer_id: i64,
        epoch: i16,
        current: i16,
    },
    #[error("producer {producer_id} has a transaction open, its records must be part of it")]
    OutsideTransaction { producer_id: i64 },
    #[error("an earlier transaction of producer {producer_id} has not ended here yet")]
    EarlierTransaction { producer_id: i64 },
    /// The transaction may have ended meanwhile: ask its coordinator, and try again.
    #[error("no transaction of producer {producer_id} with epoch {epoch} is known to be open here")]
    Unverified { producer_id: i64, epoch: i16 },
    #[error("failed to write to the log: {0}")]
    Storage(String),
    #[error("partition is deleted")]
    Deleted,
}

impl AppendError {
    /// The protocol's error code.
    pub(crate) fn code(&self) -> ResponseError {
        match self {
            AppendError::Corrupt(_) => ResponseError::CorruptMessage,
            AppendError::InvalidRecord(_) => ResponseError::InvalidRecord,
            AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
            AppendError::TooLargeForSegment { .. } => ResponseError::RecordListTooLarge,
            AppendError::UnsupportedFormat(_) => ResponseError::UnsupportedForMessageFormat,
            AppendError::UnsupportedCompression(_) => ResponseError::UnsupportedCompressionType,
            AppendError::InvalidTimestamp { .. } | AppendError::TimestampType => {
                ResponseError::InvalidTimestamp
            }
            AppendError::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
            AppendError::InvalidProducerEpoch { .. } => ResponseError::InvalidProducerEpoch,
            AppendError::OutsideTransaction { .. } | AppendError::Unverified { .. } => {
                ResponseError::InvalidTxnState
            }
            AppendError::EarlierTransaction { .. } => ResponseError::ConcurrentTransactions,
            AppendError::Storage(_) => ResponseError::KafkaStorageError,
            AppendError::Deleted => ResponseError::UnknownTopicOrPartition,
        }
    }
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("offset {offset} is outside the log, which goes from {start} to {end}")]
    OutOfRange { offset: i64, start: i64, end: i64 },
    #[error("failed to read the log: {0}")]
    Storage(String),
    #[error("the disk is full: {0}")]
    Full(String),
    #[error("log is corrupt: {0}")]
    Corrupt(String),
    #[error("partition is deleted")]
    Deleted,
}

impl ReadError {
    /// Whether the disk has no room.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, ReadError::Full(_))
    }

    /// The protocol's error code.
    pub(crate) fn code(&self) -> ResponseError {
        match self {
            ReadError::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
            ReadError::Storage(_) | ReadError::Full(_) => ResponseError::KafkaStorageError,
            ReadError::Corrupt(_) => ResponseError::CorruptMessage,
            ReadError::Deleted => ResponseError::UnknownTopicOrPartition,
        }
    }
}
