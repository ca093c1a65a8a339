//! `millstream integrate` in one process, as a user has it.

mod files;
mod refusals;
mod stops;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{Ended, Running, World, eventually, program};

/// The binary with `words` in a folder of its own, without any cluster.
fn integrate(world: &World, words: &[&str]) -> Running {
    let mut command = program();
    command
        .arg("integrate")
        .args(words)
        .current_dir(world.folder.path());
    Running::start(command)
}

fn answer(world: &World, words: &[&str], code: i32) -> Value {
    let words = [words, &["--json"]].concat();
    let mut lines = integrate(world, &words).end().expect(code).json();
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

/// Everything of an answer but the time it took.
fn bits(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("seconds").unwrap();
    answer
}

fn number(answer: &Value, key: &str) -> f64 {
    answer[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} in {answer}"))
}

/// A job that computes until it is stopped.
pub(crate) const ENDLESS: [&str; 7] = [
    "sqrt(x0*x1)",
    "--method",
    "plain",
    "--rel-error",
    "1e-12",
    "--max-samples",
    "1e15",
];

/// Stops a job that keeps the checkpoint `job`, once its first wave is complete.
fn interrupt(world: &World, running: Running) -> Ended {
    let checkpoint = world.folder.path().join("job");
    eventually("a wave is complete", || checkpoint.exists());
    running.signal(Signal::INT);
    running.end()
}

const GAUSS: [&str; 5] = ["exp(-x0^2-x1^2)", "--lower", "-inf", "--upper", "inf"];

#[test]
fn an_integral_is_answered_with_an_honest_error_bar() {
    let world = World::new();
    let answer = answer(&world, &[&GAUSS[..], &["--rel-error", "1e-4"]].concat(), 0);
    let keys = [
        "name",
        "value",
        "standard_error",
        "interval",
        "degrees_of_freedom",
        "chi2_per_dof",
        "q",
        "samples",
        "bad_samples",
        "method",
        "waves",
        "seed",
        "plan_hash",
        "numerics",
        "status",
        "warnings",
        "seconds",
    ];
    for key in keys {
        assert!(answer.get(key).is_some(), "{key} in {answer}");
    }
    assert_eq!(answer["status"], "converged");
    let half =
        0.5 * (answer["interval"][1].as_f64().unwrap() - answer["interval"][0].as_f64().unwrap());
    // Five half-widths are ten standard errors: never by chance.
    assert!(
        (number(&answer, "value") - std::f64::consts::PI).abs() < 5.0 * half,
        "{answer}"
    );
    assert!(half <= 1e-4 * std::f64::consts::PI * 1.001, "{answer}");
}

#[test]
fn people_get_a_block_and_programs_an_object() {
    let world = World::new();
    let ended = integrate(&world, &[&GAUSS[..], &["--rel-error", "1e-3"]].concat())
        .end()
        .expect(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[0], "exp(-x0^2-x1^2)");
    // 3.14159(12): the value, its standard error in units of its last digits; then each uncertainty by its name.
    let value = lines[1].strip_prefix("  value          3.14").unwrap();
    let (digits, error) = value.strip_suffix(')').unwrap().split_once('(').unwrap();
    assert!(
        [digits, error]
            .iter()
            .all(|text| text.bytes().all(|byte| byte.is_ascii_digit())),
        "{}",
        ended.stdout
    );
    assert!(lines[2].starts_with("  standard error "), "{}", lines[2]);
    assert!(lines[3].starts_with("  95 % interval  3.1"), "{}", lines[3]);
    assert!(!ended.stdout.contains('±'), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("  status         converged\n"),
        "{}",
        ended.stdout
    );
}

#[test]
fn what_is_not_converged_ends_with_1_and_says_so() {
    let world = World::new();
    let words = [
        "sqrt(x0*x1)",
        "--rel-error",
        "1e-12",
        "--max-samples",
        "1e5",
        "--method",
        "plain",
    ];
    let answer = answer(&world, &words, 1);
    assert_eq!(answer["status"], "budget_exhausted");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let world = World::new();
    for method in ["plain", "vegas", "rqmc", "map-rqmc", "cubature", "auto"] {
        let with = |threads: &str| {
            let words = [
                "--rel-error",
                "1e-3",
                "--method",
                method,
                "--threads",
                threads,
                "--max-samples",
                "3e6",
            ];
            let words = [
                &["exp(-10*(x0^2+x1^2+x2^2)); x0*x1"],
                &words[..],
                &["--json"],
            ]
            .concat();
            let ended = integrate(&world, &words).end();
            assert!(ended.code() < 2, "{}", ended.stderr);
            bits(ended.json().remove(0))
        };
        let one = with("1");
        assert_eq!((with("2"), with("7")), (one.clone(), one), "{method}");
    }
}

#[test]
fn a_sample_that_is_not_finite_is_named() {
    let world = World::new();
    let words = ["if(x0 < 0.5, ln(-1), x0)", "--json"];
    let ended = integrate(&world, &words).end().expect(2);
    let answer = ended.json().remove(0);
    assert_eq!(answer["status"], "failed");
    assert!(ended.stderr.contains("is NaN at"), "{}", ended.stderr);
    let words = [
        "if(x0 < 0.5, ln(-1), x0)",
        "--on-bad",
        "zero",
        "--rel-error",
        "1e-2",
    ];
    let zero = self::answer(&world, &words, 0);
    // From a half to one, x is three eighths.
    assert!((number(&zero, "value") - 0.375).abs() < 0.01, "{zero}");
}
