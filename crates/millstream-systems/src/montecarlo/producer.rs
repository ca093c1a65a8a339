//! The producer: asks for random integrals of the catalogue at a set rate, or for those of a file, once.
//!
//! Each request is a job of its own with a fresh id and a seed of its own, so two of the same integral are two experiments.

use std::path::PathBuf;
use std::time::Duration;

use millstream::http::Health;
use millstream::metrics::RECORDS_OUT;
use millstream::{Clock, Cluster, Shutdown, SystemClock};
use millstream_montecarlo::Request;
use serde::Serialize;

use super::client::Client;
use super::topics::{PREFIX, Topics};
use super::{arrival, catalogue};
use crate::{Error, number, readiness};

/// At the end, what is under way gets this long.
const FLUSH: Duration = Duration::from_secs(3);

/// Options of the producer.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Prefix of the topic names
    #[arg(long, default_value = PREFIX)]
    pub prefix: String,
    /// Requests per second
    #[arg(long, default_value_t = 1.0, value_name = "NUMBER", value_parser = rate)]
    pub rate: f64,
    /// Stops after this many requests
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = number::whole(0..=u64::MAX))]
    pub count: Option<u64>,
    /// Picks requests from this file instead of the built-in catalogue
    #[arg(long, value_name = "FILE")]
    pub catalogue: Option<PathBuf>,
    /// Sends the requests of this file once, in their order
    #[arg(long, value_name = "FILE", conflicts_with = "catalogue")]
    pub file: Option<PathBuf>,
    /// Target relative error, instead of that of each request
    #[arg(long, value_name = "NUMBER", value_parser = number::target_error)]
    pub rel_error: Option<f64>,
    /// Seed of the random choice of requests
    #[arg(long, value_name = "NUMBER", conflicts_with = "file", value_parser = number::whole(0..=u64::MAX))]
    pub seed: Option<u64>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number"))?;
    if rate > 0.0 && rate <= 1e6 {
        Ok(rate)
    } else {
        Err("a rate is above 0 and at most 1000000 a second".to_owned())
    }
}

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Requests sent.
    pub requests: u64,
    /// The time it took, in seconds.
    pub seconds: f64,
}

/// Asks until `shutdown`, or until all is asked.
///
/// # Errors
/// The file is no list of requests, or the cluster refuses the settings, the topics or a request.
pub fn run(
    options: &Options,
    cluster: &Cluster,
    shutdown: &Shutdown,
    health: &Health,
) -> Result<Summary, Error> {
    let arrived = health.part("cluster");
    let choices = catalogue::read(options.file.as_deref().or(options.catalogue.as_deref()))?;
    let clock = SystemClock::new();
    let started = clock.now();
    let topics = Topics::new(&options.prefix);
    let mut sent = 0;
    if arrival::arrive(&topics, cluster, shutdown)?.is_some() {
        arrived.set_ready(true);
        let written = metrics::counter!(RECORDS_OUT, "service" => "montecarlo-producer", "topic" => topics.requests.name().to_owned());
        let client = Client::new(topics, cluster)?;
        let mut random = options
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        tracing::info!(
            integrals = choices.len(),
            rate = options.rate,
            brokers = cluster.brokers(),
            "asking"
        );
        let ask = || ask(options, shutdown, &choices, &client, &mut random, &written);
        sent = readiness::follow(&arrived, readiness::LOOK_EVERY, || client.connected(), ask)?;
        client.flush(FLUSH)?;
    }
    health.drain();
    let seconds = clock.now().since(started).as_secs_f64();
    tracing::info!(requests = sent, seconds, "asked");
    Ok(Summary {
        requests: sent,
        seconds,
    })
}

/// Asks until `shutdown`, or until all is asked; how often.
fn ask(
    options: &Options,
    shutdown: &Shutdown,
    choices: &[Request],
    client: &Client,
    random: &mut fastrand::Rng,
    written: &metrics::Counter,
) -> Result<u64, Error> {
    let clock = SystemClock::new();
    let most = most(options, choices.len());
    let pause = Duration::from_secs_f64(1.0 / options.rate);
    let (mut next, mut sent) = (clock.now(), 0);
    while most.is_none_or(|most| sent < most) && !shutdown.is_requested() {
        let request = choose(options, choices, sent, random);
        let id = uuid::Uuid::new_v4().to_string();
        tracing::info!(job = id, name = request.name, "request sent");
        client.submit(&id, &request)?;
        written.increment(1);
        sent += 1;
        next = next.plus(pause);
        let wait = next.since(clock.now());
        if !wait.is_zero() && most != Some(sent) {
            shutdown.wait(wait);
        }
    }
    Ok(sent)
}

/// How many requests there will be.
fn most(options: &Options, choices: usize) -> Option<u64> {
    let of_file = u64::try_from(choices).unwrap_or(u64::MAX);
    match (&options.file, options.count) {
        (Some(_), count) => Some(count.unwrap_or(of_file).min(of_file)),
        (None, count) => count,
    }
}

/// Request number `number`: the next of the file, or any of the catalogue with a seed of its own.
fn choose(
    options: &Options,
    choices: &[Request],
    number: u64,
    random: &mut fastrand::Rng,
) -> Request {
    let at = if options.file.is_some() {
        usize::try_from(number).unwrap_or(0)
    } else {
        random.usize(..choices.len().max(1))
    };
    let mut request = choices.get(at).cloned().unwrap_or_default();
    if options.file.is_none() {
        // Seeds travel as JSON numbers, which many programs read as doubles.
        request.seed = random.u64(..1 << 53);
    }
    if options.rel_error.is_some() {
        request.rel_error = options.rel_error;
    }
    request
}
