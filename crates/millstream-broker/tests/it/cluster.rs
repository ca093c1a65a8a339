//! The cluster under test: an embedded broker of the test's own, or Apache Kafka at `KAFKA=host:port`.

use millstream_broker::{Config, Server};
use tempfile::TempDir;

use crate::raw::Client;

/// A cluster that lives as long as the value.
pub(crate) struct Cluster {
    pub(crate) address: String,
    _embedded: Option<(Server, TempDir)>,
}

impl Cluster {
    /// The cluster that the test is run on.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the tests are configured"
    )]
    pub(crate) fn start() -> Cluster {
        match std::env::var("KAFKA") {
            Ok(address) => Cluster {
                address,
                _embedded: None,
            },
            Err(_) => Cluster::embedded(|_| {}),
        }
    }

    /// An embedded broker, whatever the tests are run on.
    pub(crate) fn embedded(configure: impl FnOnce(&mut Config)) -> Cluster {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::ephemeral(data.path());
        configure(&mut config);
        let server = Server::start(config).unwrap();
        Cluster {
            address: server.address().to_string(),
            _embedded: Some((server, data)),
        }
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// A connection and a topic of one partition that no other test uses.
    pub(crate) fn with_topic(&self, name: &str, partitions: i32) -> (Client, String) {
        let name = unique(name);
        let mut client = self.connect();
        client.create_topic(&name, partitions, &[]);
        (client, name)
    }
}

/// A name that no other test and no earlier run uses.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple())
}

/// Waits until `condition` gives a value; the deadline is for failures only.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::in_seconds(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(!deadline.passed(), "waited in vain for: {what}");
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
}

/// A point in time for tests that wait.
pub(crate) struct Deadline(std::time::Instant);

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "the clock of the tests")]
    pub(crate) fn in_seconds(seconds: u64) -> Deadline {
        Deadline(std::time::Instant::now() + std::time::Duration::from_secs(seconds))
    }

    #[expect(clippy::disallowed_methods, reason = "the clock of the tests")]
    pub(crate) fn passed(&self) -> bool {
        std::time::Instant::now() >= self.0
    }
}
