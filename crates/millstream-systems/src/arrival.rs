//! How a service arrives at its cluster: waits until it answers, then sees to its topic.
//!
//! A broker that is not there yet is the ordinary case when everything starts at once, so it is no error: each failed
//! try is logged with the address, and the next comes after a growing pause (fault 13). A topic that is missing is
//! created; one that exists is taken as it is. A cluster that says nothing is asked for many seconds, and a shutdown waits for
//! no answer.

use std::time::Duration;

use millstream::admin::{Admin, TopicInfo};
use millstream::{Cluster, Error, Shutdown, TopicSpec};

/// How long one look for the cluster may take.
const TRY: Duration = Duration::from_secs(1);
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
        let found = shutdown.unless_requested("arrival", move || {
            let admin = Admin::new(&asked)?;
            admin.reach(TRY, |_| false)?;
            find_or_create(&admin, &wanted)
        })?;
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
