//! The broker under test as the raw client sees it: connections and topics of a test's own.

use std::sync::Arc;

use millstream_broker::Config;

pub(crate) use crate::support::{eventually, fresh as unique};

use crate::raw::Client;
use crate::support::Broker;

/// A broker that lives as long as the value.
pub(crate) struct Cluster {
    pub(crate) address: String,
    broker: Arc<Broker>,
}

impl Cluster {
    /// The broker that the suite is run on; an embedded one where that is a cluster of several: there each partition and each
    /// group has a broker of its own, and a connection alone does not find it.
    pub(crate) fn start() -> Cluster {
        Cluster::start_with(|_| {})
    }

    /// The same, with these settings where it is an embedded one.
    pub(crate) fn start_with(configure: impl Fn(&mut Config)) -> Cluster {
        let broker = Broker::start_with(&configure);
        if broker.address().contains(',') {
            return Cluster::embedded(&configure);
        }
        Cluster::of(broker)
    }

    /// An embedded broker, whatever the suite is run on.
    pub(crate) fn embedded(configure: impl FnOnce(&mut Config)) -> Cluster {
        Cluster::of(Broker::embedded(configure))
    }

    fn of(broker: Broker) -> Cluster {
        Cluster {
            address: broker.address().to_owned(),
            broker: Arc::new(broker),
        }
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        Client::keeping(&self.address, Some(Arc::clone(&self.broker)))
    }

    /// A connection and a topic of one partition that no other test uses.
    pub(crate) fn with_topic(&self, name: &str, partitions: i32) -> (Client, String) {
        let name = unique(name);
        let mut client = self.connect();
        client.create_topic(&name, partitions, &[]);
        (client, name)
    }
}

/// A point in time for tests that wait.
pub(crate) struct Deadline(std::time::Instant);

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "the clock of the tests")]
    pub(crate) fn after(time: std::time::Duration) -> Deadline {
        Deadline(std::time::Instant::now() + time)
    }

    pub(crate) fn in_seconds(seconds: u64) -> Deadline {
        Deadline::after(std::time::Duration::from_secs(seconds))
    }

    #[expect(clippy::disallowed_methods, reason = "the clock of the tests")]
    pub(crate) fn passed(&self) -> bool {
        std::time::Instant::now() >= self.0
    }
}
