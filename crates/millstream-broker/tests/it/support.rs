//! The broker under test, and what tests of any client need.

use std::fmt::Display;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millstream_broker::{Config, Server};
use tempfile::TempDir;

/// How long a condition may take to come true before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A broker to test: an embedded one, ended with the value, or the Kafka that the environment names.
pub(crate) struct Broker {
    address: String,
    embedded: Option<(Server, TempDir)>,
}

impl Broker {
    pub(crate) fn start() -> Broker {
        Broker::start_with(|_| {})
    }

    /// With settings of the test's own where it is an embedded one.
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment says which broker the suite runs on"
    )]
    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Broker {
        match std::env::var("KAFKA") {
            Ok(address) => Broker {
                address,
                embedded: None,
            },
            Err(_) => Broker::embedded(change),
        }
    }

    /// An embedded broker, whatever the environment says, with settings of the test's own.
    pub(crate) fn embedded(change: impl FnOnce(&mut Config)) -> Broker {
        let folder = tempfile::tempdir().expect("a folder for the broker");
        let mut config = Config::ephemeral(folder.path());
        change(&mut config);
        let server = Server::start(config).expect("an embedded broker");
        Broker {
            address: server.address().to_string(),
            embedded: Some((server, folder)),
        }
    }

    /// `host:port`, or several of them.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((server, _folder)) = self.embedded.take() {
            let stopped = server.stop();
            if !std::thread::panicking() {
                stopped.expect("the broker stops cleanly");
            }
        }
    }
}

/// A name that no other test and no earlier run has used: the broker may be an old one.
pub(crate) fn fresh(word: impl Display) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "{word}-{}-{count}-{:08x}",
        std::process::id(),
        fastrand::u32(..)
    )
}

/// Asks again and again until there is an answer; fails with what was waited for.
#[expect(
    clippy::disallowed_methods,
    reason = "the deadline of a test is on the clock of the machine"
)]
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
