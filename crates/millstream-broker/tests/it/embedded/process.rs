//! A broker in a process of its own, which tests kill: this test binary, started again with `broker_process` as its only test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use millstream_broker::{Config, Listener, Server};
use rustix::process::{Resource, Rlimit};

use crate::support::eventually;

/// Of a topic that is created by its first use.
pub(crate) const PARTITIONS: i32 = 3;
const FOLDER: &str = "MILLSTREAM_CRASH_FOLDER";
const LISTEN: &str = "MILLSTREAM_CRASH_LISTEN";
const FSYNC: &str = "MILLSTREAM_CRASH_FSYNC";
const DESCRIPTORS: &str = "MILLSTREAM_CRASH_DESCRIPTORS";

#[expect(
    clippy::disallowed_methods,
    reason = "rounds and the child's orders come by the environment"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The process that is killed: a broker until standard input ends.
#[test]
#[ignore = "the tests that kill a broker start it, as a process of its own"]
fn broker_process() {
    let Some(folder) = variable(FOLDER) else {
        return;
    };
    if let Some(most) = variable(DESCRIPTORS) {
        // Beside those that clients of other tests have let it inherit.
        let inherited = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let most = Some(most.parse::<u64>().unwrap() + inherited);
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
    }
    let mut config = Config::ephemeral(folder);
    let listen: SocketAddr = variable(LISTEN).unwrap().parse().unwrap();
    config.listeners = vec![Listener::at(listen)];
    config.num_partitions = PARTITIONS;
    config.fsync = variable(FSYNC).is_some_and(|fsync| fsync == "true");
    // Several segments a round, so that kills also meet a roll.
    config.segment_bytes = 1 << 20;
    config.compaction_check = Duration::from_millis(5);
    config.retention_check = Duration::from_millis(5);
    let server = Server::start(config).unwrap();
    println!("listening on {}", server.address());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    server.stop().unwrap();
}

/// A broker in a process of its own; it ends with this one, because its standard input does.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    stdin: ChildStdin,
    /// Kept open: the child prints how its test went.
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a broker; none while the address is not free yet.
    fn try_start(folder: &Path, listen: &str, settings: &[(&str, String)]) -> Option<Process> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "embedded::process::broker_process",
                "--ignored",
                "--nocapture",
            ])
            .env(FOLDER, folder)
            .env(LISTEN, listen)
            .envs(settings.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let lines = stdout.by_ref().lines();
        let address = lines.map_while(Result::ok).find_map(|line| {
            line.split_once("listening on ")
                .and_then(|(_, address)| address.parse().ok())
        });
        match address {
            Some(address) => Some(Process {
                child,
                address,
                stdin,
                _stdout: stdout,
            }),
            None => {
                child.wait().unwrap();
                None
            }
        }
    }

    pub(crate) fn start(folder: &Path, listen: &str) -> Process {
        Process::start_with(folder, listen, false)
    }

    pub(crate) fn start_with(folder: &Path, listen: &str, fsync: bool) -> Process {
        eventually("a broker starts", || {
            Process::try_start(folder, listen, &[(FSYNC, fsync.to_string())])
        })
    }

    /// A broker that may have so many descriptors.
    pub(super) fn with_descriptors(folder: &Path, most: u64) -> Process {
        let settings = [(DESCRIPTORS, most.to_string())];
        eventually("a broker starts", || {
            Process::try_start(folder, "127.0.0.1:0", &settings)
        })
    }

    /// Ends it as SIGTERM would.
    pub(crate) fn stop(self) {
        let Process {
            mut child, stdin, ..
        } = self;
        drop(stdin);
        assert!(child.wait().unwrap().success(), "the broker stops cleanly");
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
