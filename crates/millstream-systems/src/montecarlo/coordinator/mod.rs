//! The coordinator: plans each job, gives its waves out in tasks, and decides when it is done.
//!
//! One service over three inputs that meet in one state for each partition: `requests`, the log (`partials`) and `control`. `unit`
//! says what follows from a record of each; `jobs` what is done about a job; `entry` is one job; `task_readers` knows who reads which
//! partition of tasks.

mod entry;
mod jobs;
mod task_readers;
#[cfg(test)]
mod tests;
mod unit;

use std::sync::Arc;
use std::time::Duration;

use millstream::http::Health;
use millstream::{Cluster, OnError, Service, Shutdown};
use millstream_montecarlo::Registry;

pub use self::entry::Pace;
pub use self::unit::{Settings, Unit};
use super::topics::{PREFIX, Topics};
use super::{arrival, metrics};
use crate::settings;

/// How often deadlines and missing tasks are looked at, and how soon a partition that was taken over is asked for its log.
const TICK: Duration = Duration::from_millis(20);
/// Between two tries of a record whose effects were refused.
const RETRY: Duration = Duration::from_millis(5);
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const DRAIN: Duration = Duration::from_millis(1500);

/// Options of the coordinator.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Prefix of the topic names
    #[arg(long, default_value = PREFIX)]
    pub prefix: String,
}

/// The coordinator's service.
#[must_use]
pub fn service(settings: Settings) -> Service<Unit> {
    let settings = Arc::new(settings);
    let topics = settings.topics.clone();
    Service::new("montecarlo-coordinator", move || {
        Unit::new(Arc::clone(&settings))
    })
    .group(topics.group("coordinators"))
    .input(&topics.partials, Unit::on_event)
    .input_paused(&topics.requests, Unit::on_request)
    .input_paused(&topics.control, Unit::on_control)
    .output(&topics.tasks)
    .output(&topics.partials)
    .output(&topics.results)
    .output(&topics.control)
    .every(TICK, Unit::on_tick)
    // A record that is handled again comes to a state that has read the log again: retries are safe.
    .on_error(OnError::retry(5).backoff(RETRY, TICK).then_dead_letter())
    .session_timeout(SESSION_TIMEOUT)
    .drain_within(DRAIN)
}

/// The service as it would run with these options, to be described.
#[must_use]
pub fn explained(options: &Options) -> Service<Unit> {
    service(Settings {
        topics: Topics::new(&options.prefix),
        functions: Registry::default(),
        task_partitions: 1,
        pace: Pace::default(),
        incarnation: Box::new(|| 0),
    })
}

/// Coordinates until `shutdown`.
///
/// # Errors
/// The topics are not what they should be, or the service cannot go on.
pub fn run(
    options: &Options,
    functions: Registry,
    cluster: &Cluster,
    shutdown: &Shutdown,
    health: &Health,
) -> Result<(), crate::Error> {
    metrics::describe_coordinator();
    let topics = Topics::new(&options.prefix);
    let cluster = settings::with_defaults(cluster, [("linger.ms", "0")])?;
    let Some(task_partitions) = arrival::arrive(&topics, &cluster, shutdown)? else {
        return Ok(());
    };
    let settings = Settings {
        topics,
        functions,
        task_partitions,
        pace: Pace::default(),
        incarnation: Box::new(|| uuid::Uuid::new_v4().as_u64_pair().0),
    };
    tracing::info!(brokers = cluster.brokers(), "coordinating");
    service(settings)
        .health(health)
        .run(&cluster, shutdown.clone())?;
    Ok(())
}
