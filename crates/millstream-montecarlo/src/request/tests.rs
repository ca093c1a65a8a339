use super::*;

fn request(json: &str) -> Request {
    serde_json::from_str(json).unwrap()
}

fn refused(json: &str) -> String {
    request(json)
        .validate(&Registry::new())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_dimension_is_named_by_the_limits_or_found_in_the_formula() {
    let dim = |json: &str| request(json).check(&Registry::new()).unwrap().domain.dim();
    assert_eq!(dim(r#"{"expression": "x0*x3"}"#), 4);
    assert_eq!(
        dim(r#"{"expression": "1", "lower": [0, 0], "upper": [1, 2]}"#),
        2
    );
    assert_eq!(
        dim(r#"{"expression": "x0*x1", "lower": [-1], "upper": [1]}"#),
        2
    );
    assert_eq!(dim(r#"{"expression": "x0", "dim": 7}"#), 7);
}

#[test]
fn limits_may_be_infinite_words_and_come_back_as_written() {
    let json = r#"{"expression":"x0","lower":["-inf",0.5],"upper":["inf",1.0],"max_samples":1e6}"#;
    let read = request(json);
    assert_eq!(
        (read.lower[0].0, read.max_samples),
        (f64::NEG_INFINITY, Some(1_000_000))
    );
    let written = serde_json::to_string(&read).unwrap();
    assert!(written.starts_with(
        r#"{"expression":"x0","lower":["-inf",0.5],"upper":["inf",1.0],"max_samples":1000000"#
    ));
    assert_eq!(request(&written), read);
}

#[test]
fn what_cannot_be_run_is_refused_with_its_field() {
    let cases = [
        (
            r#"{"expression": "x0", "lower": [3], "upper": [-3]}"#,
            "failed to accept `lower`: axis 0 goes from 3 to -3; the lower limit must be the smaller one",
        ),
        (
            r#"{"expression": "x0", "lower": [0, 0], "upper": [1, 1, 1]}"#,
            "failed to accept `lower`: 2 limits, expected 3, one for each axis, or one for all",
        ),
        (
            r#"{"expression": "x0", "rel_error": -1}"#,
            "failed to accept `rel_error`: -1, expected a number from 0 up",
        ),
        (
            r#"{"expression": "x0", "max_samples": 0}"#,
            "failed to accept `max_samples`: 0, expected at least 1",
        ),
        (
            r#"{"expression": "x0", "hints": [[0.5, 0.5]]}"#,
            "failed to accept `hints`: hint 0 has 2 coordinates, expected 1",
        ),
        (
            r#"{"expression": "x0", "hints": [[1.5]]}"#,
            "failed to accept `hints`: hint 0 does not lie inside the limits",
        ),
        (
            r#"{"expression": "x5", "method": "cubature"}"#,
            "failed to accept `method`: cubature has up to 5 dimensions, not 6; try auto or map-rqmc",
        ),
    ];
    for (json, text) in cases {
        assert_eq!(refused(json), text);
    }
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let error = serde_json::from_str::<Request>(r#"{"expression": "1", "tolerance": 1}"#)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("unknown field `tolerance`"), "{error}");
}

#[test]
fn one_error_given_switches_the_default_of_the_other_off() {
    let target = |json: &str| request(json).target().unwrap();
    assert_eq!(target(r#"{"expression": "1"}"#).rel, 1e-4);
    assert_eq!(
        target(r#"{"expression": "1", "abs_error": 0.5}"#),
        Target {
            rel: 0.0,
            abs: 0.5,
            max_samples: 1_000_000_000
        }
    );
}
