//! The request to end, shared by everyone who may ask for it and everyone who heeds it.
//!
//! Owns [`Shutdown`] and the signals that ask for it. What ending means is for whoever holds the request: a service drains
//! and commits (`runtime`).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use tracing::dispatcher;

use crate::error::Error;

/// How often it is looked whether the end is requested while something else is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A request to end; clones are the same request.
///
/// ```
/// use millstream::Shutdown;
///
/// let shutdown = Shutdown::new();
/// let other = shutdown.clone();
/// assert!(!shutdown.is_requested());
/// other.request();
/// assert!(shutdown.is_requested());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Request>);

#[derive(Debug, Default)]
struct Request {
    requested: AtomicBool,
    lock: Mutex<()>,
    signal: Condvar,
}

impl Shutdown {
    /// A shutdown that is not requested.
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that Ctrl-C (SIGINT) or SIGTERM requests. The second signal ends the process at once, with the exit code
    /// 128 + its number: it works whatever the rest of the process waits for, and nothing is drained.
    ///
    /// A thread of its own waits for the signals until the process ends.
    ///
    /// # Errors
    /// The operating system refuses the handlers or the thread.
    pub fn on_signals() -> Result<Self, Error> {
        Self::on_signals_then(|| {})
    }

    /// As [`Shutdown::on_signals`]; the second signal calls `leave` before it ends the process, for what must not be left as
    /// it is, such as the settings of a terminal. `leave` must not block.
    ///
    /// # Errors
    /// The operating system refuses the handlers or the thread.
    pub fn on_signals_then(leave: impl FnOnce() + Send + 'static) -> Result<Self, Error> {
        let shutdown = Self::new();
        let listening = shutdown.clone();
        listen(listening, leave).map_err(|source| Error::Signals { source })?;
        Ok(shutdown)
    }

    /// Requests the end. Does not block.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::Release);
        drop(self.gate());
        self.0.signal.notify_all();
    }

    /// Whether the end was requested.
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::Acquire)
    }

    /// Blocks until the end is requested, for `most` at most; returns whether it was requested.
    pub fn wait(&self, most: Duration) -> bool {
        let gate = self.gate();
        let waited = self
            .0
            .signal
            .wait_timeout_while(gate, most, |()| !self.is_requested());
        drop(waited);
        self.is_requested()
    }

    /// Does `work` on a thread of its own, called `name`; `None` when the end is requested first, and then nobody waits for it any longer.
    /// So a request to a cluster that says nothing, which may take many seconds, holds up no end.
    ///
    /// # Errors
    /// The thread cannot be started, or `work` panicked.
    pub fn unless_requested<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let (sender, answer) = channel();
        // Whoever listens to this thread's log hears of the work.
        let dispatch = dispatcher::get_default(Clone::clone);
        let work = move || {
            // Nobody wants the answer after a shutdown.
            dispatcher::with_default(&dispatch, || drop(sender.send(work())));
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(work);
        started.map_err(|source| Error::Thread {
            name: name.to_owned(),
            source,
        })?;
        loop {
            match answer.recv_timeout(LOOK_EVERY) {
                Ok(answer) => return Ok(Some(answer)),
                Err(RecvTimeoutError::Timeout) if self.is_requested() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::WorkerPanicked {
                        service: name.to_owned(),
                        reason: "while it asked the cluster".to_owned(),
                    });
                }
            }
        }
    }

    fn gate(&self) -> MutexGuard<'_, ()> {
        self.0.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for signals in a thread of its own, so that the second one works whatever the rest of the process is stuck in.
fn listen(shutdown: Shutdown, leave: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let wait = move || {
        let mut signals = signals.forever();
        // Whoever else requested the end before: the first signal asks for it in order, and only the second ends hard.
        if signals.next().is_some() {
            shutdown.request();
        }
        if let Some(signal) = signals.next() {
            leave();
            // Not `process::exit`: what a C library does at exit may wait for what hangs.
            low_level::exit(128 + signal);
        }
    };
    let thread = thread::Builder::new().name("signals".to_owned());
    thread.spawn(wait).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_request() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.wait(Duration::ZERO));
        let other = shutdown.clone();
        let thread = thread::spawn(move || other.wait(Duration::from_secs(60)));
        shutdown.request();
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_shutdown_does_not_wait_for_the_answer_of_a_silent_cluster() {
        let (silent, answer) = channel::<()>();
        let shutdown = Shutdown::new();
        let asked = shutdown.clone();
        let work = move || {
            asked.request();
            answer.recv()
        };
        let outcome = shutdown.unless_requested("copier", work).unwrap();
        assert_eq!(outcome, None);
        drop(silent);
    }
}
