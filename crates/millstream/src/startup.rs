//! Before a service runs: the cluster is there, and its topics are as they are declared.
//!
//! A cluster that does not answer is waited for, with exponential backoff and a log line that says what is waited for; only what
//! no waiting can mend is an error. A broker may be reached at its bootstrap address and advertise another one that
//! leads nowhere, which looks like a broker that is away: then the line names the advertised address. A shutdown waits for no
//! answer.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{Admin, Broker, TopicInfo};
use crate::config::Cluster;
use crate::definition::Definition;
use crate::error::{Class, Error, Outcome};
use crate::limits::{self, Limits};
use crate::policy::doubled;
use crate::shutdown::Shutdown;

/// How long one request may take before the wait is logged.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a look at an advertised address may take.
const LOOK: Duration = Duration::from_secs(1);

/// Waits until the cluster answers, then creates and checks the topics and reads what they take; `None` when shutdown came first.
pub(crate) fn ready_topics<S: 'static>(
    definition: &Arc<Definition<S>>,
    cluster: &Cluster,
    shutdown: &Shutdown,
) -> Result<Option<(Vec<TopicInfo>, Limits)>, Error> {
    let admin = Arc::new(Admin::new(cluster)?.patience(PATIENCE));
    let mut attempt = 0;
    loop {
        let (asking, declared) = (Arc::clone(&admin), Arc::clone(definition));
        let ask = move || reach(&asking).and_then(|()| limits::prepare(&asking, &declared));
        let name = format!("{}-start", definition.name);
        let Some(answer) = shutdown.unless_requested(&name, ask)? else {
            return Ok(None);
        };
        let error = match answer {
            Ok(ready) => return Ok(Some(ready)),
            Err(error) if error.is_retriable() => error,
            Err(error) => return Err(error),
        };
        attempt += 1;
        let wait = doubled(Duration::from_millis(250), attempt, Duration::from_secs(10));
        tracing::warn!(
            service = %definition.name,
            brokers = cluster.brokers(),
            wait_ms = wait.as_millis(),
            error = %error,
            "waiting for the cluster"
        );
        if shutdown.wait(wait) {
            return Ok(None);
        }
    }
}

/// Asks the cluster whether it is there, and looks whether any of the addresses it gives to its clients is.
fn reach(admin: &Admin) -> Result<(), Error> {
    let info = admin.reach(LOOK, |_| false)?;
    if info.brokers.is_empty() || info.brokers.iter().any(answers) {
        return Ok(());
    }
    let addresses = info
        .brokers
        .iter()
        .map(|broker| format!("{}:{}", broker.host, broker.port));
    let addresses: Vec<String> = addresses.collect();
    Err(Error::Kafka {
        action: "connect to the cluster".to_owned(),
        reason: format!(
            "it advertises {}, where nothing answers",
            addresses.join(", ")
        ),
        class: Class::Retriable,
        outcome: Outcome::NotApplied,
    })
}

fn answers(broker: &Broker) -> bool {
    let addresses = (broker.host.as_str(), broker.port).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| {
        addresses.any(|address| TcpStream::connect_timeout(&address, LOOK).is_ok())
    })
}

/// Records of equal partition number meet in one state, so every input needs the same number of partitions.
pub(crate) fn co_partitioned<S>(
    definition: &Definition<S>,
    topics: &[TopicInfo],
) -> Result<(), Error> {
    let count = |name: &str| {
        let topic = topics.iter().find(|topic| topic.name == name);
        topic.map_or(0, |topic| {
            i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)
        })
    };
    let mut inputs = definition.inputs.iter().map(|input| &*input.topic);
    let Some(first) = inputs.next() else {
        return Ok(());
    };
    let other = inputs.find(|name| count(name) != count(first));
    other.map_or(Ok(()), |second| {
        Err(Error::NotCoPartitioned {
            service: definition.name.to_string(),
            first: first.to_owned(),
            first_count: count(first),
            second: second.to_owned(),
            second_count: count(second),
        })
    })
}
