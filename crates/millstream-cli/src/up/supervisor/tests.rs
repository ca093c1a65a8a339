//! The supervisor over real processes: shells that end, crash, refuse to end, or talk too much.

use std::path::PathBuf;

use super::super::view::Lines;
use super::*;
use crate::screen::{Screen, Size};

/// Runs `scripts` as services until `lasting` has passed or all have ended.
fn supervise(scripts: &[&str], lasting: Duration) -> Vec<Row> {
    let planned = |(number, script): (usize, &&str)| Planned {
        name: format!("service-{number}"),
        system: "test",
        service: "service",
        arguments: vec!["-c".into(), script.into()],
    };
    let plan: Vec<Planned> = scripts.iter().enumerate().map(planned).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (sender, events) = mpsc::channel(16);
        let launcher = Launcher {
            program: PathBuf::from("/bin/sh"),
            common: Vec::new(),
            events: sender,
        };
        let (_stop, stopped) = mpsc::channel(1);
        let size = || Size {
            columns: 80,
            rows: 24,
        };
        let screen = Screen::new(std::io::sink(), false, size);
        let names = plan.iter().map(|planned| planned.name.as_str());
        let parts = Parts {
            launcher,
            events,
            view: View::new(screen, names, Lines::All, false),
            keyboard: None,
            published: None,
            lost_lines: Arc::default(),
            brokers: "127.0.0.1:9092".to_owned(),
            data: None,
        };
        let mut supervisor = Supervisor::new(plan, parts);
        supervisor.grace = Duration::from_millis(300);
        let ended = supervisor.run(stopped, Some(lasting), |_| {}).await;
        ended.status.services
    })
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(500);

#[test]
fn services_that_finish_end_the_run() {
    let rows = supervise(&["exit 0", "exit 0"], LONG);
    assert_eq!(
        rows.iter().map(|row| row.state).collect::<Vec<_>>(),
        [State::Finished, State::Finished]
    );
}

/// Fault 4: asked to end, a service that ends by itself has stopped well.
#[test]
fn a_service_that_heeds_the_signal_is_stopped() {
    let rows = supervise(
        &["trap 'exit 0' TERM; while :; do read line || exit 3; done"],
        SHORT,
    );
    assert_eq!(
        (rows[0].state, &rows[0].last_failure),
        (State::Stopped, &None)
    );
}

/// Fault 4: one that does not end is killed after the grace, with all that it started.
#[test]
fn a_service_that_does_not_end_is_killed() {
    let rows = supervise(&["trap '' TERM; cat <&0 & while :; do wait; done"], SHORT);
    assert_eq!(rows[0].state, State::Failed);
    assert_eq!(
        rows[0].last_failure.as_deref(),
        Some("did not end when asked and was killed")
    );
}

/// Fault 7: a service that crashes again and again is restarted, then given up; the run ends.
#[test]
fn a_crash_loop_is_given_up() {
    let rows = supervise(&["echo it broke >&2; exit 2"], LONG);
    assert_eq!((rows[0].state, rows[0].restarts), (State::Failed, 5));
    assert_eq!(rows[0].last_failure.as_deref(), Some("exited with code 2"));
}

/// Fault 1: a service killed by a signal comes back.
#[test]
fn a_killed_service_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("lived");
    let script = format!(
        "test -e {0} && exit 0; touch {0}; kill -9 $$",
        mark.display()
    );
    let rows = supervise(&[&script], LONG);
    assert_eq!((rows[0].state, rows[0].restarts), (State::Finished, 1));
    assert_eq!(
        rows[0].last_failure.as_deref(),
        Some("was killed (signal 9; out of memory?)")
    );
}

/// One that has not yet set up its handling of the signal ends by it, which is what it was asked.
#[test]
fn a_service_that_is_ended_by_the_signal_itself_is_stopped() {
    let rows = supervise(&["while :; do read line || exit 3; done"], Duration::ZERO);
    assert_eq!(
        (rows[0].state, &rows[0].last_failure),
        (State::Stopped, &None)
    );
}

/// A process that is stopped (SIGSTOP) goes on when it is asked to end, and ends in order.
#[test]
fn a_frozen_service_ends_in_order() {
    let rows = supervise(
        &["trap 'exit 0' TERM; kill -STOP $$; while :; do :; done"],
        SHORT,
    );
    assert_eq!(
        (rows[0].state, &rows[0].last_failure),
        (State::Stopped, &None)
    );
}

#[test]
fn a_flood_without_line_ends_does_not_stop_the_supervisor() {
    let rows = supervise(
        &["trap 'exit 0' TERM; while :; do printf '%0500d' 1; done"],
        SHORT,
    );
    assert_eq!(rows[0].state, State::Stopped);
}
