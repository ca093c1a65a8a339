//! How a service arrives at its cluster: waits until it answers, then sees to its topic.
//!
//! A broker that is not there yet is the ordinary case when everything starts at once, so it is no error: each failed
//! try is logged with the address, and the next comes after a growing pause (fault 13). A topic that is missing is
//! created; one that exists is taken as it is. A cluster that says nothing is asked for many seconds, and a shutdown waits for
//! no answer.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tracing::dispatcher;

use millstream::admin::{Admin, TopicInfo};
use millstream::{Cluster, Error, Shutdown, TopicSpec};

/// How long one look for the cluster may take.
const TRY: Duration = Duration::from_secs(1);
/// How often the shutdown is looked for while the cluster is asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The number of partitions of the topic, which is created as `spec` says if it is missing; `None` when `shutdown` was
/// requested first.
///
/// # Errors
/// The settings or the name are refused, or the cluster refuses to create the topic.
pub(crate) fn topic(
    cluster: &Cluster,
    spec: &TopicSpec,
    shutdown: &Shutdown,
) -> Result<Option<i32>, Error> {
    spec.validate()?;
    let mut pause = FIRST_PAUSE;
    while !shutdown.is_requested() {
        let (asked, wanted) = (cluster.clone(), spec.clone());
        let found = unless_requested(shutdown, move || {
            let admin = Admin::new(&asked)?;
            admin.reach(TRY, |_| false)?;
            find_or_create(&admin, &wanted)
        });
        let Some(found) = found else {
            return Ok(None);
        };
        match found {
            Ok(found) => return Ok(i32::try_from(found.partitions.len()).ok()),
            Err(error) if error.is_retriable() => {
                tracing::warn!(brokers = cluster.brokers(), topic = spec.name, %error, "waiting for the cluster");
                shutdown.wait(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Does `work` on a thread of its own; `None` when the shutdown is requested first, and then nobody waits for it any longer.
pub(crate) fn unless_requested<T: Send + 'static>(
    shutdown: &Shutdown,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Option<Result<T, Error>> {
    let (sender, answer) = channel();
    // Whoever listens to this thread's log hears of the work.
    let dispatch = dispatcher::get_default(Clone::clone);
    let work = move || {
        // Nobody wants the answer after a shutdown.
        dispatcher::with_default(&dispatch, || drop(sender.send(work())));
    };
    let name = "arrival";
    if let Err(source) = thread::Builder::new().name(name.to_owned()).spawn(work) {
        return Some(Err(Error::Thread {
            service: name.to_owned(),
            name: name.to_owned(),
            source,
        }));
    }
    loop {
        match answer.recv_timeout(LOOK_EVERY) {
            Ok(answer) => return Some(answer),
            Err(RecvTimeoutError::Timeout) if shutdown.is_requested() => return None,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Some(Err(Error::WorkerPanicked {
                    service: name.to_owned(),
                    reason: "while it asked the cluster for its topics".to_owned(),
                }));
            }
        }
    }
}

fn find_or_create(admin: &Admin, spec: &TopicSpec) -> Result<TopicInfo, Error> {
    match admin.topic(&spec.name) {
        Err(Error::UnknownTopic { .. }) => {}
        found => return found,
    }
    match admin.create(spec) {
        Ok(created) => {
            tracing::info!(
                topic = spec.name,
                partitions = created.partitions.len(),
                "topic created"
            );
            Ok(created)
        }
        // Another service was faster: what it made is as good, once the cluster shows it.
        Err(Error::TopicExists { .. }) => {
            let mut found = admin.ensure(&[TopicSpec::named(&spec.name)])?;
            found.pop().ok_or_else(|| Error::UnknownTopic {
                topic: spec.name.clone(),
            })
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_does_not_wait_for_the_answer_of_a_silent_cluster() {
        let (silent, answer) = channel::<()>();
        let shutdown = Shutdown::new();
        let asked = shutdown.clone();
        let outcome = unless_requested(&shutdown, move || {
            asked.request();
            Ok(answer.recv())
        });
        assert!(outcome.is_none(), "it was answered");
        drop(silent);
    }
}
