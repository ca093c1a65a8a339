use std::sync::Arc;

use super::*;
use crate::{Answer, Closure, Control, Limit, run};

fn request(expression: &str, limits: (f64, f64)) -> Request {
    Request {
        lower: vec![Limit(limits.0)],
        upper: vec![Limit(limits.1)],
        ..Request::new(expression)
    }
}

fn job(request: Request) -> Job {
    Job::new(request, &Registry::new()).unwrap()
}

fn end(job: &mut Job) -> Answer {
    run(job, &Registry::new(), &mut |_| Control::Continue).unwrap()
}

fn answered(request: Request) -> Answer {
    end(&mut job(request))
}

fn step(job: &mut Job) {
    let prepared = job.wave().unwrap().prepare(&Registry::new()).unwrap();
    let tiles = prepared.wave().tiles();
    job.complete(prepared.chunk(0..tiles).unwrap()).unwrap();
}

fn value(answer: &Answer) -> f64 {
    answer.value.as_slice()[0].unwrap()
}

fn warned(answer: &Answer, words: &str) -> bool {
    answer
        .warnings
        .iter()
        .any(|warning| warning.contains(words))
}

const METHODS: [&str; 6] = ["plain", "vegas", "rqmc", "map-rqmc", "cubature", "auto"];
/// pi erf(3)^2.
const GAUSS: f64 = 3.141_453_860_9;
const GAUSS_FORMULA: &str = "exp(-x0^2-x1^2)";

fn gauss(method: &str) -> Request {
    let method = method.parse().unwrap();
    Request {
        method,
        rel_error: Some(1e-3),
        ..request(GAUSS_FORMULA, (-3.0, 3.0))
    }
}

#[test]
fn every_method_finds_an_easy_integral_and_says_so() {
    for method in METHODS {
        let answer = answered(gauss(method));
        assert_eq!(answer.status, Status::Converged, "{method}");
        // Three half-widths: a seed that fails here would be one of 10^8.
        let off = value(&answer) / GAUSS - 1.0;
        assert!(off.abs() < 3e-3, "{method}: {off}");
        assert!(method == "auto" || answer.method.name() == method);
        assert_eq!(answer.decision.is_some(), method == "auto");
    }
}

#[test]
fn a_job_written_down_and_read_again_after_every_wave_gives_the_same_bits() {
    let three =
        "exp(-75*((x0-0.2)^2+(x1-0.2)^2+(x2-0.2)^2)); exp(-75*((x0-0.7)^2+(x1-0.7)^2+(x2-0.7)^2))";
    for method in METHODS {
        let mut asked = Request {
            rel_error: Some(3e-3),
            ..Request::new(three)
        };
        asked.method = method.parse().unwrap();
        let straight = answered(asked.clone());
        let mut broken = job(asked);
        while broken.wave().is_some() {
            step(&mut broken);
            let written = rmp_serde::to_vec_named(&broken).unwrap();
            broken = rmp_serde::from_slice(&written).unwrap();
        }
        assert_eq!(broken.answer(), straight, "{method}");
        assert_eq!(straight.status, Status::Converged, "{method}");
    }
}

#[test]
fn how_a_wave_is_cut_changes_no_bit() {
    for method in METHODS {
        let straight = answered(Request {
            seed: 5,
            ..gauss(method)
        });
        let mut other = job(Request {
            seed: 5,
            ..gauss(method)
        });
        let mut calls = 0;
        let mut watch = |_: &crate::Progress<'_>| {
            calls += 1;
            if calls % 3 == 0 {
                Control::Longer
            } else {
                Control::Shorter
            }
        };
        let answer = run(&mut other, &Registry::new(), &mut watch).unwrap();
        assert_eq!(answer, straight, "{method}");
    }
}

#[test]
fn tightened_it_goes_on_to_the_bits_of_a_job_that_was_asked_for_more_at_once() {
    for method in ["plain", "vegas", "rqmc", "map-rqmc", "cubature"] {
        let mut tightened = job(Request {
            rel_error: Some(1e-2),
            ..gauss(method)
        });
        assert_eq!(end(&mut tightened).status, Status::Converged, "{method}");
        let loose = tightened.samples();
        tightened.tighten(Some(5e-4), None, None).unwrap();
        let answer = end(&mut tightened);
        assert!(answer.samples >= loose, "{method}");
        assert_eq!(answer.status, Status::Converged, "{method}");
        assert!((value(&answer) / GAUSS - 1.0).abs() < 1.5e-3, "{method}");
    }
    let mut tightened = job(Request {
        rel_error: Some(1e-2),
        ..gauss("rqmc")
    });
    end(&mut tightened);
    tightened.tighten(Some(1e-5), None, None).unwrap();
    let at_once = answered(Request {
        rel_error: Some(1e-5),
        ..gauss("rqmc")
    });
    assert_eq!(end(&mut tightened).value, at_once.value);
}

#[test]
fn the_hash_names_all_that_decides_bits_and_nothing_else() {
    let hash = |request: Request| job(request).answer().plan_hash;
    let same = hash(gauss("vegas"));
    assert_eq!(
        same,
        hash(Request {
            name: "another name".into(),
            deadline: Some(9.0),
            ..gauss("vegas")
        })
    );
    let mut first = job(gauss("vegas"));
    end(&mut first);
    let others = [
        gauss("map-rqmc"),
        Request {
            seed: 1,
            ..gauss("vegas")
        },
        Request {
            map: first.map(),
            ..gauss("vegas")
        },
        Request {
            hints: vec![vec![0.5; 2]],
            ..gauss("vegas")
        },
        Request {
            rel_error: Some(1e-9),
            ..gauss("vegas")
        },
    ];
    for other in others {
        assert_ne!(same, hash(other.clone()), "{other:?}");
    }
}

#[test]
fn an_integrand_that_is_zero_wherever_sampled_is_not_converged() {
    for method in METHODS {
        let mut asked = request("if(x0<1e-12,1e12,0)", (0.0, 1.0));
        asked.method = method.parse().unwrap();
        asked.max_samples = Some(1_000_000);
        let answer = answered(asked);
        assert_eq!(answer.status, Status::BudgetExhausted, "{method}");
        assert!(
            warned(&answer, "give a point where it is not as a hint"),
            "{method}"
        );
    }
    let mut hinted = request("if(abs(x0-0.3)<1e-6,1e6,0)", (0.0, 1.0));
    hinted.hints = vec![vec![0.3]];
    let answer = answered(hinted);
    assert_eq!(answer.status, Status::Converged, "{:?}", answer.warnings);
    assert!((value(&answer) - 2.0).abs() < 1e-3);
}

#[test]
fn divergent_integrals_do_not_converge_and_say_why() {
    let cases = [
        ("1/x0", (0.0, 1.0)),
        ("x0^-2", (0.0, 1.0)),
        ("abs(tan(x0))", (0.0, 3.0)),
        ("1/(1+x0)", (0.0, f64::INFINITY)),
    ];
    for (expression, limits) in cases {
        for method in METHODS {
            for error in [0.1, 1e-3] {
                let mut asked = request(expression, limits);
                asked.method = method.parse().unwrap();
                asked.max_samples = Some(2_000_000);
                asked.rel_error = Some(error);
                let answer = answered(asked);
                assert_eq!(
                    answer.status,
                    Status::BudgetExhausted,
                    "{expression} {method} {error}"
                );
                assert!(
                    warned(&answer, "integral may not exist"),
                    "{expression} {method}: {:?}",
                    answer.warnings
                );
            }
        }
    }
}

#[test]
fn a_budget_below_one_tile_computes_nothing_and_says_so() {
    let answer = answered(Request {
        max_samples: Some(1),
        ..request("x0", (0.0, 1.0))
    });
    assert_eq!(
        (answer.status, answer.samples),
        (Status::BudgetExhausted, 0)
    );
    assert_eq!(answer.value, crate::Each::One(None));
    assert!(warned(&answer, "less than one tile"));
}

#[test]
fn one_wave_is_not_believed_however_narrow_its_error_bar() {
    let mut asked = request("exp(x0)", (0.0, 1.0));
    asked.method = Method::Rqmc;
    asked.rel_error = Some(1e-3);
    asked.max_samples = Some(40_000);
    let answer = answered(asked);
    assert_eq!(answer.status, Status::BudgetExhausted);
    assert!(warned(&answer, "as narrow as asked for"), "{answer:?}");
}

#[test]
fn bad_samples_fail_count_as_zero_or_are_left_out() {
    let half = |on_bad, method: &str| {
        let method = method.parse().unwrap();
        answered(Request {
            on_bad,
            method,
            rel_error: Some(1e-2),
            ..request("if(x0<0.5, sqrt(-1), 3)", (0.0, 1.0))
        })
    };
    let failed = half(OnBad::Fail, "auto");
    assert_eq!(
        (failed.status, failed.value.clone()),
        (Status::Failed, crate::Each::One(None))
    );
    assert!(failed.bad_samples > 8000 && failed.first_bad.is_some());
    assert!(
        warned(&failed, "the integrand is NaN at (0."),
        "{:?}",
        failed.warnings
    );
    assert!((value(&half(OnBad::Zero, "auto")) - 1.5).abs() < 0.05);
    let counted = half(OnBad::Count, "plain");
    assert!((value(&counted) - 3.0).abs() < 1e-12, "{}", value(&counted));
}

#[test]
fn values_near_the_ends_of_the_doubles_neither_overflow_nor_vanish() {
    for (factor, volume) in [("1e300", 1e7), ("1e-300", 1e-7)] {
        for method in METHODS {
            let mut asked = Request {
                lower: vec![Limit(0.0)],
                upper: vec![Limit(volume), Limit(1.0)],
                ..Request::new(format!("{factor}*(1+x1)"))
            };
            asked.method = method.parse().unwrap();
            asked.lower = vec![Limit(0.0), Limit(0.0)];
            asked.rel_error = Some(1e-3);
            let answer = answered(asked);
            let exact = 1.5 * factor.parse::<f64>().unwrap() * volume;
            assert_eq!(
                answer.status,
                Status::Converged,
                "{method} {factor} {answer:?}"
            );
            assert!(
                (value(&answer) / exact - 1.0).abs() < 3e-3,
                "{method}: {}",
                value(&answer)
            );
        }
    }
}

#[test]
fn components_of_very_different_size_all_reach_the_aim() {
    let asked = Request {
        rel_error: Some(1e-3),
        method: Method::MapRqmc,
        ..Request::new("1e200*x0^2*x1; 1e-200*exp(x0+x1+x2); 0.5*x0")
    };
    let answer = answered(asked);
    let exact = [
        1e200 / 6.0,
        1e-200 * (std::f64::consts::E - 1.0).powi(3),
        0.25,
    ];
    assert_eq!(answer.status, Status::Converged);
    for (value, exact) in answer.value.as_slice().iter().zip(exact) {
        assert!(
            (value.unwrap() / exact - 1.0).abs() < 3e-3,
            "{value:?} {exact}"
        );
    }
    let covariance = answer.covariance.unwrap();
    assert_eq!((covariance.len(), covariance[0].len()), (3, 3));
    assert_eq!(covariance[0][2], covariance[2][0]);
}

#[test]
fn sixty_four_dimensions_are_as_good_as_one() {
    let functions = {
        let mut functions = Registry::new();
        functions.insert(
            "mean",
            Arc::new(Closure::new(64, |x| x.iter().sum::<f64>() / 64.0)),
        );
        functions
    };
    let mut job = Job::new(Request::new("@mean"), &functions).unwrap();
    let answer = run(&mut job, &functions, &mut |_| Control::Continue).unwrap();
    assert_eq!(answer.status, Status::Converged);
    assert!((value(&answer) - 0.5).abs() < 1.5e-4);
}

#[test]
fn a_stored_map_begins_where_the_other_job_ended() {
    let peak =
        |x: f64| format!("exp(-5000*((x0-{x})^2+(x1-{x})^2+(x2-{x})^2+(x3-{x})^2+(x4-{x})^2))");
    let mut first = job(Request {
        method: Method::MapRqmc,
        ..Request::new(peak(0.4))
    });
    assert_eq!(end(&mut first).status, Status::Converged);
    let map = first.map();
    assert!(map.is_some());
    let cold = answered(Request {
        method: Method::MapRqmc,
        ..Request::new(peak(0.4001))
    });
    let warm = answered(Request {
        method: Method::MapRqmc,
        map,
        ..Request::new(peak(0.4001))
    });
    assert_eq!(
        (cold.status, warm.status),
        (Status::Converged, Status::Converged)
    );
    assert!(
        warm.samples < cold.samples,
        "{} {}",
        warm.samples,
        cold.samples
    );
}

#[test]
fn stopped_it_ends_at_the_last_complete_wave() {
    let mut job = job(gauss("plain"));
    step(&mut job);
    step(&mut job);
    let before = job.answer();
    job.stop(Status::Deadline);
    assert!(job.wave().is_none());
    let after = job.answer();
    assert_eq!(
        (after.status, after.value),
        (Status::Deadline, before.value)
    );
    job.tighten(None, None, None).unwrap();
    assert_eq!(end(&mut job).value, answered(gauss("plain")).value);
}

#[test]
fn sums_of_another_wave_are_refused() {
    let mut job = job(gauss("plain"));
    let prepared = job.wave().unwrap().prepare(&Registry::new()).unwrap();
    let tile = prepared.chunk(0..1).unwrap();
    job.complete(tile.clone()).unwrap();
    step(&mut job);
    step(&mut job);
    assert!(job.wave().unwrap().tiles() > 1);
    assert_eq!(job.complete(tile), Err(Error::Mismatch));
}
