//! Signals end a process in order, and the second one at once: seen in a process of its own, which is this test binary.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use millstream::Shutdown;
use rustix::process::{Pid, Signal, kill_process};

const ORDER: &str = "MILLSTREAM_TEST_SIGNALS";

#[expect(
    clippy::disallowed_methods,
    reason = "the child's order comes by the environment"
)]
fn is_the_child() -> bool {
    std::env::var(ORDER).is_ok()
}

/// The process that gets the signals: it ends with this one at the latest, because its standard input does.
#[test]
#[ignore = "it is started by `the_first_signal_asks_and_the_second_ends`, as a process of its own"]
fn waiting_process() {
    if !is_the_child() {
        return;
    }
    let shutdown = Shutdown::on_signals().unwrap();
    println!("\nready");
    let other = shutdown.clone();
    std::thread::spawn(move || {
        while !other.wait(Duration::from_secs(60)) {}
        println!("\nrequested");
    });
    // Deaf to the request: only the second signal ends this process, or the end of its parent.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    assert!(!shutdown.is_requested(), "the second signal did not end it");
}

fn start() -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "shutdown::waiting_process",
            "--ignored",
            "--nocapture",
        ])
        .env(ORDER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

#[test]
fn the_first_signal_asks_and_the_second_ends() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (mut child, mut lines) = start();
        // `wait` would close it first, and the process could end by that.
        let input = child.stdin.take();
        let mut wait_for = |word: &str| {
            let found = lines.find(|line| line.as_deref().is_ok_and(|line| line == word));
            assert!(found.is_some(), "the process ended before it said {word}");
        };
        let pid = Pid::from_child(&child);
        wait_for("ready");
        kill_process(pid, signal).unwrap();
        wait_for("requested");
        assert_eq!(child.try_wait().unwrap(), None);
        kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        drop(input);
    }
}
