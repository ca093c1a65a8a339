//! Whether intervals hold what they promise: 100 seeds of every method on a peak, an edge, a hinge and a step.
//!
//! Every job spends a fixed budget, so that what is tested is the error bar and not the stop rule. Seeds are 0 to 99, so the
//! counts are always the same; the limits are those that a true coverage of 95 % stays within for all cases together.

use super::Job;
use crate::request::{Method, Request};
use crate::{Control, Registry, run};

/// Inside their interval, of 100.
fn covered(method: Method, expression: &str, exact: f64) -> u32 {
    let functions = Registry::new();
    let inside = |seed: &u64| {
        let request = Request {
            seed: *seed,
            method,
            rel_error: Some(0.0),
            max_samples: Some(260_000),
            ..Request::new(expression)
        };
        let mut job = Job::new(request, &functions).unwrap();
        let answer = run(&mut job, &functions, &mut |_| Control::Continue).unwrap();
        let [low, high] = answer.interval.as_slice()[0].unwrap();
        low <= exact && exact <= high
    };
    (0..100).filter(inside).count() as u32
}

#[test]
fn intervals_cover_the_exact_value_about_as_often_as_they_say() {
    let erf = crate::kernels::scalar::erf;
    let peak = std::f64::consts::PI / 100.0 * erf(5.0) * erf(5.0);
    let edge = (0.3_f64.exp() - 1.0) * (0.5_f64.exp() - 1.0) * (1_f64.exp() - 1.0).powi(3);
    let cases = [
        (
            "exp(-100*((x0-0.5)^2+(x1-0.5)^2+(x2-0.5)^2+(x3-0.5)^2))",
            peak * peak,
        ),
        ("if(x0>0.3,0,if(x1>0.5,0,exp(x0+x1+x2+x3+x4)))", edge),
        ("max(0,x0-1/3)", 2.0 / 9.0),
        ("if(x0<1/3,0,1)", 2.0 / 3.0),
    ];
    let mut all = Vec::new();
    for method in [Method::Plain, Method::Vegas, Method::Rqmc, Method::MapRqmc] {
        for (number, (expression, exact)) in cases.iter().enumerate() {
            if number >= 2 && matches!(method, Method::Rqmc | Method::MapRqmc) {
                // In one dimension an edge is counted, not sampled: sixteen counts make no t distribution, and `auto`
                // takes cubature or strata there.
                continue;
            }
            all.push((method.name(), number, covered(method, expression, *exact)));
        }
    }
    println!("{all:?}");
    // Three standard deviations of a binomial of 100 at 95 % are 6.5.
    assert!(all.iter().all(|(.., inside)| *inside >= 88), "{all:?}");
    let mean = f64::from(all.iter().map(|(.., inside)| inside).sum::<u32>()) / all.len() as f64;
    assert!((92.0..=99.0).contains(&mean), "{mean} {all:?}");
}
