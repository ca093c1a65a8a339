//! The settings of an embedded broker, with the defaults of Apache Kafka 4.1 unless a field says otherwise.
//!
//! A `Config` is the resolved configuration: whoever reads files, flags or the environment fills it in.
//! Values are checked once, by [`Config::validate`], before anything is opened.

pub(crate) mod names;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::Error;
use crate::faults::Faults;
use crate::listener::{self, Listener};
use crate::security::User;

/// Settings of one broker. Times whose name ends in `_ms` may be -1 for "no limit" where Kafka allows that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen. Default: loopback, port 9092.
    pub listeners: Vec<Listener>,
    /// The data folder; created when missing, owned by one broker at a time.
    pub data: PathBuf,
    /// Whether every acknowledged append is forced to the disk (power loss), not only to the page cache (kill).
    pub fsync: bool,
    /// Identity of the one node of this cluster.
    pub node_id: i32,
    /// Worker threads of an embedded broker; 0 chooses by the machine's cores, 2 to 4.
    pub threads: usize,
    /// Partitions of a topic that is created without a count.
    pub num_partitions: i32,
    /// Whether a metadata request may create the topics it names.
    pub auto_create_topics: bool,
    /// Most partitions that one topic, and one request that creates some, may have.
    pub max_partitions: i32,
    /// Largest record batch of a topic without `max.message.bytes`.
    pub max_message_bytes: i32,
    /// Largest request frame (Kafka: `socket.request.max.bytes`).
    pub max_frame_bytes: usize,
    /// Most connections at a time; excess ones are closed at once (Kafka: unlimited).
    pub max_connections: usize,
    /// Memory that frames above 16 KiB, as far as they have come, and the records being appended may take together; others wait their turn,
    /// but for one at a time.
    pub max_bytes_in_flight: usize,
    /// Memory that the records of all fetch answers may take together until they are sent.
    pub max_fetch_bytes_in_flight: usize,
    /// Most fetch sessions at a time; a consumer without one sends whole requests (Kafka: `max.incremental.fetch.session.cache.slots`).
    pub max_fetch_sessions: usize,
    /// A connection without a request for this long is closed.
    pub connections_max_idle: Duration,
    /// A peer that takes nothing of an answer, or gives nothing of a started frame, for this long is cut off; so is one
    /// that takes four times as long for all of it.
    pub io_timeout: Duration,
    /// How long stopping waits for requests in progress.
    pub drain_within: Duration,
    /// Segment size of a topic without `segment.bytes`.
    pub segment_bytes: i32,
    /// Age at which a segment is rolled, for a topic without `segment.ms`.
    pub segment_ms: i64,
    /// Age at which records may go, for a topic without `retention.ms`.
    pub retention_ms: i64,
    /// Size of a partition above which its oldest segments go, for a topic without `retention.bytes`.
    pub retention_bytes: i64,
    /// How often retention is applied.
    pub retention_check: Duration,
    /// How often topics with `cleanup.policy=compact` are looked at (Kafka: `log.cleaner.backoff.ms`).
    pub compaction_check: Duration,
    /// Most keys that compaction notes at a time: 40 bytes each. A log with more of them takes several passes.
    pub compaction_keys: usize,
    /// Distance of two entries of the offset index, for a topic without `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// How long the first member of an empty group waits for others, again for each that comes meanwhile (Kafka: 3000).
    pub group_initial_rebalance_delay_ms: i32,
    /// Smallest session timeout that a group member may ask for.
    pub group_min_session_timeout_ms: i32,
    /// Largest session timeout that a group member may ask for.
    pub group_max_session_timeout_ms: i32,
    /// Most members of one group.
    pub group_max_size: i32,
    /// Session timeout of a member of the new protocol (KIP-848).
    pub group_consumer_session_timeout_ms: i32,
    /// How often members of the new protocol send heartbeats; partitions move by them.
    pub group_consumer_heartbeat_interval_ms: i32,
    /// Most members of one group of the new protocol.
    pub group_consumer_max_size: i32,
    /// How long offsets of an empty group are kept.
    pub offsets_retention_ms: i64,
    /// How often expired offsets are looked for.
    pub offsets_retention_check: Duration,
    /// Largest metadata string that may be committed with an offset.
    pub offset_metadata_max_bytes: i32,
    /// How long an idle producer's sequence numbers are remembered.
    pub producer_id_expiration_ms: i64,
    /// Most producers with an id that one partition remembers, beside those with an open transaction; who has been silent longest is
    /// forgotten first.
    pub max_producers_per_partition: usize,
    /// The same for all partitions together: a producer counts once in each partition that it has written to.
    pub max_producers: usize,
    /// Longest transaction timeout that a producer may ask for.
    pub transaction_max_timeout_ms: i32,
    /// How long a transactional id that nobody uses is remembered.
    pub transactional_id_expiration_ms: i64,
    /// Users who may log in at listeners with SASL, beside those that clients have stored. Default: none.
    pub users: Vec<User>,
    /// Users who may do everything. Where there is one, all others may do only what ACLs allow; default: none, and everybody may do everything.
    pub super_users: Vec<String>,
    /// Listeners beyond loopback may be without logins and without client certificates. Default: no.
    pub allow_anyone: bool,
    /// After so much time who has logged in must do so again, or is cut off (Kafka: `connections.max.reauth.ms`). Default: zero, never.
    pub connections_max_reauth: Duration,
    /// How often the files of TLS are looked at, to be read again when they have changed.
    pub certificates_check: Duration,
    /// How long a client whose login failed waits for the answer (Kafka: `connection.failed.authentication.delay.ms`).
    pub failed_login_delay: Duration,
    /// The time of day.
    pub clock: Clock,
    /// Which requests fail on purpose, and how, in somebody's tests: their connection is closed before or after they are done, or they are done
    /// or answered later. Default: none.
    pub faults: Faults,
}

impl Config {
    /// The defaults, with records kept under `data`.
    pub fn new(data: impl Into<PathBuf>) -> Config {
        Config {
            listeners: vec![Listener::at((Ipv4Addr::LOCALHOST, 9092))],
            data: data.into(),
            fsync: false,
            node_id: 1,
            threads: 0,
            num_partitions: 1,
            auto_create_topics: true,
            max_partitions: 10_000,
            max_message_bytes: 1_048_588,
            max_frame_bytes: 100 << 20,
            max_connections: 4096,
            max_fetch_sessions: 1000,
            max_bytes_in_flight: 64 << 20,
            max_fetch_bytes_in_flight: 64 << 20,
            connections_max_idle: Duration::from_secs(600),
            io_timeout: Duration::from_secs(30),
            drain_within: Duration::from_secs(5),
            segment_bytes: 1 << 30,
            segment_ms: 7 * 86_400_000,
            retention_ms: 7 * 86_400_000,
            retention_bytes: -1,
            retention_check: Duration::from_secs(300),
            compaction_check: Duration::from_secs(15),
            compaction_keys: 1_800_000,
            index_interval_bytes: 4096,
            group_initial_rebalance_delay_ms: 30,
            group_min_session_timeout_ms: 6000,
            group_max_session_timeout_ms: 1_800_000,
            group_max_size: i32::MAX,
            group_consumer_session_timeout_ms: 45_000,
            group_consumer_heartbeat_interval_ms: 5000,
            group_consumer_max_size: i32::MAX,
            offsets_retention_ms: 7 * 86_400_000,
            offsets_retention_check: Duration::from_secs(600),
            offset_metadata_max_bytes: 4096,
            producer_id_expiration_ms: 86_400_000,
            max_producers_per_partition: 10_000,
            max_producers: 200_000,
            transaction_max_timeout_ms: 900_000,
            transactional_id_expiration_ms: 7 * 86_400_000,
            users: Vec::new(),
            super_users: Vec::new(),
            allow_anyone: false,
            connections_max_reauth: Duration::ZERO,
            certificates_check: Duration::from_secs(10),
            failed_login_delay: Duration::from_millis(100),
            clock: Clock::default(),
            faults: Faults::default(),
        }
    }

    /// The defaults on a port that the system chooses: what tests want.
    pub fn ephemeral(data: impl Into<PathBuf>) -> Config {
        Config {
            listeners: vec![Listener::at((Ipv4Addr::LOCALHOST, 0))],
            ..Config::new(data)
        }
    }

    /// Refuses values that no broker could work with, by name.
    pub fn validate(&self) -> Result<(), Error> {
        let floor = |name: &'static str, value: i64, least: i64| {
            if value < least {
                Err(Error::Config { name, value, least })
            } else {
                Ok(())
            }
        };
        listener::check(&self.listeners)?;
        let open = self.listeners.iter().find(|of| of.lets_anyone_in());
        if let Some(listener) = open.filter(|_| !self.allow_anyone) {
            return Err(Error::LetsAnyoneIn {
                address: listener.address,
            });
        }
        let size = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        floor("node_id", self.node_id.into(), 0)?;
        floor("num_partitions", self.num_partitions.into(), 1)?;
        floor(
            "max_partitions",
            self.max_partitions.into(),
            self.num_partitions.into(),
        )?;
        floor("max_message_bytes", self.max_message_bytes.into(), 0)?;
        floor("max_frame_bytes", size(self.max_frame_bytes), 1024)?;
        floor("max_connections", size(self.max_connections), 1)?;
        floor("max_bytes_in_flight", size(self.max_bytes_in_flight), 1024)?;
        floor(
            "max_fetch_bytes_in_flight",
            size(self.max_fetch_bytes_in_flight),
            1024,
        )?;
        floor("segment_bytes", self.segment_bytes.into(), 1024)?;
        floor("compaction_keys", size(self.compaction_keys), 1)?;
        floor(
            "max_producers_per_partition",
            size(self.max_producers_per_partition),
            1,
        )?;
        floor("max_producers", size(self.max_producers), 1)?;
        floor("segment_ms", self.segment_ms, 1)?;
        floor("retention_ms", self.retention_ms, -1)?;
        floor("retention_bytes", self.retention_bytes, -1)?;
        floor("index_interval_bytes", self.index_interval_bytes.into(), 0)
    }
}
