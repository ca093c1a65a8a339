//! `millstream up`: a broker and whole systems on this machine, each service a supervised process.
//!
//! The command resolves what is to run and where; the work is in `crate::up`. With `--brokers` (or `KAFKA_BROKERS`,
//! or the file) it joins that cluster and starts no broker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use millstream_systems::duration;

use crate::Outcome;
use crate::session::Session;
use crate::up::{self, Broker};

/// What to run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  millstream up --for 30s\n  millstream up messages --scale receive=2\n  millstream up montecarlo --scale worker=2\n  millstream up --brokers kafka-1:9092,kafka-2:9092"
)]
pub(crate) struct Args {
    /// The systems: messages, montecarlo, partitions [default: messages]
    #[arg(value_name = "SYSTEM")]
    systems: Vec<String>,
    /// Ends by itself after this time, as in 30s, 5m, 1h30m
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    lasting: Option<Duration>,
    /// Runs so many instances of a service; may be repeated
    #[arg(long, value_name = "SERVICE=NUMBER")]
    scale: Vec<String>,
    /// Where the embedded broker keeps its data
    #[arg(long, value_name = "FOLDER", default_value = "./.millstream")]
    data: PathBuf,
    /// Where the embedded broker listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
    /// Prints the closing summary as JSON, one object a service
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Runs the systems until Ctrl-C, or as long as `--for` says.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let plan = up::plan(&self.systems, &self.scale)?;
        let broker = match &session.common.brokers {
            Some(brokers) => Broker::Elsewhere(brokers.clone()),
            None => Broker::Embedded {
                data: self.data,
                listen: self.listen,
            },
        };
        up::run(plan, broker, &session.common, self.lasting, self.json)
    }
}
