//! One process of the consumer: reads its share of the partitions, or what its group gives it, and reports.
//!
//! Reports are totals and go to standard output, which is a pipe to the parent; a pipe that is closed means that the
//! parent is gone, and ends the process.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use millstream::http::Health;
use millstream::reader::{Polled, Reader, Since};
use millstream::{
    Cluster, Context, Error, OnError, Partition, ProcessError, Record, Service, Shutdown, Topic,
};

use super::board::Report;
use super::consume::{Beginning, Options};
use super::records::Item;
use super::topics::ITEMS;

const REPORT: Duration = Duration::from_millis(400);
const POLL: Duration = Duration::from_millis(100);
const SESSION_TIMEOUT: Duration = Duration::from_millis(6000);
/// There are no effects to wait for, and the parent kills after 5 s.
const DRAIN: Duration = Duration::from_millis(500);

/// Reads until `shutdown`.
///
/// # Errors
/// The cluster refuses to let us read, or the service cannot go on.
pub fn run(options: &Options, cluster: &Cluster, shutdown: &Shutdown) -> Result<(), Error> {
    let tally = Tally {
        shutdown: shutdown.clone(),
        ..Tally::default()
    };
    // Known before the first report: a process that reads by hand is never shown as idle for a moment.
    tally.with(|report| report.reads = options.assign.clone());
    let is_member = options.group.is_some();
    thread::scope(|scope| {
        let reporting = scope.spawn(|| report(&tally, is_member, shutdown));
        let outcome = match &options.group {
            Some(group) => service(group, options, &tally)
                .run(cluster, shutdown.clone())
                .map(drop),
            None => read(options, cluster, &tally, shutdown),
        };
        // An error ends the process too: the reporter must not wait for a signal.
        shutdown.request();
        _ = reporting.join();
        // What was read between the reporter's last line and the end of the reading.
        report(&tally, is_member, shutdown);
        outcome
    })
}

/// What this process has read so far.
#[derive(Debug, Clone, Default)]
struct Tally {
    report: Arc<Mutex<Report>>,
    /// Of the group's member; without a group it has no parts.
    health: Health,
    shutdown: Shutdown,
}

impl Tally {
    fn with<T>(&self, act: impl FnOnce(&mut Report) -> T) -> T {
        act(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, partition: i32) {
        self.with(|report| *report.records.entry(partition).or_default() += 1);
    }
}

/// Tells the totals again and again, unchanged or not: the parent makes rates of them.
fn report(tally: &Tally, is_member: bool, shutdown: &Shutdown) {
    loop {
        let stopping = shutdown.is_requested();
        let line = tally.with(|report| {
            if is_member {
                report.ready = tally.health.is_ready();
            }
            serde_json::to_string(report).unwrap_or_default()
        });
        let mut out = io::stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            shutdown.request();
            return;
        }
        drop(out);
        if stopping {
            return;
        }
        shutdown.wait(REPORT);
    }
}

fn topic(options: &Options) -> Topic<String, Item> {
    ITEMS.clone().named(options.topic.clone())
}

fn read(
    options: &Options,
    cluster: &Cluster,
    tally: &Tally,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    if options.assign.is_empty() {
        tally.with(|report| report.ready = true);
        while !shutdown.wait(Duration::from_secs(3600)) {}
        return Ok(());
    }
    let since = match options.from {
        Beginning::Earliest => Since::Earliest,
        Beginning::Latest => Since::End,
    };
    let own = options.assign.iter().map(|&partition| Partition(partition));
    let mut reader = Reader::of(&topic(options))
        .since(since)
        .partitions(own)
        .open(cluster)?;
    tally.with(|report| report.ready = true);
    while !shutdown.is_requested() {
        match reader.poll(POLL)? {
            Polled::Record(record) => tally.count(record.position.partition.0),
            Polled::Undecodable(bad) => {
                tracing::warn!(%bad, "not one of our records");
                tally.count(bad.position.partition.0);
            }
            Polled::Nothing | Polled::End => {}
        }
    }
    Ok(())
}

/// The same by a consumer group: one member in each process.
fn service(group: &str, options: &Options, tally: &Tally) -> Service<Held> {
    let (tally, health) = (tally.clone(), tally.health.clone());
    Service::new("partitions-consume", move || Held {
        tally: tally.clone(),
        partition: None,
    })
    .group(group)
    .input(&topic(options), Held::on_item)
    .every(POLL, Held::on_tick)
    .on_error(OnError::dead_letter())
    .health(&health)
    .session_timeout(SESSION_TIMEOUT)
    .drain_within(DRAIN)
}

/// The service as `explain` shows it.
#[must_use]
pub fn explained(options: &Options) -> Service<impl Sized + 'static> {
    service(
        options.group.as_deref().unwrap_or("partitions-consumers"),
        options,
        &Tally::default(),
    )
}

/// The state of a partition that the group has given us: known by its number as soon as anything happens in it.
struct Held {
    tally: Tally,
    partition: Option<i32>,
}

impl Held {
    fn on_item(
        &mut self,
        record: Record<String, Item>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        self.on_tick(context)?;
        self.tally.count(record.position.partition.0);
        Ok(())
    }

    fn on_tick(&mut self, context: &mut Context) -> Result<(), ProcessError> {
        let partition = context.partition().0;
        if self.partition.replace(partition).is_none() {
            self.tally.with(|report| {
                report.reads.push(partition);
                report.reads.sort_unstable();
                report.reads.dedup();
            });
        }
        Ok(())
    }
}

impl Drop for Held {
    /// The partition was taken away, or is replayed: then a new state follows at once. At the end of the process its
    /// last report shows what it has read to the last.
    fn drop(&mut self) {
        if let Some(partition) = self.partition
            && !self.tally.shutdown.is_requested()
        {
            self.tally
                .with(|report| report.reads.retain(|held| *held != partition));
        }
    }
}
