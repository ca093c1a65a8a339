//! One service as the supervisor sees it: its state and its process over all its lives; its figures are `account`'s.
//!
//! Every change is a method named after what happened; time and chance are arguments. A service is alive until it
//! has finished, was stopped, or is given up: the supervisor returns when none is alive.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::account::Account;
use super::child::{End, Running};
use super::plan::Planned;
use super::restarts::{Restarts, Verdict};
use super::scrape::Scraped;
use super::status::{Row, State};

/// What somebody wants of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// That it runs, until its work is done.
    Run,
    /// That it ends and starts again.
    Restart,
    /// That it does not run.
    Stop,
}

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) planned: Planned,
    state: State,
    wanted: Wanted,
    running: Option<Running>,
    lives: u32,
    due: Option<Instant>,
    /// When its process, which was asked to end, is killed.
    kill_at: Option<Instant>,
    /// Whether we killed it.
    killed: bool,
    address: Option<SocketAddr>,
    restarts: Restarts,
    failure: Option<String>,
    account: Account,
}

impl Service {
    /// A service that has not run yet and is due.
    pub(crate) fn new(planned: Planned) -> Self {
        Self {
            planned,
            state: State::Starting,
            wanted: Wanted::Run,
            running: None,
            lives: 0,
            due: Some(Instant::now()),
            kill_at: None,
            killed: false,
            address: None,
            restarts: Restarts::default(),
            failure: None,
            account: Account::default(),
        }
    }

    /// Whether it runs or will run again.
    pub(crate) fn is_alive(&self) -> bool {
        self.running.is_some() || self.due.is_some()
    }

    /// Whether it does not run because somebody stopped it, and may be started again.
    pub(crate) fn is_held(&self) -> bool {
        self.wanted == Wanted::Stop
    }

    /// Whether all is as wanted: it is ready, or its work is done, or it was stopped.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(
            self.state,
            State::Running | State::Finished | State::Stopped
        )
    }

    /// Where it is in its life.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// How often it was started again after a failure.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts.total()
    }

    /// The number of the present life, from 1.
    pub(crate) fn life(&self) -> u32 {
        self.lives
    }

    /// The number of the life that `started` will begin.
    pub(crate) fn next_life(&self) -> u32 {
        self.lives + 1
    }

    /// When it is to be started.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is to be started now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// When its process is to be killed.
    pub(crate) fn kill_at(&self) -> Option<Instant> {
        self.kill_at
    }

    /// Where it serves HTTP, while it runs.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.running.as_ref().and(self.address)
    }

    /// A life began.
    pub(crate) fn started(&mut self, running: Running, now: Instant) {
        self.running = Some(running);
        self.state = State::Starting;
        self.lives += 1;
        self.due = None;
        self.address = None;
        self.account.began(now);
    }

    /// It reported where it serves HTTP.
    pub(crate) fn serves(&mut self, address: SocketAddr) {
        self.address = Some(address);
    }

    /// It reported how many records it has handled in this life.
    pub(crate) fn handled(&mut self, records: u64) {
        self.account.handled(records);
    }

    /// It reported how often it has failed in this life.
    pub(crate) fn failed(&mut self, failures: u64) {
        self.account.failed_in_all(failures);
    }

    /// It was `asked` for its metrics, and responded or not; returns what to tell the user.
    pub(crate) fn scraped(
        &mut self,
        asked: Instant,
        scraped: Option<&Scraped>,
        now: Instant,
    ) -> Option<String> {
        let working = matches!(
            self.state,
            State::Starting | State::Running | State::Unresponsive
        );
        let Some(Scraped { figures, .. }) = scraped else {
            self.account.missed(asked);
            let silent = self.account.silent_for(now).filter(|_| working)?;
            let news = self.state != State::Unresponsive;
            self.state = State::Unresponsive;
            return news.then(|| {
                format!(
                    "has not responded for {} s: frozen, or overloaded",
                    silent.as_secs()
                )
            });
        };
        let back = self.state == State::Unresponsive;
        self.account.reported(figures, now);
        if working {
            self.state = if figures.ready {
                State::Running
            } else {
                State::Starting
            };
        }
        back.then(|| "responds again".to_owned())
    }

    /// Its process ended; returns what to tell the user. `stopping` when everything ends.
    pub(crate) fn ended(
        &mut self,
        end: &End,
        stopping: bool,
        jitter: f64,
        now: Instant,
    ) -> Option<String> {
        let lived = self.account.ended(now);
        self.running = None;
        self.due = None;
        self.kill_at = None;
        let text = match std::mem::take(&mut self.killed) {
            true => "did not end when asked and was killed".to_owned(),
            false => end.to_string(),
        };
        let asked = self.wanted != Wanted::Run;
        let well = *end == End::Success || asked && end.is_sigterm();
        if self.wanted == Wanted::Restart && !stopping {
            self.wanted = Wanted::Run;
            self.state = State::Starting;
            self.due = Some(now);
            return (!well).then_some(text);
        }
        if stopping || asked {
            self.state = if well { State::Stopped } else { State::Failed };
            self.failure = (!well).then(|| text.clone()).or(self.failure.take());
            return (!well).then_some(text);
        }
        if *end == End::Success {
            self.state = State::Finished;
            return None;
        }
        self.failure = Some(text);
        Some(match self.restarts.failed(lived, jitter) {
            Verdict::Again(after) => {
                self.state = State::Restarting;
                self.due = Some(now + after);
                format!("{end}; starts again in {:.1} s", after.as_secs_f64())
            }
            Verdict::GiveUp(times) => {
                self.state = State::Failed;
                format!("{end}, {times} times in a row; not started again")
            }
        })
    }

    /// Asks its process to end, and to be killed after `grace`. What waits to start again after a failure has failed if
    /// everything ends (`stopping`); what has ended stays as it is.
    pub(crate) fn stop(&mut self, stopping: bool, now: Instant, grace: Duration) {
        if self.running.is_some() {
            self.wanted = Wanted::Stop;
            self.terminate(now, grace);
        } else if self.due.take().is_some() {
            let failed = stopping && self.state == State::Restarting;
            self.state = if failed {
                State::Failed
            } else {
                State::Stopped
            };
            self.wanted = Wanted::Stop;
        }
    }

    /// Starts it again, whatever it does now.
    pub(crate) fn restart(&mut self, now: Instant, grace: Duration) {
        if self.running.is_some() {
            self.wanted = Wanted::Restart;
            self.terminate(now, grace);
        } else {
            self.start(now);
        }
    }

    /// Starts it if it does not run; what ends just now starts again.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.running.is_none() {
            self.wanted = Wanted::Run;
            self.state = State::Starting;
            self.restarts.forgive();
            self.due = Some(now);
        } else if self.wanted == Wanted::Stop {
            self.wanted = Wanted::Restart;
        }
    }

    fn terminate(&mut self, now: Instant, grace: Duration) {
        self.state = State::Stopping;
        // Once: a second SIGTERM ends a process at once, and what it has begun is lost.
        if self.kill_at.is_none() {
            self.kill_at = Some(now + grace);
            if let Some(running) = &self.running {
                running.terminate();
            }
        }
    }

    /// Kills its process if it is time, and again at `next`; returns whether this was the first time.
    pub(crate) fn kill_if_late(&mut self, now: Instant, next: Instant) -> bool {
        let late = self.kill_at.is_some_and(|at| at <= now);
        if late && let Some(running) = &self.running {
            running.kill();
            self.kill_at = Some(next);
            return !std::mem::replace(&mut self.killed, true);
        }
        false
    }

    /// What to show; `overall` takes the rate over all the time that it ran.
    pub(crate) fn row(&self, now: Instant, overall: bool) -> Row {
        Row {
            service: self.planned.name.clone(),
            state: self.state,
            pid: self.running.as_ref().and_then(|running| running.pid),
            records_per_second: if overall {
                self.account.overall_rate(now)
            } else {
                self.account.recent_rate()
            },
            records: self.account.records(),
            lag: self.account.lag(),
            failed: self.account.failed(),
            silent_seconds: self.account.silent_for(now).map(|silent| silent.as_secs()),
            restarts: self.restarts(),
            health: self
                .address()
                .map(|address| format!("http://{address}/readyz")),
            last_failure: self.failure.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    fn service() -> Service {
        Service::new(Planned {
            name: "receive".to_owned(),
            system: "messages",
            service: "receive",
            arguments: Vec::new(),
        })
    }

    fn scraped(ready: bool) -> Option<Scraped> {
        let figures = Figures {
            ready,
            records: Some(100),
            lag: Some(3),
            failed: None,
        };
        let metrics = String::new();
        Some(Scraped { figures, metrics })
    }

    fn state(service: &Service) -> State {
        service.row(Instant::now(), false).state
    }

    const GRACE: Duration = Duration::from_secs(4);

    /// Fault 1: a killed process comes back, and what it had counted is not forgotten.
    #[test]
    fn a_killed_service_is_due_again() {
        let (mut service, now) = (service(), Instant::now());
        service.scraped(now, scraped(true).as_ref(), now);
        let told = service.ended(&End::Signal(15), false, 1.0, now).unwrap();
        assert_eq!(told, "was killed (signal 15); starts again in 0.2 s");
        assert!(!service.is_due(now) && service.is_due(now + Duration::from_millis(250)));
        assert_eq!(service.row(now, false).records, Some(100));
    }

    /// Fault 7: a service that never lives long is given up and is no longer alive, until somebody starts it.
    #[test]
    fn a_crash_loop_ends_in_failed() {
        let (mut service, now) = (service(), Instant::now());
        let told = (0..6)
            .map(|_| service.ended(&End::Code(2), false, 0.0, now))
            .last()
            .flatten()
            .unwrap();
        assert_eq!(
            told,
            "exited with code 2, 6 times in a row; not started again"
        );
        assert_eq!(state(&service), State::Failed);
        assert!(!service.is_alive());
        service.restart(now, GRACE);
        assert!(service.is_due(now));
        assert_eq!(service.restarts(), 5);
    }

    /// A process that is frozen is not running.
    #[test]
    fn a_service_that_does_not_respond_is_unresponsive_until_it_does() {
        let (mut service, now) = (service(), Instant::now());
        let second = Duration::from_secs(1);
        service.scraped(now, scraped(true).as_ref(), now);
        assert_eq!(state(&service), State::Running);
        let told: Vec<Option<String>> = (1..=5)
            .map(|i| service.scraped(now + second * i, None, now + second * i))
            .collect();
        let expected = "has not responded for 3 s: frozen, or overloaded".to_owned();
        assert_eq!(told, [None, None, None, Some(expected), None]);
        assert_eq!(state(&service), State::Unresponsive);
        let back = service.scraped(now, scraped(true).as_ref(), now + second * 9);
        assert_eq!(back.unwrap(), "responds again");
        assert_eq!(state(&service), State::Running);
    }

    #[test]
    fn an_exit_code_of_zero_is_finished_or_stopped() {
        let now = Instant::now();
        let mut service = service();
        assert_eq!(service.ended(&End::Success, false, 0.0, now), None);
        assert_eq!(state(&service), State::Finished);
        service.ended(&End::Success, true, 0.0, now);
        assert_eq!(state(&service), State::Stopped);
    }

    #[test]
    fn a_service_in_back_off_at_the_stop_has_failed() {
        let (mut service, now) = (service(), Instant::now());
        service.ended(&End::Code(2), false, 0.0, now);
        service.stop(true, now, GRACE);
        assert_eq!(state(&service), State::Failed);
        assert!(!service.is_alive());
    }

    /// Nothing is held back by it: `up` ends when the others have ended.
    #[test]
    fn a_service_that_has_finished_is_not_stopped() {
        let (mut service, now) = (service(), Instant::now());
        service.ended(&End::Success, false, 0.0, now);
        service.stop(false, now, GRACE);
        assert_eq!(state(&service), State::Finished);
        assert!(!service.is_held());
    }

    /// The second SIGTERM would end it in the middle of what it finishes.
    #[test]
    fn a_service_that_is_stopped_twice_is_asked_to_end_once() {
        let (mut service, now) = (service(), Instant::now());
        let (running, mut asked) = Running::detached();
        service.started(running, now);
        service.stop(false, now, GRACE);
        service.stop(false, now, GRACE);
        service.restart(now, GRACE);
        service.stop(true, now, GRACE);
        let orders = std::iter::from_fn(|| asked.try_recv().ok());
        assert_eq!(orders.count(), 1);
        assert_eq!(service.kill_at(), Some(now + GRACE));
    }

    #[test]
    fn a_service_that_somebody_stopped_starts_again_when_asked() {
        let (mut service, now) = (service(), Instant::now());
        service.stop(false, now, GRACE);
        assert!(service.is_held() && !service.is_alive());
        assert_eq!(state(&service), State::Stopped);
        service.start(now);
        assert!(service.is_due(now) && !service.is_held());
    }
}
