//! The system montecarlo: every service a process, under names of its own on the broker.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::integrate::ENDLESS;
use crate::world::{Running, World, eventually, program};

/// A coordinator and workers.
struct System {
    world: World,
    prefix: String,
    coordinators: Vec<Running>,
    workers: Vec<Running>,
}

impl System {
    fn new(workers: usize) -> Self {
        let world = World::new();
        let prefix = world.name("integrals");
        let mut system = Self {
            world,
            prefix,
            coordinators: Vec::new(),
            workers: Vec::new(),
        };
        system.coordinate();
        for _ in 0..workers {
            system.work();
        }
        system
    }

    fn start(&self, words: &[&str]) -> Running {
        let running = self
            .world
            .start(&[&["montecarlo"], words, &["--prefix", &self.prefix]].concat());
        running.line("partitions assigned");
        running
    }

    fn coordinate(&mut self) {
        let coordinator = self.start(&["coordinator"]);
        self.coordinators.push(coordinator);
    }

    fn work(&mut self) {
        let worker = self.start(&["worker", "--threads", "1"]);
        self.workers.push(worker);
    }

    /// `integrate` on this system.
    fn ask(&self, words: &[&str]) -> Running {
        let words = [&["integrate"], words, &["--json", "--prefix", &self.prefix]].concat();
        self.world.start(&words)
    }

    /// The same in one process.
    fn alone(&self, words: &[&str]) -> Value {
        let mut command: Command = program();
        command.args([&["integrate"], words, &["--json"]].concat());
        Running::start(command).end().json().remove(0)
    }
}

/// Everything of an answer but the time it took.
fn bits(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("seconds").unwrap();
    answer
}

/// A job of some seconds on these workers, in a debug build.
const LONG: [&str; 7] = [
    "sqrt(x0*x1)+sin(x2)",
    "--method",
    "plain",
    "--rel-error",
    "1e-12",
    "--max-samples",
    "3e8",
];

#[test]
fn a_cluster_gives_the_bits_of_one_process() {
    let system = System::new(2);
    for method in ["auto", "plain", "vegas", "rqmc", "map-rqmc", "cubature"] {
        let words = [
            "exp(-10*((x0-0.5)^2+(x1-0.5)^2+(x2-0.5)^2))",
            "--rel-error",
            "1e-4",
            "--max-samples",
            "2e7",
            "--seed",
            "11",
            "--method",
            method,
        ];
        let answer = system.ask(&words).end();
        assert!(answer.code() < 2, "{}", answer.stderr);
        let answer = answer.json().remove(0);
        assert_eq!(bits(answer), bits(system.alone(&words)), "{method}");
    }
}

#[test]
fn a_worker_killed_in_the_middle_of_a_chunk_changes_no_bit() {
    let mut system = System::new(2);
    let asked = system.ask(&LONG);
    system.coordinators[0].line("job opened");
    for _ in 0..3 {
        let worker = system.workers.remove(0);
        worker.signal(Signal::KILL);
        drop(worker);
        system.work();
    }
    let answer = asked.end().expect(1).json().remove(0);
    assert_eq!(bits(answer), bits(system.alone(&LONG)));
}

#[test]
fn a_coordinator_killed_in_the_middle_of_a_wave_is_taken_over() {
    let mut system = System::new(1);
    let asked = system.ask(&LONG);
    system.coordinators[0].line("job opened");
    for _ in 0..2 {
        let coordinator = system.coordinators.remove(0);
        coordinator.signal(Signal::KILL);
        drop(coordinator);
        system.coordinate();
    }
    let answer = asked.end().expect(1).json().remove(0);
    assert_eq!(bits(answer), bits(system.alone(&LONG)));
}

#[test]
fn ctrl_c_cancels_the_job_on_the_cluster() {
    let system = System::new(1);
    let asked = system.ask(&ENDLESS);
    system.coordinators[0].line("job opened");
    asked.signal(Signal::INT);
    let answer = asked.end().expect(1).json().remove(0);
    assert_eq!(answer["status"], "cancelled");
    system.coordinators[0].line("job ended");
}

/// A coordinator without workers: what is missing is said, with the command that starts it, and Ctrl-C does not wait for
/// anybody.
#[test]
fn a_missing_worker_is_named_with_the_command_that_starts_it() {
    let system = System::new(0);
    let asked = system.ask(&["x0"]);
    let line = asked.line("nothing computed after 5 s");
    let brokers = &system.world.brokers;
    assert_eq!(
        line,
        format!("nothing computed after 5 s: no worker runs on {brokers}; start with")
    );
    let command = format!(
        "  millstream montecarlo worker --brokers {brokers} --prefix {}",
        system.prefix
    );
    assert_eq!(asked.line("montecarlo worker"), command);
    asked.signal(Signal::INT);
    let answer = asked.end().expect(1).json().remove(0);
    assert_eq!(answer["status"], "cancelled");
}

/// Nobody is there who could confirm: the answer says so, and is not an error.
#[test]
fn ctrl_c_without_a_coordinator_ends_with_an_honest_answer() {
    let world = World::new();
    let prefix = world.name("integrals");
    let asked = world.start(&["integrate", "x0", "--prefix", &prefix]);
    asked.line("nothing computed after 5 s: no coordinator and no worker runs on ");
    asked.signal(Signal::INT);
    let ended = asked.end().expect(1);
    assert!(
        ended.stdout.contains(
            "  status         not converged: stopped before the first wave was complete\n"
        ),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stdout
            .contains("the coordinator did not confirm the cancellation in time"),
        "{}",
        ended.stdout
    );
}

/// The listener accepts and never answers: Ctrl-C ends the command though the client waits.
#[test]
fn ctrl_c_ends_a_command_that_waits_for_the_cluster() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = program();
    let brokers = silent.local_addr().unwrap().to_string();
    command.args(["integrate", "x0", "--brokers", &brokers]);
    command.env("RUST_LOG", "off");
    let running = Running::start(command);
    // The first connection looks whether somebody listens, the second is the client's.
    let _connections = [silent.accept().unwrap(), silent.accept().unwrap()];
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(
        (ended.code(), ended.stderr.as_str()),
        (1, "stopped before a job was sent\n")
    );
}

#[test]
fn the_option_cluster_takes_the_configured_one() {
    let system = System::new(1);
    let mut command = program();
    command
        .args(["integrate", "x0", "--cluster", "--json", "--prefix"])
        .arg(&system.prefix)
        .env("KAFKA_BROKERS", &system.world.brokers);
    let answer = Running::start(command).end().expect(0).json().remove(0);
    assert_eq!(bits(answer), bits(system.alone(&["x0"])));
    system.coordinators[0].line("job opened");
}

#[test]
fn a_request_in_plain_json_is_answered_also_when_it_is_wrong() {
    let system = System::new(1);
    let requests = format!("{}-requests", system.prefix);
    let results = format!("{}-results", system.prefix);
    let lines = b"right\t{\"expression\": \"x0*x1\", \"rel_error\": 0.01}\nwrong\t{\"expression\": \"x0*\"}\nnonsense\tno json\n";
    system
        .world
        .run_with(&["send", &requests, "--key-separator", "\t"], lines)
        .expect(0);
    let tail = ["tail", &results, "--from", "earliest", "--json"];
    let mut last = Vec::new();
    eventually("all three are answered", || {
        let words = [&tail[..], &["--exit"]].concat();
        let told = system.world.run(&words).expect(0).json();
        last = ["right", "wrong", "nonsense"]
            .map(|key| last_status(&told, key))
            .to_vec();
        // How far a job is comes before its answer.
        last.iter()
            .all(|status| status.as_str().is_some_and(|status| status != "running"))
    });
    assert_eq!(last, ["converged", "failed", "failed"]);
}

/// The status of the last record with this key; null if there is none.
fn last_status(told: &[Value], key: &str) -> Value {
    let of_key = told.iter().rev().find(|record| record["key"] == key);
    let value = of_key.map_or(Value::Null, |record| record["value"].clone());
    let value: Value = value
        .as_str()
        .map_or(value.clone(), |text| serde_json::from_str(text).unwrap());
    value["status"].clone()
}

#[test]
fn files_and_sweeps_on_a_cluster_are_answered_in_order_with_the_same_bits() {
    let system = System::new(2);
    let jobs = r#"[
        {"name": "one", "expression": "exp(-x0*x1*x2)", "rel_error": 1e-5},
        {"name": "two", "expression": "if(x0 < 0.5, ln(-1), x0)"},
        {"name": "three", "expression": "cos(x0)", "rel_error": 1e-3}
    ]"#;
    std::fs::write(system.world.folder.path().join("jobs.json"), jobs).unwrap();
    let sweep = [
        "cos(a*x0*x1)",
        "--param",
        "a=1:3:5",
        "--rel-error",
        "1e-4",
        "--json",
    ];
    let cases: [(&[&str], i32); 2] = [(&["--file", "jobs.json"], 2), (&sweep, 0)];
    for (words, code) in cases {
        let there = [&["integrate"], words, &["--prefix", &system.prefix]].concat();
        let there = system.world.run(&there).expect(code).json();
        let mut here = program();
        here.arg("integrate")
            .args(words)
            .current_dir(system.world.folder.path());
        let here = Running::start(here).end().expect(code).json();
        let bits = |answers: Vec<Value>| answers.into_iter().map(bits).collect::<Vec<_>>();
        assert_eq!(bits(there), bits(here));
    }
}

/// What a consumer that stores into `file` tells after three answers.
fn consumed(system: &System, file: &str, figures: &[&str]) -> Vec<u64> {
    let words = [
        "montecarlo",
        "consumer",
        "--store",
        file,
        "--count",
        "3",
        "--json",
        "--prefix",
    ];
    let ended = system
        .world
        .run(&[&words[..], &[&system.prefix]].concat())
        .expect(0);
    let summary = ended.json().remove(0);
    figures
        .iter()
        .map(|key| summary[*key].as_u64().unwrap())
        .collect()
}

#[test]
fn answers_are_stored_once_and_compared_with_what_is_known() {
    let system = System::new(1);
    let jobs = r#"[
        {"name": "half", "expression": "x0", "rel_error": 1e-3, "exact": 0.5, "source": "by hand"},
        {"name": "third", "expression": "x0^2", "rel_error": 1e-3, "exact": 0.3333333333333333, "source": "by hand"},
        {"name": "broken", "expression": "x0 +"}
    ]"#;
    std::fs::write(system.world.folder.path().join("jobs.json"), jobs).unwrap();
    let words = [
        "montecarlo",
        "producer",
        "--file",
        "jobs.json",
        "--rate",
        "100",
        "--prefix",
    ];
    system
        .world
        .run(&[&words[..], &[&system.prefix]].concat())
        .expect(0);
    let figures = [
        "answers",
        "converged",
        "failed",
        "compared",
        "far_off",
        "stored",
    ];
    for file in ["answers.csv", "answers.jsonl"] {
        assert_eq!(
            consumed(&system, file, &figures),
            [3, 2, 1, 2, 0, 3],
            "{file}"
        );
        // The next consumer begins anew, as after a kill before anything was committed.
        let group = format!("{}-results", system.prefix);
        let reset = ["groups", "reset", &group, "--to-earliest", "--yes"];
        system.world.run(&reset).expect(0);
    }
    let csv = std::fs::read_to_string(system.world.folder.path().join("answers.csv")).unwrap();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert_eq!(consumed(&system, "answers.csv", &["stored"]), [0]);
}
