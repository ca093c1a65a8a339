use super::*;
use crate::{Answer, Control, Limit, run};

fn request(expression: &str, limits: (f64, f64)) -> Request {
    Request {
        lower: vec![Limit(limits.0)],
        upper: vec![Limit(limits.1)],
        ..Request::new(expression)
    }
}

fn answered(request: Request) -> Answer {
    let functions = Registry::new();
    let mut job = Job::new(request, &functions).unwrap();
    run(&mut job, &functions, &mut |_| Control::Continue).unwrap()
}

/// pi erf(3)^2, which the methods have to reach to a thousandth.
const GAUSS: f64 = 3.141_453_860_9;

#[test]
fn every_method_finds_an_easy_integral_and_says_so() {
    for method in ["plain", "vegas", "rqmc", "map-rqmc", "cubature", "auto"] {
        let asked = Request {
            method: method.parse().unwrap(),
            rel_error: Some(1e-3),
            ..request("exp(-x0^2-x1^2)", (-3.0, 3.0))
        };
        let answer = answered(asked);
        let value = answer.value.as_slice()[0].unwrap();
        assert_eq!(answer.status, Status::Converged, "{method}");
        // Three half-widths: a seed that fails here would be one of 10^8.
        assert!((value / GAUSS - 1.0).abs() < 3e-3, "{method}: {value}");
        assert!(method == "auto" || answer.method.name() == method);
    }
}
