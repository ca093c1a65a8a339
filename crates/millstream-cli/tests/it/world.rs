//! A broker, a folder and the binary: what every test needs.
//!
//! Processes are children of the test: those still running at its end are killed.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// No process of these tests works this long.
const WATCHDOG: Duration = Duration::from_secs(90);

/// A broker and a folder.
pub(crate) struct World {
    pub(crate) brokers: String,
    pub(crate) folder: TempDir,
    broker: Option<Running>,
    own: bool,
}

impl World {
    /// The broker of `KAFKA`, or one of our own.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        match std::env::var_os("KAFKA") {
            Some(brokers) => Self {
                brokers: brokers.into_string().unwrap(),
                folder,
                broker: None,
                own: false,
            },
            None => Self::embedded(folder, "127.0.0.1:0"),
        }
    }

    /// A broker of our own, whatever `KAFKA` says: for tests that stop it.
    pub(crate) fn own() -> Self {
        Self::embedded(tempfile::tempdir().unwrap(), "127.0.0.1:0")
    }

    fn embedded(folder: TempDir, listen: &str) -> Self {
        let mut world = Self {
            brokers: String::new(),
            folder,
            broker: None,
            own: true,
        };
        world.start_broker(listen);
        world
    }

    /// Starts the broker at `listen`.
    pub(crate) fn start_broker(&mut self, listen: &str) {
        let data = self.folder.path().join("broker");
        let mut command = program();
        command
            .args(["broker", "--listen", listen, "--data"])
            .arg(data);
        let broker = Running::start(command);
        let line = broker.line("listening on ");
        self.brokers = line.trim_start_matches("listening on ").to_owned();
        self.broker = Some(broker);
    }

    /// Ends the broker at once, without a word.
    pub(crate) fn kill_broker(&mut self) {
        assert!(self.own, "not ours to kill");
        self.broker = None;
    }

    /// Sends a signal to the broker.
    pub(crate) fn signal_broker(&self, signal: Signal) {
        self.broker.as_ref().unwrap().signal(signal);
    }

    /// A topic or group name that no other test has.
    pub(crate) fn name(&self, name: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        format!("{name}-{}-{number}", std::process::id())
    }

    /// Creates a topic that keeps records of any age: those of a fixed time would else be deleted some day, or soon.
    pub(crate) fn topic_without_retention(&self, name: &str, partitions: &str) -> String {
        let topic = self.name(name);
        let forever = ["--set", "retention.ms=-1"];
        self.run(
            &[
                &["topics", "create", &topic, "-p", partitions],
                &forever[..],
            ]
            .concat(),
        )
        .expect(0);
        topic
    }

    /// The binary with `words`, on this broker.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command
            .args(["--brokers", &self.brokers])
            .args(words)
            .current_dir(self.folder.path());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        Running::start(self.command(words)).end()
    }

    /// Runs the binary with `input` on its standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: &[u8]) -> Ended {
        let mut running = Running::start(self.command(words));
        running.input.take().unwrap().write_all(input).unwrap();
        running.end()
    }

    /// Starts the binary.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        Running::start(self.command(words))
    }
}

/// The binary without any setting of the user who runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    let ours = [
        "KAFKA_BROKERS",
        "KAFKA_TOPIC",
        "SEND_INTERVAL_MS",
        "MESSAGE_TIMEOUT_MS",
        "CONSUMER_GROUP",
        "PRODUCER_ID",
    ];
    for variable in ours.into_iter().chain([
        "RUST_LOG",
        "MILLSTREAM_CONFIG",
        "MILLSTREAM_HTTP",
        "MILLSTREAM_SUPERVISOR",
        "NO_COLOR",
    ]) {
        command.env_remove(variable);
    }
    command
}

/// A process and what it writes.
pub(crate) struct Running {
    child: Child,
    pub(crate) input: Option<ChildStdin>,
    lines: Receiver<String>,
    collected: Option<thread::JoinHandle<(String, String)>>,
}

/// A process that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The exit code; -1 for a signal.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Checks the exit code and shows all output when it is another.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code(),
            code,
            "{}\n--- out\n{}\n--- err\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output as JSON Lines.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

impl Running {
    /// Starts `command` with its output collected.
    pub(crate) fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let collect = |pipe: Box<dyn Read + Send>| {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut all = String::new();
                for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    writeln!(all, "{line}").unwrap();
                    _ = sender.send(line);
                }
                all
            })
        };
        let out = collect(Box::new(child.stdout.take().unwrap()));
        let err = collect(Box::new(child.stderr.take().unwrap()));
        let collected = thread::spawn(move || (out.join().unwrap(), err.join().unwrap()));
        let input = child.stdin.take();
        Self {
            child,
            input,
            lines,
            collected: Some(collected),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The next line, of either output, that contains `text`.
    #[track_caller]
    pub(crate) fn line(&self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            match self.lines.recv_timeout(WATCHDOG) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => writeln!(seen, "{line}").unwrap(),
                Err(_) => panic!("no line with `{text}` came; those that came:\n{seen}"),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_to(self.pid(), signal);
    }

    /// Waits for its end; kills it when that does not come.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        drop(self.input.take());
        let collected = self.collected.take().unwrap();
        let (sender, done) = mpsc::channel::<()>();
        let pid = self.pid();
        let watchdog = thread::spawn(move || {
            let late = done.recv_timeout(WATCHDOG) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                signal_to(pid, Signal::KILL);
            }
            late
        });
        let status = self.child.wait().unwrap();
        drop(sender);
        let (stdout, stderr) = collected.join().unwrap();
        assert!(
            !watchdog.join().unwrap(),
            "did not end\n--- out\n{stdout}\n--- err\n{stderr}"
        );
        Ended {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Sends a signal to any process of this test.
pub(crate) fn signal_to(pid: i32, signal: Signal) {
    _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// Whether a process runs; a zombie does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    // Its sockets are closed when the last thread has ended, which need not be the first one.
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    state.is_some_and(|state| threads > 1 || (state != 'Z' && state != 'X'))
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    const STEP: Duration = Duration::from_millis(20);
    let mut left = WATCHDOG;
    while !condition() {
        left = left
            .checked_sub(STEP)
            .unwrap_or_else(|| panic!("never came: {what}"));
        thread::park_timeout(STEP);
    }
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
