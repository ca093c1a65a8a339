//! `millstream montecarlo producer|coordinator|worker|consumer`: one service of the system `montecarlo` in the foreground.
//!
//! The options and the work are the system's; here they get the cluster, the signals and the HTTP listener, and the
//! final figures go to standard output.

use clap::Subcommand;
use millstream_systems::montecarlo::mathematics::Registry;
use millstream_systems::montecarlo::{consumer, coordinator, producer, worker};

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
    /// Requests random integrals of a catalogue at a fixed rate, or the integrals of a file
    Producer(Producer),
    /// Plans each job, divides its waves into tasks, and decides when the job is done
    Coordinator(coordinator::Options),
    /// Computes tasks on all cores, in the consumer group `montecarlo-workers`
    Worker(worker::Options),
    /// Logs every answer, compares it with the exact value, and stores it
    Consumer(Consumer),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: millstream montecarlo producer --rate 5 --count 100")]
struct Producer {
    #[command(flatten)]
    options: producer::Options,
    /// Prints the final figures as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: millstream montecarlo consumer --store answers.csv")]
struct Consumer {
    #[command(flatten)]
    options: consumer::Options,
    /// Prints the final figures as a JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Runs the service until it is done or asked to stop.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let serving = session.serve()?;
        let (cluster, shutdown, health) = (&session.cluster, &serving.shutdown, &serving.health);
        match self.service {
            Service::Producer(producer) => {
                let summary = producer::run(&producer.options, cluster, shutdown, health)?;
                let text = format!(
                    "sent {} requests in {:.1} s",
                    summary.requests, summary.seconds
                );
                told(producer.json, &summary, &text)?;
            }
            Service::Coordinator(options) => {
                coordinator::run(&options, Registry::default(), cluster, shutdown, health)?;
            }
            Service::Worker(options) => {
                worker::run(&options, Registry::default(), cluster, shutdown, health)?;
            }
            Service::Consumer(consumer) => {
                let summary = consumer::run(&consumer.options, cluster, shutdown, health)?;
                let text = format!(
                    "received {} answers: {} converged, {} failed; {} have a known value: {} of them hold it in their 95 % interval, {} are off by more than three half-widths",
                    summary.answers,
                    summary.converged,
                    summary.failed,
                    summary.compared,
                    summary.within_interval,
                    summary.far_off
                );
                told(consumer.json, &summary, &text)?;
            }
        }
        Ok(Outcome::Done)
    }
}

fn told<T: serde::Serialize>(json: bool, summary: &T, text: &str) -> anyhow::Result<()> {
    let mut output = Output::new(json);
    if json {
        output.object(summary)?;
    } else {
        output.line(text)?;
    }
    output.flush()?;
    Ok(())
}
