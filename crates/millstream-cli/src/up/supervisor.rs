//! Keeps the services of a plan running until asked to stop: one loop that owns every service's state.
//!
//! Children report their lives as events; the loop replies to an end with a restart, a back-off or giving up, shows
//! the status, and on a stop asks all children to end, kills those that do not within `GRACE`, and returns when the
//! last one is gone. No child is ever left behind. Keys and the control socket start, stop and restart one service.

use std::io::{Stderr, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::child::{End, Event, Launcher, Life};
use super::control::{Act, Reply, Request, reply};
use super::keys::Keyboard;
use super::metrics::Published;
use super::plan::{self, Planned};
use super::scrape::{Scraped, scrape};
use super::service::Service;
use super::status::{self, Row, State, Status};
use super::view::{Order, Source, View};

/// Children that were asked to end are killed after this time. The services' own deadline is 6 s; one that cannot end in order
/// says itself what it leaves behind.
const GRACE: Duration = Duration::from_secs(8);
/// Killed children are gone at once; this bounds the wait for the kernel.
const AFTER_KILL: Duration = Duration::from_millis(500);
const REFRESH: Duration = Duration::from_millis(100);
const SCRAPE: Duration = Duration::from_secs(1);
/// Without a terminal the status is a line now and then.
const STATUS_LINE: Duration = Duration::from_secs(5);
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the supervisor works with.
#[derive(Debug)]
pub(crate) struct Parts<W = Stderr> {
    /// Starts processes.
    pub(crate) launcher: Launcher,
    /// The other end of the launcher's sender.
    pub(crate) events: mpsc::Receiver<Event>,
    /// Where lines and status are shown.
    pub(crate) view: View<W>,
    /// The keys, if there is a terminal.
    pub(crate) keyboard: Option<Keyboard>,
    /// The HTTP listener for all services, if one was asked for.
    pub(crate) published: Option<Published>,
    /// Lines of the broker that were lost because too many came at once.
    pub(crate) lost_lines: Arc<AtomicU64>,
    /// Where the services find their broker.
    pub(crate) brokers: String,
    /// The data folder of the embedded broker.
    pub(crate) data: Option<String>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The closing status.
    pub(crate) status: Status,
    /// Those who asked for the stop, and wait until the broker is stopped too.
    pub(crate) waiting: Vec<UnixStream>,
}

/// The services and what is shown of them.
#[derive(Debug)]
pub(crate) struct Supervisor<W = Stderr> {
    services: Vec<Service>,
    parts: Parts<W>,
    started: Instant,
    stopping: bool,
    grace: Duration,
    next_line: Instant,
    waiting: Vec<UnixStream>,
}

impl<W: Write> Supervisor<W> {
    /// A supervisor of `plan`.
    pub(crate) fn new(plan: Vec<Planned>, parts: Parts<W>) -> Self {
        let now = Instant::now();
        Self {
            services: plan.into_iter().map(Service::new).collect(),
            parts,
            started: now,
            stopping: false,
            grace: GRACE,
            next_line: now + STATUS_LINE,
            waiting: Vec::new(),
        }
    }

    /// Runs until all services have ended: by themselves, or after `lasting` or a message from `stop`. Calls `begun`
    /// when the first processes are started.
    pub(crate) async fn run(
        mut self,
        mut stop: mpsc::Receiver<()>,
        lasting: Option<Duration>,
        begun: impl FnOnce(&Status),
    ) -> Ended {
        let stop_at = self.started + lasting.unwrap_or(FAR);
        let mut refresh = interval(REFRESH);
        let mut scrape = interval(SCRAPE);
        scrape.set_missed_tick_behavior(MissedTickBehavior::Skip);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.introduce();
        self.start_due();
        begun(&self.status(false));
        while self.goes_on() {
            let next_start = self.earliest(Service::due_at);
            let next_kill = self.earliest(Service::kill_at);
            tokio::select! {
                Some(event) = self.parts.events.recv() => self.on_event(event),
                Some(()) = stop.recv() => self.stop("stopping"),
                () = sleep_until(stop_at), if !self.stopping => self.stop("time is up, stopping"),
                () = sleep_until(next_start) => self.start_due(),
                () = sleep_until(next_kill) => self.kill_late(),
                _ = refresh.tick() => self.refresh(),
                _ = scrape.tick() => self.scrape(),
            }
        }
        self.tell_lost_lines();
        self.parts.view.close(Instant::now());
        Ended {
            status: self.status(true),
            waiting: self.waiting,
        }
    }

    /// Whether a service runs or may still be started: by itself, or by somebody who has stopped it.
    fn goes_on(&self) -> bool {
        let held = |service: &Service| !self.stopping && service.is_held();
        self.services
            .iter()
            .any(|service| service.is_alive() || held(service))
    }

    /// Says what runs where; a port that was chosen by the system is known only here.
    fn introduce(&mut self) {
        let title = status::title(&self.parts.brokers, self.parts.data.as_deref());
        self.parts.view.note(&title);
        if let Some(published) = &self.parts.published {
            let address = published.address();
            self.parts.view.note(&format!(
                "metrics and health of all services at http://{address}/metrics and http://{address}/readyz"
            ));
        }
    }

    fn on_event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Line(life, line) => {
                let source = Source::Service(life.service);
                self.parts.view.line(source, &line, now);
            }
            Event::Broker(line) => self.parts.view.line(Source::Broker, &line, now),
            Event::Address(life, address) => {
                self.with(life, |service| service.serves(address));
            }
            Event::Records(life, records) => {
                self.with(life, |service| service.handled(records));
            }
            Event::Failures(life, failures) => {
                self.with(life, |service| service.failed(failures));
            }
            Event::Scraped(life, asked, scraped) => self.on_scraped(life, asked, scraped, now),
            Event::Ended(life, end) => self.on_end(life, &end, now),
            Event::Asked(request, stream) => self.on_request(request, stream),
        }
    }

    fn on_scraped(&mut self, life: Life, asked: Instant, scraped: Option<Scraped>, now: Instant) {
        let news = self.with(life, |service| {
            service.scraped(asked, scraped.as_ref(), now)
        });
        if let Some(news) = news.flatten() {
            self.parts.view.note_on(life.service, &news);
        }
        if let Some(published) = &self.parts.published {
            let metrics = scraped.map(|scraped| scraped.metrics).unwrap_or_default();
            published.metrics(life.service, metrics);
        }
    }

    fn on_end(&mut self, life: Life, end: &End, now: Instant) {
        let stopping = self.stopping;
        let Some(service) = self.services.get_mut(life.service) else {
            return;
        };
        let news = service.ended(end, stopping, fastrand::f64(), now);
        if let Some(news) = news {
            self.parts.view.show_last_lines(life.service);
            self.parts.view.note_on(life.service, &news);
        }
        if let Some(published) = &self.parts.published {
            published.metrics(life.service, String::new());
        }
    }

    fn on_request(&mut self, request: Request, stream: UnixStream) {
        match request {
            Request::Status => reply(stream, &Reply::Status(self.status(false))),
            Request::Stop => {
                self.waiting.push(stream);
                self.stop("asked to stop");
            }
            Request::Services { services, act } => {
                let plan: Vec<Planned> = self.services.iter().map(|s| s.planned.clone()).collect();
                match plan::all_named(&plan, &services) {
                    Ok(_) if self.stopping => {
                        reply(stream, &Reply::Refused("everything is stopping".to_owned()));
                    }
                    Ok(positions) => {
                        for position in positions {
                            self.act(position, act);
                        }
                        reply(stream, &Reply::Status(self.status(false)));
                    }
                    Err(error) => reply(stream, &Reply::Refused(error.to_string())),
                }
            }
        }
    }

    /// Does what a key or a request asks of one service.
    fn act(&mut self, position: usize, act: Act) {
        let (now, grace) = (Instant::now(), self.grace);
        let Some(service) = self.services.get_mut(position) else {
            return;
        };
        let news = match act {
            Act::Start => {
                service.start(now);
                "starts by request"
            }
            Act::Stop => {
                service.stop(false, now, grace);
                "stops by request"
            }
            Act::Restart => {
                service.restart(now, grace);
                "restarts by request"
            }
        };
        self.parts.view.note_on(position, news);
    }

    /// Does something to a service unless `life` is an earlier one.
    fn with<T>(&mut self, life: Life, act: impl FnOnce(&mut Service) -> T) -> Option<T> {
        let service = self.services.get_mut(life.service)?;
        (service.life() == life.number).then(|| act(service))
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
            match self.parts.launcher.start(life, &service.planned.arguments) {
                Ok(running) => service.started(running, now),
                Err(error) => {
                    self.on_end(
                        life,
                        &End::Unknown(format!("failed to start: {error}")),
                        now,
                    );
                }
            }
        }
    }

    /// The earliest instant of any service.
    fn earliest(&self, of: impl Fn(&Service) -> Option<Instant>) -> Instant {
        let earliest = self.services.iter().filter_map(of).min();
        earliest.unwrap_or(self.started + FAR)
    }

    fn stop(&mut self, why: &str) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.parts.view.note(why);
        let now = Instant::now();
        for service in &mut self.services {
            service.stop(true, now, self.grace);
        }
    }

    fn kill_late(&mut self) {
        let now = Instant::now();
        for (position, service) in self.services.iter_mut().enumerate() {
            if service.kill_if_late(now, now + AFTER_KILL) {
                let seconds = self.grace.as_secs();
                let news = format!("did not end within {seconds} s and is killed");
                self.parts.view.note_on(position, &news);
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
            let events = self.parts.launcher.events.clone();
            let asked = Instant::now();
            tokio::spawn(async move {
                let scraped = scrape(address).await;
                _ = events.send(Event::Scraped(life, asked, scraped)).await;
            });
        }
    }

    fn refresh(&mut self) {
        self.take_keys();
        self.tell_lost_lines();
        if let Some(published) = &self.parts.published {
            for (position, service) in self.services.iter().enumerate() {
                published.state(position, service.is_ready(), service.restarts());
            }
        }
        let (status, now) = (self.status(false), Instant::now());
        if !self.parts.view.is_terminal() && now >= self.next_line {
            self.next_line = now + STATUS_LINE;
            self.parts.view.note(&status::line(&status.services));
        }
        self.parts.view.refresh(&status, now);
    }

    fn take_keys(&mut self) {
        let Some(keyboard) = &self.parts.keyboard else {
            return;
        };
        for key in keyboard.pressed() {
            let states: Vec<State> = self.services.iter().map(Service::state).collect();
            match self.parts.view.on_key(key, &states) {
                None => {}
                Some(Order::StopAll) => self.stop("stopping"),
                Some(_) if self.stopping => {}
                Some(Order::Start(position)) => self.act(position, Act::Start),
                Some(Order::Stop(position)) => self.act(position, Act::Stop),
                Some(Order::Restart(position)) => self.act(position, Act::Restart),
            }
        }
    }

    fn tell_lost_lines(&mut self) {
        let lost = self.parts.lost_lines.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let news = format!("{lost} lines of the broker were lost: too many at once");
            self.parts.view.note(&news);
        }
    }

    fn status(&self, at_the_end: bool) -> Status {
        let now = Instant::now();
        let rows: Vec<Row> = self
            .services
            .iter()
            .map(|service| service.row(now, at_the_end))
            .collect();
        Status {
            pid: std::process::id(),
            brokers: self.parts.brokers.clone(),
            data: self.parts.data.clone(),
            seconds: now.saturating_duration_since(self.started).as_secs(),
            stopping: self.stopping,
            services: rows,
        }
    }
}

#[cfg(test)]
mod tests;
