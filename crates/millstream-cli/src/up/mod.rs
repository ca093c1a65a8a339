//! A whole system on one machine: the embedded broker in this process, every service in a child of it.
//!
//! `plan` says what runs, `supervisor` keeps it running, `child` is one process, `service` its state over all its
//! lives, `account` its figures, `restarts` when it starts again, `scrape` what it reports. `status` is what is shown,
//! `view` how, with `keys`; `metrics` is the same over HTTP. `control` is the socket of `up status` and
//! `up stop`, `detach` runs `up` in the background with its output in a `log_file`.
//! The broker starts before the first child and stops after the last one.

mod account;
mod broker;
mod child;
pub(crate) mod control;
pub(crate) mod detach;
mod keys;
mod log_file;
mod metrics;
mod plan;
mod restarts;
mod scrape;
mod service;
pub(crate) mod status;
mod supervisor;
mod view;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use millstream::Shutdown;
use tokio::sync::mpsc;

use self::broker::Started;
use self::child::{Event, Launcher};
use self::control::{Reply, Socket};
use self::detach::Background;
use self::keys::{Keyboard, Restore};
use self::log_file::LogFile;
use self::metrics::Published;
use self::status::State;
use self::supervisor::{Ended, Parts, Supervisor};
use self::view::View;
use crate::args::Common;
use crate::output::Output;
use crate::screen::{Screen, terminal_size};
use crate::telemetry::Logs;
use crate::{Outcome, life};

pub(crate) use self::broker::Broker;
pub(crate) use self::plan::{Planned, named, plan, systems};
pub(crate) use self::view::{Lines, Source};

/// Events that may wait; then a child's pipe fills, and the child waits.
const EVENTS: usize = 256;

/// What to run, and how to show it.
#[derive(Debug)]
pub(crate) struct Up {
    /// The services.
    pub(crate) plan: Vec<Planned>,
    /// Their broker.
    pub(crate) broker: Broker,
    /// Where the control socket is.
    pub(crate) folder: PathBuf,
    /// The options of every service.
    pub(crate) common: Common,
    /// Ends by itself after this time.
    pub(crate) lasting: Option<Duration>,
    /// Whose lines are shown.
    pub(crate) lines: Lines,
    /// Whether the summary is JSON.
    pub(crate) json: bool,
    /// Whether this is the process that `--detach` has started.
    pub(crate) background: bool,
}

impl Up {
    /// Runs until a signal, a request or the end of the time; then prints the summary.
    pub(crate) fn run(self, logs: &Logs) -> anyhow::Result<Outcome> {
        let json = self.json;
        let ended = if self.background {
            let background = Background::enter()?;
            let log = detach::log_path(&self.folder);
            let log = LogFile::open(&log)
                .with_context(|| format!("failed to open the log `{}`", log.display()))?;
            let screen = Screen::new(log, false, terminal_size);
            self.supervise(logs, screen, Some(&background))
                .inspect_err(|error| background.failed(error))?
        } else {
            self.supervise(logs, Screen::stderr(), None)?
        };
        close(&ended, json)
    }

    fn supervise<W: Write>(
        self,
        logs: &Logs,
        screen: Screen<W>,
        background: Option<&Background>,
    ) -> anyhow::Result<Ended> {
        let (sender, events) = mpsc::channel(EVENTS);
        let broker = self.broker.start()?;
        let socket = Socket::open(&self.folder)?;
        let names = || self.plan.iter().map(|planned| planned.name.as_str());
        let published = self
            .common
            .http
            .map(|address| Published::open(address, names()))
            .transpose()?;
        let lost_lines = divert(logs, sender.clone());
        let keyboard = screen.is_terminal().then(Keyboard::open).flatten();
        let stopped = on_stop(keyboard.as_ref().map(Keyboard::restore))?;
        let view = View::new(screen, names(), self.lines, keyboard.is_some());
        let parts = Parts {
            launcher: launcher(&self.common, &broker, sender.clone())?,
            events,
            view,
            keyboard,
            published,
            lost_lines,
            brokers: broker.brokers().to_owned(),
            data: broker.data().map(str::to_owned),
        };
        // One thread: children ask the kernel to signal them when the thread that started them ends, and this one
        // lives as long as the process.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (plan, lasting) = (self.plan, self.lasting);
        let ended = runtime.block_on(async {
            socket.serve(sender)?;
            let supervisor = Supervisor::new(plan, parts);
            let begun = |status: &_| {
                if let Some(background) = background {
                    background.runs(status);
                }
            };
            anyhow::Ok(supervisor.run(stopped, lasting, begun).await)
        });
        logs.restore();
        broker.stop()?;
        drop(socket);
        let mut ended = ended?;
        // Whoever waits for the stop may start the next one when the reply comes: everything is free by now.
        runtime.block_on(async {
            for stream in ended.waiting.drain(..) {
                control::reply(stream, &Reply::Status(ended.status.clone()));
            }
        });
        Ok(ended)
    }
}

/// The lines of the broker in this process become events, as those of the services are.
fn divert(logs: &Logs, events: mpsc::Sender<Event>) -> Arc<AtomicU64> {
    let lost = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&lost);
    logs.divert(move |line| {
        // A broker that waited for its log to be read would not serve.
        if events.try_send(Event::Broker(line)).is_err() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    lost
}

/// A message at the first SIGINT or SIGTERM. The second one puts the terminal back and ends the process.
fn on_stop(terminal: Option<Restore>) -> anyhow::Result<mpsc::Receiver<()>> {
    let (stop, stopped) = mpsc::channel(1);
    let leave = move || {
        if let Some(terminal) = terminal {
            terminal.restore();
        }
    };
    let shutdown = Shutdown::on_signals_then(leave)?;
    let wait = move || {
        life::wait_for_end(&shutdown);
        _ = stop.blocking_send(());
    };
    thread::Builder::new()
        .name("stop".to_owned())
        .spawn(wait)
        .context("failed to start a thread that waits for signals")?;
    Ok(stopped)
}

fn launcher(
    common: &Common,
    broker: &Started,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<Launcher> {
    let common = Common {
        brokers: Some(broker.brokers().to_owned()),
        http: Some(([127, 0, 0, 1], 0).into()),
        ..common.clone()
    };
    Ok(Launcher {
        program: std::env::current_exe().context("failed to find the path of this program")?,
        common: common.words(),
        events,
    })
}

/// Prints the summary; a service that failed for good is a negative answer.
fn close(ended: &Ended, json: bool) -> anyhow::Result<Outcome> {
    let rows = &ended.status.services;
    let mut output = Output::new(json);
    if json {
        for row in rows {
            output.object(row)?;
        }
    } else {
        output.bytes(status::summary(rows, output_columns()).as_bytes())?;
    }
    output.flush()?;
    let failed = rows.iter().any(|row| row.state == State::Failed);
    Ok(if failed {
        Outcome::Negative
    } else {
        Outcome::Done
    })
}

/// The width of the terminal at standard output; without one there is no limit.
pub(crate) fn output_columns() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(usize::MAX)
}
