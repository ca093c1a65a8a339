//! One life of a service: a child process, its lines, its control socket and its end, reported to the supervisor as events.
//!
//! A child's standard input is one end of a socket pair. The child writes there the address of its HTTP listener,
//! and reads the end of file when its parent is gone, however the parent died; see `supervised`. Each child has its
//! own process group, so that Ctrl-C in the terminal reaches `up` alone, which then ends its children in order.
//!
//! Only the task that waits for a process signals it: no signal can hit a process id that was given to another.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::control::Request;
use super::scrape::Scraped;
use crate::config::SUPERVISOR_VARIABLE;

/// A line longer than this is broken.
const LONGEST_LINE: u64 = 16 * 1024;
/// After a process has ended its pipes are read for this long; a grandchild may hold them open.
const READ_OUT: Duration = Duration::from_millis(500);

/// Which service, and which of its lives: an event of an earlier life is old news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// Position of the service in the plan.
    pub(crate) service: usize,
    /// 0 for the first life.
    pub(crate) number: u32,
}

/// What happened: to a service, to the embedded broker, or on the control socket.
#[derive(Debug)]
pub(crate) enum Event {
    /// The service wrote a line.
    Line(Life, String),
    /// The service serves HTTP at this address.
    Address(Life, SocketAddr),
    /// The service was asked for its metrics at this instant.
    Scraped(Life, Instant, Option<Scraped>),
    /// The service ends, having handled so many records.
    Records(Life, u64),
    /// The service ends, having failed so often.
    Failures(Life, u64),
    /// The process of the service ended.
    Ended(Life, End),
    /// The broker logged a line.
    Broker(String),
    /// Somebody asked on the control socket, and waits there for the reply.
    Asked(Request, UnixStream),
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With exit code 0.
    Success,
    /// With another exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It could not be started or waited for; why.
    Unknown(String),
}

impl End {
    /// Whether SIGTERM itself ended the process: it had not yet set up its handling of the signal.
    pub(crate) fn is_sigterm(&self) -> bool {
        *self == Self::Signal(15)
    }
}

impl From<io::Result<ExitStatus>> for End {
    fn from(ended: io::Result<ExitStatus>) -> Self {
        match ended {
            Ok(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => Self::Signal(signal),
                (None, Some(0)) => Self::Success,
                (None, code) => Self::Code(code.unwrap_or(-1)),
            },
            Err(error) => Self::Unknown(format!("failed to wait for its process: {error}")),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("exited with code 0"),
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(9) => f.write_str("was killed (signal 9; out of memory?)"),
            Self::Signal(signal) => write!(f, "was killed (signal {signal})"),
            Self::Unknown(reason) => f.write_str(reason),
        }
    }
}

/// How children are started: the program and the words that every service gets.
#[derive(Debug)]
pub(crate) struct Launcher {
    /// This program.
    pub(crate) program: PathBuf,
    /// Options for every service, after its own words.
    pub(crate) common: Vec<OsString>,
    /// Where events go; bounded, so that a flood of lines slows the child that makes it.
    pub(crate) events: mpsc::Sender<Event>,
}

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its id.
    pub(crate) pid: Option<u32>,
    orders: mpsc::UnboundedSender<Order>,
}

/// What the task that waits for a process is to do with it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Terminate,
    Kill,
}

impl Running {
    /// No process, and the orders that it gets.
    #[cfg(test)]
    pub(crate) fn detached() -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, received) = mpsc::unbounded_channel();
        (Self { pid: None, orders }, received)
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) {
        _ = self.orders.send(Order::Terminate);
    }

    /// Ends the process and all that it has started.
    pub(crate) fn kill(&self) {
        _ = self.orders.send(Order::Kill);
    }
}

impl Launcher {
    /// Starts one life of a service with `arguments`.
    pub(crate) fn start(&self, life: Life, arguments: &[OsString]) -> io::Result<Running> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = Command::new(&self.program)
            .args(arguments)
            .args(&self.common)
            .env(SUPERVISOR_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id();
        let said = listen(UnixStream::from_std(ours)?, life, self.events.clone());
        let readers = [
            Some(tokio::spawn(said)),
            child
                .stdout
                .take()
                .map(|pipe| tokio::spawn(lines(pipe, life, self.events.clone()))),
            child
                .stderr
                .take()
                .map(|pipe| tokio::spawn(lines(pipe, life, self.events.clone()))),
        ];
        let (orders, received) = mpsc::unbounded_channel();
        tokio::spawn(attend(child, received, readers, life, self.events.clone()));
        Ok(Running { pid, orders })
    }
}

/// Waits for the process, carries out orders meanwhile, and reports its end after its last line.
async fn attend(
    mut child: Child,
    mut orders: mpsc::UnboundedReceiver<Order>,
    readers: [Option<JoinHandle<()>>; 3],
    life: Life,
    events: mpsc::Sender<Event>,
) {
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended,
            Some(order) = orders.recv() => carry_out(order, child.id()),
        }
    };
    for mut reader in readers.into_iter().flatten() {
        if timeout(READ_OUT, &mut reader).await.is_err() {
            reader.abort();
        }
    }
    _ = events.send(Event::Ended(life, ended.into())).await;
}

/// A process that is gone already needs no signal: errors mean just that.
fn carry_out(order: Order, pid: Option<u32>) {
    let Some(pid) = pid
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw)
    else {
        return;
    };
    _ = match order {
        // A stopped process takes the signal when it goes on.
        Order::Terminate => {
            kill_process(pid, Signal::TERM).and_then(|()| kill_process(pid, Signal::CONT))
        }
        Order::Kill => kill_process_group(pid, Signal::KILL),
    };
}

/// The child's side of the socket says where its HTTP listener is. The stream stays open as long as the child's end.
async fn listen(stream: UnixStream, life: Life, events: mpsc::Sender<Event>) {
    let mut said = BufReader::new(stream.take(LONGEST_LINE)).lines();
    while let Ok(Some(line)) = said.next_line().await {
        if let Some(records) = line
            .strip_prefix("records ")
            .and_then(|records| records.parse().ok())
        {
            _ = events.send(Event::Records(life, records)).await;
        }
        if let Some(failures) = line
            .strip_prefix("failed ")
            .and_then(|failures| failures.parse().ok())
        {
            _ = events.send(Event::Failures(life, failures)).await;
        }
        if let Some(address) = line
            .strip_prefix("http ")
            .and_then(|address| address.parse().ok())
        {
            _ = events.send(Event::Address(life, address)).await;
        }
    }
}

async fn lines(pipe: impl AsyncRead + Unpin, life: Life, events: mpsc::Sender<Event>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line)
            .trim_end_matches(['\r', '\n'])
            .to_owned();
        if events.send(Event::Line(life, text)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        for (status, expected) in [
            (0, "exited with code 0"),
            (2 << 8, "exited with code 2"),
            (15, "was killed (signal 15)"),
            // Fault 9: a kill for want of memory is named as a possible reason.
            (9, "was killed (signal 9; out of memory?)"),
        ] {
            let end = End::from(Ok(ExitStatus::from_raw(status)));
            assert_eq!(end.to_string(), expected);
        }
    }
}
