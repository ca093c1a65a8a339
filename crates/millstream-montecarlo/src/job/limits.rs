//! What numbers cannot do, and what a method cannot: rounding, overflow, infinity times zero, cancelling sums, tails without
//! end, and the limits of a rule.
//!
//! Exact values: symmetry, closed forms, and quadrature in one dimension where a test says so.

use super::Job;
use crate::{Answer, Control, Limit, Method, Registry, Request, Status, run};

fn answered(request: Request) -> Answer {
    let functions = Registry::new();
    let mut job = Job::new(request, &functions).unwrap();
    run(&mut job, &functions, &mut |_| Control::Continue).unwrap()
}

fn interval(answer: &Answer) -> [f64; 2] {
    answer.interval.as_slice()[0].unwrap()
}

fn warned(answer: &Answer, text: &str) -> bool {
    answer.warnings.iter().any(|warning| warning.contains(text))
}

#[test]
fn an_integral_of_zero_is_zero_within_the_rounding_of_its_terms() {
    for expression in ["x", "x^3", "x^5", "sin(x)", "sinh(x)"] {
        for method in [Method::Auto, Method::Cubature] {
            let answer = answered(Request {
                method,
                lower: vec![Limit(-1.0)],
                upper: vec![Limit(1.0)],
                ..Request::new(expression)
            });
            let [low, high] = interval(&answer);
            // The integral of |f| is at most 1.1; its rounding is 1e-14 of it, and the interval two of that to each side.
            assert!(
                low <= 0.0 && 0.0 <= high && high - low < 1e-13,
                "{expression} by {method}: {answer:?}"
            );
            assert!(
                answer.samples < 200_000,
                "{expression} by {method}: {answer:?}"
            );
            assert!(
                warned(&answer, "abs_error"),
                "{expression} by {method}: {answer:?}"
            );
        }
    }
}

#[test]
fn terms_that_cancel_leave_the_rounding_of_their_size() {
    let answer = answered(Request::new("1e8*(x0-0.5)+1e-6"));
    let [low, high] = interval(&answer);
    assert!(low <= 1e-6 && 1e-6 <= high, "{answer:?}");
    assert!(warned(&answer, "rounding"), "{answer:?}");
}

#[test]
fn a_target_below_the_precision_of_doubles_ends_with_the_reason() {
    let answer = answered(Request {
        rel_error: Some(1e-15),
        ..Request::new("x0")
    });
    let [low, high] = interval(&answer);
    assert!(
        (low..=high).contains(&0.5) && high - low < 1e-13,
        "{answer:?}"
    );
    assert!(
        warned(&answer, "below the precision of doubles"),
        "{answer:?}"
    );
    assert!(!warned(&answer, "pole"), "{answer:?}");
}

#[test]
fn auto_changes_the_method_when_a_rule_has_no_room_for_more_regions() {
    let answer = answered(Request {
        rel_error: Some(1e-5),
        max_samples: Some(10_000_000_000),
        ..Request::new("exp(-x0*x1)*if(x0+x1<1.2,1,0)")
    });
    assert_eq!(answer.status, Status::Converged, "{answer:?}");
    // By quadrature of (1 - exp(-x b(x))) / x with b(x) = min(1, 1.2 - x).
    let [low, high] = interval(&answer);
    let off = (f64::midpoint(low, high) - 0.603_954_713_3).abs();
    assert!(off <= 3.0 * (high - low) / 2.0, "{answer:?}");
}

#[test]
fn a_tail_that_falls_like_a_logarithm_is_in_the_error_bar() {
    for seed in 0..4 {
        let answer = answered(Request {
            seed,
            ..Request::new("1/(x*(1-ln(x))^2)")
        });
        let [low, high] = interval(&answer);
        assert!((low..=high).contains(&1.0), "seed {seed}: {answer:?}");
        assert!(warned(&answer, "pole"), "seed {seed}: {answer:?}");
    }
}

#[test]
fn a_tail_without_end_never_converges() {
    for seed in 0..4 {
        let answer = answered(Request {
            seed,
            ..Request::new("1/(x*(1+abs(ln(x))))")
        });
        assert_ne!(answer.status, Status::Converged, "seed {seed}: {answer:?}");
        let [low, high] = interval(&answer);
        assert!(high - low > 1.0, "seed {seed}: {answer:?}");
    }
}

#[test]
fn outputs_that_are_multiples_of_each_other_are_correlated_under_every_method() {
    for method in [
        Method::Plain,
        Method::Vegas,
        Method::Rqmc,
        Method::MapRqmc,
        Method::Cubature,
    ] {
        let answer = answered(Request {
            method,
            rel_error: Some(1e-3),
            ..Request::new("exp(-50*(x-0.3)^2);2*exp(-50*(x-0.3)^2)")
        });
        let covariance = answer.covariance.clone().unwrap();
        let at = |row: usize, column: usize| covariance[row][column].unwrap();
        let correlation = at(0, 1) / (at(0, 0) * at(1, 1)).sqrt();
        assert!((correlation - 1.0).abs() < 1e-6, "{method}: {covariance:?}");
    }
}

#[test]
fn a_hint_at_a_peak_that_the_pilot_cannot_guess_the_size_of_does_not_overflow() {
    let axes: Vec<String> = (0..8).map(|axis| format!("(x{axis}-0.5)^2")).collect();
    for seed in 0..4 {
        let answer = answered(Request {
            seed,
            hints: vec![vec![0.5; 8]],
            ..Request::new(format!("exp(-8000*({}))", axes.join("+")))
        });
        let exact = (std::f64::consts::PI / 8000.0).powi(4);
        let [low, high] = interval(&answer);
        let off = (f64::midpoint(low, high) - exact).abs();
        assert_eq!(answer.status, Status::Converged, "seed {seed}: {answer:?}");
        assert!(off <= 3.0 * (high - low) / 2.0, "seed {seed}: {answer:?}");
    }
}

/// The whole line, `method`, no other settings.
fn on_the_line(expression: &str, method: Method, seed: u64) -> Answer {
    answered(Request {
        seed,
        method,
        lower: vec![Limit(f64::NEG_INFINITY)],
        upper: vec![Limit(f64::INFINITY)],
        ..Request::new(expression)
    })
}

#[test]
fn infinity_times_zero_far_out_is_zero() {
    let root = (2.0 * std::f64::consts::PI).sqrt();
    // Shifted Gaussians: exp(a x - x^2/2) has the integral sqrt(2 pi) exp(a^2/2). The logistic density has 1.
    let shifted = root * 0.125_f64.exp();
    let cases = [
        ("exp(0.5*x)*exp(-x^2/2)", shifted),
        ("cosh(0.5*x)*exp(-x^2/2)", shifted),
        ("exp(x)/(1+exp(x))^2", 1.0),
    ];
    for (expression, exact) in cases {
        for method in [
            Method::Auto,
            Method::Vegas,
            Method::MapRqmc,
            Method::Cubature,
        ] {
            for seed in 0..4 {
                let answer = on_the_line(expression, method, seed);
                let text = format!("{expression} by {method}, seed {seed}: {answer:?}");
                assert_eq!(answer.status, Status::Converged, "{text}");
                assert_eq!(answer.bad_samples, 0, "{text}");
                let [low, high] = interval(&answer);
                let off = (f64::midpoint(low, high) - exact).abs();
                assert!(off <= 1.5 * (high - low), "{text}");
            }
        }
    }
}

#[test]
fn nan_far_out_is_bad_where_the_integrand_is_not_zero_on_the_way() {
    // exp(x^2) erfc(x) falls like 1/x, and is infinity times zero from 27 on.
    for expression in [
        "exp(x^2)*erfc(abs(x))",
        "if(abs(x)<9,1,0/0)",
        "exp(x)*exp(-x)",
    ] {
        let answer = on_the_line(expression, Method::Auto, 0);
        assert_eq!(answer.status, Status::Failed, "{expression}: {answer:?}");
    }
}
