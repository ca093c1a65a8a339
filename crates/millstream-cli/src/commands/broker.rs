//! `millstream broker`: the embedded broker alone, in the foreground.
//!
//! Prints `listening on ADDRESS` for each listener on standard output when it accepts, so that a script can read the port it took.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use millstream_broker::{Config, Listener, Server};
use millstream_systems::number;

use crate::Outcome;
use crate::life;
use crate::limited_lines::LimitedLines;
use crate::listen::{self, Named};
use crate::output::Output;
use crate::telemetry::Logs;

/// How often it is looked whether counts of repeated lines are due.
const COUNTS_EVERY: Duration = Duration::from_secs(1);

/// Where it listens and keeps its data.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: millstream broker --data /var/lib/millstream --listen 0.0.0.0:9092 --advertised kafka.example.org:9092"
)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one. May be repeated, each with a name
    #[arg(long, value_name = "[NAME=]HOST:PORT", default_value = "127.0.0.1:9092", value_parser = listen::listen)]
    listen: Vec<Named<SocketAddr>>,
    /// The address that clients of this --listen connect to. Default: the one it listens on
    #[arg(long, value_name = "[NAME=]HOST:PORT", value_parser = listen::advertised)]
    advertised: Vec<Named<(String, u16)>>,
    /// Where the data is kept
    #[arg(long, value_name = "FOLDER", default_value = "./.millstream")]
    data: PathBuf,
    /// Syncs to disk before a record is acknowledged, so that a power cut loses nothing
    #[arg(long)]
    fsync: bool,
    /// Partitions of a topic that is created without a number
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = number::whole(1..=i32::MAX))]
    partitions: i32,
    /// Does not create a topic when a client asks for one that does not exist
    #[arg(long)]
    no_auto_create: bool,
}

impl Args {
    /// Serves until asked to stop.
    pub(crate) fn run(self, logs: &Logs) -> anyhow::Result<Outcome> {
        let mut config = Config::new(&self.data);
        config.listeners =
            listen::listeners(self.listen, self.advertised).map_err(anyhow::Error::msg)?;
        config.fsync = self.fsync;
        config.num_partitions = self.partitions;
        config.auto_create_topics = !self.no_auto_create;
        let shutdown = life::begin()?;
        let lines = LimitedLines::of(logs);
        let server = Server::start(config)?;
        let mut output = Output::new(false);
        for (name, address) in server.addresses() {
            match name.as_str() {
                Listener::DEFAULT_NAME => output.line(format_args!("listening on {address}"))?,
                name => output.line(format_args!("listening on {name}={address}"))?,
            }
            tracing::info!(name, %address, data = %self.data.display(), "broker started");
        }
        output.flush()?;
        while !shutdown.wait(COUNTS_EVERY) {
            lines.print_counts(false);
        }
        tracing::info!("broker stopping");
        let stopped = server.stop();
        lines.print_counts(true);
        stopped?;
        Ok(Outcome::Done)
    }
}
