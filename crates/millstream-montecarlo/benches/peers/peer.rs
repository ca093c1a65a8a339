//! The Python process that runs the peers: an order a line to it, an answer a line from it.
//!
//! It ends when its standard input does, so it cannot outlive the benchmark.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;

/// What one integration gave.
#[derive(Deserialize)]
pub(crate) struct Answered {
    pub(crate) value: f64,
    pub(crate) seconds: f64,
    pub(crate) samples: u64,
}

/// The running process.
pub(crate) struct Peers {
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    child: Child,
    /// The versions of the peers, as the process tells them.
    pub(crate) versions: String,
}

impl Peers {
    /// Starts it, and waits until everything was called once.
    pub(crate) fn start(python: &str, script: &str) -> Self {
        let mut child = Command::new(python)
            .args(["-B", script])
            .envs(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"].map(|name| (name, "1")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let versions = answers.next().expect("a line of versions").expect("text");
        Self {
            orders,
            answers,
            child,
            versions,
        }
    }

    /// Lets `peer` integrate `case`.
    pub(crate) fn ask(&mut self, peer: &str, case: &str, samples: u64, seed: u64) -> Answered {
        let orders = self.orders.as_mut().expect("a pipe");
        writeln!(
            orders,
            r#"{{"peer": "{peer}", "case": "{case}", "samples": {samples}, "seed": {seed}}}"#
        )
        .expect("the peers live");
        orders.flush().expect("the peers live");
        let line = self.answers.next().expect("an answer").expect("text");
        serde_json::from_str(&line).expect("an answer")
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        self.orders = None;
        let _ = self.child.wait();
    }
}
