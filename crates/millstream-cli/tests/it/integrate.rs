//! `millstream integrate` in one process, as a user has it.

use std::io::Write;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{Running, World, eventually, free_port, program};

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
fn a_file_of_jobs_is_answered_line_by_line_in_order() {
    let world = World::new();
    let jobs = [
        r#"{"name": "one", "expression": "x0", "rel_error": 1e-3}"#,
        r#"{"name": "two", "expression": "if(x0 < 0.5, ln(-1), x0)"}"#,
        r#"{"name": "three", "expression": "x0*x1", "dim": 2, "lower": [0, 0], "upper": [1, 2]}"#,
    ];
    let expected = [
        ("one", "converged"),
        ("two", "failed"),
        ("three", "converged"),
    ];
    for (file, text) in [
        ("jobs.json", format!("[{}]", jobs.join(",\n"))),
        ("jobs.jsonl", jobs.join("\n")),
        ("-", jobs.join("\n")),
    ] {
        if file != "-" {
            std::fs::write(world.folder.path().join(file), &text).unwrap();
        }
        let mut running = integrate(&world, &["--file", file, "--rel-error", "0.01"]);
        running
            .input
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .ok();
        let told: Vec<(Value, Value)> = running
            .end()
            .expect(2)
            .json()
            .into_iter()
            .map(|mut answer| (answer["name"].take(), answer["status"].take()))
            .collect();
        assert_eq!(
            told,
            expected.map(|(name, status)| (name.into(), status.into())),
            "{file}"
        );
    }
}

#[test]
fn a_job_that_cannot_be_computed_is_named_before_any_job_runs() {
    let world = World::new();
    let jobs = "{\"name\": \"one\", \"expression\": \"x0\"}\n{\"name\": \"two\", \"expression\": \"a*x0\"}\n";
    std::fs::write(world.folder.path().join("jobs.jsonl"), jobs).unwrap();
    let ended = integrate(&world, &["--file", "jobs.jsonl"]).end().expect(2);
    assert_eq!(ended.stdout, "");
    let text = "error: `jobs.jsonl`: 1 of 2 jobs cannot be computed, and none was begun\n  job 2 (line 2, `two`): failed to read the formula at byte 0: unknown name `a`";
    assert!(ended.stderr.starts_with(text), "{}", ended.stderr);
}

#[test]
fn a_formula_may_come_from_standard_input() {
    let world = World::new();
    let mut running = integrate(&world, &["-", "--rel-error", "1e-3"]);
    running
        .input
        .take()
        .unwrap()
        .write_all(b"x0\n  *x1\n")
        .unwrap();
    let ended = running.end().expect(0);
    assert!(ended.stdout.contains("converged"), "{}", ended.stdout);
}

#[test]
fn a_sweep_shows_the_warnings_of_its_points() {
    let world = World::new();
    let words = [
        "if(x0 < a, 1, 0)",
        "--param",
        "a=-2:-1:2",
        "--max-samples",
        "1e5",
    ];
    let ended = integrate(&world, &words).end().expect(1);
    let warnings: Vec<&str> = ended
        .stdout
        .lines()
        .filter(|line| line.starts_with("warning at a=-2, a=-1: "))
        .collect();
    assert_eq!(warnings.len(), 1, "{}", ended.stdout);
}

#[test]
fn a_sweep_is_a_table_and_a_curve() {
    let world = World::new();
    let words = [
        "cos(a*x0)",
        "--param",
        "a=1:2:3",
        "--rel-error",
        "1e-3",
        "--plot",
        "sweep.svg",
    ];
    let ended = integrate(&world, &words).end().expect(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", ended.stdout);
    assert!(lines[0].trim_start().starts_with("a "), "{}", lines[0]);
    // sin(2)/2
    assert!(
        lines[3].contains("0.454") && lines[3].ends_with("converged"),
        "{}",
        lines[3]
    );
    let picture = std::fs::read_to_string(world.folder.path().join("sweep.svg")).unwrap();
    assert!(picture.contains("<polyline") && picture.ends_with("</svg>\n"));
}

#[test]
fn the_convergence_is_drawn() {
    let world = World::new();
    let words = [
        "exp(-x0^2-x1^2)",
        "--method",
        "vegas",
        "--rel-error",
        "1e-4",
        "--plot",
        "out.svg",
    ];
    integrate(&world, &words).end().expect(0);
    let picture = std::fs::read_to_string(world.folder.path().join("out.svg")).unwrap();
    assert!(picture.contains("<polygon"), "{picture}");
    assert!(picture.contains("adapted map"), "{picture}");
}

#[test]
fn a_job_that_was_stopped_goes_on_from_its_checkpoint_to_the_same_bits() {
    let world = World::new();
    let job = [
        "exp(-x0*x1)",
        "--method",
        "plain",
        "--rel-error",
        "1e-9",
        "--max-samples",
        "3e8",
    ];
    let kept = [&job[..], &["--checkpoint", "job"]].concat();
    let running = integrate(&world, &kept);
    let checkpoint = world.folder.path().join("job");
    eventually("a wave is complete", || checkpoint.exists());
    running.signal(Signal::INT);
    running.end().expect(1);
    let resumed = answer(&world, &kept, 1);
    let whole = answer(&world, &job, 1);
    assert_eq!(resumed["status"], "budget_exhausted");
    assert_eq!(bits(resumed), bits(whole));
    let other = integrate(&world, &["x0", "--checkpoint", "job"])
        .end()
        .expect(2);
    assert!(
        other.stderr.contains("holds another job: exp(-x0*x1)"),
        "{}",
        other.stderr
    );
    std::fs::write(checkpoint, "something").unwrap();
    let torn = integrate(&world, &kept).end().expect(2);
    assert!(
        torn.stderr.contains("`job` is no checkpoint"),
        "{}",
        torn.stderr
    );
}

#[test]
fn a_finished_job_is_tightened() {
    let world = World::new();
    let job = ["exp(-x0*x1)", "--method", "rqmc", "--checkpoint", "job"];
    let coarse = answer(&world, &[&job[..], &["--rel-error", "1e-3"]].concat(), 0);
    let fine = answer(&world, &[&job[..], &["--rel-error", "1e-7"]].concat(), 0);
    assert!(number(&fine, "samples") > number(&coarse, "samples"));
    assert!(number(&fine, "standard_error") < number(&coarse, "standard_error"));
}

#[test]
fn a_map_that_was_stored_is_begun_with() {
    let world = World::new();
    let job = [
        "exp(-100*(x0^2+x1^2))",
        "--method",
        "vegas",
        "--rel-error",
        "1e-4",
    ];
    answer(&world, &[&job[..], &["--save-map", "map.json"]].concat(), 0);
    let again = answer(&world, &[&job[..], &["--map", "map.json"]].concat(), 0);
    let half =
        0.5 * (again["interval"][1].as_f64().unwrap() - again["interval"][0].as_f64().unwrap());
    // A quarter of pi/100: the edge of the square is ten widths away.
    assert!(
        (number(&again, "value") - 0.25 * std::f64::consts::PI / 100.0).abs() < 3.0 * half,
        "{again}"
    );
}

#[test]
fn ctrl_c_still_gives_the_honest_answer() {
    let world = World::new();
    let words = [
        "sqrt(x0*x1)",
        "--method",
        "plain",
        "--rel-error",
        "1e-12",
        "--max-samples",
        "1e15",
    ];
    let running = integrate(
        &world,
        &[&words[..], &["--json", "--checkpoint", "job"]].concat(),
    );
    let checkpoint = world.folder.path().join("job");
    eventually("a wave is complete", || checkpoint.exists());
    running.signal(Signal::INT);
    let answer = running.end().expect(1).json().remove(0);
    assert_eq!(answer["status"], "cancelled");
    // Four ninths.
    assert!(
        (number(&answer, "value") - 4.0 / 9.0).abs() < 10.0 * number(&answer, "standard_error"),
        "{answer}"
    );
}

#[test]
fn a_deadline_ends_a_job_at_its_last_complete_wave() {
    let world = World::new();
    let words = [
        "sqrt(x0*x1)",
        "--method",
        "plain",
        "--rel-error",
        "1e-12",
        "--max-samples",
        "1e15",
        "--deadline",
        "300ms",
    ];
    let answer = answer(&world, &words, 1);
    assert_eq!(answer["status"], "deadline");
    assert!(number(&answer, "samples") > 0.0);
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
