//! Names, units and help of the broker's metrics, and nothing else about them.
//!
//! They go through the `metrics` facade: without a recorder they cost next to nothing, with one they appear in its
//! scrape. Labels come from closed sets (an API's name), never from topics, groups or clients.

use std::fmt;

use metrics::{Counter, Histogram, Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) const CONNECTIONS: &str = "millstream_broker_connections";
pub(crate) const CONNECTIONS_REFUSED: &str = "millstream_broker_connections_refused_total";
pub(crate) const FAILED_LOGINS: &str = "millstream_broker_failed_logins_total";
pub(crate) const BROKEN_FRAMES: &str = "millstream_broker_broken_frames_total";
pub(crate) const REQUESTS: &str = "millstream_broker_requests_total";
pub(crate) const REQUEST_SECONDS: &str = "millstream_broker_request_seconds";
pub(crate) const RECEIVED_BYTES: &str = "millstream_broker_received_bytes_total";
pub(crate) const SENT_BYTES: &str = "millstream_broker_sent_bytes_total";
pub(crate) const TOPICS: &str = "millstream_broker_topics";
pub(crate) const PARTITIONS: &str = "millstream_broker_partitions";
pub(crate) const RETENTION_FAILURES: &str = "millstream_broker_retention_failures_total";
pub(crate) const COMPACTION_FAILURES: &str = "millstream_broker_compaction_failures_total";
pub(crate) const GROUP_REBALANCES: &str = "millstream_broker_group_rebalances_total";
pub(crate) const GROUP_MEMBERS_LOST: &str = "millstream_broker_group_members_lost_total";

/// What is counted with every request, found once instead of by name each time.
pub(crate) struct PerRequest {
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    apis: Vec<(i16, Counter, Histogram)>,
}

impl PerRequest {
    /// Finds the metrics of the given APIs, by key and name.
    pub(crate) fn new(apis: impl Iterator<Item = (i16, &'static str)>) -> PerRequest {
        let api = |(key, name)| {
            let requests = metrics::counter!(REQUESTS, "api" => name);
            (
                key,
                requests,
                metrics::histogram!(REQUEST_SECONDS, "api" => name),
            )
        };
        PerRequest {
            received_bytes: metrics::counter!(RECEIVED_BYTES),
            sent_bytes: metrics::counter!(SENT_BYTES),
            apis: apis.map(api).collect(),
        }
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, key: i16, seconds: f64) {
        if let Some((_, requests, times)) = self.apis.iter().find(|(api, ..)| *api == key) {
            requests.increment(1);
            times.record(seconds);
        }
    }
}

impl fmt::Debug for PerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerRequest").finish_non_exhaustive()
    }
}

/// Tells the installed recorder what each metric is.
pub(crate) fn describe() {
    describe_gauge!(CONNECTIONS, Unit::Count, "Connections that are open.");
    describe_counter!(
        CONNECTIONS_REFUSED,
        Unit::Count,
        "Connections closed at once because there were too many."
    );
    describe_counter!(
        FAILED_LOGINS,
        Unit::Count,
        "Connections closed because TLS or a login failed."
    );
    describe_counter!(
        BROKEN_FRAMES,
        Unit::Count,
        "Connections closed because of bytes that are no request."
    );
    describe_counter!(REQUESTS, Unit::Count, "Requests answered, by API.");
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time from a request's last byte to its answer, by API; for Fetch, JoinGroup and SyncGroup with the wait."
    );
    describe_counter!(RECEIVED_BYTES, Unit::Bytes, "Bytes of requests received.");
    describe_counter!(SENT_BYTES, Unit::Bytes, "Bytes of answers sent.");
    describe_gauge!(TOPICS, Unit::Count, "Topics that exist.");
    describe_gauge!(PARTITIONS, Unit::Count, "Partitions that exist.");
    describe_counter!(
        RETENTION_FAILURES,
        Unit::Count,
        "Partitions on which retention could not be applied."
    );
    describe_counter!(
        COMPACTION_FAILURES,
        Unit::Count,
        "Partitions that could not be compacted."
    );
    describe_counter!(
        GROUP_REBALANCES,
        Unit::Count,
        "Generations of consumer groups that were formed."
    );
    describe_counter!(
        GROUP_MEMBERS_LOST,
        Unit::Count,
        "Group members that were removed because they were silent for too long."
    );
}
