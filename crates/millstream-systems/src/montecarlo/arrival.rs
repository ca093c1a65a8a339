//! How a service of this system arrives at its cluster: waits until it answers, then sees to all five topics.
//!
//! Whoever comes first creates them; one that exists is taken as it is. A broker that will not compact the results is asked
//! again without.

use std::time::Duration;

use millstream::admin::{Admin, TopicInfo};
use millstream::{Cluster, Error, Shutdown, TopicSpec};

use super::topics::Topics;

/// How long one look for the cluster may take.
const TRY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The number of partitions of the topic of tasks; `None` when `shutdown` was requested first.
///
/// # Errors
/// The settings or a name are refused, or the cluster refuses to create a topic.
pub fn arrive(
    topics: &Topics,
    cluster: &Cluster,
    shutdown: &Shutdown,
) -> Result<Option<u16>, Error> {
    let mut pause = FIRST_PAUSE;
    while !shutdown.is_requested() {
        let (wanted, asked) = (topics.clone(), cluster.clone());
        let look = move || look(&wanted, &asked, TRY, |_| false);
        let Some(found) = shutdown.unless_requested("arrival", look)? else {
            return Ok(None);
        };
        match found {
            Ok(partitions) => return Ok(Some(partitions)),
            Err(error) if error.is_retriable() => {
                tracing::warn!(brokers = cluster.brokers(), %error, "waiting for the cluster");
                shutdown.wait(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// As [`arrive`], for at most this long, trying again as long as `again` says so.
///
/// # Errors
/// As there, or the cluster does not answer.
pub fn look(
    topics: &Topics,
    cluster: &Cluster,
    within: Duration,
    again: impl FnMut(&Error) -> bool,
) -> Result<u16, Error> {
    let admin = Admin::new(cluster)?;
    admin.reach(within, again)?;
    let mut tasks = 1;
    for (spec, cleanup) in topics.specs() {
        let found = find_or_create(&admin, &spec, cleanup)?;
        if spec.name == topics.tasks.name() {
            tasks = u16::try_from(found.partitions.len()).unwrap_or(u16::MAX);
        }
    }
    Ok(tasks)
}

fn find_or_create(
    admin: &Admin,
    spec: &TopicSpec,
    cleanup: Option<&str>,
) -> Result<TopicInfo, Error> {
    match admin.topic(&spec.name) {
        Err(Error::UnknownTopic { .. }) => {}
        found => return found,
    }
    let created = match cleanup {
        None => admin.create(spec),
        Some(policy) => match admin.create_with(spec, &[("cleanup.policy", policy)]) {
            Err(Error::TopicExists { .. }) => return shown(admin, spec),
            Err(error) if !error.is_retriable() => {
                tracing::debug!(topic = spec.name, %error, "topic not created with its cleanup policy");
                admin.create(spec)
            }
            created => created,
        },
    };
    match created {
        Ok(created) => {
            tracing::info!(
                topic = spec.name,
                partitions = created.partitions.len(),
                "topic created"
            );
            Ok(created)
        }
        // Another service was faster: what it made is as good.
        Err(Error::TopicExists { .. }) => shown(admin, spec),
        Err(error) => Err(error),
    }
}

/// A topic that somebody has just created: waited for until the cluster shows it.
fn shown(admin: &Admin, spec: &TopicSpec) -> Result<TopicInfo, Error> {
    let mut found = admin.ensure(&[TopicSpec::named(&spec.name)])?;
    found.pop().ok_or_else(|| Error::UnknownTopic {
        topic: spec.name.clone(),
    })
}
