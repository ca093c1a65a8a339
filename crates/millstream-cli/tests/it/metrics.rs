//! What a running service shows at `/metrics`, held against `docs/metrics.md`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::world::{Running, World, eventually, program};

const PAGE: &str = include_str!("../../../../docs/metrics.md");

fn scrape(address: &str) -> String {
    get(address, "/metrics")
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The metrics of a scrape that have a value, by their `TYPE` lines.
fn names(scrape: &str) -> BTreeSet<&str> {
    let types = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn every_metric_of_a_scrape_is_documented() {
    let world = World::new();
    let topic = world.name("watched");
    let words = [
        "messages",
        "receive",
        "--http",
        "127.0.0.1:0",
        "--topic",
        &topic,
    ];
    let receiver = world.start(&[&words[..], &["--group", &topic]].concat());
    let line = receiver.line("serving metrics and health");
    let address = line.split("address=").nth(1).unwrap().trim();
    let send = ["messages", "send", "--count", "5", "--interval-ms", "0"];
    world
        .run(&[&send[..], &["--topic", &topic]].concat())
        .expect(0);
    receiver.line("total=5");
    let scrape = scrape(address);
    documented(
        &scrape,
        &[
            "millstream_records_in_total",
            "millstream_partitions_assigned",
        ],
    );
}

/// Holds a scrape against the page; these metrics must be in it.
#[track_caller]
fn documented(scrape: &str, expected: &[&str]) {
    let shown = names(scrape);
    for expected in expected {
        assert!(shown.contains(expected), "{expected} is not in\n{scrape}");
    }
    let unknown: Vec<&&str> = shown
        .iter()
        .filter(|name| !PAGE.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(unknown, Vec::<&&str>::new());
}

#[test]
fn every_metric_of_the_integrals_is_documented() {
    let world = World::new();
    let prefix = world.name("watched");
    let start = |service: &str| {
        let words = [
            "montecarlo",
            service,
            "--http",
            "127.0.0.1:0",
            "--prefix",
            &prefix,
        ];
        let running = world.start(&words);
        let line = running.line("serving metrics and health");
        let address = line.split("address=").nth(1).unwrap().trim().to_owned();
        (running, address)
    };
    let (_coordinator, coordinators) = start("coordinator");
    let (_worker, workers) = start("worker");
    let ask = ["integrate", "x0", "--prefix", &prefix];
    world.run(&ask).expect(0);
    let worker = [
        "montecarlo_samples_total",
        "montecarlo_tasks_total",
        "montecarlo_task_seconds",
        "montecarlo_tasks_refused_total",
    ];
    documented(&scrape(&workers), &worker);
    let coordinator = [
        "montecarlo_jobs_total",
        "montecarlo_jobs_open",
        "montecarlo_job_seconds",
        "montecarlo_tasks_reissued_total",
        "montecarlo_nondeterminism_total",
    ];
    documented(&scrape(&coordinators), &coordinator);
}

/// A service that waits for its cluster is alive and not ready: nobody may send it work, and nobody should restart it.
#[test]
fn a_service_at_a_dead_address_is_not_ready() {
    let services: [&[&str]; 9] = [
        &["messages", "send"],
        &["messages", "receive"],
        &["partitions", "produce"],
        &["partitions", "consume"],
        &["partitions", "consume", "--group"],
        &["montecarlo", "producer"],
        &["montecarlo", "coordinator"],
        &["montecarlo", "worker"],
        &["montecarlo", "consumer"],
    ];
    for service in services {
        let mut command = program();
        command
            .args(["--brokers", "127.0.0.1:1", "--http", "127.0.0.1:0"])
            .args(service);
        let running = Running::start(command);
        let line = running.line("serving metrics and health");
        let address = line.split("address=").nth(1).unwrap().trim();
        // Before the first attempt, and after one has failed.
        for _ in 0..2 {
            let ready = get(address, "/readyz");
            assert!(ready.starts_with("HTTP/1.1 503 "), "{service:?}: {ready}");
            let alive = get(address, "/livez");
            assert!(alive.starts_with("HTTP/1.1 200 "), "{service:?}: {alive}");
            running.line("127.0.0.1:1");
        }
    }
}

/// A sender reads nothing, so only its connection shows whether the broker is there; a reader may have nothing to read.
#[test]
fn a_service_whose_broker_is_gone_is_not_ready() {
    let mut world = World::own();
    let (listen, topic) = (world.brokers.clone(), world.name("read"));
    world
        .run(&["topics", "create", &topic, "-p", "2"])
        .expect(0);
    let services: [&[&str]; 6] = [
        &["messages", "send", "--message-timeout-ms", "500"],
        &["messages", "receive"],
        &["partitions", "consume", "--topic", &topic],
        &["partitions", "consume", "--group", "--topic", &topic],
        &["montecarlo", "producer"],
        &["montecarlo", "worker"],
    ];
    let running = services.map(|service| {
        let running = world.start(&[&["--http", "127.0.0.1:0"], service].concat());
        let line = running.line("serving metrics and health");
        let address = line.split("address=").nth(1).unwrap().trim().to_owned();
        (running, address)
    });
    let all_are = |status: &str| {
        running
            .iter()
            .all(|(_, address)| get(address, "/readyz").starts_with(status))
    };
    eventually("all are ready", || all_are("HTTP/1.1 200 "));
    world.kill_broker();
    eventually("none is ready", || all_are("HTTP/1.1 503 "));
    world.start_broker(&listen);
    eventually("all are ready again", || all_are("HTTP/1.1 200 "));
}
