//! The two brokers: Millstream's and Apache Kafka's, each started from an empty folder and ended with the run.
//!
//! Millstream's is the `millstream broker` command, a process of its own as Kafka is one; Kafka comes from
//! `scripts/kafka`. A broker is ready when it has answered a request: the plainest one, ApiVersions, is asked
//! again and again over a new connection from the moment of the start.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::TempDir;

use crate::clock::{Clock, pause};
use crate::crew::{Crew, Member, Stopper};
use crate::usage;

/// How long a broker may take to be ready.
const GIVE_UP: Duration = Duration::from_secs(60);
/// ApiVersions in its first version, from a client without a name: length, key 18, version 0, correlation 1, null.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];

/// A running broker.
pub(crate) struct Broker {
    /// As it is called in the report.
    pub(crate) name: &'static str,
    /// `host:port`.
    pub(crate) address: String,
    /// Its process.
    pub(crate) pid: u32,
    /// From the start of its process to its first answer.
    pub(crate) ready: Duration,
    /// What ends it when the broker is dropped.
    end: End,
}

enum End {
    Child { member: Member, data: TempDir },
    Script { _stop: StopOnDrop },
}

struct StopOnDrop(Stopper);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.run();
    }
}

/// The name of Millstream's broker in the report.
pub(crate) const MILLSTREAM: &str = "millstream";
/// The name of Apache Kafka in the report.
pub(crate) const KAFKA: &str = "kafka";

/// Starts Millstream's broker on an empty folder.
pub(crate) fn start_millstream(crew: &Crew) -> Result<Broker> {
    let data = tempfile::Builder::new()
        .prefix("broker-")
        .tempdir_in(work_folder()?)?;
    start_on(crew, data)
}

/// Ends Millstream's broker and starts it again on its folder.
pub(crate) fn restart_millstream(crew: &Crew, broker: Broker) -> Result<Broker> {
    let End::Child { member, data } = broker.end else {
        bail!("{} is not ours to restart", broker.name);
    };
    member.stop()?;
    start_on(crew, data)
}

/// Starts Millstream's broker with a second listener, which speaks TLS with a certificate of its own making; gives its address.
pub(crate) fn start_with_tls(crew: &Crew) -> Result<(Broker, String)> {
    let data = tempfile::Builder::new()
        .prefix("broker-")
        .tempdir_in(work_folder()?)?;
    let [key, certificate] = ["server.key", "server.pem"].map(|name| data.path().join(name));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status()
        .context("openssl is missing; on Debian: apt-get install -y openssl")?;
    ensure!(made.success(), "openssl made no certificate");
    let encrypted = format!("ssl://127.0.0.1:{}", free_port()?);
    let mut more = Command::new(beside("millstream")?);
    more.args([
        "broker",
        "--listen",
        &format!("tls={encrypted}"),
        "--tls-key",
    ])
    .arg(&key)
    .arg("--tls-certificate")
    .arg(&certificate);
    Ok((start_as(crew, data, more, "plain=")?, encrypted))
}

fn start_on(crew: &Crew, data: TempDir) -> Result<Broker> {
    let mut command = Command::new(beside("millstream")?);
    command.arg("broker");
    start_as(crew, data, command, "")
}

/// Starts the command with a listener of this name.
fn start_as(crew: &Crew, data: TempDir, mut command: Command, name: &str) -> Result<Broker> {
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let clock = Clock::new();
    let member = crew.start(
        "the broker",
        command
            .args(["--listen", &format!("{name}{address}"), "--data"])
            .arg(data.path().join("data"))
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null()),
    )?;
    let ready = wait_ready(port, clock, || false)?;
    Ok(Broker {
        name: MILLSTREAM,
        address,
        pid: member.pid(),
        ready,
        end: End::Child { member, data },
    })
}

/// Starts one Apache Kafka on an empty folder.
pub(crate) fn start_kafka(crew: &Crew) -> Result<Broker> {
    let script = root()?.join("scripts/kafka");
    let state = work_folder()?.join("kafka");
    let port = free_port()?;
    let stopper = Stopper {
        program: script.clone(),
        argument: "stop",
        variable: ("KAFKA_STATE_DIR", state.clone()),
    };
    stopper.run();
    crew.remember(stopper.clone());
    let stop = StopOnDrop(stopper);
    // The script returns when Kafka's log says that it has started; its first answer comes before that, or after.
    let starting = thread::spawn({
        let state = state.clone();
        move || {
            Command::new(script)
                .args(["start", "--port", &port.to_string()])
                .env("KAFKA_STATE_DIR", state)
                .stdout(Stdio::null())
                .status()
        }
    });
    let answered = wait_ready(port, Clock::new(), || {
        // It fails long before we would give up.
        starting.is_finished() && !state.join("address").exists()
    });
    let pid = pid_of(&state.join("node-1/pid"));
    let ready = pid.as_ref().ok().map(|pid| usage::age(*pid));
    let status = starting
        .join()
        .map_err(|_panic| anyhow!("the starter of kafka panicked"))??;
    ensure!(status.success(), "scripts/kafka start: {status}");
    answered?;
    Ok(Broker {
        name: KAFKA,
        address: format!("127.0.0.1:{port}"),
        pid: pid?,
        ready: ready.context("kafka has no pid")??,
        end: End::Script { _stop: stop },
    })
}

fn pid_of(file: &Path) -> Result<u32> {
    let text =
        fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    Ok(text.trim().parse()?)
}

/// Asks until there is an answer; the time since `clock` started.
fn wait_ready(port: u16, clock: Clock, failed: impl Fn() -> bool) -> Result<Duration> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    loop {
        if ask(address).is_ok() {
            return Ok(clock.now());
        }
        if clock.now() > GIVE_UP || failed() {
            bail!("nobody answers on {address}");
        }
        pause(Duration::from_millis(1));
    }
}

/// A connection to `address` that has been answered once.
pub(crate) fn connect(address: &str) -> Result<TcpStream> {
    ask(address.parse()?)
}

/// One ApiVersions request and its answer, over a new connection.
fn ask(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&API_VERSIONS)?;
    let mut head = [0; 10];
    stream.read_exact(&mut head)?;
    ensure!(head.ends_with(&[0, 0]), "the broker answers with an error");
    Ok(stream)
}

/// A port on which nobody listens; between this and its use somebody could take it, then the run fails.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// A program built beside this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    let program = env::current_exe()?.with_file_name(name);
    ensure!(
        program.exists(),
        "{} is missing; scripts/bench builds it",
        program.display()
    );
    Ok(program)
}

/// The repository.
pub(crate) fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(here.context("the package has no parent")?.to_owned())
}

/// Where a run keeps its data, on the disk of the repository.
pub(crate) fn work_folder() -> Result<PathBuf> {
    let folder = root()?.join("target/bench");
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    Ok(folder)
}
