//! One integral for many values of its parameters.
//!
//! Every point is a job of its own, so points run one after the other or on many machines. All have the request's seed, and so
//! the same random numbers; whoever runs them gives those of method `auto` the one that the first point decided on.
//! Neighbouring points then differ by what the parameters do, hardly by chance: a curve is smooth long before its points are
//! exact, and a difference of two points is better known than either.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::request::{Request, refuse};

/// Points of a sweep at most.
const MOST: usize = 10_000;

/// The points of a sweep, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// What all points have in common.
    pub request: Request,
    /// The values of the parameters at each point; they go before those of the request.
    pub points: Vec<BTreeMap<String, f64>>,
}

impl Sweep {
    /// Every combination of the axes' values, the last axis fastest.
    ///
    /// # Errors
    /// No point, too many, or an axis that is there twice.
    pub fn grid(request: Request, axes: &[(String, Vec<f64>)]) -> Result<Self, Error> {
        let mut points = vec![BTreeMap::new()];
        for (name, values) in axes {
            if points.len().saturating_mul(values.len()) > MOST {
                return Err(refuse(
                    "params",
                    format!("more than {MOST} points, expected fewer values of `{name}`"),
                ));
            }
            let with = |point: &BTreeMap<String, f64>, value: f64| {
                let mut point = point.clone();
                point.insert(name.clone(), value).map_or(Ok(point), |_| {
                    Err(refuse("params", format!("`{name}` is swept twice")))
                })
            };
            let all = points
                .iter()
                .flat_map(|point| values.iter().map(move |value| with(point, *value)));
            points = all.collect::<Result<_, _>>()?;
        }
        if points.is_empty() {
            return Err(refuse(
                "params",
                "an axis of the sweep has no values".into(),
            ));
        }
        Ok(Self { request, points })
    }

    /// The request of each point, in order.
    pub fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        self.points.iter().map(|point| {
            let mut request = self.request.clone();
            request
                .params
                .extend(point.iter().map(|(name, value)| (name.clone(), *value)));
            request
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Control, Job, Method, Registry, Status, run};

    fn swept(sweep: &Sweep) -> Vec<Answer> {
        let functions = Registry::new();
        let mut method = Method::Auto;
        let run = |mut request: Request| {
            request.method = method;
            let mut job = Job::new(request, &functions).unwrap();
            let answer = run(&mut job, &functions, &mut |_| Control::Continue).unwrap();
            method = answer.method;
            answer
        };
        sweep.requests().map(run).collect()
    }

    #[test]
    fn points_come_in_order_with_one_method_and_common_random_numbers() {
        let request = Request {
            dim: Some(6),
            rel_error: Some(1e-3),
            ..Request::new("cos(a*(x0+x1+x2+x3+x4+x5))")
        };
        let sweep = Sweep::grid(request, &[("a".into(), vec![0.1, 0.2, 0.2001])]).unwrap();
        let answers = swept(&sweep);
        let value = |point: usize| answers[point].value.as_slice()[0].unwrap();
        assert!(
            answers
                .iter()
                .all(|answer| answer.status == Status::Converged
                    && answer.method == answers[0].method)
        );
        // The exact value: cos(3a) (sin(a/2) / (a/2))^6.
        let exact = |a: f64| (3.0 * a).cos() * ((a / 2.0).sin() / (a / 2.0)).powi(6);
        let difference = (value(2) - value(1)) / (exact(0.2001) - exact(0.2)) - 1.0;
        // Independent points with errors of up to 1e-3 would know this difference of 2e-4 hardly to its sign.
        assert!(difference.abs() < 0.01, "{difference}");
    }

    #[test]
    fn a_grid_has_every_combination_the_last_axis_fastest() {
        let axes = [
            ("a".to_owned(), vec![1.0, 2.0]),
            ("b".to_owned(), vec![3.0, 4.0]),
        ];
        let sweep = Sweep::grid(Request::new("a+b"), &axes).unwrap();
        let points: Vec<(f64, f64)> = sweep
            .points
            .iter()
            .map(|point| (point["a"], point["b"]))
            .collect();
        assert_eq!(points, [(1.0, 3.0), (1.0, 4.0), (2.0, 3.0), (2.0, 4.0)]);
        let twice = [axes[0].clone(), axes[0].clone()];
        let error = Sweep::grid(Request::new("a"), &twice)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "failed to accept `params`: `a` is swept twice");
    }
}
