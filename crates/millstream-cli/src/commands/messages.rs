//! `millstream messages send|receive`: one service of the system `messages` in the foreground.
//!
//! The options and the work are the system's; here they get the cluster, the signals and the HTTP listener, and the
//! final figures go to standard output.

use clap::Subcommand;
use millstream_systems::messages::{receive, send};

use crate::Outcome;
use crate::output::Output;
use crate::session::Session;

/// Which service.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, Subcommand)]
enum Service {
    /// Sends a message every 100 ms. Exit code 1 if any was not delivered
    Send(Send),
    /// Receives messages in a consumer group and logs the latency of each
    Receive(Receive),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: millstream messages send --interval-ms 0 --count 100000")]
struct Send {
    #[command(flatten)]
    options: send::Options,
    /// Prints the final statistics as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: millstream messages receive --count 10")]
struct Receive {
    #[command(flatten)]
    options: receive::Options,
    /// Prints the final statistics as a JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Runs the service until it is done or asked to stop.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        match self.service {
            Service::Send(send) => send.run(session),
            Service::Receive(receive) => receive.run(session),
        }
    }
}

impl Send {
    fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let serving = session.serve()?;
        let statistics = send::run(
            &self.options,
            &session.cluster,
            &serving.shutdown,
            &serving.health,
        )?;
        let mut output = Output::new(self.json);
        if self.json {
            output.object(&statistics)?;
        } else {
            output.line(format_args!(
                "delivered {} failed {} failure rate {:.4} messages/s {:.1}",
                statistics.delivered,
                statistics.failed,
                statistics.failure_rate,
                statistics.messages_per_second
            ))?;
        }
        output.flush()?;
        Ok(if statistics.failed == 0 {
            Outcome::Done
        } else {
            Outcome::Negative
        })
    }
}

impl Receive {
    fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let serving = session.serve()?;
        let statistics = receive::run(
            &self.options,
            &session.cluster,
            &serving.shutdown,
            &serving.health,
        )?;
        let mut output = Output::new(self.json);
        if self.json {
            output.object(&statistics)?;
        } else {
            output.line(format_args!(
                "received {} messages/s {:.1} latency p50 {:.1} ms p99 {:.1} ms",
                statistics.total,
                statistics.messages_per_second,
                statistics.latency_p50_ms,
                statistics.latency_p99_ms
            ))?;
        }
        output.flush()?;
        Ok(Outcome::Done)
    }
}
