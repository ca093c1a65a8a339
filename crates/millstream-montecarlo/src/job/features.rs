//! Features that samples saw, or could not see: what was evaluated is in the value or in a warning, on every seed.
//!
//! Each integrand is a background with a small feature, found by users of earlier versions to be wrong in silence.
//! Exact values: volumes of slabs, discs and balls.

use super::Job;
use crate::{Answer, Control, Limit, Method, Registry, Request, Status, run};

fn answered(request: Request) -> Answer {
    let functions = Registry::new();
    let mut job = Job::new(request, &functions).unwrap();
    run(&mut job, &functions, &mut |_| Control::Continue).unwrap()
}

fn value(answer: &Answer) -> f64 {
    answer.value.as_slice()[0].unwrap_or(f64::NAN)
}

/// Whether the answer is right within three half-widths, or says that it may not be.
fn is_honest(answer: &Answer, exact: f64) -> bool {
    let [low, high] = answer.interval.as_slice()[0].unwrap();
    let half = (high - low) / 2.0;
    let right = (value(answer) - exact).abs() <= 3.0 * half;
    right || answer.status != Status::Converged || !answer.warnings.is_empty()
}

/// The default target, four seeds; the acceptance run has many more.
fn hold(expression: &str, method: Method, limits: Option<(f64, f64)>, exact: f64) {
    for seed in 0..4 {
        let mut request = Request {
            seed,
            method,
            ..Request::new(expression)
        };
        if let Some((lower, upper)) = limits {
            request.lower = vec![Limit(lower)];
            request.upper = vec![Limit(upper)];
        }
        let answer = answered(request);
        println!(
            "{expression} seed {seed}: {} {:e} of {exact:e}, {:?}, {} samples, {:?} {:?}",
            answer.method,
            value(&answer),
            answer.interval,
            answer.samples,
            answer.status,
            answer.warnings
        );
        assert!(
            is_honest(&answer, exact),
            "{expression}, seed {seed}: {answer:?}"
        );
    }
}

#[test]
fn a_narrow_slab_on_a_constant_is_seen() {
    hold("1+30*if(abs(x-0.3)<0.00015,1,0)", Method::Auto, None, 1.009);
    hold(
        "1+30*if(abs(x-0.3)<0.00015,1,0)",
        Method::Cubature,
        None,
        1.009,
    );
    hold(
        "1+if(abs(x-0.3015)<0.0006,1,0)",
        Method::Cubature,
        None,
        1.0012,
    );
}

#[test]
fn a_small_disc_on_a_constant_is_seen() {
    let disc = "1+30*if((x-0.325)^2+(y-0.565)^2<0.0001,1,0)";
    hold(
        disc,
        Method::Auto,
        None,
        1.0 + 30.0 * std::f64::consts::PI * 1e-4,
    );
}

#[test]
fn a_ball_in_five_dimensions_on_a_constant_is_seen() {
    let ball = "1+20*if((x0-0.37)^2+(x1-0.37)^2+(x2-0.37)^2+(x3-0.37)^2+(x4-0.25)^2<0.0225,1,0)";
    hold(ball, Method::Auto, None, 1.007_994_38);
}

#[test]
fn a_corner_that_no_sample_reaches_is_warned_of() {
    let corner = "1+1000*if(max(x0,x1,x2,x3,x4,x5)<0.15,1,0)";
    hold(corner, Method::Auto, None, 1.011_390_625);
}

#[test]
fn a_second_peak_far_out_is_seen_or_warned_of() {
    let two = "exp(-x^2)+exp(-(x-1000)^2)";
    let infinite = Some((f64::NEG_INFINITY, f64::INFINITY));
    hold(two, Method::Auto, infinite, 3.544_907_701_811_032);
}
