//! Administration against a real broker: every call, and every call with names and values that are not there.

mod acls;
mod configs;
mod groups;
mod offsets;
mod topics;
mod transactions;

use std::time::Duration;

use millstream_client::admin::{Admin, Each};
use millstream_client::{Config, Error};

use crate::support::Broker;

fn admin(broker: &Broker) -> Admin {
    Admin::new(&broker.config()).unwrap()
}

/// A client of a cluster that is away, which waits for 200 ms.
fn away() -> Admin {
    let config = Config::new("127.0.0.1:1").unwrap();
    let config = config.set("default.api.timeout.ms", "200").unwrap();
    Admin::new(&config).unwrap()
}

/// What came of the one thing that was asked for.
fn only<K: Ord, V>(answers: Result<Each<K, V>, Error>) -> Result<V, Error> {
    let mut answers = answers.unwrap();
    let (_, result) = answers.pop_first().unwrap();
    assert_eq!(answers.len(), 0);
    result
}

/// The text of the error that came of the one thing that was asked for.
fn refusal<K: Ord, V: std::fmt::Debug>(answers: Result<Each<K, V>, Error>) -> String {
    only(answers).unwrap_err().to_string()
}

/// Brokers know of a change a moment after the controller.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("never happened: {what}");
}
