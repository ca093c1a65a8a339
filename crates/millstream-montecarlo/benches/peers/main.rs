//! Millstream beside its Python peers, in one run: sampling rates, and the time to an equal error.
//!
//! `scripts/bench montecarlo` starts it with `--python` and `--script`, the peers of bench/montecarlo. Every peer has one core
//! unless a row says otherwise; they take turns, round by round. What the rows mean is in docs/performance.md.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark ends at what goes wrong"
)]

mod peer;
mod table;

#[path = "../../suite/suite.rs"]
mod suite;

use std::time::{Duration, Instant};

use millstream_montecarlo::{Answer, Method, Request};

use peer::{Answered, Peers};
use table::{Bound, Table};

/// Samples of one run of the equal-error rows: 15 iterations of 70,000 for vegas.
const SAMPLES: u64 = 1_050_000;
const CASES: [&str; 5] = [
    "gauss4",
    "double_gauss4",
    "sharp_gauss6",
    "cuba2",
    "three_gauss6",
];
const MILLSTREAM: &str = "millstream";

/// What is to be run.
struct Orders {
    python: String,
    script: String,
    /// Rounds of the rates, and seeds of the equal-error rows.
    rounds: u64,
    seeds: u64,
}

fn main() {
    let orders = orders();
    let mut table = Table::default();
    let mut peers = Peers::start(&orders.python, &orders.script);
    for round in 1..=orders.rounds {
        eprintln!("montecarlo: rates, round {round} of {}", orders.rounds);
        rates(&mut peers, round, &mut table);
    }
    let mut errors = Errors::default();
    for seed in 1..=orders.seeds {
        eprintln!("montecarlo: equal error, seed {seed} of {}", orders.seeds);
        errors.round(&mut peers, seed);
    }
    errors.report(&mut table);
    table.print();
    println!("peers: {}", peers.versions);
}

fn orders() -> Orders {
    let mut arguments = std::env::args().skip(1);
    let mut orders = Orders {
        python: "python3".into(),
        script: String::new(),
        rounds: 5,
        seeds: 24,
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--python" => orders.python = arguments.next().unwrap_or_default(),
            "--script" => orders.script = arguments.next().unwrap_or_default(),
            "--quick" => (orders.rounds, orders.seeds) = (2, 6),
            // What `cargo bench` adds.
            "--bench" => {}
            other => panic!("no argument is called {other}"),
        }
    }
    orders
}

/// The request of the suite called `case`, without a target that could end it early.
fn endless(case: &str, method: Method, samples: u64) -> Request {
    let mut request = suite::integrals()
        .into_iter()
        .find(|request| request.name == case)
        .expect("a case of the suite");
    request.rel_error = Some(1e-13);
    request.abs_error = None;
    request.max_samples = Some(samples);
    request.method = method;
    request
}

/// Runs on `threads` threads; the answer and the time of the run alone, threads started before.
fn timed(request: &Request, seed: u64, threads: usize) -> (Answer, Duration) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a pool of threads");
    pool.install(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a benchmark reads the clock, here only"
        )]
        let began = Instant::now();
        let answer = suite::answer(request, seed, None).expect("the case runs");
        (answer, began.elapsed())
    })
}

fn rates(peers: &mut Peers, round: u64, table: &mut Table) {
    const PLAIN: &str = "plain sampling, gauss4";
    const ADAPTIVE: &str = "vegas+ sampling, gauss4";
    let plain = endless("gauss4", Method::Plain, 1 << 28);
    let million = |samples: u64, seconds: f64| samples as f64 / seconds / 1e6;
    for (threads, name) in [(1, MILLSTREAM), (2, "2 threads")] {
        let (answer, time) = timed(&plain, round, threads);
        table.add(
            PLAIN,
            name,
            "M samples/s",
            million(answer.samples, time.as_secs_f64()),
        );
        let adaptive = endless("gauss4", Method::Vegas, 8 * SAMPLES);
        let (answer, time) = timed(&adaptive, round, threads);
        table.add(
            ADAPTIVE,
            name,
            "M samples/s",
            million(answer.samples, time.as_secs_f64()),
        );
    }
    let numpy = peers.ask("numpy", "gauss4", 1 << 24, round);
    table.add(
        PLAIN,
        "numpy",
        "M samples/s",
        million(numpy.samples, numpy.seconds),
    );
    let vegas = peers.ask("vegas", "gauss4", 8 * SAMPLES, round);
    table.add(
        ADAPTIVE,
        "vegas",
        "M samples/s",
        million(vegas.samples, vegas.seconds),
    );
    if round == 1 {
        table.target(PLAIN, MILLSTREAM, None, Bound::AtLeast(240.0));
        table.target(PLAIN, "2 threads", Some(MILLSTREAM), Bound::AtLeast(1.9));
        table.target(ADAPTIVE, MILLSTREAM, Some("vegas"), Bound::AtLeast(3.0));
    }
}

/// The peers of the equal-error rows: ours by the method that `auto` chooses and by each one that samples, and others'.
const OURS: [(&str, Method); 3] = [
    (MILLSTREAM, Method::Auto),
    ("map-rqmc", Method::MapRqmc),
    ("vegas+", Method::Vegas),
];
const THEIRS: [&str; 3] = ["vegas", "qmc_quad", "numpy"];

/// Squared relative errors and times, by case and peer.
#[derive(Default)]
struct Errors {
    runs: Vec<(&'static str, &'static str, Answered)>,
}

impl Errors {
    fn round(&mut self, peers: &mut Peers, seed: u64) {
        for case in CASES {
            for (name, method) in OURS {
                let (answer, time) = timed(&endless(case, method, SAMPLES), seed, 1);
                let value = answer
                    .value
                    .as_slice()
                    .first()
                    .copied()
                    .flatten()
                    .unwrap_or(f64::NAN);
                self.runs.push((
                    case,
                    name,
                    Answered {
                        value,
                        seconds: time.as_secs_f64(),
                        samples: answer.samples,
                    },
                ));
            }
            for name in THEIRS {
                self.runs
                    .push((case, name, peers.ask(name, case, SAMPLES, seed)));
            }
        }
    }

    /// The root mean square of the relative errors, and the median time.
    fn of(&self, case: &str, peer: &str, exact: f64) -> (f64, f64) {
        let runs = || {
            self.runs
                .iter()
                .filter(|(c, p, _)| *c == case && *p == peer)
                .map(|(_, _, answered)| answered)
        };
        let squares: Vec<f64> = runs()
            .map(|run| (run.value / exact - 1.0).powi(2))
            .collect();
        let error = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        (
            error,
            table::median(&runs().map(|run| run.seconds).collect::<Vec<_>>()),
        )
    }

    fn report(&self, table: &mut Table) {
        let mut faster = 0;
        for case in CASES {
            let request = suite::integrals()
                .into_iter()
                .find(|request| request.name == case)
                .expect("a case of the suite");
            let exact = suite::exact(&request).first().copied().unwrap_or(f64::NAN);
            let (vegas_error, vegas_time) = self.of(case, "vegas", exact);
            for peer in OURS.map(|(name, _)| name).into_iter().chain(THEIRS) {
                let (error, time) = self.of(case, peer, exact);
                let factor = vegas_time / time * (vegas_error / error.max(f64::EPSILON)).powi(2);
                table.add(format!("{case}: error"), peer, "relative", error);
                table.add(format!("{case}: time"), peer, "ms", time * 1e3);
                table.add(
                    format!("{case}: to an equal error"),
                    peer,
                    "x vegas",
                    factor,
                );
                faster += u64::from(peer == MILLSTREAM && factor >= 100.0);
            }
            table.target(
                format!("{case}: to an equal error"),
                MILLSTREAM,
                None,
                Bound::AtLeast(0.5),
            );
        }
        table.add(
            "100 times faster than vegas",
            MILLSTREAM,
            "of 5",
            faster as f64,
        );
        table.target(
            "100 times faster than vegas",
            MILLSTREAM,
            None,
            Bound::AtLeast(4.0),
        );
    }
}
