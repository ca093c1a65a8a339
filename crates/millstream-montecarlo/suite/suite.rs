//! The integrals of the acceptance suite, and how one is run.
//!
//! Shared by the tests, the acceptance run and the benchmark beside peers. The files beside this one hold the integrals;
//! `scripts/integrals` computes their values a second time.
#![expect(clippy::expect_used, reason = "the files are part of the program")]

use millstream_montecarlo::{Answer, Control, Error, Job, Method, Registry, Request, run};

/// Integrals with `exact` and `source`: those of the literature, and those of features, tails, zeros and scales.
pub(crate) fn integrals() -> Vec<Request> {
    let files = [
        include_str!("integrals.json"),
        include_str!("features.json"),
    ];
    let all = files.map(serde_json::from_str::<Vec<Request>>);
    let all = all.map(|file| file.expect("a file of the suite is an array of requests"));
    all.into_iter().flatten().collect()
}

/// The answer to `request` with another seed, and perhaps another method than its own.
pub(crate) fn answer(
    request: &Request,
    seed: u64,
    method: Option<Method>,
) -> Result<Answer, Error> {
    let mut request = request.clone();
    request.seed = seed;
    if let Some(method) = method {
        request.method = method;
    }
    let functions = Registry::new();
    let mut job = Job::new(request, &functions)?;
    run(&mut job, &functions, &mut |_| Control::Continue)
}

/// The exact value of each output.
pub(crate) fn exact(request: &Request) -> Vec<f64> {
    request
        .exact
        .as_ref()
        .map(|exact| exact.as_slice().to_vec())
        .unwrap_or_default()
}
