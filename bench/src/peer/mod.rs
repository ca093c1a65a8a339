//! The peers written in Rust, each the whole of a process: `millstream-bench peer library|client|by-hand|flush`.
//!
//! All copy readings from one topic to another until they are asked to end (SIGTERM), with the same
//! settings; `streams/src/Copy.java` takes the same arguments.

mod by_hand;
mod client;
mod library;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;
use signal_hook::consts::SIGTERM;

use crate::client::Sender;

/// Which way of writing it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Way {
    /// The library.
    Library,
    /// A loop on Millstream's own client.
    Client,
    /// A loop on rdkafka.
    ByHand,
    /// The same loop with rdkafka's own `flush`.
    Flush,
}

/// The arguments of a peer.
#[derive(Debug, clap::Args)]
pub(crate) struct Orders {
    way: Way,
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    input: String,
    #[arg(long)]
    output: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    threads: usize,
    #[arg(long)]
    linger_ms: u64,
    #[arg(long)]
    commit_ms: u64,
}

impl Orders {
    fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    fn commit_every(&self) -> Duration {
        Duration::from_millis(self.commit_ms)
    }
}

/// Copies until it is asked to end.
pub(crate) fn run(orders: &Orders) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&stop))?;
    match orders.way {
        Way::Library => library::run(orders, stop),
        Way::Client => client::run(orders, &stop),
        Way::ByHand => by_hand::run(orders, &stop, Sender::drain),
        Way::Flush => by_hand::run(orders, &stop, Sender::flush),
    }
}
