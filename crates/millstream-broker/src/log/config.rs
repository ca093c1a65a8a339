//! What a topic's configuration says to its partitions' logs.
//!
//! Resolved by the catalogue of topics, which knows names, defaults and limits; shared by all partitions of a topic and
//! swapped whole when the configuration changes, so that one append never sees half of a change.

/// Whose time the records carry (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimestampType {
    /// The producer's.
    Create,
    /// The broker's, stamped when the batch is appended.
    LogAppend,
}

/// Settings of one topic's logs. Sizes are in bytes, times in milliseconds, -1 is "no limit".
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogConfig {
    /// `segment.bytes`: a segment that would become larger is rolled.
    pub(crate) segment_bytes: u32,
    /// `segment.ms`: a segment whose first record is older than this is rolled.
    pub(crate) segment_ms: i64,
    /// `retention.ms`, for `cleanup.policy` with `delete`.
    pub(crate) retention_ms: i64,
    /// `retention.bytes`, for `cleanup.policy` with `delete`.
    pub(crate) retention_bytes: i64,
    /// Whether `cleanup.policy` has `delete`.
    pub(crate) delete: bool,
    /// Whether `cleanup.policy` has `compact`.
    pub(crate) compact: bool,
    /// `min.cleanable.dirty.ratio`: the share of bytes that were not compacted yet from which on it is worth it.
    pub(crate) min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: younger records are left alone.
    pub(crate) min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: older ones are compacted whatever their share is.
    pub(crate) max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: how long tombstones and markers stay.
    pub(crate) delete_retention_ms: i64,
    /// `max.message.bytes`: the largest record batch, header included.
    pub(crate) max_message_bytes: u32,
    /// `index.interval.bytes`: distance of two index entries.
    pub(crate) index_interval_bytes: u32,
    /// `message.timestamp.type`.
    pub(crate) timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far behind the broker's clock a timestamp may be.
    pub(crate) timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead of the broker's clock a timestamp may be.
    pub(crate) timestamp_after_max_ms: i64,
    /// How long a silent producer's sequences are remembered (`producer.id.expiration.ms`).
    pub(crate) producer_expiration_ms: i64,
    /// Most producers that a partition remembers, beside those with an open transaction.
    pub(crate) max_producers: usize,
    /// Whether an append is forced to the disk before it is acknowledged.
    pub(crate) fsync: bool,
}

impl Default for LogConfig {
    /// The defaults of Apache Kafka 4.1.
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 86_400_000,
            retention_ms: 7 * 86_400_000,
            retention_bytes: -1,
            delete: true,
            compact: false,
            min_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 86_400_000,
            max_message_bytes: 1_048_588,
            index_interval_bytes: 4096,
            timestamp_type: TimestampType::Create,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            producer_expiration_ms: 86_400_000,
            max_producers: 10_000,
            fsync: false,
        }
    }
}
