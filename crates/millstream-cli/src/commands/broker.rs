//! `millstream broker`: the embedded broker alone, in the foreground.
//!
//! Prints `listening on ADDRESS` on standard output when it accepts, so that a script can read the port it took.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use millstream_broker::{Config, Server};

use crate::Outcome;
use crate::life;
use crate::listen;
use crate::output::Output;

/// Where it listens and keeps its data.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: millstream broker --data /var/lib/millstream --listen 0.0.0.0:9092 --advertised kafka.example.org:9092"
)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_parser = listen::address)]
    listen: SocketAddr,
    /// The address that clients connect to. Default: the one of --listen
    #[arg(long, value_name = "HOST:PORT", value_parser = advertised)]
    advertised: Option<(String, u16)>,
    /// Where the data is kept
    #[arg(long, value_name = "FOLDER", default_value = "./.millstream")]
    data: PathBuf,
    /// Syncs to disk before a record is acknowledged, so that a power cut loses nothing
    #[arg(long)]
    fsync: bool,
    /// Partitions of a topic that is created without a number
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Does not create a topic when a client asks for one that does not exist
    #[arg(long)]
    no_auto_create: bool,
}

impl Args {
    /// Serves until asked to stop.
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        if self.listen.ip().is_unspecified() && self.advertised.is_none() {
            bail!(
                "--listen {} accepts connections at every address of this machine, but clients need one to connect to; add --advertised HOST:PORT",
                self.listen
            );
        }
        let mut config = Config::new(&self.data);
        config.listen = self.listen;
        config.advertised = self.advertised;
        config.fsync = self.fsync;
        config.num_partitions = self.partitions;
        config.auto_create_topics = !self.no_auto_create;
        let shutdown = life::begin()?;
        let server = Server::start(config)?;
        let mut output = Output::new(false);
        output.line(format_args!("listening on {}", server.address()))?;
        output.flush()?;
        tracing::info!(address = %server.address(), data = %self.data.display(), "broker started");
        life::wait_for_end(&shutdown);
        tracing::info!("broker stopping");
        server.stop()?;
        Ok(Outcome::Done)
    }
}

fn advertised(text: &str) -> Result<(String, u16), String> {
    let parsed = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match parsed {
        Some((host, port)) if !host.is_empty() && port > 0 => Ok((host.to_owned(), port)),
        _ => Err("write HOST:PORT, as in kafka.example.org:9092".to_owned()),
    }
}
