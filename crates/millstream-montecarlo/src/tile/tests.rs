//! Tiles of every kind: right values, and the same bits however they are computed.

use std::collections::BTreeMap;

use super::*;
use crate::isa::{Level, force};
use crate::partial::Moments;
use crate::strata::Strata;
use crate::wave::{Region, TILE};
use crate::{Digest, Domain, Fold, Limit, NUMERICS, Plan};

/// exp(-(x^2 + y^2)) on the plane; its integral is pi.
const GAUSS: &str = "exp(-x0^2-x1^2)";

fn plan(expression: &str, lower: f64, upper: f64, dim: usize) -> Plan {
    Plan {
        expression: expression.into(),
        params: BTreeMap::new(),
        domain: Domain::new(&vec![Limit(lower); dim], &vec![Limit(upper); dim]).unwrap(),
        seed: 11,
        numerics: NUMERICS,
    }
}

fn wave(plan: Plan, work: Work) -> Wave {
    Wave {
        plan,
        iteration: 3,
        scale: Vec::new(),
        work,
    }
}

fn whole(wave: &Wave) -> Partial {
    let prepared = wave.prepare(&Registry::new()).unwrap();
    prepared.chunk(0..wave.tiles()).unwrap()
}

fn plain(tiles: u64) -> Work {
    Work::Plain { tiles, map: None }
}

fn strata(dim: usize, samples: u64) -> Work {
    Work::Strata {
        map: Map::uniform(dim),
        strata: Strata::even(dim, samples),
        adapt: true,
    }
}

fn replicates(points: u64) -> Work {
    Work::Replicates {
        map: None,
        first: 0,
        points,
    }
}

fn regions(dim: usize, per_axis: usize) -> Work {
    let width = 1.0 / per_axis as f64;
    let regions = (0..per_axis.pow(dim as u32)).map(|number| {
        let place = |axis: usize| (number / per_axis.pow(axis as u32) % per_axis) as f64 * width;
        let lower: Vec<f64> = (0..dim).map(place).collect();
        Region {
            upper: lower.iter().map(|low| low + width).collect(),
            lower,
        }
    });
    Work::Regions {
        regions: regions.collect(),
    }
}

/// The value of a wave of one output on the infinite plane, and its standard error where one wave has one.
fn estimate(partial: &Partial) -> (f64, f64) {
    match &partial.sums {
        Sums::Plain(Moments { count, mean, m2 }) => {
            let n = *count as f64;
            (mean[0], (m2[0] / (n - 1.0) / n).sqrt())
        }
        Sums::Strata(sums) => (sums.value[0], sums.covariance[0].sqrt()),
        Sums::Replicates { points, sums } => {
            let means: Vec<f64> = sums.iter().map(|sum| sum / *points as f64).collect();
            let mean = means.iter().sum::<f64>() / 16.0;
            let spread: f64 = means.iter().map(|one| (one - mean).powi(2)).sum();
            (mean, (spread / 15.0 / 16.0).sqrt())
        }
        Sums::Regions(regions) => {
            let value = regions.iter().map(|region| region.value[0]).sum();
            (
                value,
                regions.iter().map(|region| region.error[0].abs()).sum(),
            )
        }
        Sums::Checks(_) => unreachable!("a check has no value of its own"),
    }
}

fn all_kinds() -> Vec<Wave> {
    let infinite = || plan(GAUSS, f64::NEG_INFINITY, f64::INFINITY, 2);
    vec![
        wave(infinite(), plain(11)),
        wave(infinite(), strata(2, 11 * TILE)),
        wave(infinite(), replicates(11 * TILE_POINTS)),
        wave(infinite(), regions(2, 26)),
    ]
}

#[test]
fn every_kind_finds_pi_within_its_own_error() {
    let values = all_kinds()
        .iter()
        .map(|wave| estimate(&whole(wave)))
        .collect::<Vec<_>>();
    for (value, error) in &values {
        assert!(
            (value - std::f64::consts::PI).abs() < 4.0 * error,
            "{value} +- {error}"
        );
    }
    // 180,000 samples: a hundredth for plain sampling, and each method better than the one before.
    let errors: Vec<f64> = values.iter().map(|value| value.1).collect();
    assert!(
        errors.is_sorted_by(|worse, better| worse > better),
        "{errors:?}"
    );
    assert!(errors[0] < 0.02 && errors[3] < 1e-3, "{errors:?}");
}

#[test]
fn a_wave_tells_its_samples_as_they_are_drawn() {
    for wave in all_kinds() {
        let partial = whole(&wave);
        assert_eq!(partial.samples, wave.samples());
        // Far out the integrand is below the smallest double.
        assert!(partial.nonzero > partial.samples / 10 * 9 && partial.nonzero < partial.samples);
        assert_eq!(partial.bad, Default::default());
        assert!(
            partial.largest[0] <= 1.0 && partial.largest[0] > 0.9,
            "{:?}",
            partial.largest
        );
    }
}

#[test]
fn bits_do_not_depend_on_threads_chunks_order_or_duplicates() {
    for wave in all_kinds() {
        let expected = whole(&wave).digest();
        let prepared = wave.prepare(&Registry::new()).unwrap();
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            for size in [1, 2, 4, 8, 16] {
                let mut fold = Fold::new(wave.tiles(), size).unwrap();
                // A fixed shuffle; every third chunk comes twice.
                let mut order: Vec<u64> = (0..fold.chunks()).collect();
                order.sort_by_key(|chunk| {
                    chunk
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .rotate_left(threads as u32)
                });
                for chunk in order {
                    let tiles = fold.tiles_of(chunk);
                    let partial = pool.install(|| prepared.chunk(tiles)).unwrap();
                    if chunk % 3 == 0 {
                        fold.add(chunk, partial.clone()).unwrap();
                    }
                    fold.add(chunk, partial).unwrap();
                }
                assert_eq!(fold.finish().unwrap().digest(), expected);
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_instructions() {
    for wave in all_kinds() {
        let expected = whole(&wave).digest();
        for level in Level::available() {
            let _forced = force(level);
            assert_eq!(whole(&wave).digest(), expected, "{level:?}");
        }
    }
}

#[test]
fn other_bits_of_a_chunk_raise_an_alarm() {
    let wave = wave(plan("x0", 0.0, 1.0, 1), plain(4));
    let prepared = wave.prepare(&Registry::new()).unwrap();
    let mut fold = Fold::new(4, 2).unwrap();
    fold.add(0, prepared.chunk(0..2).unwrap()).unwrap();
    let mut other = prepared.chunk(0..2).unwrap();
    let Sums::Plain(moments) = &mut other.sums else {
        panic!("plain work gives moments")
    };
    moments.mean[0] = moments.mean[0].next_up();
    assert_eq!(fold.add(0, other), Err(Error::Nondeterminism { chunk: 0 }));
    assert_eq!(fold.missing().collect::<Vec<_>>(), [1]);
    assert_eq!(fold.finish(), Err(Error::Incomplete { missing: 1 }));
}

#[test]
fn bad_samples_count_as_zero_and_the_first_is_shown() {
    let wave = wave(plan("ln(x0-0.5)", 0.0, 1.0, 1), plain(2));
    let partial = whole(&wave);
    let first = partial.bad.first.unwrap();
    assert_eq!((first.value.as_str(), first.x.len()), ("NaN", 1));
    assert!(first.x[0] < 0.5);
    // Half of 32,768 samples, give or take five standard deviations of 90.
    assert!(
        partial.bad.count.abs_diff(16_384) < 450,
        "{}",
        partial.bad.count
    );
    assert_eq!(partial.nonzero + partial.bad.count, partial.samples);
    assert!(partial.largest[0].is_finite());
}

#[test]
fn outputs_share_samples_and_their_covariance_is_theirs() {
    let both = whole(&wave(plan("x0; 2*x0; 1", 0.0, 1.0, 1), plain(4)));
    let one = whole(&wave(plan("x0", 0.0, 1.0, 1), plain(4)));
    let (Sums::Plain(both), Sums::Plain(one)) = (&both.sums, &one.sums) else {
        panic!("plain work gives moments")
    };
    assert_eq!(both.mean[0], one.mean[0]);
    // Row by row: var x; cov, var 2x; zeros for the constant.
    let v = one.m2[0];
    assert_eq!(both.m2, [v, 2.0 * v, 4.0 * v, 0.0, 0.0, 0.0]);
    assert_eq!(both.mean[2], 1.0);
}

#[test]
fn a_scale_takes_out_what_would_overflow() {
    let mut large = wave(plan("1e300*x0", 0.0, 1.0, 1), strata(1, TILE));
    large.scale = vec![-1000];
    let mut small = wave(plan("x0", 0.0, 1.0, 1), strata(1, TILE));
    small.scale = vec![0];
    let ratio = 1e300 * 2.0_f64.powi(-1000);
    let (value, error) = estimate(&whole(&large));
    let (expected, expected_error) = estimate(&whole(&small));
    assert!((value / ratio - expected).abs() < 1e-14);
    assert!((error / ratio / expected_error - 1.0).abs() < 1e-12);
}

#[test]
fn a_map_refined_by_its_histogram_lowers_the_error() {
    let plan = plan("exp(-400*((x0-0.3)^2+(x1-0.6)^2))", 0.0, 1.0, 2);
    let mut map = Map::uniform(2);
    let mut errors = Vec::new();
    for _ in 0..6 {
        let work = Work::Strata {
            map: map.clone(),
            strata: Strata::even(2, 40_000),
            adapt: true,
        };
        let partial = whole(&wave(plan.clone(), work));
        let Sums::Strata(sums) = &partial.sums else {
            panic!("strata give strata")
        };
        map = map.refined(&sums.histogram);
        errors.push(sums.covariance[0].sqrt());
        assert!(
            (sums.value[0] - std::f64::consts::PI / 400.0).abs() < 5.0 * errors[errors.len() - 1]
        );
    }
    assert!(errors[5] < errors[0] / 3.0, "{errors:?}");
}

#[test]
fn samples_follow_the_spread() {
    let even = Strata::even(1, 4000);
    assert_eq!((even.per_axis(), even.samples()), (&[1000][..], 4000));
    let mut spread = vec![0.0; 1000];
    spread[7] = 3.0;
    let told = even.allocated(4000, &spread);
    assert_eq!((told.counts()[7], told.counts()[8]), (2002, 2));
    assert_eq!(Strata::even(20, 1_000_000).counts().len(), 1 << 16);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refused = |wave: &Wave| wave.prepare(&Registry::new()).err();
    let wrong_map = Work::Plain {
        tiles: 1,
        map: Some(Map::uniform(3)),
    };
    assert_eq!(
        refused(&wave(plan("x0", 0.0, 1.0, 2), wrong_map)),
        Some(Error::Mismatch)
    );
    assert_eq!(
        refused(&wave(plan("x0", 0.0, 1.0, 2), strata(1, 100))),
        Some(Error::Mismatch)
    );
    let mut newer = wave(plan("x0", 0.0, 1.0, 1), plain(1));
    newer.plan.numerics = NUMERICS + 1;
    assert_eq!(
        refused(&newer),
        Some(Error::Numerics {
            wanted: NUMERICS + 1,
            here: NUMERICS
        })
    );
    let prepared = wave(plan("x0", 0.0, 1.0, 1), plain(1))
        .prepare(&Registry::new())
        .unwrap();
    assert_eq!(prepared.chunk(0..2), Err(Error::Mismatch));
}

#[test]
fn a_wave_and_its_result_arrive_with_every_bit() {
    for wave in all_kinds() {
        let bytes = rmp_serde::to_vec_named(&wave).unwrap();
        let there: Wave = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(there.digest(), wave.digest());
        let result = whole(&there);
        let bytes = rmp_serde::to_vec_named(&result).unwrap();
        let back: Partial = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(back.digest(), whole(&wave).digest());
        let text = serde_json::to_string(&wave).unwrap();
        assert_eq!(
            Digest::of(&serde_json::from_str::<Wave>(&text).unwrap()),
            wave.digest()
        );
    }
}
