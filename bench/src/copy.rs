//! The suites `copy` and `latency`: a copy service on the library, by hand on rdkafka, and on Kafka Streams.
//!
//! The service parses a JSON value into a struct, serialises it again and produces it, at least once. Each
//! peer is a process of its own. Nothing is asked of a peer: its output is watched from outside, at the broker, so
//! that all are measured in the same way.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use rdkafka::consumer::BaseConsumer;

use crate::brokers::{self, Broker};
use crate::client::{Sender, Topics, consumer_config, ends};
use crate::clock::{Clock, pause};
use crate::crew::{Crew, Member};
use crate::latency::{self, Pace, Path};
use crate::reading::Writer;
use crate::report::{Bound, Report, Target};
use crate::usage;

const COPY: &str = "copy";
const LATENCY: &str = "latency";
const PARTITIONS: i32 = 4;
const RATES: [u32; 2] = [1_000, 10_000];
/// How long a peer may take to show its first output, and how long a standing peer is waited for.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Nothing new for so long, and everything there: the peer is done.
const QUIET: Duration = Duration::from_millis(1200);

/// Who copies.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// The library.
    Library,
    /// A loop on Millstream's own client, written by hand.
    Client,
    /// A loop on rdkafka, written by hand.
    ByHand,
    /// The same loop with the client's own `flush` before each commit. Only for latencies.
    Flush,
    /// Kafka Streams.
    Streams,
    /// Nobody: producer and consumer on one topic. Only for latencies.
    Nobody,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Client => "own client",
            Self::ByHand => "by hand",
            Self::Flush => "by hand, flush",
            Self::Streams => "kafka streams",
            Self::Nobody => "no service",
        }
    }

    /// Whether the suite `copy` runs it on so many threads in this round. Kafka Streams is only compared at its best, and
    /// takes so long that every other round must do.
    fn copies_on(self, threads: u32, round: u32) -> bool {
        match self {
            Self::Library | Self::Client | Self::ByHand => true,
            Self::Streams => threads == 2 && !round.is_multiple_of(2),
            Self::Flush | Self::Nobody => false,
        }
    }
}

/// How much is done.
pub(crate) struct Plan {
    /// Records in the input; what is measured is the second half, on which every peer is warm.
    pub(crate) records: u64,
    /// Rounds of the suite `copy`.
    pub(crate) rounds: u32,
    /// Rounds of the suite `latency`.
    pub(crate) latency_rounds: u32,
    /// How long each latency is measured.
    pub(crate) latency: Duration,
    /// How long records flow before.
    pub(crate) warm_up: Duration,
    /// Whose.
    pub(crate) peers: Vec<Peer>,
}

/// Runs the suite `copy` on `broker`.
pub(crate) fn run(crew: &Crew, broker: &Broker, plan: &Plan, report: &mut Report) -> Result<()> {
    let topics = Topics::new(&broker.address)?;
    let input = topics.create("copy-input", PARTITIONS)?;
    eprintln!("copy: writing {} records", plan.records);
    fill(broker, &input, plan.records)?;
    topics.warm_groups(&broker.address, &input)?;
    eprintln!("copy: warming up");
    let unused = &mut Report::default();
    copy(
        crew,
        broker,
        (Peer::ByHand, 2),
        (&topics, &input),
        plan,
        unused,
    )?;
    for round in 1..=plan.rounds {
        for threads in [1, 2] {
            for peer in in_turn(&plan.peers, round) {
                if peer.copies_on(threads, round) {
                    eprintln!("copy: round {round}, {}, threads {threads}", peer.name());
                    copy(
                        crew,
                        broker,
                        (peer, threads),
                        (&topics, &input),
                        plan,
                        report,
                    )?;
                }
            }
        }
    }
    topics.delete(&input)
}

/// Runs the suite `latency` on `broker`.
pub(crate) fn latencies(
    crew: &Crew,
    broker: &Broker,
    plan: &Plan,
    report: &mut Report,
) -> Result<()> {
    let topics = Topics::new(&broker.address)?;
    eprintln!("latency: warming up");
    ping(
        crew,
        broker,
        Peer::ByHand,
        &topics,
        plan,
        &mut Report::default(),
    )?;
    for round in 1..=plan.latency_rounds {
        for peer in in_turn(&plan.peers, round) {
            eprintln!("latency: round {round}, {}", peer.name());
            ping(crew, broker, peer, &topics, plan, report)?;
        }
    }
    Ok(())
}

/// Forwards in odd rounds, backwards in even ones: whoever comes later has the warmer broker.
fn in_turn(peers: &[Peer], round: u32) -> Vec<Peer> {
    let mut peers = peers.to_vec();
    if round.is_multiple_of(2) {
        peers.reverse();
    }
    peers
}

/// What both suites must reach, as the first issue sets it.
pub(crate) fn targets() -> Vec<Target> {
    let of = |suite, row: String, by: Peer, bound| Target {
        suite,
        row,
        peer: Peer::Library.name(),
        by: Some(by.name()),
        bound,
    };
    let p99 = || "p99 at 10000/s".to_owned();
    vec![
        of(COPY, row("copied", 1), Peer::ByHand, Bound::AtLeast(0.8)),
        of(COPY, row("copied", 2), Peer::ByHand, Bound::AtLeast(0.8)),
        of(COPY, row("copied", 2), Peer::Streams, Bound::AtLeast(2.5)),
        of(LATENCY, p99(), Peer::ByHand, Bound::AtMost(0.5)),
        of(LATENCY, p99(), Peer::Flush, Bound::AtMost(0.5)),
    ]
}

fn row(what: &str, threads: u32) -> String {
    match threads {
        1 => format!("{what}, 1 thread"),
        _ => format!("{what}, {threads} threads"),
    }
}

/// What a peer is started with.
struct Settings<'a> {
    threads: u32,
    linger: Duration,
    commit: Duration,
    input: &'a str,
    output: &'a str,
}

fn start(crew: &Crew, broker: &Broker, peer: Peer, settings: &Settings<'_>) -> Result<Member> {
    let mut command = match peer {
        Peer::Streams => {
            let built = brokers::work_folder()?.join("streams");
            let mut command = Command::new("java");
            command
                .args(["-Xmx1g", "-cp"])
                .arg(format!("{0}/classes:{0}/lib/*", built.display()))
                .arg("Copy");
            command
        }
        Peer::Library | Peer::Client | Peer::ByHand | Peer::Flush | Peer::Nobody => {
            let which = match peer {
                Peer::Library => "library",
                Peer::Client => "client",
                Peer::Flush => "flush",
                _ => "by-hand",
            };
            let mut command = Command::new(brokers::beside("millstream-bench")?);
            command.args(["peer", which]);
            command
        }
    };
    command
        .args(["--brokers", &broker.address])
        .args(["--input", settings.input, "--output", settings.output])
        // The output's name is as fresh as a group's name must be.
        .args(["--group", settings.output])
        .args(["--threads", &settings.threads.to_string()])
        .args(["--linger-ms", &settings.linger.as_millis().to_string()])
        .args(["--commit-ms", &settings.commit.as_millis().to_string()])
        .env("RUST_LOG", "warn")
        .stdout(Stdio::null());
    crew.start(peer.name(), &mut command)
}

fn fill(broker: &Broker, input: &str, records: u64) -> Result<()> {
    let sender = Sender::new(&broker.address, Duration::from_millis(5))?;
    let mut writer = Writer::default();
    for number in 0..records {
        let (key, value) = writer.write(number, Duration::ZERO)?;
        // The key's own partition differs between clients; an even share does not.
        let partition = i32::try_from(number % PARTITIONS as u64)?;
        sender.send(input, Some(partition), Some(key), value)?;
        if number % 1024 == 0 {
            sender.serve(Duration::ZERO);
        }
    }
    sender.drain()
}

/// One look at a peer and its output.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    visible: u64,
    cpu: Duration,
}

/// Watches the output of one peer from outside.
struct Watch<'a> {
    clock: Clock,
    consumer: BaseConsumer,
    output: &'a str,
}

impl Watch<'_> {
    fn sample(&self, pid: u32) -> Result<Sample> {
        let ends = ends(&self.consumer, self.output, PARTITIONS)?;
        let visible = u64::try_from(ends.iter().sum::<i64>())?;
        Ok(Sample {
            at: self.clock.now(),
            visible,
            cpu: usage::cpu(pid)?,
        })
    }

    /// Samples until everything is there and nothing more comes.
    fn until_done(&self, member: &mut Member, records: u64) -> Result<Vec<Sample>> {
        let mut samples: Vec<Sample> = Vec::new();
        loop {
            member.check()?;
            let sample = self.sample(member.pid())?;
            let last = samples
                .last()
                .map_or((Duration::ZERO, 0), |s| (s.at, s.visible));
            if sample.visible > last.1 {
                samples.push(sample);
            } else if sample.visible >= records && sample.at - last.0 > QUIET {
                return Ok(samples);
            } else {
                ensure!(
                    sample.at - last.0 < GIVE_UP,
                    "{} of {records} records, and no more come",
                    last.1
                );
            }
            pause(Duration::from_millis(20));
        }
    }
}

fn copy(
    crew: &Crew,
    broker: &Broker,
    (peer, threads): (Peer, u32),
    (topics, input): (&Topics, &str),
    plan: &Plan,
    report: &mut Report,
) -> Result<()> {
    let output = topics.create("copy-output", PARTITIONS)?;
    let watch = Watch {
        consumer: consumer_config(&broker.address, "unused").create()?,
        output: &output,
        clock: Clock::new(),
    };
    // Connected before the peer's first second counts.
    ends(&watch.consumer, &output, PARTITIONS)?;
    let settings = Settings {
        threads,
        linger: Duration::from_millis(5),
        commit: Duration::from_millis(500),
        input,
        output: &output,
    };
    let started = watch.clock.now();
    let mut member = start(crew, broker, peer, &settings)?;
    let samples = watch.until_done(&mut member, plan.records)?;
    let memory = usage::memory(member.pid())?;
    member.stop()?;
    topics.delete(&output)?;
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return Ok(());
    };
    let half = samples
        .iter()
        .find(|sample| sample.visible >= last.visible / 2)
        .unwrap_or(first);
    let records = (last.visible - half.visible).max(1) as f64;
    let rate = records / 1000.0 / (last.at - half.at).as_secs_f64();
    let cpu = (last.cpu - half.cpu).as_secs_f64() * 1e6 / records;
    let start_up = (first.at - started).as_secs_f64();
    let again = last.visible.saturating_sub(plan.records) as f64;
    let mut add =
        |what, unit, value| report.add(COPY, row(what, threads), peer.name(), unit, value);
    add("copied", "K records/s", rate);
    add("processor time", "us/record", cpu);
    add("most memory", "MiB", memory.peak);
    add("start to first output", "s", start_up);
    add("copied twice", "records", again);
    Ok(())
}

fn ping(
    crew: &Crew,
    broker: &Broker,
    peer: Peer,
    topics: &Topics,
    plan: &Plan,
    report: &mut Report,
) -> Result<()> {
    let input = topics.create("latency-input", PARTITIONS)?;
    let output = match peer {
        Peer::Nobody => input.clone(),
        _ => topics.create("latency-output", PARTITIONS)?,
    };
    let clock = Clock::new();
    let settings = Settings {
        threads: 1,
        linger: Duration::ZERO,
        commit: Duration::from_secs(1),
        input: &input,
        output: &output,
    };
    let mut member = match peer {
        Peer::Nobody => None,
        _ => Some(start(crew, broker, peer, &settings)?),
    };
    if let Some(member) = &mut member {
        wait_until_it_copies(clock, broker, member, &settings)?;
    }
    for rate in RATES {
        let path = Path {
            brokers: &broker.address,
            input: &input,
            output: &output,
            partitions: PARTITIONS,
        };
        let pace = Pace {
            rate,
            warm_up: plan.warm_up,
            measured: plan.latency,
        };
        let latencies = latency::measure(clock, path, pace)?;
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let row = format!("{name} at {rate}/s");
            report.add(
                LATENCY,
                row,
                peer.name(),
                "ms",
                latencies.quantile(quantile),
            );
        }
    }
    if let Some(member) = member {
        member.stop()?;
        topics.delete(&output)?;
    }
    topics.delete(&input)
}

/// Sends one record to each partition and waits for it at the far end.
fn wait_until_it_copies(
    clock: Clock,
    broker: &Broker,
    member: &mut Member,
    settings: &Settings<'_>,
) -> Result<()> {
    let sender = Sender::new(&broker.address, Duration::ZERO)?;
    let mut writer = Writer::default();
    for partition in 0..PARTITIONS {
        let (key, value) = writer.write(0, Duration::ZERO)?;
        sender.send(settings.input, Some(partition), Some(key), value)?;
    }
    sender.drain()?;
    let watch = Watch {
        consumer: consumer_config(&broker.address, "unused").create()?,
        output: settings.output,
        clock,
    };
    watch.until_done(member, PARTITIONS as u64).map(drop)
}
