//! Requests are checked before anything is computed, connected to or created, and what would be ignored is refused.
//!
//! A parameter that no formula names, a second limit for a formula of one variable, a hint for a method that does not look at
//! hints: each is nearly always a mistake, and an answer that ignores it answers another question. A function of the
//! registry (`@name`) is known to whoever computes it, so on a cluster only its targets are checked here.

use anyhow::{bail, ensure};
use millstream_systems::montecarlo::mathematics::{
    Formula, Integrand, Limit, Method, Registry, Request,
};

/// Checks a request of this process or, when `elsewhere`, of a cluster.
pub(super) fn check(request: &Request, elsewhere: bool) -> anyhow::Result<()> {
    if !request.expression.trim_start().starts_with('@') {
        let formula = Formula::parse(&request.expression, request.dim, &request.params)?;
        no_surplus_parameter(request)?;
        no_surplus_limit(request, formula.dim())?;
    } else if elsewhere {
        return Ok(());
    }
    if !is_adaptive(request) {
        let why = |what: &str| {
            format!(
                "method {} does not use {what}; auto, vegas and map-rqmc do",
                request.method
            )
        };
        ensure!(request.hints.is_empty(), why("hints"));
        ensure!(request.map.is_none(), why("a map"));
    }
    Ok(request.validate(&Registry::default())?)
}

/// Whether the method may adapt a map.
pub(super) const fn is_adaptive(request: &Request) -> bool {
    !matches!(
        request.method,
        Method::Plain | Method::Rqmc | Method::Cubature
    )
}

/// A formula that can be read without a parameter does not name it.
fn no_surplus_parameter(request: &Request) -> anyhow::Result<()> {
    for name in request.params.keys() {
        let mut others = request.params.clone();
        others.remove(name);
        if Formula::parse(&request.expression, request.dim, &others).is_ok() {
            bail!("the formula does not use the parameter `{name}`");
        }
    }
    Ok(())
}

fn no_surplus_limit(request: &Request, variables: usize) -> anyhow::Result<()> {
    if request.dim.is_some() {
        return Ok(());
    }
    let surplus = |limits: &[Limit]| limits.len() > 1 && limits.len() > variables;
    for (name, limits) in [("lower", &request.lower), ("upper", &request.upper)] {
        if surplus(limits) {
            bail!(
                "`{name}` has {} limits, but the formula has {variables} dimension{}; add `dim` = {0} if it is constant along the others",
                limits.len(),
                if variables == 1 { "" } else { "s" },
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let request: Request = serde_json::from_str(text).unwrap();
        check(&request, false).map_or_else(|error| error.to_string(), |()| "accepted".to_owned())
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        let cases = [
            (
                r#"{"expression": "x0", "params": {"a": 1}}"#,
                "the formula does not use the parameter `a`",
            ),
            (
                r#"{"expression": "x0", "lower": [0, 0], "upper": [1, 2]}"#,
                "`lower` has 2 limits, but the formula has 1 dimension; add `dim` = 2 if it is constant along the others",
            ),
            (
                r#"{"expression": "x0", "hints": [[0.5]], "method": "plain"}"#,
                "method plain does not use hints; auto, vegas and map-rqmc do",
            ),
        ];
        for (request, text) in cases {
            assert_eq!(refusal(request), text);
        }
    }

    #[test]
    fn what_is_meant_is_accepted() {
        for request in [
            r#"{"expression": "a*x0", "params": {"a": 1}}"#,
            r#"{"expression": "1", "dim": 2, "lower": [0, 0], "upper": [1, 2]}"#,
            r#"{"expression": "x0*x2", "lower": [0, 0, 0], "upper": [1]}"#,
            r#"{"expression": "x0", "hints": [[0.5]]}"#,
        ] {
            assert_eq!(refusal(request), "accepted", "{request}");
        }
    }

    #[test]
    fn a_function_of_the_registry_is_left_to_the_cluster() {
        let request = Request::new("@ring");
        check(&request, true).unwrap();
        assert_eq!(
            check(&request, false).unwrap_err().to_string(),
            "failed to accept `expression`: no function is called `@ring`; this program registers none"
        );
    }
}
