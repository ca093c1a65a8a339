//! Jobs in files, sweeps, pictures and stored maps.

use std::io::Write;

use serde_json::Value;

use super::{answer, integrate, number};
use crate::world::World;

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
