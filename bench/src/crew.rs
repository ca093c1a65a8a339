//! The processes of a run: brokers and peers, each ended by its pid whatever happens to the run.
//!
//! A [`Crew`] knows every process it started. A [`Member`] ends its process when it is dropped: first asked
//! (SIGTERM), then, when it does not hear, killed. Ctrl-C ends the whole crew before the run.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{process, thread};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::clock::{Clock, pause};

/// How long a process may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(15);

/// Every process of this run. Clones are the same crew.
#[derive(Clone, Default)]
pub(crate) struct Crew {
    /// Pids of our own children, and command lines to run at the end for what is nobody's child.
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    pids: Vec<u32>,
    stoppers: Vec<Stopper>,
}

/// A command that ends what another command started in the background.
#[derive(Clone)]
pub(crate) struct Stopper {
    /// The program, its arguments and one variable of its environment.
    pub(crate) program: PathBuf,
    pub(crate) argument: &'static str,
    pub(crate) variable: (&'static str, PathBuf),
}

impl Stopper {
    /// Runs the command and waits for it.
    pub(crate) fn run(&self) {
        let mut command = Command::new(&self.program);
        command
            .arg(self.argument)
            .env(self.variable.0, &self.variable.1);
        if let Err(error) = command.stdin(Stdio::null()).status() {
            eprintln!("failed to run {}: {error}", self.program.display());
        }
    }
}

impl Crew {
    /// A crew that is ended when this process is asked to end.
    pub(crate) fn guarded() -> Result<Self> {
        let crew = Self::default();
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).context("failed to listen to signals")?;
        let guarded = crew.clone();
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                guarded.end();
                process::exit(128 + signal);
            }
        });
        Ok(crew)
    }

    /// Starts `command` as a member.
    pub(crate) fn start(&self, name: &str, command: &mut Command) -> Result<Member> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        self.with(|running| running.pids.push(child.id()));
        Ok(Member {
            name: name.to_owned(),
            child,
            crew: self.clone(),
        })
    }

    /// Runs `stopper` if the run is ended from outside.
    pub(crate) fn remember(&self, stopper: Stopper) {
        self.with(|running| running.stoppers.push(stopper));
    }

    fn end(&self) {
        self.with(|running| {
            for pid in running.pids.drain(..) {
                signal(pid, Signal::KILL);
            }
            for stopper in running.stoppers.drain(..) {
                stopper.run();
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Running) -> T) -> T {
        work(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One running process; ended when dropped.
pub(crate) struct Member {
    name: String,
    child: Child,
    crew: Crew,
}

impl Member {
    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself: {status}", self.name),
        }
    }

    /// Asks it to end and waits; an error when it ended badly or had to be killed.
    pub(crate) fn stop(mut self) -> Result<()> {
        let status = self.end()?;
        if !status.success() && status.code() != Some(143) {
            bail!("{} ended with {status}", self.name);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        signal(self.pid(), Signal::TERM);
        let clock = Clock::new();
        while clock.now() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            pause(Duration::from_millis(10));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("failed to end {}: {error}", self.name);
        }
        let pid = self.pid();
        self.crew
            .with(|running| running.pids.retain(|&one| one != pid));
    }
}

/// Signals one of our own children, which is not waited for yet, so that its pid is nobody else's.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended in between.
        let _ = kill_process(pid, signal);
    }
}
