//! How a set of answers is judged, and what must not converge.
//!
//! Shared by the tests (a part of the suite, always) and by `scripts/bench acceptance` (all of it, 20 seeds).
#![expect(clippy::expect_used, reason = "the files are part of the program")]

use std::collections::BTreeMap;

use millstream_montecarlo::{Answer, Request, Status};

/// Integrals that have no value; `source` says why.
pub(crate) fn divergent() -> Vec<Request> {
    serde_json::from_str(include_str!("divergent.json"))
        .expect("divergent.json is an array of requests")
}

/// What became of the runs of one integral, or of all.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    pub(crate) converged: u64,
    /// Converged, and all outputs within three half-widths of the exact value.
    pub(crate) right: u64,
    /// Outputs, and those whose interval holds the exact value.
    pub(crate) outputs: u64,
    pub(crate) covered: u64,
    /// The largest distance from the exact value, in half-widths.
    pub(crate) worst: f64,
    /// Runs further than three half-widths off that carry no warning, converged or not.
    pub(crate) silent: u64,
    pub(crate) warned: u64,
    /// Outputs of runs that converged without a warning, and those of them whose interval holds the exact value.
    pub(crate) promised: u64,
    pub(crate) kept: u64,
    pub(crate) samples: Vec<u64>,
    pub(crate) methods: BTreeMap<String, u64>,
    pub(crate) statuses: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds one run.
    pub(crate) fn add(&mut self, answer: &Answer, exact: &[f64]) {
        let mut worst: f64 = 0.0;
        let converged = answer.status == Status::Converged;
        let promised = u64::from(converged && answer.warnings.is_empty());
        let (values, intervals) = (answer.value.as_slice(), answer.interval.as_slice());
        // A failed run has one missing value, whatever the number of outputs.
        for (output, exact) in exact.iter().enumerate() {
            let value = values.get(output).copied().flatten();
            let interval = intervals.get(output).copied().flatten();
            let pull = match (value, interval) {
                (Some(value), Some(interval)) => pull(value, interval, *exact),
                _ => f64::INFINITY,
            };
            self.outputs += 1;
            self.covered += u64::from(pull <= 1.0);
            self.promised += promised;
            self.kept += promised * u64::from(pull <= 1.0);
            worst = worst.max(pull);
        }
        self.runs += 1;
        self.converged += u64::from(converged);
        self.right += u64::from(converged && worst <= 3.0);
        self.worst = self.worst.max(worst);
        self.silent += u64::from(worst > 3.0 && answer.warnings.is_empty());
        self.warned += u64::from(!answer.warnings.is_empty());
        self.samples.push(answer.samples);
        *self.methods.entry(answer.method.to_string()).or_default() += 1;
        *self.statuses.entry(answer.status.to_string()).or_default() += 1;
    }

    /// Adds all runs of another tally.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.runs += other.runs;
        self.converged += other.converged;
        self.right += other.right;
        self.outputs += other.outputs;
        self.covered += other.covered;
        self.worst = self.worst.max(other.worst);
        self.silent += other.silent;
        self.warned += other.warned;
        self.promised += other.promised;
        self.kept += other.kept;
        self.samples.extend(&other.samples);
        for (mine, theirs) in [
            (&mut self.methods, &other.methods),
            (&mut self.statuses, &other.statuses),
        ] {
            for (word, runs) in theirs {
                *mine.entry(word.clone()).or_default() += runs;
            }
        }
    }
}

impl Tally {
    /// What no integral may be: wrong in silence, wrong more than once in twenty runs, or outside of its interval more often than
    /// chance allows, where it converged without a warning.
    pub(crate) fn faults(&self) -> Vec<String> {
        let wrong = self.converged - self.right;
        let missed = self.promised - self.kept;
        let mut faults = Vec::new();
        if self.silent > 0 {
            faults.push(format!("{} runs are wrong in silence", self.silent));
        }
        if wrong * 20 > self.runs {
            let runs = self.runs;
            faults.push(format!("{wrong} of {runs} runs converged to a wrong value"));
        }
        if missed > most_missed(self.promised) {
            let promised = self.promised;
            faults.push(format!(
                "{missed} of {promised} intervals without a warning do not hold the exact value"
            ));
        }
        faults
    }
}

/// How many of so many 95 % intervals may miss: with honest ones more happen once in 3,000 integrals, by the binomial distribution.
fn most_missed(intervals: u64) -> u64 {
    let (n, share) = (intervals as f64, 0.05_f64);
    let mut chance = (1.0 - share).powf(n);
    let mut below = chance;
    let mut missed = 0_u64;
    while below < 1.0 - 1.0 / 3000.0 && missed < intervals {
        let k = missed as f64;
        chance *= (n - k) / (k + 1.0) * share / (1.0 - share);
        below += chance;
        missed += 1;
    }
    missed
}

/// How far `value` is from `exact`, in half-widths of its interval; a few roundings are no distance.
fn pull(value: f64, interval: [f64; 2], exact: f64) -> f64 {
    let off = (value - exact).abs();
    let half = (interval[1] - interval[0]) / 2.0;
    if off <= 64.0 * f64::EPSILON * exact.abs() {
        0.0
    } else if half > 0.0 {
        off / half
    } else {
        f64::INFINITY
    }
}
