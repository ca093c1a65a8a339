//! A whole system on one machine: the embedded broker in this process, every service in a child of it.
//!
//! `plan` says what runs, `supervisor` keeps it running, `child` is one process, `service` its account over all its
//! lives, `restarts` when it starts again, `scrape` what it says of itself, `status` what is shown.
//! The broker starts before the first child and stops after the last one.

mod broker;
mod child;
mod plan;
mod restarts;
mod scrape;
mod service;
mod status;
mod supervisor;

use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;

use self::child::Launcher;
use self::plan::Planned;
use self::status::State;
use self::supervisor::Supervisor;
use crate::args::Common;
use crate::output::Output;
use crate::screen::Screen;
use crate::{Outcome, signals};

pub(crate) use self::broker::Broker;
pub(crate) use self::plan::{plan, systems};

/// Events that may wait; then a child's pipe fills, and the child waits.
const EVENTS: usize = 256;

/// Runs `plan` on `broker` until a signal, or for `lasting`; then prints the summary.
pub(crate) fn run(
    plan: Vec<Planned>,
    broker: Broker,
    common: &Common,
    lasting: Option<Duration>,
    json: bool,
) -> anyhow::Result<Outcome> {
    let running = broker.start()?;
    let common = Common {
        brokers: Some(running.brokers().to_owned()),
        http: Some(([127, 0, 0, 1], 0).into()),
        ..common.clone()
    };
    let (sender, events) = mpsc::channel(EVENTS);
    let program = std::env::current_exe().context("failed to find the path of this program")?;
    let launcher = Launcher {
        program,
        common: common.words(),
        events: sender,
    };
    let (stop, stopped) = mpsc::channel(1);
    signals::on_stop(move || _ = stop.blocking_send(()))?;
    // One thread: children ask the kernel to signal them when the thread that started them ends, and this one lives
    // as long as the process.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rows = runtime.block_on(async {
        let supervisor = Supervisor::new(plan, launcher, events, Screen::stderr(), running.title());
        supervisor.run(stopped, lasting).await
    });
    drop(runtime);
    running.stop()?;
    let mut output = Output::new(json);
    if json {
        for row in &rows {
            output.object(row)?;
        }
    } else {
        output.bytes(status::summary(&rows).as_bytes())?;
    }
    output.flush()?;
    let failed = rows.iter().any(|row| row.state == State::Failed);
    Ok(if failed {
        Outcome::Negative
    } else {
        Outcome::Done
    })
}
