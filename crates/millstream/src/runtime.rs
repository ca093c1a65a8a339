//! A running service: its threads, and the request to end.
//!
//! Each thread owns one worker and all it needs. The thread that called `run` watches them (`watch`): when a shutdown is
//! requested, or one of them fails or cannot be started, all are asked to stop; each drains, commits and closes its client.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, SystemClock};
use crate::config::Cluster;
use crate::definition::Definition;
use crate::error::Error;
use crate::http::{Health, Listener, Part};
use crate::limits::Limits;
use crate::log::kafka::member::{self, Member};
use crate::metrics::Totals;
use crate::shutdown::Shutdown;
use crate::startup::{co_partitioned, ready_topics};
use crate::watch::{Calls, Report, Watch};
use crate::worker::failure::panic_text;
use crate::worker::{Progress, Worker};

/// How long a worker waits for a record at most before it looks around.
const WAIT: Duration = Duration::from_millis(100);

/// What closing a client may take beyond the drain budget.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What a service has done, returned at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Records read.
    pub read: u64,
    /// Records written, dead letters included.
    pub written: u64,
    /// Attempts at records that failed.
    pub failed: u64,
    /// Records written to a dead-letter topic.
    pub dead_lettered: u64,
    /// Records that were gone from the cluster before they could be read.
    pub lost: u64,
}

impl Summary {
    pub(crate) const fn add(&mut self, totals: Totals) {
        self.read += totals.read;
        self.written += totals.written;
        self.failed += totals.failed;
        self.dead_lettered += totals.dead_lettered;
        self.lost += totals.lost;
    }
}

/// Runs a service until shutdown is requested or it cannot go on.
pub(crate) fn run<S: 'static>(
    definition: Arc<Definition<S>>,
    cluster: &Cluster,
    shutdown: Shutdown,
) -> Result<Summary, Error> {
    let health = definition.settings.health.clone().unwrap_or_default();
    // Before anything is waited for: a service that waits for its cluster is not ready.
    let parts = Parts::of(&definition, &health);
    let listener = match definition.settings.http {
        Some(address) => Some(Listener::open(
            address,
            health.clone(),
            crate::metrics::recorder()?,
        )?),
        None => None,
    };
    let Some((topics, limits)) = ready_topics(&definition, cluster, &shutdown)? else {
        parts.remove_from(&health);
        return Ok(Summary::default());
    };
    co_partitioned(&definition, &topics)?;
    let result = run_threads(definition, (cluster, limits), shutdown, &parts, &spawn);
    // Others that share the health go on; a service that has failed leaves the program unready.
    if result.is_ok() {
        parts.remove_from(&health);
    }
    drop(listener);
    result
}

/// What a service says of its readiness. The program may have others beside it.
struct Parts {
    service: Part,
    workers: Vec<Part>,
}

impl Parts {
    fn of<S>(definition: &Definition<S>, health: &Health) -> Self {
        let workers = 0..definition.settings.threads;
        Self {
            service: health.part(&definition.name),
            workers: workers
                .map(|number| health.part(&format!("worker-{number}")))
                .collect(),
        }
    }

    fn remove_from(&self, health: &Health) {
        for part in self.workers.iter().chain([&self.service]) {
            health.remove(part);
        }
    }
}

/// Starts a thread by its name.
type Spawn = dyn Fn(String, Box<dyn FnOnce() + Send>) -> io::Result<()>;

fn spawn(name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    std::thread::Builder::new().name(name).spawn(work).map(drop)
}

/// Starts a thread for each part and waits for their end. One that cannot be started ends those that were.
fn run_threads<S: 'static>(
    definition: Arc<Definition<S>>,
    (cluster, limits): (&Cluster, Limits),
    shutdown: Shutdown,
    parts: &Parts,
    spawn: &Spawn,
) -> Result<Summary, Error> {
    let stop = Shutdown::new();
    let (sender, reports) = channel();
    let (mut threads, mut failed) = (0, None);
    for (number, part) in parts.workers.iter().cloned().enumerate() {
        let thread = Thread {
            number,
            definition: Arc::clone(&definition),
            stop: stop.clone(),
            part,
            limits,
        };
        match thread.start(cluster.clone(), sender.clone(), spawn) {
            Ok(()) => threads += 1,
            Err(error) => {
                failed = Some(error);
                stop.request();
                break;
            }
        }
    }
    drop(sender);
    let watch = Watch {
        service: definition.name.to_string(),
        threads,
        budget: definition.settings.drain_within + CLOSE_WITHIN,
        reports,
        shutdown,
        stop,
        part: parts.service.clone(),
        calls: Calls::new(definition.input_names(), definition.settings.drain_within),
    };
    watch.run(failed)
}

/// One thread of a service.
struct Thread<S> {
    number: usize,
    definition: Arc<Definition<S>>,
    stop: Shutdown,
    part: Part,
    limits: Limits,
}

impl<S: 'static> Thread<S> {
    fn start(self, cluster: Cluster, reports: Sender<Report>, spawn: &Spawn) -> Result<(), Error> {
        let name = format!("{}-{}", self.definition.name, self.number);
        let work = move || {
            let mut totals = Totals::default();
            let work = || self.work(&cluster, &reports, &mut totals);
            let ended = catch_unwind(AssertUnwindSafe(work));
            let (member, result) = ended.unwrap_or_else(|panic| {
                let service = self.definition.name.to_string();
                let reason = panic_text(&*panic);
                (None, Err(Error::WorkerPanicked { service, reason }))
            });
            self.part.set_ready(false);
            // Nobody listens any more once the deadline has passed; then nobody waits for the close either.
            let _ = reports.send(Report::Ended(totals, result));
            drop(member);
            let _ = reports.send(Report::Closed);
        };
        spawn(name.clone(), Box::new(work)).map_err(|source| Error::Thread { name, source })
    }

    /// Drives the worker to its end; returns the client that is still to be closed.
    fn work(
        &self,
        cluster: &Cluster,
        reports: &Sender<Report>,
        totals: &mut Totals,
    ) -> (Option<Member>, Result<(), Error>) {
        let member = match Member::open(cluster, self.settings(cluster)) {
            Ok(member) => member,
            Err(error) => return (None, Err(error)),
        };
        let clock: Arc<dyn Clock + Send + Sync> = Arc::new(SystemClock::new());
        let mut worker = Worker::new(Arc::clone(&self.definition), member, clock, self.number);
        let _ = reports.send(Report::Started(worker.handling()));
        let (mut stopping, mut halted) = (false, false);
        let result = loop {
            if !stopping && self.stop.is_requested() {
                stopping = true;
                worker.stop();
            }
            match worker.step(WAIT) {
                Ok(Progress::Stopped) => break Ok(()),
                Ok(_) => {
                    if halted != worker.halted().is_some() {
                        halted = !halted;
                        self.part.set_reason(worker.halted().map(Error::to_string));
                    }
                    self.part.set_ready(worker.is_ready());
                }
                Err(error) => break Err(error),
            }
        };
        *totals = worker.totals();
        (Some(worker.into_log()), result)
    }

    fn settings(&self, cluster: &Cluster) -> member::Settings {
        let definition = &*self.definition;
        member::Settings {
            group: definition.group.clone(),
            instance: self.instance(cluster),
            topics: definition.input_names(),
            start: definition.settings.start,
            session_timeout: definition.settings.session_timeout,
            max_bytes_in_flight: definition.settings.max_bytes_in_flight,
            limits: self.limits,
        }
    }

    /// The name of a member that keeps its partitions over a restart. Two members of one name would throw each other out of the
    /// group, so several threads have it with their numbers, and a restart finds each of them again.
    fn instance(&self, cluster: &Cluster) -> Option<String> {
        let mut properties = cluster.raw_properties();
        let (_, name) = properties.find(|(name, _)| *name == "group.instance.id")?;
        let is_one = self.definition.settings.threads == 1;
        Some(if is_one {
            name.to_owned()
        } else {
            format!("{name}-{}", self.number)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::codec::{NoKey, Text};
    use crate::context::Context;
    use crate::record::Record;
    use crate::service::Service;
    use crate::testing::eventually;
    use crate::topic::Topic;

    static IN: Topic<(), String> = Topic::new("in", &NoKey, &Text);

    fn definition(threads: usize) -> Arc<Definition<()>> {
        let nothing = |(): &mut (), _: Record<(), String>, _: &mut Context| Ok(());
        let service = Service::new("copier", || ()).input(&IN, nothing);
        Arc::new(service.threads(threads).into_definition().unwrap())
    }

    #[test]
    fn a_thread_that_cannot_be_started_ends_those_that_were() {
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let no_third = move |name: String, work: Box<dyn FnOnce() + Send>| {
            if name == "copier-2" {
                return Err(io::Error::from(io::ErrorKind::OutOfMemory));
            }
            let count = Arc::clone(&count);
            let work = move || {
                work();
                count.fetch_add(1, Ordering::Release);
            };
            spawn(name, Box::new(work))
        };
        let health = Health::new();
        let definition = definition(4);
        let parts = Parts::of(&definition, &health);
        // Nothing listens there: the clients have nobody to talk to, and end all the same.
        let nowhere = Cluster::new("127.0.0.1:1");
        let cluster = (&nowhere, Limits::default());
        let error =
            run_threads(definition, cluster, Shutdown::new(), &parts, &no_third).unwrap_err();
        assert_eq!(error.to_string(), "failed to start thread `copier-2`");
        let missing = health.missing();
        assert_eq!(
            missing.first().map(String::as_str),
            Some("copier (draining)")
        );
        eventually(Duration::from_secs(60), "both threads have ended", || {
            ended.load(Ordering::Acquire) == 2
        });
    }

    #[test]
    fn the_threads_of_a_static_member_have_names_of_their_own() {
        let name = |threads, number| {
            let definition = definition(threads);
            let thread = Thread {
                number,
                definition,
                stop: Shutdown::new(),
                part: Health::new().part("worker"),
                limits: Limits::default(),
            };
            let cluster = Cluster::new("a:1")
                .property("group.instance.id", "reader")
                .unwrap();
            thread.settings(&cluster).instance
        };
        assert_eq!(name(1, 0).as_deref(), Some("reader"));
        assert_eq!(name(2, 0).as_deref(), Some("reader-0"));
        assert_eq!(name(2, 1).as_deref(), Some("reader-1"));
    }
}
