//! `millstream-bench`: Millstream beside its peers, measured in one run. `scripts/bench` builds and starts it.
//!
//! Parses, starts the brokers, runs the suites that were asked for, prints the report. Progress goes to the
//! standard error, the report to the standard output. What each row means is in `docs/performance.md`.

mod broker;
mod brokers;
mod client;
mod clock;
mod copy;
mod crew;
mod growth;
mod latency;
mod peer;
mod promises;
mod reading;
mod report;
mod scale;
mod usage;
mod workers;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::crew::Crew;
use crate::report::Report;

/// Millstream beside Apache Kafka, Kafka Streams and a loop by hand, in one run.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Args {
    #[command(subcommand)]
    peer: Option<Role>,
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    suite: Suite,
    /// A tenth of the records and one round: is everything in order? Its figures say little.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line instead of tables.
    #[arg(long)]
    json: bool,
    /// The broker under the suites `copy` and `latency`.
    #[arg(long, value_enum, default_value = "kafka")]
    on: On,
    /// Only these in the suites `copy` and `latency`.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["nobody", "library", "client", "by-hand", "flush", "streams"])]
    peers: Vec<copy::Peer>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Millstream's broker and Apache Kafka with the same client.
    Broker,
    /// The throughput of a copy service on the library, by hand and on Kafka Streams.
    Copy,
    /// The latency through the same services.
    Latency,
    /// Integrals on one worker and on two, and what the way over the broker costs.
    Workers,
    /// How the cost of the broker grows with partitions, connections, groups, bytes a record and segments.
    Growth,
    /// A transactional copy on Millstream's broker and on Apache Kafka.
    Transactions,
    /// Millstream's broker with TLS and without.
    Tls,
    /// Everything.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// Apache Kafka.
    Kafka,
    /// Millstream's own broker.
    Millstream,
}

#[derive(Subcommand)]
enum Role {
    /// Copies readings; a process of the suites `copy` and `latency`.
    #[command(hide = true)]
    Peer(peer::Orders),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.peer {
        Some(Role::Peer(orders)) => peer::run(orders),
        None => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let crew = Crew::guarded()?;
    let mut report = Report::default();
    let wants = |suite| args.suite == suite || args.suite == Suite::All;
    if wants(Suite::Broker) {
        broker::run(&crew, &broker_plan(args.quick), &mut report)?;
    }
    if wants(Suite::Copy) || wants(Suite::Latency) {
        let on = match args.on {
            On::Kafka => brokers::start_kafka(&crew)?,
            On::Millstream => brokers::start_millstream(&crew)?,
        };
        let plan = copy_plan(args);
        if wants(Suite::Copy) {
            copy::run(&crew, &on, &plan, &mut report)?;
        }
        if wants(Suite::Latency) {
            copy::latencies(&crew, &on, &plan, &mut report)?;
        }
    }
    if wants(Suite::Workers) {
        workers::run(&crew, &workers_plan(args.quick), &mut report)?;
    }
    if wants(Suite::Transactions) {
        promises::transactions(&crew, args.quick, &mut report)?;
    }
    if wants(Suite::Tls) {
        promises::tls(&crew, args.quick, &mut report)?;
    }
    if wants(Suite::Growth) {
        growth::run(&crew, args.quick, &mut report)?;
    }
    let targets: Vec<_> = broker::targets()
        .into_iter()
        .chain(copy::targets())
        .chain(workers::targets())
        .chain(promises::targets())
        .chain(growth::targets())
        .collect();
    if args.json {
        report.print_json(&targets)?;
    } else {
        report.print(&targets);
    }
    Ok(())
}

fn broker_plan(quick: bool) -> broker::Plan {
    let full = !quick;
    broker::Plan {
        records: if full { 2_000_000 } else { 200_000 },
        warm_up: if full { 2_000_000 } else { 200_000 },
        rounds: if full { 3 } else { 1 },
        starts: if full { 5 } else { 1 },
        latency: Duration::from_secs(if full { 5 } else { 2 }),
    }
}

fn copy_plan(args: &Args) -> copy::Plan {
    let full = !args.quick;
    copy::Plan {
        records: if full { 6_000_000 } else { 600_000 },
        rounds: if full { 3 } else { 1 },
        latency_rounds: if full { 2 } else { 1 },
        latency: Duration::from_secs(if full { 5 } else { 1 }),
        warm_up: Duration::from_secs(if full { 2 } else { 1 }),
        peers: args.peers.clone(),
    }
}

fn workers_plan(quick: bool) -> workers::Plan {
    let full = !quick;
    workers::Plan {
        samples: if full { 4_000_000_000 } else { 400_000_000 },
        rounds: if full { 3 } else { 1 },
        asked: if full { 200 } else { 20 },
    }
}
