//! The acceptance run: every integral of the suite with many seeds, held against its exact value.
//!
//! `scripts/bench acceptance` starts it. A table with a line an integral, then the bounds of `docs/montecarlo.md`; the exit code
//! is 1 when one is broken. Arguments: `--seeds N`, `--method M` (another than each request's own), `--random N` (random integrals
//! of each kind), `--random-seed S` (repeats an earlier run), names of integrals or of kinds.

#![expect(clippy::expect_used, reason = "a wrong argument ends the run")]

#[path = "../../suite/judge.rs"]
mod judge;
#[path = "../../suite/random.rs"]
mod random;
#[path = "../../suite/suite.rs"]
mod suite;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::ExitCode;

use millstream_montecarlo::{Method, Request, Status};

use judge::Tally;

/// Least share of the converged runs that is within three half-widths of the exact value, in percent.
const LEAST_RIGHT: f64 = 99.0;

/// What is to be run.
struct Orders {
    seeds: u64,
    method: Option<Method>,
    names: Vec<String>,
    /// Random integrals of each kind.
    random: u64,
    random_seed: u64,
}

fn main() -> ExitCode {
    let orders = orders(std::env::args().skip(1));
    let mut broken = Vec::new();
    let all = run_integrals(&orders, &mut broken);
    run_divergent(&orders, &mut broken);
    run_random(&orders, &mut broken);
    hold(&all, &mut broken);
    for line in &broken {
        println!("BROKEN {line}");
    }
    println!(
        "{}",
        if broken.is_empty() {
            "acceptance: all bounds hold"
        } else {
            "acceptance: FAILED"
        }
    );
    ExitCode::from(u8::from(!broken.is_empty()))
}

/// `cargo bench` adds a `--bench` of its own.
fn orders(mut arguments: impl Iterator<Item = String>) -> Orders {
    let mut orders = Orders {
        seeds: 20,
        method: None,
        names: Vec::new(),
        random: 20,
        // Another one each time.
        random_seed: RandomState::new().build_hasher().finish(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--bench" => {}
            "--seeds" => orders.seeds = value().parse().expect("--seeds takes a number"),
            "--method" => {
                orders.method = Some(value().parse().expect("--method takes a method"));
            }
            "--random" => orders.random = value().parse().expect("--random takes a number"),
            "--random-seed" => {
                orders.random_seed = value().parse().expect("--random-seed takes a number");
            }
            _ => orders.names.push(argument),
        }
    }
    orders
}

impl Orders {
    fn wants(&self, request: &Request) -> bool {
        self.names.is_empty() || self.names.contains(&request.name)
    }

    /// One line, and the tally of each method that was chosen.
    fn run(
        &self,
        request: &Request,
        exact: &[f64],
        broken: &mut Vec<String>,
    ) -> BTreeMap<String, Tally> {
        let mut found: BTreeMap<String, Tally> = BTreeMap::new();
        for seed in 1..=self.seeds {
            match suite::answer(request, seed, self.method) {
                Ok(answer) => found
                    .entry(answer.method.to_string())
                    .or_default()
                    .add(&answer, exact),
                Err(error) => broken.push(format!("{} with seed {seed}: {error}", request.name)),
            }
        }
        found
    }
}

/// Runs all that have a value; the tallies by method.
fn run_integrals(orders: &Orders, broken: &mut Vec<String>) -> BTreeMap<String, Tally> {
    let mut all: BTreeMap<String, Tally> = BTreeMap::new();
    println!(
        "{:<26} {:>3}  {:<18} {:>11} {:>9} {:>8} {:>10} {:>7} {:>7}  status",
        "integral",
        "dim",
        "method",
        "samples",
        "converged",
        "coverage",
        "worst pull",
        "warned",
        "silent"
    );
    for request in suite::integrals()
        .iter()
        .filter(|request| orders.wants(request))
    {
        let exact = suite::exact(request);
        let by_method = orders.run(request, &exact, broken);
        let mut line = Tally::default();
        for tally in by_method.values() {
            let faults = tally.faults();
            broken.extend(
                faults
                    .iter()
                    .map(|fault| format!("{}: {fault}", request.name)),
            );
        }
        for (method, tally) in by_method {
            line.extend(&tally);
            all.entry(method).or_default().extend(&tally);
        }
        print_line(request, &line);
    }
    all
}

fn print_line(request: &Request, tally: &Tally) {
    let methods: Vec<_> = tally
        .methods
        .iter()
        .map(|(method, runs)| {
            if tally.methods.len() == 1 {
                method.clone()
            } else {
                format!("{method} {runs}")
            }
        })
        .collect();
    let statuses: Vec<_> = tally
        .statuses
        .iter()
        .map(|(status, runs)| format!("{status} {runs}"))
        .collect();
    println!(
        "{:<26} {:>3}  {:<18} {:>11} {:>9} {:>7.0}% {:>10.2} {:>7} {:>7}  {}",
        request.name,
        request.lower.len(),
        methods.join(" "),
        median(&tally.samples),
        tally.converged,
        coverage(tally),
        tally.worst,
        tally.warned,
        tally.silent,
        statuses.join(" ")
    );
}

/// What diverges must never be called converged.
fn run_divergent(orders: &Orders, broken: &mut Vec<String>) {
    for request in judge::divergent()
        .iter()
        .filter(|request| orders.wants(request))
    {
        let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
        for seed in 1..=orders.seeds {
            match suite::answer(request, seed, orders.method) {
                Ok(answer) => {
                    *statuses.entry(answer.status.to_string()).or_default() += 1;
                    if answer.status == Status::Converged {
                        broken.push(format!(
                            "{} diverges, and converged with seed {seed} by {}",
                            request.name, answer.method
                        ));
                    }
                }
                Err(error) => broken.push(format!("{} with seed {seed}: {error}", request.name)),
            }
        }
        println!(
            "{:<26} diverges ({})  {statuses:?}",
            request.name,
            request.source.as_deref().unwrap_or_default()
        );
    }
}

/// Integrals that nobody chose: none may be wrong in silence.
fn run_random(orders: &Orders, broken: &mut Vec<String>) {
    let seed = orders.random_seed;
    println!("\nrandom integrals of seed {seed} (--random-seed {seed} repeats them)");
    for (kind, (name, make)) in random::KINDS.iter().enumerate() {
        if !(orders.names.is_empty() || orders.names.iter().any(|wanted| wanted == name)) {
            continue;
        }
        let mut tally = Tally::default();
        for number in 0..orders.random {
            let request = make(&mut random::Dice::new(seed, kind, number));
            let before = tally.silent;
            match suite::answer(&request, number, orders.method) {
                Ok(answer) => tally.add(&answer, &suite::exact(&request)),
                Err(error) => broken.push(format!("{}: {error}", request.expression)),
            }
            if tally.silent > before {
                broken.push(format!(
                    "{name} {number} is wrong in silence: {}",
                    request.expression
                ));
            }
        }
        print_sum(name, &tally);
    }
}

/// The bounds over the whole suite, and what each method contributed.
fn hold(by_method: &BTreeMap<String, Tally>, broken: &mut Vec<String>) {
    let mut all = Tally::default();
    println!(
        "\n{:<12} {:>6} {:>9} {:>12} {:>9} {:>9} {:>7}",
        "method", "runs", "converged", "right", "coverage", "unwarned", "silent"
    );
    for (method, tally) in by_method {
        all.extend(tally);
        print_sum(method, tally);
    }
    print_sum("all", &all);
    if right_percent(&all) < LEAST_RIGHT {
        broken.push(format!(
            "{:.2} % of the converged runs are within three half-widths, {} % at least",
            right_percent(&all),
            LEAST_RIGHT
        ));
    }
    for (method, tally) in by_method {
        let faults = tally.faults();
        broken.extend(faults.iter().map(|fault| format!("{method}: {fault}")));
    }
}

fn print_sum(name: &str, tally: &Tally) {
    println!(
        "{name:<12} {:>6} {:>9} {:>10.2} % {:>7.2} % {:>7.2} % {:>7}",
        tally.runs,
        tally.converged,
        right_percent(tally),
        coverage(tally),
        percent(tally.kept, tally.promised),
        tally.silent
    );
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// The share of the converged runs that are right, in percent.
fn right_percent(tally: &Tally) -> f64 {
    percent(tally.right, tally.converged)
}

/// The share of the outputs whose interval holds the exact value, in percent.
fn coverage(tally: &Tally) -> f64 {
    percent(tally.covered, tally.outputs)
}

fn percent(part: u64, of: u64) -> f64 {
    if of == 0 {
        f64::NAN
    } else {
        100.0 * part as f64 / of as f64
    }
}
