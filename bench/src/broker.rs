//! The suite `broker`: Millstream's broker beside Apache Kafka, asked by the same client process.
//!
//! Both run all the time; what is measured alternates between them, round by round, so that a drift of the
//! machine hits both. Each round has fresh topics, and its first one, the warm-up, counts for nothing.

use std::time::Duration;

use anyhow::Result;

use crate::brokers::{self, Broker, KAFKA, MILLSTREAM};
use crate::client::{Topics, consume, produce};
use crate::clock::{Clock, pause};
use crate::crew::Crew;
use crate::latency::{self, Pace, Path};
use crate::report::{Bound, Report, Target};
use crate::{scale, usage};

const SUITE: &str = "broker";
/// The partitions of the topics that are written and read.
const PARTITIONS: [i32; 2] = [1, 4];
/// The rates at which latency is measured, in records a second.
const RATES: [u32; 2] = [1_000, 10_000];

/// How much is done.
pub(crate) struct Plan {
    /// Records a round and broker.
    pub(crate) records: u64,
    /// Records of the warm-up.
    pub(crate) warm_up: u64,
    /// Rounds.
    pub(crate) rounds: u32,
    /// Starts from an empty folder of Millstream's broker; Kafka's is taken once.
    pub(crate) starts: u32,
    /// How long each latency is measured.
    pub(crate) latency: Duration,
}

/// Runs the suite.
pub(crate) fn run(crew: &Crew, plan: &Plan, report: &mut Report) -> Result<()> {
    for _ in 1..plan.starts {
        let started = brokers::start_millstream(crew)?;
        report_start(&started, report)?;
    }
    let both = [
        brokers::start_millstream(crew)?,
        brokers::start_kafka(crew)?,
    ];
    for broker in &both {
        report_start(broker, report)?;
    }
    for broker in &both {
        eprintln!("broker: warming up {}", broker.name);
        let topics = Topics::new(&broker.address)?;
        through(&topics, broker, 4, plan.warm_up)?;
    }
    for round in 1..=plan.rounds {
        for partitions in PARTITIONS {
            for broker in &both {
                eprintln!(
                    "broker: round {round}, {} on {partitions} partitions",
                    broker.name
                );
                throughput(broker, partitions, plan.records, report)?;
            }
        }
    }
    for broker in &both {
        let memory = usage::memory(broker.pid)?;
        report.add(
            SUITE,
            "most memory under load",
            broker.name,
            "MiB",
            memory.peak,
        );
    }
    for round in 1..=plan.rounds {
        for rate in RATES {
            for broker in &both {
                eprintln!("broker: round {round}, {} at {rate} records/s", broker.name);
                ping(broker, rate, plan.latency, report)?;
            }
        }
    }
    for broker in &both {
        scale::connections(broker, SUITE, report)?;
    }
    drop(both);
    scale::partitions(crew, SUITE, report)
}

/// What the suite must reach, as the first issue sets it.
pub(crate) fn targets() -> Vec<Target> {
    let ratio = |row: String, bound: Bound| Target {
        suite: SUITE,
        row,
        peer: MILLSTREAM,
        by: Some(KAFKA),
        bound,
    };
    let own = |row: &str, most: f64| Target {
        suite: SUITE,
        row: row.to_owned(),
        peer: MILLSTREAM,
        by: None,
        bound: Bound::AtMost(most),
    };
    let mut targets = Vec::new();
    for partitions in PARTITIONS {
        targets.push(ratio(row("produced", partitions), Bound::AtLeast(1.0)));
        targets.push(ratio(row("consumed", partitions), Bound::AtLeast(1.0)));
        targets.push(ratio(row("processor time", partitions), Bound::AtMost(0.5)));
    }
    for rate in RATES {
        targets.push(ratio(format!("p99 at {rate}/s"), Bound::AtMost(0.5)));
    }
    targets.push(own("ready from an empty folder", 100.0));
    targets.push(own("memory when idle", 30.0));
    targets.push(own("most memory under load", 100.0));
    targets.extend(scale::targets(SUITE));
    targets
}

fn row(what: &str, partitions: i32) -> String {
    match partitions {
        1 => format!("{what}, 1 partition"),
        _ => format!("{what}, {partitions} partitions"),
    }
}

fn report_start(broker: &Broker, report: &mut Report) -> Result<()> {
    let ready = broker.ready.as_secs_f64() * 1000.0;
    report.add(
        SUITE,
        "ready from an empty folder",
        broker.name,
        "ms",
        ready,
    );
    // What the start has left to do is done by then.
    pause(Duration::from_secs(1));
    let memory = usage::memory(broker.pid)?;
    report.add(SUITE, "memory when idle", broker.name, "MiB", memory.now);
    Ok(())
}

fn throughput(broker: &Broker, partitions: i32, records: u64, report: &mut Report) -> Result<()> {
    let topics = Topics::new(&broker.address)?;
    let before = usage::cpu(broker.pid)?;
    let (produced, consumed) = through(&topics, broker, partitions, records)?;
    let used = usage::cpu(broker.pid)? - before;
    let thousands = records as f64 / 1000.0;
    for (what, took) in [("produced", produced), ("consumed", consumed)] {
        let rate = thousands / took.as_secs_f64();
        report.add(
            SUITE,
            row(what, partitions),
            broker.name,
            "K records/s",
            rate,
        );
    }
    let per_million = used.as_secs_f64() * 1000.0 / thousands;
    report.add(
        SUITE,
        row("processor time", partitions),
        broker.name,
        "s/M records",
        per_million,
    );
    Ok(())
}

/// Writes and reads `records`; how long each took.
fn through(
    topics: &Topics,
    broker: &Broker,
    partitions: i32,
    records: u64,
) -> Result<(Duration, Duration)> {
    let topic = topics.create("broker", partitions)?;
    let produced = produce(&broker.address, &topic, partitions, records)?;
    let consumed = consume(&broker.address, &topic, partitions, records)?;
    topics.delete(&topic)?;
    Ok((produced, consumed))
}

fn ping(broker: &Broker, rate: u32, measured: Duration, report: &mut Report) -> Result<()> {
    let topics = Topics::new(&broker.address)?;
    let topic = topics.create("ping", 1)?;
    let path = Path {
        brokers: &broker.address,
        input: &topic,
        output: &topic,
        partitions: 1,
    };
    let pace = Pace {
        rate,
        warm_up: Duration::from_secs(1),
        measured,
    };
    let latencies = latency::measure(Clock::new(), path, pace)?;
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let row = format!("{name} at {rate}/s");
        report.add(SUITE, row, broker.name, "ms", latencies.quantile(quantile));
    }
    topics.delete(&topic)
}
