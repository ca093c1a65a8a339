//! One service as the supervisor sees it: its state, its process, its figures and its failures, over all its lives.
//!
//! Every change is a method named after what happened; time and chance are arguments. A service is alive until it
//! has finished, was stopped, or is given up: the supervisor returns when none is alive.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::child::Running;
use super::plan::Planned;
use super::restarts::{Restarts, Verdict};
use super::status::{Row, State};
use crate::figures::Figures;

/// The rate shown is that of the last so many samples.
const SAMPLES: usize = 6;

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) planned: Planned,
    state: State,
    running: Option<Running>,
    lives: u32,
    since: Option<Instant>,
    due: Option<Instant>,
    address: Option<SocketAddr>,
    restarts: Restarts,
    reason: Option<String>,
    /// Records of the earlier lives.
    earlier: u64,
    /// Records of this life, once it has said some.
    records: Option<u64>,
    lag: Option<u64>,
    samples: VecDeque<(Instant, u64)>,
}

impl Service {
    /// A service that has not run yet and is due.
    pub(crate) fn new(planned: Planned) -> Self {
        Self {
            planned,
            state: State::Starting,
            running: None,
            lives: 0,
            since: None,
            due: Some(Instant::now()),
            address: None,
            restarts: Restarts::default(),
            reason: None,
            earlier: 0,
            records: None,
            lag: None,
            samples: VecDeque::new(),
        }
    }

    /// Whether it runs or will run again.
    pub(crate) fn is_alive(&self) -> bool {
        self.running.is_some() || self.due.is_some()
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

    /// Where its figures can be asked, while it runs.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.running.as_ref().and(self.address)
    }

    /// A life began.
    pub(crate) fn started(&mut self, running: Running, now: Instant) {
        self.running = Some(running);
        self.state = State::Starting;
        self.lives += 1;
        self.since = Some(now);
        self.due = None;
        self.address = None;
        self.samples.clear();
    }

    /// It told where it serves HTTP.
    pub(crate) fn serves(&mut self, address: SocketAddr) {
        self.address = Some(address);
    }

    /// It ends and told how many records it has handled in this life.
    pub(crate) fn handled(&mut self, records: u64) {
        self.records = Some(records);
    }

    /// It was asked for its figures, and answered or not.
    pub(crate) fn said(&mut self, figures: Option<Figures>, now: Instant) {
        let Some(figures) = figures else {
            self.samples.clear();
            self.lag = None;
            return;
        };
        if matches!(self.state, State::Starting | State::Running) {
            self.state = if figures.ready {
                State::Running
            } else {
                State::Starting
            };
        }
        self.lag = figures.lag;
        if let Some(records) = figures.records {
            self.records = Some(records);
            self.samples.push_back((now, records));
            if self.samples.len() > SAMPLES {
                self.samples.pop_front();
            }
        }
    }

    /// Its process ended, well or with `failure`; the answer is what to tell the user.
    pub(crate) fn ended(
        &mut self,
        failure: Option<String>,
        stopping: bool,
        jitter: f64,
        now: Instant,
    ) -> Option<String> {
        let lived = self
            .since
            .take()
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.running = None;
        self.due = None;
        self.lag = None;
        self.samples.clear();
        self.earlier += self.records.take().unwrap_or(0);
        let Some(failure) = failure else {
            self.state = if stopping {
                State::Stopped
            } else {
                State::Finished
            };
            return None;
        };
        self.reason = Some(failure.clone());
        if stopping {
            self.state = State::Failed;
            return Some(format!("ended with {failure}"));
        }
        Some(match self.restarts.failed(lived, jitter) {
            Verdict::Again(after) => {
                self.state = State::BackOff;
                self.due = Some(now + after);
                format!(
                    "ended with {failure}; starts again in {:.1} s",
                    after.as_secs_f64()
                )
            }
            Verdict::GiveUp(times) => {
                self.state = State::Failed;
                format!(
                    "ended with {failure}, {times} times in a row: given up; its lines above say why"
                )
            }
        })
    }

    /// Asks its process to end; a service that waits to be started again has failed.
    pub(crate) fn stop(&mut self, _now: Instant) {
        match &self.running {
            Some(running) => {
                self.state = State::Stopping;
                running.terminate();
            }
            None if self.due.take().is_some() => self.state = State::Failed,
            None => {}
        }
    }

    /// Kills its process, if there is one.
    pub(crate) fn kill(&mut self) -> bool {
        self.running.as_ref().map(Running::kill).is_some()
    }

    /// What to show; with `overall` the rate is over all the time that `up` ran.
    pub(crate) fn row(&self, overall: Option<Duration>) -> Row {
        let records = self
            .records
            .or((self.earlier > 0).then_some(0))
            .map(|records| records + self.earlier);
        let per_second = match overall {
            Some(up) => records.map(|records| per_second(records, up)),
            None => self.recent_rate(),
        };
        Row {
            service: self.planned.name.clone(),
            state: self.state,
            pid: self.running.as_ref().and_then(|running| running.pid),
            records_per_second: per_second,
            records,
            lag: self.lag,
            restarts: self.restarts.total(),
            reason: self.reason.clone(),
        }
    }

    fn recent_rate(&self) -> Option<f64> {
        let ((then, before), (now, after)) = (self.samples.front()?, self.samples.back()?);
        (now > then).then(|| per_second(after.saturating_sub(*before), *now - *then))
    }
}

fn per_second(records: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        records as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service::new(Planned {
            name: "receive".to_owned(),
            arguments: Vec::new(),
        })
    }

    fn figures(records: u64) -> Option<Figures> {
        Some(Figures {
            ready: true,
            records: Some(records),
            lag: Some(3),
        })
    }

    #[test]
    fn figures_give_state_rate_and_lag() {
        let (mut service, now) = (service(), Instant::now());
        service.said(figures(100), now);
        service.said(figures(120), now + Duration::from_secs(2));
        let row = service.row(None);
        assert_eq!(
            (row.state, row.records_per_second, row.records, row.lag),
            (State::Running, Some(10.0), Some(120), Some(3))
        );
        service.said(None, now + Duration::from_secs(3));
        let row = service.row(None);
        assert_eq!(
            (row.records_per_second, row.records, row.lag),
            (None, Some(120), None)
        );
    }

    /// Fault 1: a killed process comes back, and what it had counted is not forgotten.
    #[test]
    fn records_add_up_over_lives() {
        let (mut service, now) = (service(), Instant::now());
        service.said(figures(100), now);
        let told = service
            .ended(Some("killed by signal 9".to_owned()), false, 1.0, now)
            .unwrap();
        assert_eq!(told, "ended with killed by signal 9; starts again in 0.2 s");
        assert!(!service.is_due(now) && service.is_due(now + Duration::from_millis(250)));
        service.said(figures(7), now + Duration::from_secs(1));
        assert_eq!(service.row(None).records, Some(107));
        assert_eq!(
            service
                .row(Some(Duration::from_secs(10)))
                .records_per_second,
            Some(10.7)
        );
    }

    /// Fault 7: a service that never lives long is given up and is no longer alive.
    #[test]
    fn a_crash_loop_ends_in_failed() {
        let (mut service, now) = (service(), Instant::now());
        let told = (0..6)
            .map(|_| service.ended(Some("exit code 2".to_owned()), false, 0.0, now))
            .last()
            .flatten()
            .unwrap();
        assert_eq!(
            told,
            "ended with exit code 2, 6 times in a row: given up; its lines above say why"
        );
        assert_eq!(service.row(None).state, State::Failed);
        assert!(!service.is_alive());
    }

    #[test]
    fn an_exit_code_of_zero_is_finished_or_stopped() {
        let now = Instant::now();
        let mut service = service();
        assert_eq!(service.ended(None, false, 0.0, now), None);
        assert_eq!(service.row(None).state, State::Finished);
        service.ended(None, true, 0.0, now);
        assert_eq!(service.row(None).state, State::Stopped);
    }

    #[test]
    fn a_service_in_back_off_at_the_stop_has_failed() {
        let (mut service, now) = (service(), Instant::now());
        service.ended(Some("exit code 2".to_owned()), false, 0.0, now);
        service.stop(now);
        assert_eq!(service.row(None).state, State::Failed);
        assert!(!service.is_alive());
    }
}
