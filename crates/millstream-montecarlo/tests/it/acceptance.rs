//! A part of the acceptance run that is quick enough to run always; `scripts/bench acceptance` is all of it.
//!
//! Seeds are fixed, so every run gives the same answers: an assertion here holds always or never.
#![expect(clippy::expect_used, reason = "what the tests name is in the suite")]

use std::collections::BTreeMap;

use millstream_montecarlo::{Method, Registry, Request, Status};

use crate::judge::{self, Tally};
use crate::random;
use crate::suite;

/// Integrals of all kinds that need less than a few million samples.
const QUICK: [&str; 22] = [
    "genz_oscillatory_5",
    "genz_product_peak_5",
    "genz_corner_peak_5",
    "genz_gaussian_8",
    "genz_continuous_5",
    "genz_discontinuous_2",
    "genz_discontinuous_8",
    "cuba1",
    "cuba2",
    "cuba7",
    "european_call",
    "european_call_ninv",
    "digital_call",
    "geometric_asian_12",
    "gauss_space_off_centre",
    "cauchy_plane",
    "planck",
    "inverse_distance",
    "gauss4",
    "sharp_gauss6",
    "linear_64",
    "cosine_and_sine",
];

fn named(name: &str) -> Request {
    suite::integrals()
        .into_iter()
        .find(|request| request.name == name)
        .expect("a name of the suite")
}

#[test]
fn every_integral_of_the_suite_and_of_the_catalogue_can_be_asked() {
    let catalogue: Vec<Request> =
        serde_json::from_str(include_str!("../../../../config/montecarlo/catalogue.json")).unwrap();
    let all = suite::integrals()
        .into_iter()
        .chain(judge::divergent())
        .chain(catalogue);
    let refused: Vec<_> = all
        .filter_map(|request| {
            request
                .validate(&Registry::new())
                .err()
                .map(|error| (request.name, error))
        })
        .collect();
    assert_eq!(refused, vec![]);
}

#[test]
fn quick_integrals_converge_to_their_exact_values() {
    let mut all = Tally::default();
    for name in QUICK {
        let request = named(name);
        let mut tally = Tally::default();
        for seed in 1..=3 {
            tally.add(
                &suite::answer(&request, seed, None).unwrap(),
                &suite::exact(&request),
            );
        }
        assert_eq!(
            (tally.converged, tally.right),
            (3, 3),
            "{name}: {:?}, worst pull {}",
            tally.statuses,
            tally.worst
        );
        assert_eq!(tally.faults(), Vec::<String>::new(), "{name}");
        all.extend(&tally);
    }
    assert_eq!(all.faults(), Vec::<String>::new());
}

#[test]
fn what_diverges_never_converges() {
    for mut request in judge::divergent() {
        request.max_samples = Some(1_000_000);
        for seed in 1..=2 {
            let answer = suite::answer(&request, seed, None).unwrap();
            assert_ne!(
                answer.status,
                Status::Converged,
                "{} with seed {seed}",
                request.name
            );
        }
    }
}

#[test]
fn a_missed_mode_carries_a_warning_or_is_not_missed() {
    let request = named("three_gauss10");
    let mut tally = Tally::default();
    for seed in 1..=3 {
        tally.add(
            &suite::answer(&request, seed, None).unwrap(),
            &suite::exact(&request),
        );
    }
    assert_eq!(tally.silent, 0, "{:?}", tally.statuses);
}

#[test]
fn hints_find_peaks_that_a_search_misses() {
    let request = named("three_gauss10_hints");
    let mut tally = Tally::default();
    for seed in 1..=2 {
        tally.add(
            &suite::answer(&request, seed, None).unwrap(),
            &suite::exact(&request),
        );
    }
    assert!(tally.worst <= 3.0, "worst pull {}", tally.worst);
}

#[test]
fn every_method_gives_the_same_bits_on_any_number_of_threads() {
    let mut request = named("cuba2");
    request.max_samples = Some(300_000);
    for method in [
        Method::Plain,
        Method::Vegas,
        Method::Rqmc,
        Method::MapRqmc,
        Method::Cubature,
        Method::Auto,
    ] {
        let mut found = BTreeMap::new();
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let answer = pool.install(|| suite::answer(&request, 5, Some(method)).unwrap());
            found.insert(threads, serde_json::to_string(&answer).unwrap());
        }
        assert_eq!(
            (&found[&1], &found[&1]),
            (&found[&2], &found[&7]),
            "{method}"
        );
    }
}

#[test]
fn random_integrals_are_right_or_warned_of() {
    // Fixed seeds: `scripts/bench acceptance` draws others each time, and more.
    for (kind, (name, make)) in random::KINDS.iter().enumerate() {
        for number in 0..4 {
            let request = make(&mut random::Dice::new(1, kind, number));
            let mut tally = Tally::default();
            tally.add(
                &suite::answer(&request, number, None).unwrap(),
                &suite::exact(&request),
            );
            assert_eq!(
                tally.silent, 0,
                "{name} {number}: {}, worst pull {}",
                request.expression, tally.worst
            );
        }
    }
}
