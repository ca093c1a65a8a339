//! Integrals on the system `montecarlo`: what a second worker gains, and what the way over the broker costs a small job.
//!
//! One broker, one coordinator and one worker of one thread run throughout; a second worker comes and goes. The client
//! keeps its connection, as a program that asks often does.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::brokers::{self, Broker, MILLSTREAM};
use crate::client::{Sender, consumer_config, ends};
use crate::clock::{Clock, pause};
use crate::crew::{Crew, Member};
use crate::report::{Bound, Report, Target};

const SUITE: &str = "workers";
const LARGE: &str = "an integral of ten seconds";
const SMALL: &str = "an integral of a millisecond, asked for on the cluster";
const SHELL: &str = "an integral of a millisecond, from the shell";
const ONE: &str = "1 worker";
const TWO: &str = "2 workers";

const REQUESTS: &str = "integration-requests";
const RESULTS: &str = "integration-results";
/// Of the results.
const PARTITIONS: i32 = 8;
/// Until a worker that came or went is known to all.
const SETTLED: Duration = Duration::from_secs(3);
const GIVE_UP: Duration = Duration::from_secs(120);
/// About a millisecond on one core.
const FORMULA: &str = "exp(-(x0^2+x1^2+x2^2))";

/// How much of it.
pub(crate) struct Plan {
    /// Samples of the large integral.
    pub(crate) samples: u64,
    pub(crate) rounds: u64,
    pub(crate) asked: u64,
}

/// Measures everything.
pub(crate) fn run(crew: &Crew, plan: &Plan, report: &mut Report) -> Result<()> {
    let broker = brokers::start_millstream(crew)?;
    let _coordinator = service(crew, &broker, &["coordinator"])?;
    let _worker = service(crew, &broker, &["worker", "--threads", "1"])?;
    let client = Client::new(&broker)?;
    let milliseconds = |time: Duration| 1e3 * time.as_secs_f64();
    client.ask(&small(0))?;
    eprintln!("{SUITE}: small integrals");
    for seed in 1..=plan.asked {
        let time = client.ask(&small(seed))?;
        report.add(SUITE, SMALL, MILLSTREAM, "ms", milliseconds(time));
        let time = from_the_shell(seed)?;
        report.add(SUITE, SHELL, MILLSTREAM, "ms", milliseconds(time));
    }
    for round in 1..=plan.rounds {
        let large = json!({
            "expression": "exp(-100*((x0-0.5)^2+(x1-0.5)^2+(x2-0.5)^2+(x3-0.5)^2))",
            "method": "plain", "rel_error": 1e-13, "max_samples": plan.samples, "seed": round,
        });
        eprintln!("{SUITE}: round {round}, one worker");
        let time = client.ask(&large)?;
        report.add(SUITE, LARGE, ONE, "s", time.as_secs_f64());
        let second = service(crew, &broker, &["worker", "--threads", "1"])?;
        pause(SETTLED);
        eprintln!("{SUITE}: round {round}, two workers");
        let time = client.ask(&large)?;
        report.add(SUITE, LARGE, TWO, "s", time.as_secs_f64());
        second.stop()?;
        pause(SETTLED);
    }
    Ok(())
}

/// What must be reached.
pub(crate) fn targets() -> [Target; 3] {
    let target = |row: &str, peer, by, bound| Target {
        suite: SUITE,
        row: row.to_owned(),
        peer,
        by,
        bound,
    };
    [
        target(SMALL, MILLSTREAM, None, Bound::AtMost(20.0)),
        target(SHELL, MILLSTREAM, None, Bound::AtMost(10.0)),
        target(LARGE, ONE, Some(TWO), Bound::AtLeast(1.8)),
    ]
}

fn small(seed: u64) -> Value {
    json!({"expression": FORMULA, "method": "rqmc", "rel_error": 1e-4, "seed": seed})
}

fn service(crew: &Crew, broker: &Broker, words: &[&str]) -> Result<Member> {
    crew.start(
        "a service of montecarlo",
        Command::new(brokers::beside("millstream")?)
            .arg("montecarlo")
            .args(words)
            .args(["--brokers", &broker.address])
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null()),
    )
}

/// From the start of the process to its end.
fn from_the_shell(seed: u64) -> Result<Duration> {
    let clock = Clock::new();
    let status = Command::new(brokers::beside("millstream")?)
        .args([
            "integrate",
            FORMULA,
            "--method",
            "rqmc",
            "--rel-error",
            "1e-4",
        ])
        .args(["--threads", "1", "--seed", &seed.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    let time = clock.now();
    ensure!(status.success(), "millstream integrate: {status}");
    Ok(time)
}

/// Asks and waits for the answer.
struct Client {
    sender: Sender,
    results: BaseConsumer,
}

impl Client {
    fn new(broker: &Broker) -> Result<Self> {
        let results: BaseConsumer = consumer_config(&broker.address, "unused").create()?;
        let clock = Clock::new();
        let ends = loop {
            match ends(&results, RESULTS, PARTITIONS) {
                Ok(ends) => break ends,
                Err(error) if clock.now() > GIVE_UP => return Err(error),
                Err(_) => pause(Duration::from_millis(50)),
            }
        };
        let mut from = TopicPartitionList::new();
        for (partition, end) in (0..).zip(ends) {
            from.add_partition_offset(RESULTS, partition, Offset::Offset(end))?;
        }
        results.assign(&from)?;
        Ok(Self {
            sender: Sender::new(&broker.address, Duration::ZERO)?,
            results,
        })
    }

    /// From the request to its last result.
    fn ask(&self, request: &Value) -> Result<Duration> {
        let id = format!("{:032x}", fastrand::u128(..));
        let clock = Clock::new();
        self.sender.send(
            REQUESTS,
            None,
            Some(id.as_bytes()),
            request.to_string().as_bytes(),
        )?;
        loop {
            self.sender.serve(Duration::ZERO);
            ensure!(clock.now() < GIVE_UP, "no answer to {request}");
            let Some(message) = self.results.poll(Duration::from_millis(100)) else {
                continue;
            };
            let message = message?;
            if message.key() != Some(id.as_bytes()) {
                continue;
            }
            let answer: Value = serde_json::from_slice(message.payload().unwrap_or_default())?;
            match answer
                .get("status")
                .and_then(Value::as_str)
                .context("an answer has a status")?
            {
                "running" => {}
                "converged" | "budget_exhausted" => return Ok(clock.now()),
                other => anyhow::bail!("the integral ended as {other}: {answer}"),
            }
        }
    }
}
