//! Members that come, go, crash and are cut off; what their applications own; and the judge.
//!
//! A coordinator answers one request of a connection at a time, as Kafka does: what is behind a join waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::coordinator::{Coordinator, REBALANCE, SESSION};
use super::questions::control;
use crate::clock::{Time, earlier};
use crate::config::Config;
use crate::exchange::{Lane, Loss, Outgoing, Ticket};
use crate::fetcher::Place;
use crate::fetcher::position::Position;
use crate::group::membership::{Change, Settings};
use crate::group::offsets::Settled;
use crate::machines::Machines;
use crate::wire::api::{Call, Reply};

pub(super) const GROUP: &str = "group";
pub(super) const TOPICS: [(&str, i32); 2] = [("s", 5), ("t", 6)];
/// Until then members come and go and things fail; after it the group has to come to rest.
const TROUBLE: Time = Duration::from_secs(10);
const END: Time = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    /// In a thousand requests.
    pub(super) cut: u32,
    /// In a thousand moments.
    pub(super) crash: u32,
    /// In a thousand moments; a member stands still for longer than a session.
    pub(super) freeze: u32,
    /// In a thousand moments; an application works on and does not look at what happens to its member.
    pub(super) busy: u32,
    /// What members do wrong.
    pub(super) planted: Planted,
}

/// A bug that the judge has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// Members keep partitions that were lost.
    Deaf,
    /// Members commit in the ownership that holds now, whichever their records are of.
    Hasty,
}

#[derive(Debug)]
enum Happening {
    Arrive(usize, u64, Ticket, Box<Call>),
    Answer(usize, u64, Ticket, Box<Reply>),
    GiveUp(usize, u64, Ticket),
    Release(usize, u32),
    /// A member joins, leaves, crashes, commits.
    Move,
    Tick,
}

/// A member and its application.
struct App {
    machines: Machines,
    owned: BTreeSet<Place>,
    /// The next record of each partition, once it is known where the group stands.
    positions: BTreeMap<Place, i64>,
    /// The newest question for the position of each partition.
    asked: BTreeMap<Place, u64>,
    revoked: Vec<Place>,
    revocations: u32,
    incarnation: u64,
    in_flight: Vec<(Ticket, Lane)>,
    queue: VecDeque<(Ticket, Call)>,
    leaving: bool,
    gone: bool,
    frozen_until: Time,
    busy_until: Time,
}

pub(super) struct World {
    random: fastrand::Rng,
    faults: Faults,
    strategy: &'static str,
    now: Time,
    apps: Vec<App>,
    pub(super) coordinator: Coordinator,
    agenda: BTreeMap<(Time, u64), Happening>,
    scheduled: u64,
    tickets: BTreeMap<u64, (usize, u64, Ticket)>,
    pub(super) wrong: Vec<String>,
    pub(super) happened: BTreeSet<&'static str>,
}

impl App {
    /// These partitions are read no longer.
    fn forget(&mut self, places: &[Place]) {
        for place in places {
            self.positions.remove(place);
            self.asked.remove(place);
        }
    }
}

impl World {
    pub(super) fn new(seed: u64, strategy: &'static str, faults: Faults) -> Self {
        fastrand::seed(seed);
        Self {
            random: fastrand::Rng::with_seed(seed),
            faults,
            strategy,
            now: Time::ZERO,
            apps: Vec::new(),
            coordinator: Coordinator::new(),
            agenda: BTreeMap::new(),
            scheduled: 0,
            tickets: BTreeMap::new(),
            wrong: Vec::new(),
            happened: BTreeSet::new(),
        }
    }

    pub(super) fn run(&mut self) {
        self.schedule(Duration::ZERO, Happening::Move);
        self.schedule(Duration::ZERO, Happening::Tick);
        while self.now < END {
            let mut wake = self.agenda.keys().next().map(|(at, _)| *at);
            for who in 0..self.apps.len() {
                self.act(who);
                let app = &self.apps[who];
                if !app.gone && app.frozen_until <= self.now {
                    wake = earlier(wake, app.machines.wake_at());
                }
            }
            let next = self.agenda.keys().next().map(|(at, _)| *at);
            let wake = earlier(wake, next).unwrap();
            self.now = self.now.max(wake);
            if next.is_some_and(|at| at <= self.now)
                && let Some((_, happening)) = self.agenda.pop_first()
            {
                self.happen(happening);
            }
            self.answer();
        }
        self.judge();
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.scheduled += 1;
        self.agenda
            .insert((self.now + after, self.scheduled), happening);
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.random.u64(100..20_000))
    }

    fn chance(&mut self, in_a_thousand: u32) -> bool {
        self.now < TROUBLE && self.random.u32(0..1000) < in_a_thousand
    }

    fn add(&mut self) {
        let config = Config::new("bootstrap:1")
            .and_then(|config| config.set("partition.assignment.strategy", self.strategy))
            .and_then(|config| config.set("session.timeout.ms", &SESSION.as_millis().to_string()))
            .and_then(|config| {
                config.set("max.poll.interval.ms", &REBALANCE.as_millis().to_string())
            })
            .and_then(|config| config.set("heartbeat.interval.ms", "300"))
            .and_then(|config| config.set("request.timeout.ms", "500"))
            .unwrap()
            .resolve();
        let mut machines = Machines::new(&config);
        let topics = TOPICS.map(|(name, _)| machines.cluster.topic(name, self.now));
        let settings = Settings {
            group: GROUP.to_owned(),
            instance: None,
            request_timeout: config.request_timeout,
            retry_backoff: config.retry_backoff,
            config: config.group,
        };
        machines.join(settings, topics.into(), self.now);
        self.apps.push(App {
            machines,
            owned: BTreeSet::new(),
            positions: BTreeMap::new(),
            asked: BTreeMap::new(),
            revoked: Vec::new(),
            revocations: 0,
            incarnation: 0,
            in_flight: Vec::new(),
            queue: VecDeque::new(),
            leaving: false,
            gone: false,
            frozen_until: Time::ZERO,
            busy_until: Time::ZERO,
        });
    }

    fn act(&mut self, who: usize) {
        let now = self.now;
        let app = &mut self.apps[who];
        if app.gone || app.frozen_until > now {
            return;
        }
        let mut out = Vec::new();
        app.machines.step(now, &mut out);
        for request in out {
            self.carry(who, request);
        }
        if self.apps[who].busy_until > now {
            return;
        }
        while let Some(change) = self.next_change(who) {
            self.note(who, change);
        }
        self.read(who);
    }

    /// Where the group stands in partitions that were assigned.
    fn read(&mut self, who: usize) {
        let app = &mut self.apps[who];
        for settled in app.machines.offsets.settled.drain(..) {
            let Settled::Read(number, Ok(found)) = settled else {
                continue;
            };
            for (place, position) in found {
                if app.asked.get(&place) == Some(&number) {
                    let offset = position.map_or(0, |one: Position| one.offset);
                    app.positions.insert(place, offset);
                }
            }
        }
    }

    fn next_change(&mut self, who: usize) -> Option<Change> {
        let membership = self.apps[who].machines.membership.as_mut();
        membership.unwrap().next_change()
    }

    fn note(&mut self, who: usize, change: Change) {
        match change {
            Change::Assigned(_, added) => {
                for place in added.iter().copied() {
                    let owner = self
                        .apps
                        .iter()
                        .position(|app| !app.gone && app.owned.contains(&place));
                    // Whoever was cut off learns later that it has lost its partitions.
                    if let Some(owner) = owner.filter(|_| self.faults.freeze == 0) {
                        self.wrong
                            .push(format!("{place:?} of {owner} was assigned to {who}"));
                    }
                    self.apps[who].owned.insert(place);
                }
                let (now, app) = (self.now, &mut self.apps[who]);
                let number = app.machines.offsets.read(GROUP, added.clone(), now);
                app.asked
                    .extend(added.into_iter().map(|place| (place, number)));
            }
            Change::Revoked(places) => {
                self.happened.insert("revoked");
                let app = &mut self.apps[who];
                app.forget(&places);
                app.revoked = places;
                app.revocations += 1;
                let number = app.revocations;
                let pause = Duration::from_millis(self.random.u64(0..200));
                self.schedule(pause, Happening::Release(who, number));
            }
            Change::Lost(places) => {
                self.happened.insert("lost");
                let app = &mut self.apps[who];
                app.revocations += 1;
                if self.faults.planted != Planted::Deaf {
                    app.forget(&places);
                    app.owned.retain(|place| !places.contains(place));
                }
            }
            Change::Left(result) => {
                let app = &mut self.apps[who];
                app.owned.clear();
                app.positions.clear();
                app.gone = true;
                self.happened.insert("left");
                if !app.leaving {
                    self.wrong.push(format!("{who} left: {result:?}"));
                }
            }
        }
    }

    /// Takes a request on its way.
    fn carry(&mut self, who: usize, request: Outgoing) {
        let (ticket, lane) = (request.ticket, request.lane);
        let incarnation = self.apps[who].incarnation;
        self.apps[who].in_flight.push((ticket, lane));
        self.schedule(
            request.patience,
            Happening::GiveUp(who, incarnation, ticket),
        );
        if let Some(reply) = control(&request.call) {
            let delay = self.delay();
            let answer = Happening::Answer(who, incarnation, ticket, Box::new(reply));
            return self.schedule(delay, answer);
        }
        if lane == Lane::Group {
            let queue = &mut self.apps[who].queue;
            queue.push_back((ticket, request.call));
            if queue.len() == 1 {
                self.serve_next(who);
            }
        } else {
            let delay = self.delay();
            self.schedule(
                delay,
                Happening::Arrive(who, incarnation, ticket, Box::new(request.call)),
            );
        }
        if self.chance(self.faults.cut) {
            self.cut(who);
        }
    }

    fn serve_next(&mut self, who: usize) {
        let delay = self.delay();
        let app = &self.apps[who];
        if let Some((ticket, call)) = app.queue.front() {
            let arrive = Happening::Arrive(who, app.incarnation, *ticket, Box::new(call.clone()));
            self.schedule(delay, arrive);
        }
    }

    /// All connections of a member end. What has arrived is served all the same.
    fn cut(&mut self, who: usize) {
        self.happened.insert("cut");
        let now = self.now;
        let app = &mut self.apps[who];
        app.incarnation += 1;
        app.queue.clear();
        for (ticket, _) in std::mem::take(&mut app.in_flight) {
            app.machines.answer(ticket, Err(Loss::Unknown), now);
        }
        self.coordinator.disconnected(who);
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        if let Happening::Answer(who, ..) | Happening::Release(who, _) = &happening
            && let frozen = self.apps[*who].frozen_until
            && frozen > now
        {
            return self.schedule(frozen.saturating_sub(now), happening);
        }
        match happening {
            Happening::Arrive(who, incarnation, ticket, call) => {
                self.scheduled += 1;
                self.tickets
                    .insert(self.scheduled, (who, incarnation, ticket));
                self.coordinator.serve((who, self.scheduled), &call, now);
            }
            Happening::Answer(who, incarnation, ticket, reply) => {
                let app = &mut self.apps[who];
                if app.gone || app.incarnation != incarnation {
                    return;
                }
                app.in_flight.retain(|(one, _)| *one != ticket);
                let first = app.queue.front().is_some_and(|(one, _)| *one == ticket);
                app.machines.answer(ticket, Ok(*reply), now);
                if first {
                    app.queue.pop_front();
                    self.serve_next(who);
                }
            }
            Happening::GiveUp(who, incarnation, ticket) => {
                let app = &self.apps[who];
                let waits = app.in_flight.iter().any(|(one, _)| *one == ticket);
                if !app.gone && app.incarnation == incarnation && waits {
                    self.cut(who);
                }
            }
            Happening::Release(who, number) => {
                let app = &mut self.apps[who];
                if !app.gone && app.revocations == number {
                    let revoked = std::mem::take(&mut app.revoked);
                    app.owned.retain(|place| !revoked.contains(place));
                    app.machines.membership.as_mut().unwrap().release();
                }
            }
            Happening::Move => self.make_a_move(),
            Happening::Tick => {
                self.coordinator.tick(now);
                self.schedule(Duration::from_millis(10), Happening::Tick);
            }
        }
    }

    /// What the coordinator has answered goes out.
    fn answer(&mut self) {
        for ((_, number), reply) in std::mem::take(&mut self.coordinator.answers) {
            let (who, incarnation, ticket) = self.tickets.remove(&number).unwrap();
            let delay = self.delay();
            let answer = Happening::Answer(who, incarnation, ticket, Box::new(reply));
            self.schedule(delay, answer);
        }
    }

    fn make_a_move(&mut self) {
        self.schedule(Duration::from_millis(50), Happening::Move);
        let present: Vec<_> = (0..self.apps.len())
            .filter(|who| !self.apps[*who].gone && !self.apps[*who].leaving)
            .collect();
        if self.now < TROUBLE && (present.is_empty() || present.len() < 5 && self.chance(60)) {
            return self.add();
        }
        let Some(who) = self.random.choice(present.iter().copied()) else {
            return;
        };
        if present.len() > 1 && self.chance(20) {
            let until = self.now + Duration::from_millis(500);
            let app = &mut self.apps[who];
            app.leaving = true;
            // Whoever leaves has ended its work.
            app.owned.clear();
            app.positions.clear();
            app.asked.clear();
            app.machines.leave(until);
        } else if present.len() > 1 && self.chance(self.faults.crash) {
            self.happened.insert("crashed");
            self.apps[who].gone = true;
            self.coordinator.disconnected(who);
        } else if self.chance(self.faults.freeze) {
            self.happened.insert("frozen");
            // Its application goes on where it stood still, in the middle of what it had.
            let busy = Duration::from_millis(self.random.u64(0..3000));
            let app = &mut self.apps[who];
            app.frozen_until = self.now + SESSION * 2;
            app.busy_until = app.frozen_until + busy;
        } else if self.chance(self.faults.busy) {
            self.happened.insert("busy");
            let time = Duration::from_millis(self.random.u64(0..3000));
            self.apps[who].busy_until = self.now + time;
        } else {
            self.commit(who);
        }
    }

    /// Some records of a partition are done.
    fn commit(&mut self, who: usize) {
        let known: Vec<_> = self.apps[who].positions.keys().copied().collect();
        let Some(place) = self.random.choice(known) else {
            return;
        };
        let count = self.random.i64(1..5);
        let (now, app) = (self.now, &mut self.apps[who]);
        let Some(position) = app.positions.get_mut(&place) else {
            return;
        };
        *position += count;
        let next = [(place, Position::at(*position))];
        if self.faults.planted == Planted::Hasty {
            let mut claims = app.machines.claims(GROUP, &next);
            let membership = app.machines.membership.as_ref().unwrap();
            claims[0].tenure = membership.held(place);
            app.machines.offsets.commit(GROUP, claims, now);
        } else {
            app.machines.commit(GROUP, &next, now);
        }
    }

    /// At rest every partition has one owner, loads are even, and nothing rebalances.
    fn judge(&mut self) {
        self.wrong.append(&mut self.coordinator.wrong);
        let mut owners: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        let mut loads = Vec::new();
        for (who, app) in self.apps.iter().enumerate().filter(|(_, app)| !app.gone) {
            loads.push(app.owned.len());
            for place in &app.owned {
                owners.entry(*place).or_default().push(who);
            }
        }
        let all: i32 = TOPICS.iter().map(|(_, count)| count).sum();
        if i32::try_from(owners.len()) != Ok(all) || owners.values().any(|one| one.len() != 1) {
            self.wrong.push(format!("owners at the end: {owners:?}"));
        }
        let spread = loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0);
        if spread > TOPICS.len() {
            self.wrong.push(format!("loads at the end: {loads:?}"));
        }
        if !self.coordinator.is_stable() {
            self.wrong.push("the group is not at rest".to_owned());
        }
    }
}
