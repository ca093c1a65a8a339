//! Every metric of the library: name, unit, help, and the handles a worker keeps.
//!
//! A worker looks a metric up once and keeps the handle; on the path of a record only plain integers are counted, and
//! they are given out a few times a second. Labels come from closed sets: the service, its declared topics,
//! their partitions, a failure's reason.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::error::Error;
use crate::topic::TopicPartition;

/// Records read, by service, topic and partition.
pub const RECORDS_IN: &str = "millstream_records_in_total";
/// Records written, by service and topic.
pub const RECORDS_OUT: &str = "millstream_records_out_total";
/// Attempts at records that failed, by service, topic and reason.
pub const RECORDS_FAILED: &str = "millstream_records_failed_total";
/// Records tried again, by service and topic.
pub const RECORDS_RETRIED: &str = "millstream_records_retried_total";
/// Records written to a dead-letter topic, by service and topic.
pub const RECORDS_DEAD_LETTERED: &str = "millstream_records_dead_lettered_total";
/// Records that were gone before they could be read, by service and topic.
pub const RECORDS_LOST: &str = "millstream_records_lost_total";
/// Positions found outside of what the cluster has, by service and topic.
pub const POSITIONS_OUT_OF_RANGE: &str = "millstream_positions_out_of_range_total";
/// Deliveries the client gave up on, by service and topic.
pub const DELIVERIES_FAILED: &str = "millstream_deliveries_failed_total";
/// Delivery reports that came after their partition was given away or replayed, by service.
pub const REPORTS_LATE: &str = "millstream_reports_late_total";
/// Panics contained, by service.
pub const PANICS: &str = "millstream_panics_total";
/// Failed timers, by service.
pub const TIMERS_FAILED: &str = "millstream_timers_failed_total";
/// Commits that failed, by service.
pub const COMMITS_FAILED: &str = "millstream_commits_failed_total";
/// Assignments and revocations, by service and kind.
pub const REBALANCES: &str = "millstream_rebalances_total";
/// Partitions replayed after a failed delivery, by service.
pub const REWINDS: &str = "millstream_rewinds_total";
/// Times reading was paused because effects are not acknowledged, by service.
pub const BACKPRESSURE: &str = "millstream_backpressure_total";
/// Partitions stopped because a dead letter, or a timer's record that closes others, could not be written, by service.
pub const PARTITIONS_HALTED: &str = "millstream_partitions_halted";
/// Partitions held that have records and give none, by service.
pub const PARTITIONS_STALLED: &str = "millstream_partitions_stalled";
/// Partitions held, by service.
pub const PARTITIONS_ASSIGNED: &str = "millstream_partitions_assigned";
/// Offsets between what is done and the end, by service, topic and partition.
pub const LAG: &str = "millstream_lag_offsets";
/// Bytes sent and not yet acknowledged, by service.
pub const IN_FLIGHT: &str = "millstream_in_flight_bytes";
/// The time a handler takes, sampled, by service.
pub const PROCESSING: &str = "millstream_processing_seconds";
/// From a record's own time to the end of its handler, sampled, by service.
pub const LATENCY: &str = "millstream_latency_seconds";
/// The time a revocation or shutdown waits for effects, by service.
pub const DRAIN: &str = "millstream_drain_seconds";
/// Records that emitters of this process delivered.
pub const EMITTER_DELIVERED: &str = "millstream_emitter_delivered_total";
/// Records that emitters of this process gave up on.
pub const EMITTER_FAILED: &str = "millstream_emitter_failed_total";
/// Records that emitters of this process have taken and not yet decided.
pub const EMITTER_PENDING: &str = "millstream_emitter_pending_records";

/// Counters and their help texts.
const COUNTERS: [(&str, &str); 17] = [
    (EMITTER_DELIVERED, "records delivered by emitters"),
    (EMITTER_FAILED, "records given up on by emitters"),
    (RECORDS_IN, "records read"),
    (RECORDS_OUT, "records written"),
    (RECORDS_FAILED, "attempts at records that failed"),
    (RECORDS_RETRIED, "records tried again"),
    (
        RECORDS_DEAD_LETTERED,
        "records written to a dead-letter topic",
    ),
    (RECORDS_LOST, "records gone before they could be read"),
    (
        POSITIONS_OUT_OF_RANGE,
        "positions found outside of what the cluster has",
    ),
    (DELIVERIES_FAILED, "deliveries the client gave up on"),
    (
        REPORTS_LATE,
        "delivery reports of partitions that were given away or replayed, dropped",
    ),
    (PANICS, "panics contained in handlers"),
    (TIMERS_FAILED, "timers that failed"),
    (COMMITS_FAILED, "commits that failed"),
    (
        REBALANCES,
        "assignments, revocations and losses of partitions",
    ),
    (REWINDS, "partitions replayed after a failed delivery"),
    (
        BACKPRESSURE,
        "times reading was paused for unacknowledged effects",
    ),
];

/// Gauges, their units and help texts.
const GAUGES: [(&str, Unit, &str); 6] = [
    (
        EMITTER_PENDING,
        Unit::Count,
        "records taken by emitters and not yet decided",
    ),
    (
        PARTITIONS_HALTED,
        Unit::Count,
        "partitions stopped because a dead letter could not be written",
    ),
    (PARTITIONS_ASSIGNED, Unit::Count, "partitions held"),
    (
        PARTITIONS_STALLED,
        Unit::Count,
        "partitions held that have records and give none",
    ),
    (
        LAG,
        Unit::Count,
        "offsets between what is done and the end of the partition",
    ),
    (
        IN_FLIGHT,
        Unit::Bytes,
        "bytes sent and not yet acknowledged",
    ),
];

/// Histograms of seconds and their help texts.
const HISTOGRAMS: [(&str, &str); 3] = [
    (PROCESSING, "time a handler takes, sampled"),
    (
        LATENCY,
        "time from a record's timestamp to the end of its handler, sampled",
    ),
    (DRAIN, "time a revocation or shutdown waits for effects"),
];

/// Gives the installed recorder a unit and a help text for every metric of this library.
pub fn describe() {
    for (name, help) in COUNTERS {
        metrics::describe_counter!(name, Unit::Count, help);
    }
    for (name, unit, help) in GAUGES {
        metrics::describe_gauge!(name, unit, help);
    }
    for (name, help) in HISTOGRAMS {
        metrics::describe_histogram!(name, Unit::Seconds, help);
    }
}

/// The value of a series that is no longer reported: a recorder keeps every series.
const GONE: f64 = f64::NAN;

/// The text of a scrape without the series that are no longer reported. A lag of 0 would say that the group keeps up.
pub(crate) fn without_gone(text: String) -> String {
    let is_gone = |line: &str| line.starts_with(LAG) && line.ends_with(" NaN");
    if text.lines().any(is_gone) {
        let left = text.split_inclusive('\n');
        left.filter(|line| !is_gone(line.trim_end())).collect()
    } else {
        text
    }
}

/// The recorder of this process, installed by the first call: what is counted before that is not shown.
///
/// # Errors
/// The program has installed a recorder of its own.
pub fn recorder() -> Result<PrometheusHandle, Error> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALL: Mutex<()> = Mutex::new(());
    let _one = INSTALL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = RECORDER.get() {
        return Ok(handle.clone());
    }
    let buckets = [
        0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0,
    ];
    let installed = PrometheusBuilder::new()
        .set_buckets(&buckets)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| Error::Recorder {
            reason: error.to_string(),
        })?;
    describe();
    Ok(RECORDER.get_or_init(|| installed).clone())
}

/// The handles of one worker.
pub(crate) struct Meters {
    service: Arc<str>,
    worker: String,
    out: Vec<Counted>,
    pub(crate) processing: Histogram,
    pub(crate) latency: Histogram,
    pub(crate) drain: Histogram,
    pub(crate) late: Counted,
    pub(crate) assigned: Gauge,
    pub(crate) halted: Gauge,
    pub(crate) stalled: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) totals: Totals,
}

/// What a worker has done since it started; what a summary is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) failed: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) lost: u64,
}

/// A counter that is counted plainly and given out in one call.
pub(crate) struct Counted {
    counter: Counter,
    count: u64,
}

impl Counted {
    pub(crate) const fn new(counter: Counter) -> Self {
        Self { counter, count: 0 }
    }

    pub(crate) const fn add(&mut self, count: u64) {
        self.count += count;
    }

    /// Gives out what was counted since the last time.
    pub(crate) fn flush(&mut self) -> u64 {
        if self.count > 0 {
            self.counter.increment(self.count);
        }
        std::mem::take(&mut self.count)
    }
}

/// The handles of one partition.
pub(crate) struct PartitionMeters {
    pub(crate) read: Counted,
    lag: Gauge,
}

impl PartitionMeters {
    pub(crate) fn lag(&self, offsets: i64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; 2^53 offsets are enough"
        )]
        self.lag.set(offsets as f64);
    }

    /// The partition is no longer this worker's: its lag is no longer reported here.
    pub(crate) fn gone(&self) {
        self.lag.set(GONE);
    }
}

impl Meters {
    /// The handles of worker number `worker` of `service`, which writes to `targets`.
    pub(crate) fn new(service: &Arc<str>, worker: usize, targets: &[Arc<str>]) -> Self {
        let name = || service.to_string();
        let worker = worker.to_string();
        let out = targets.iter().map(|topic| {
            Counted::new(
                metrics::counter!(RECORDS_OUT, "service" => name(), "topic" => topic.to_string()),
            )
        });
        let gauge = |key: &'static str| metrics::gauge!(key, "service" => name(), "worker" => worker.clone());
        Self {
            out: out.collect(),
            processing: metrics::histogram!(PROCESSING, "service" => name()),
            latency: metrics::histogram!(LATENCY, "service" => name()),
            drain: metrics::histogram!(DRAIN, "service" => name()),
            late: Counted::new(metrics::counter!(REPORTS_LATE, "service" => name())),
            assigned: gauge(PARTITIONS_ASSIGNED),
            halted: gauge(PARTITIONS_HALTED),
            stalled: gauge(PARTITIONS_STALLED),
            in_flight: gauge(IN_FLIGHT),
            totals: Totals::default(),
            service: Arc::clone(service),
            worker,
        }
    }

    /// The handles of one partition of an input.
    pub(crate) fn partition(&self, source: &TopicPartition) -> PartitionMeters {
        let labels = [
            ("service", self.service.to_string()),
            ("topic", source.topic.to_string()),
            ("partition", source.partition.to_string()),
        ];
        PartitionMeters {
            read: Counted::new(metrics::counter!(RECORDS_IN, &labels)),
            lag: metrics::gauge!(LAG, &labels),
        }
    }

    /// One record to target number `target` was acknowledged.
    pub(crate) fn wrote(&mut self, target: usize) {
        if let Some(out) = self.out.get_mut(target) {
            out.add(1);
        }
    }

    /// One record written to the dead-letter topic of an input.
    pub(crate) fn dead_lettered(&mut self, topic: &Arc<str>) {
        self.totals.dead_lettered += 1;
        self.count_topic(RECORDS_DEAD_LETTERED, topic, 1);
    }

    /// Counts an event of the service; for events that are rare.
    pub(crate) fn count(&self, name: &'static str) {
        metrics::counter!(name, "service" => self.service.to_string()).increment(1);
    }

    /// Counts an event of one input topic; for events that are rare.
    pub(crate) fn count_topic(&self, name: &'static str, topic: &Arc<str>, count: u64) {
        metrics::counter!(name, "service" => self.service.to_string(), "topic" => topic.to_string())
            .increment(count);
    }

    /// Counts an event of a kind; for events that are rare.
    pub(crate) fn count_kind(&self, name: &'static str, key: &'static str, kind: &'static str) {
        metrics::counter!(name, "service" => self.service.to_string(), key => kind).increment(1);
    }

    /// Counts a failed attempt at a record.
    pub(crate) fn failed(&mut self, topic: &Arc<str>, reason: &'static str) {
        self.totals.failed += 1;
        let service = self.service.to_string();
        metrics::counter!(RECORDS_FAILED, "service" => service, "topic" => topic.to_string(), "reason" => reason)
            .increment(1);
    }

    /// Gives out what was counted on the path of the records.
    pub(crate) fn flush(&mut self) {
        for out in &mut self.out {
            self.totals.written += out.flush();
        }
        self.late.flush();
    }

    /// A duration as histograms want it.
    pub(crate) fn observe(histogram: &Histogram, duration: Duration) {
        histogram.record(duration.as_secs_f64());
    }

    /// The worker's number, for its thread and its logs.
    pub(crate) fn worker(&self) -> &str {
        &self.worker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_of_a_partition_that_is_gone_is_told_no_more() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let text = metrics::with_local_recorder(&recorder, || {
            let meters = Meters::new(&Arc::from("s"), 0, &[]);
            let partition = |number| {
                let source = TopicPartition::new("calls", crate::topic::Partition(number));
                meters.partition(&source)
            };
            partition(0).lag(7);
            partition(1).lag(9);
            partition(1).gone();
            without_gone(recorder.handle().render())
        });
        let told: Vec<_> = text.lines().filter(|line| line.starts_with(LAG)).collect();
        let expected = "millstream_lag_offsets{service=\"s\",topic=\"calls\",partition=\"0\"} 7";
        assert_eq!(told, [expected]);
        assert!(text.ends_with('\n'), "{text:?}");
    }
}
