//! Keeps the services of a plan running until told to stop: one loop that owns every service's state.
//!
//! Children tell their lives as events; the loop answers an end with a restart, a back-off or giving up, draws the
//! status, and on a stop asks all children to end, kills those that do not within `GRACE`, and returns when the
//! last one is gone. No child is ever left behind.

use std::io::{Stderr, Write};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::child::{Event, Launcher, Life, failure};
use super::plan::Planned;
use super::scrape;
use super::service::Service;
use super::status::{self, Row};
use crate::screen::Screen;

/// Children that were asked to end get so long before they are killed.
const GRACE: Duration = Duration::from_secs(4);
/// Killed children are gone at once; this bounds the wait for the kernel.
const AFTER_KILL: Duration = Duration::from_millis(500);
const REFRESH: Duration = Duration::from_millis(100);
const SCRAPE: Duration = Duration::from_secs(1);
/// Without a terminal the status is a line now and then.
const STATUS_LINE: Duration = Duration::from_secs(5);
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The services and what is shown of them.
#[derive(Debug)]
pub(crate) struct Supervisor<W = Stderr> {
    services: Vec<Service>,
    launcher: Launcher,
    events: mpsc::Receiver<Event>,
    screen: Screen<W>,
    title: String,
    started: Instant,
    /// When those that have not ended by then are killed; set by the stop.
    kill_at: Option<Instant>,
    grace: Duration,
    next_line: Instant,
}

impl<W: Write> Supervisor<W> {
    /// A supervisor of `plan` that shows `title` in its status; `events` is the other end of the launcher's sender.
    pub(crate) fn new(
        plan: Vec<Planned>,
        launcher: Launcher,
        events: mpsc::Receiver<Event>,
        screen: Screen<W>,
        title: String,
    ) -> Self {
        let now = Instant::now();
        let services = plan.into_iter().map(Service::new).collect();
        Self {
            services,
            launcher,
            events,
            screen,
            title,
            started: now,
            kill_at: None,
            grace: GRACE,
            next_line: now + STATUS_LINE,
        }
    }

    /// Runs until all services have ended: by themselves, or after `lasting` or a message from `stop`.
    pub(crate) async fn run(
        mut self,
        mut stop: mpsc::Receiver<()>,
        lasting: Option<Duration>,
    ) -> Vec<Row> {
        let stop_at = self.started + lasting.unwrap_or(FAR);
        let mut refresh = interval(REFRESH);
        let mut scrape = interval(SCRAPE);
        scrape.set_missed_tick_behavior(MissedTickBehavior::Skip);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.start_due();
        while self.services.iter().any(Service::is_alive) {
            let (next_start, kill_at) = (self.next_start(), self.kill_at);
            tokio::select! {
                Some(event) = self.events.recv() => self.on_event(event),
                Some(()) = stop.recv() => self.stop("stopping"),
                () = sleep_until(stop_at), if kill_at.is_none() => self.stop("time is up"),
                () = sleep_until(next_start) => self.start_due(),
                () = sleep_until(kill_at.unwrap_or(stop_at)), if kill_at.is_some() => self.kill(),
                _ = refresh.tick() => self.refresh(),
                _ = scrape.tick() => self.scrape(),
            }
        }
        self.screen.close();
        self.rows(true)
    }

    fn on_event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Line(life, line) => self.tell(life.service, &line),
            Event::Address(life, address) => self.with(life, |service| service.serves(address)),
            Event::Records(life, records) => self.with(life, |service| service.handled(records)),
            Event::Figures(life, figures) => self.with(life, |service| service.said(figures, now)),
            Event::Ended(life, ended) => self.on_end(life, failure(&ended), now),
        }
    }

    fn on_end(&mut self, life: Life, failure: Option<String>, now: Instant) {
        let stopping = self.kill_at.is_some();
        let Some(service) = self.services.get_mut(life.service) else {
            return;
        };
        if let Some(note) = service.ended(failure, stopping, fastrand::f64(), now) {
            self.tell(life.service, &note);
        }
    }

    /// Does something to a service unless `life` is an earlier one.
    fn with(&mut self, life: Life, act: impl FnOnce(&mut Service)) {
        if let Some(service) = self.services.get_mut(life.service)
            && service.life() == life.number
        {
            act(service);
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for position in 0..self.services.len() {
            let Some(service) = self.services.get_mut(position) else {
                continue;
            };
            if !service.is_due(now) {
                continue;
            }
            let life = Life {
                service: position,
                number: service.next_life(),
            };
            match self.launcher.start(life, &service.planned.arguments) {
                Ok(running) => service.started(running, now),
                Err(error) => self.on_end(life, Some(format!("failed to start: {error}")), now),
            }
        }
    }

    fn next_start(&self) -> Instant {
        self.services
            .iter()
            .filter_map(Service::due_at)
            .min()
            .unwrap_or(self.started + FAR)
    }

    fn stop(&mut self, why: &str) {
        if self.kill_at.is_some() {
            return;
        }
        let now = Instant::now();
        self.kill_at = Some(now + self.grace);
        self.note(why);
        for service in &mut self.services {
            service.stop(now);
        }
    }

    fn kill(&mut self) {
        self.kill_at = Some(Instant::now() + AFTER_KILL);
        for position in 0..self.services.len() {
            if self.services.get_mut(position).is_some_and(Service::kill) {
                self.tell(
                    position,
                    &format!("did not end within {} s, killed", self.grace.as_secs()),
                );
            }
        }
    }

    fn scrape(&mut self) {
        for (position, service) in self.services.iter().enumerate() {
            let Some(address) = service.address() else {
                continue;
            };
            let life = Life {
                service: position,
                number: service.life(),
            };
            let events = self.launcher.events.clone();
            tokio::spawn(async move {
                let figures = scrape::figures(address).await;
                _ = events.send(Event::Figures(life, figures)).await;
            });
        }
    }

    fn refresh(&mut self) {
        let rows = self.rows(false);
        if self.screen.is_terminal() {
            let block = status::block(
                &rows,
                &self.title,
                self.started.elapsed(),
                self.kill_at.is_some(),
            );
            self.screen.refresh(&block);
            return;
        }
        if Instant::now() >= self.next_line {
            self.next_line = Instant::now() + STATUS_LINE;
            self.note(&status::line(&rows));
        }
        self.screen.refresh("");
    }

    fn rows(&self, at_the_end: bool) -> Vec<Row> {
        self.services
            .iter()
            .map(|service| service.row(at_the_end.then(|| self.started.elapsed())))
            .collect()
    }

    /// One line of a service, marked with its name.
    fn tell(&mut self, position: usize, line: &str) {
        let width = self
            .services
            .iter()
            .map(|service| service.planned.name.len())
            .max()
            .unwrap_or(0)
            .max("up".len());
        let name = self
            .services
            .get(position)
            .map_or("up", |service| &service.planned.name);
        self.screen.line(format!("{name:width$} | {line}"));
    }

    /// One line of `up` itself.
    fn note(&mut self, line: &str) {
        self.tell(usize::MAX, line);
    }
}

#[cfg(test)]
mod tests;
