//! What `integrate` refuses, and where it does not compute.

use super::{answer, integrate, number};
use crate::world::{Running, World, free_port, program};

#[test]
fn a_formula_that_cannot_be_read_is_shown_with_the_place() {
    let world = World::new();
    let ended = integrate(&world, &["exp(-x0^2"]).end().expect(2);
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.contains("\n  exp(-x0^2\n           ^\n"),
        "{}",
        ended.stderr
    );
}

/// Words, and what is said of them.
type Refusal = (&'static [&'static str], &'static str);

const REFUSALS: [Refusal; 20] = [
    (
        &["x0", "--lower", "1", "--upper", "0"],
        "axis 0 goes from 1 to 0",
    ),
    (
        &["x0+x1", "--lower", "0,0", "--upper", "1,1,1"],
        "`upper` has 3 limits, but the formula has 2 dimensions",
    ),
    (
        &["x0", "--upper", "1,1"],
        "`upper` has 2 limits, but the formula has 1 dimension; add `dim` = 2 if it is constant along the others",
    ),
    (
        &["x0*x1", "--dim", "1"],
        "expected only x0, the integral has 1 dimension",
    ),
    (
        &["x0", "--lower", "zero"],
        "--lower zero: `zero` is not a number",
    ),
    (
        &["x0", "--lower", "nan"],
        "--lower nan: `nan` is not a finite number",
    ),
    (&["a*x0", "--param", "a"], "--param takes name=value"),
    (
        &["x0", "--param", "a=1"],
        "the formula does not use the parameter `a`",
    ),
    (
        &["a*x0", "--param", "a=nan"],
        "--param a=nan: `nan` is not a finite number",
    ),
    (
        &["x0", "--rel-error", "nan"],
        "invalid value 'nan' for '--rel-error <NUMBER>': expected a finite number, 0 or more",
    ),
    (
        &["x0", "--abs-error", "-1"],
        "invalid value '-1' for '--abs-error <NUMBER>': expected a finite number, 0 or more",
    ),
    (&["x0", "--seed", "-1"], "invalid value '-1' for '--seed"),
    (
        &["x0", "--deadline", "-5s"],
        "hint: to give --deadline a value that begins with a minus, write --deadline=-5s",
    ),
    (
        &["-x0^2"],
        "hint: if `-x0^2` is a value, write it after `--`: .. -- '-x0^2'",
    ),
    (
        &["x0", "--plot", "x.png"],
        "invalid value 'x.png' for '--plot <FILE.svg>': pictures are drawn as SVG; name a file that ends in .svg",
    ),
    (
        &["x0", "--plot", "absent/x.svg"],
        "failed to write `absent/x.svg`: ",
    ),
    (
        &["x0", "--hint", "0.5", "--method", "plain"],
        "method plain does not use hints",
    ),
    (
        &["x0", "--save-map", "map", "--method", "rqmc"],
        "method rqmc adapts no map",
    ),
    (
        &["x0", "--prefix", "mine"],
        "--prefix is for jobs on a cluster; remove it, or add --brokers or --cluster",
    ),
    (
        &["x0", "--http", "127.0.0.1:0"],
        "option `--http` is for services and `up`; this command serves nothing",
    ),
];

#[test]
fn what_is_wrong_or_would_be_ignored_is_refused_with_a_sentence() {
    let world = World::new();
    for (words, text) in REFUSALS {
        let ended = integrate(&world, words).end().expect(2);
        assert!(ended.stderr.contains(text), "{words:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{words:?}");
        assert!(!ended.stderr.contains("tip: to pass"), "{}", ended.stderr);
    }
}

#[test]
fn options_of_one_formula_are_refused_beside_a_file() {
    let world = World::new();
    let options = [
        ["--plot", "x.svg"],
        ["--lower", "0"],
        ["--upper", "1"],
        ["--dim", "1"],
        ["--param", "a=1"],
        ["--hint", "0"],
        ["--name", "a"],
        ["--map", "m"],
        ["--save-map", "m"],
        ["--checkpoint", "c"],
    ];
    for option in options {
        let words = [&["--file", "jobs.json"], &option[..]].concat();
        let ended = integrate(&world, &words).end().expect(2);
        assert!(
            ended.stderr.contains("cannot be used with"),
            "{option:?}: {}",
            ended.stderr
        );
    }
}

#[test]
fn numbers_below_zero_need_no_equals_sign() {
    let world = World::new();
    let words = ["x0^2", "--lower", "-1", "--upper", "-0.5", "--hint", "-0.7"];
    let answer = answer(&world, &words, 0);
    // A third of 1 - 1/8.
    assert!(
        (number(&answer, "value") - 0.875 / 3.0).abs() < 1e-3,
        "{answer}"
    );
    let words = ["--rel-error", "1e-3", "--json", "--", "-x0"];
    let answer = integrate(&world, &words).end().expect(0).json().remove(0);
    assert!((number(&answer, "value") + 0.5).abs() < 0.01, "{answer}");
}

/// A cluster in the environment is for other commands: an integral is computed here unless the command line says otherwise.
#[test]
fn the_environment_does_not_move_an_integral_to_a_cluster() {
    let world = World::new();
    for brokers in ["127.0.0.1:1", "not:an:address"] {
        let mut command = program();
        command
            .args(["integrate", "x0", "--rel-error", "1e-3", "--json"])
            .env("KAFKA_BROKERS", brokers)
            .env("MILLSTREAM_PROPERTY_NONE", "1")
            .current_dir(world.folder.path());
        let answer = Running::start(command).end().expect(0).json().remove(0);
        assert_eq!(answer["status"], "converged");
    }
}

#[test]
fn a_cluster_where_nobody_listens_is_an_error_that_names_it() {
    let world = World::new();
    let nowhere = format!("127.0.0.1:{}", free_port());
    let ended = integrate(&world, &["x0", "--brokers", &nowhere])
        .end()
        .expect(2);
    let text = format!("error: failed to connect to `{nowhere}`: connection refused\nhint: ");
    assert!(ended.stderr.starts_with(&text), "{}", ended.stderr);
    let mut command = program();
    command
        .args(["integrate", "x0", "--cluster"])
        .env("KAFKA_BROKERS", &nowhere)
        .current_dir(world.folder.path());
    let ended = Running::start(command).end().expect(2);
    let text = format!(
        "error: failed to connect to `{nowhere}` (environment variable `KAFKA_BROKERS`): connection refused\n"
    );
    assert!(ended.stderr.starts_with(&text), "{}", ended.stderr);
}

/// Nothing was listened to at that address: the formula is read before a connection is tried.
#[test]
fn a_wrong_formula_is_refused_before_the_cluster_is_looked_for() {
    let world = World::new();
    let nowhere = format!("127.0.0.1:{}", free_port());
    for words in [["x0 +", "--brokers"], ["--file=jobs", "--brokers"]] {
        std::fs::write(
            world.folder.path().join("jobs"),
            r#"{"expression": "x0 +"}"#,
        )
        .unwrap();
        let words = [&words[..], &[&nowhere]].concat();
        let ended = integrate(&world, &words).end().expect(2);
        assert!(
            ended
                .stderr
                .contains("failed to read the formula at byte 4"),
            "{}",
            ended.stderr
        );
    }
}
