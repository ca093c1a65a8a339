//! End-to-end latency at a given rate, without coordinated omission.
//!
//! One thread sends at fixed moments, another reads at the far end. What counts is the time from the moment
//! at which a record was *meant* to be sent: a stall of the sender, of the copy service between or of a broker is
//! seen by every record that had to wait for it.

use std::time::Duration;
use std::{iter, thread};

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{Sender, consumer_config, ends};
use crate::clock::Clock;
use crate::reading::{Writer, sent_at};

/// How long the last records may take after the last was sent.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where records go in and come out; both names are the same when nothing stands between.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    /// The brokers.
    pub(crate) brokers: &'a str,
    /// The topic that is written.
    pub(crate) input: &'a str,
    /// The topic that is read.
    pub(crate) output: &'a str,
    /// The partitions of each.
    pub(crate) partitions: i32,
}

/// How fast, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Records a second.
    pub(crate) rate: u32,
    /// For so long nothing is recorded.
    pub(crate) warm_up: Duration,
    /// For so long everything is.
    pub(crate) measured: Duration,
}

impl Pace {
    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.rate.max(1)
    }

    fn count(&self) -> u64 {
        let seconds = (self.warm_up + self.measured).as_secs_f64();
        (seconds * f64::from(self.rate)).round() as u64
    }
}

/// The latencies of one run, in microseconds.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// The latency that the fraction `quantile` of all records did not exceed, in milliseconds.
    pub(crate) fn quantile(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Sends at `pace` and reads until every record has come through.
pub(crate) fn measure(clock: Clock, path: Path<'_>, pace: Pace) -> Result<Latencies> {
    let reader = reader(path)?;
    let sender = Sender::new(path.brokers, Duration::ZERO)?;
    // Connected and known to the brokers before the first record counts.
    // In whole milliseconds: records tell their time in microseconds.
    let start = Duration::from_millis(u64::try_from(clock.now().as_millis())? + 300);
    thread::scope(|scope| {
        let sending = scope.spawn(|| send(clock, path, pace, start, &sender));
        let read = read(clock, &reader, pace, start);
        let sent = sending
            .join()
            .map_err(|_panic| anyhow!("the sender panicked"))?;
        sent.context("the sender failed")?;
        read
    })
}

fn send(clock: Clock, path: Path<'_>, pace: Pace, start: Duration, sender: &Sender) -> Result<()> {
    let interval = pace.interval();
    let moments = iter::successors(Some(start), |moment| Some(*moment + interval));
    let mut writer = Writer::default();
    for (moment, number) in moments.zip(0..pace.count()) {
        clock.sleep_until(moment);
        let (key, value) = writer.write(number, moment)?;
        sender.send(path.input, None, Some(key), value)?;
        sender.serve(Duration::ZERO);
    }
    sender.drain()
}

/// A consumer that stands at the end of the output.
fn reader(path: Path<'_>) -> Result<BaseConsumer> {
    let reader: BaseConsumer = consumer_config(path.brokers, "unused").create()?;
    let mut from = TopicPartitionList::new();
    for (partition, end) in (0..).zip(ends(&reader, path.output, path.partitions)?) {
        from.add_partition_offset(path.output, partition, Offset::Offset(end))?;
    }
    reader.assign(&from)?;
    Ok(reader)
}

fn read(clock: Clock, reader: &BaseConsumer, pace: Pace, start: Duration) -> Result<Latencies> {
    let mut latencies = Histogram::new(3)?;
    let counted_from = start + pace.warm_up;
    let give_up = counted_from + pace.measured + PATIENCE;
    let count = pace.count();
    let mut seen = 0;
    while seen < count {
        let message = reader.poll(Duration::from_millis(100));
        let now = clock.now();
        ensure!(now < give_up, "only {seen} of {count} records came through");
        let Some(message) = message else { continue };
        let sent = sent_at(message?.payload().context("a record has no value")?)?;
        // Left over from the record that waited for the service to start.
        if sent < start {
            continue;
        }
        seen += 1;
        if sent >= counted_from {
            latencies.record(u64::try_from(now.saturating_sub(sent).as_micros())?)?;
        }
    }
    Ok(Latencies(latencies))
}
