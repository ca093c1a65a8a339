//! `millstream broker`: the embedded broker alone, in the foreground.
//!
//! Prints `listening on ADDRESS` for each listener on standard output when it accepts, so that a script can read the port it took.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use millstream_broker::{ClientCertificates, Config, Listener, Server, Tls, User};
use millstream_systems::number;

use crate::Outcome;
use crate::life;
use crate::limited_lines::LimitedLines;
use crate::listen::{self, Named, Place};
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
    /// Where to listen; port 0 takes a free one. May be repeated, each with a name. PROTOCOL is plaintext (default), ssl, sasl_plaintext or
    /// sasl_ssl
    #[arg(long, value_name = "[NAME=][PROTOCOL://]HOST:PORT", default_value = "127.0.0.1:9092", value_parser = listen::listen)]
    listen: Vec<Named<Place>>,
    /// The address that clients of this --listen connect to. Default: the one it listens on
    #[arg(long, value_name = "[NAME=]HOST:PORT", value_parser = listen::advertised)]
    advertised: Vec<Named<(String, u16)>>,
    #[command(flatten)]
    security: Security,
    /// Where the data is kept
    #[arg(long, value_name = "FOLDER", default_value = "./.millstream")]
    data: PathBuf,
    /// Syncs to disk before a record is acknowledged, so that a power cut loses nothing
    #[arg(long)]
    fsync: bool,
    /// Partitions of a topic that is created without a number
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = number::whole(1..=i32::MAX))]
    partitions: i32,
    /// How long the first member of a group waits for others, in milliseconds, again for each that comes meanwhile. Kafka: 3000
    #[arg(long, value_name = "MS", default_value_t = Config::new("").group_initial_rebalance_delay_ms, value_parser = number::whole(0..=i32::MAX))]
    rebalance_delay: i32,
    /// Does not create a topic when a client asks for one that does not exist
    #[arg(long)]
    no_auto_create: bool,
}

/// Certificates and users.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Security")]
struct Security {
    /// The certificate of listeners with TLS, in PEM, with those that lead to its authority
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Clients must show a certificate from an authority in this file
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_client_ca: Option<PathBuf>,
    /// A client may also show none
    #[arg(long, requires = "tls_client_ca")]
    tls_client_optional: bool,
    /// Users who may log in at listeners with SASL: a line NAME:PASSWORD each. `kafka-configs` adds others later
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// A user who may do everything; all others may then do only what ACLs allow. May be repeated
    #[arg(long, value_name = "NAME")]
    super_user: Vec<String>,
    /// Listens beyond loopback without logins and client certificates: whoever reaches the port may do everything
    #[arg(long)]
    allow_anyone: bool,
}

impl Security {
    fn tls(&self) -> Option<Tls> {
        let mut tls = Tls::new(self.tls_certificate.as_ref()?, self.tls_key.as_ref()?);
        tls.clients = match self.tls_client_ca.clone() {
            None => ClientCertificates::None,
            Some(path) if self.tls_client_optional => ClientCertificates::Requested(path),
            Some(path) => ClientCertificates::Required(path),
        };
        Some(tls)
    }

    fn users(&self) -> anyhow::Result<Vec<User>> {
        let Some(path) = &self.users else {
            return Ok(Vec::new());
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("failed to read the users of `{}`", path.display()))?;
        let lines = (1..).zip(text.lines());
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines
            .map(|(number, line)| match line.split_once(':') {
                Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                    Ok(User::new(name, password))
                }
                // Without the line: it may be a password.
                _ => bail!("line {number} of `{}` is not NAME:PASSWORD", path.display()),
            })
            .collect()
    }
}

impl Args {
    /// The broker that was asked for.
    fn config(self) -> anyhow::Result<Config> {
        let mut config = Config::new(&self.data);
        config.listeners =
            listen::listeners(self.listen, self.security.tls().as_ref(), self.advertised)
                .map_err(anyhow::Error::msg)?;
        config.users = self.security.users()?;
        config.allow_anyone = self.security.allow_anyone;
        config.super_users = self.security.super_user;
        config.fsync = self.fsync;
        config.num_partitions = self.partitions;
        config.group_initial_rebalance_delay_ms = self.rebalance_delay;
        config.auto_create_topics = !self.no_auto_create;
        Ok(config)
    }

    /// Serves until asked to stop.
    pub(crate) fn run(self, logs: &Logs) -> anyhow::Result<Outcome> {
        let data = self.data.clone();
        let config = self.config()?;
        let shutdown = life::begin()?;
        let lines = LimitedLines::of(logs);
        let server = Server::start(config)?;
        let mut output = Output::new(false);
        for (name, address) in server.addresses() {
            match name.as_str() {
                Listener::DEFAULT_NAME => output.line(format_args!("listening on {address}"))?,
                name => output.line(format_args!("listening on {name}={address}"))?,
            }
            tracing::info!(name, %address, data = %data.display(), "broker started");
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn delay_of(arguments: &[&str]) -> Result<i32, clap::error::ErrorKind> {
        let line = Line::try_parse_from([&["broker"], arguments].concat());
        let config = line.map_err(|error| error.kind())?.args.config().unwrap();
        Ok(config.group_initial_rebalance_delay_ms)
    }

    #[test]
    fn the_rebalance_delay_is_set_in_milliseconds() {
        assert_eq!(delay_of(&[]), Ok(30));
        assert_eq!(delay_of(&["--rebalance-delay", "3000"]), Ok(3000));
        assert_eq!(delay_of(&["--rebalance-delay", "0"]), Ok(0));
        let refused = Err(clap::error::ErrorKind::ValueValidation);
        assert_eq!(delay_of(&["--rebalance-delay=-1"]), refused);
    }
}
