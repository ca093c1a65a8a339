//! The way of every call: where each thing's request goes, one request for all that go to the same broker, and what comes of an answer or a loss.
//!
//! ```text
//! Waiting --its broker is known--> Asked --answered--> done
//!    ^                               |
//!    +--- lost, or a passing code ---+      until the time is over
//! ```
//!
//! [`Run`] is a state machine without sockets and clocks; [`Admin::each`] drives it. What may have reached a broker without an answer leaves a change in doubt, and the doubt stays
//! whatever is answered later.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::refusal::Refusal;
use super::{Admin, Each};
use crate::clock::{Time, backoff, earlier};
use crate::cluster::{Cluster, Role};
use crate::config::Resolved;
use crate::error::{Error, Outcome};
use crate::exchange::{Answer, Lane, Loss, Node, Outgoing, Owner, Step, Target, Ticket};
use crate::wire::api::{Call, Reply};

/// How often a topic that brokers do not know is asked for: one that was created a moment ago has not reached all of them.
const UNKNOWN_ATTEMPTS: u32 = 4;

/// What an API answers for each thing that it is asked about.
pub(super) type Read<K, V> = Vec<(K, Result<V, Refusal>)>;

/// One API: what it is asked about, and how its answers are read.
pub(super) trait Operation {
    /// One of the things that it is asked about.
    type Item: Clone + Ord;
    /// What it answers for one.
    type Value;
    /// Whether it changes something: an attempt that is lost leaves that in doubt.
    const CHANGES: bool;

    /// What is done with one, for errors: "create topic `x`".
    fn what(&self, item: &Self::Item) -> String;
    fn route(&self, item: &Self::Item) -> Route;
    /// The request for some that go to the same broker, which may take so long over it.
    fn call(&self, items: &[Self::Item], patience: Duration) -> Call;
    /// What was answered for those that were asked about.
    fn read(&self, reply: Reply, items: &[Self::Item]) -> Read<Self::Item, Self::Value>;
}

/// Who answers for a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Any,
    Controller,
    Broker(Node),
    Leader(String, i32),
    Coordinator(Role, String),
}

/// Where a request can go now.
enum Place {
    Known(Target),
    /// Not yet, and why, if something was said.
    Unknown(Option<Refusal>),
    Never(Refusal),
}

impl Route {
    fn place(&self, cluster: &mut Cluster, now: Time) -> Place {
        let place = match self {
            Self::Any => return Place::Known(Target::Any),
            Self::Controller => cluster.controller().map(Target::Node),
            Self::Broker(node) if cluster.learned() > 0 => {
                return match cluster.address(*node) {
                    Some(_) => Place::Known(Target::Node(*node)),
                    None => Place::Never(unknown_broker(*node, cluster)),
                };
            }
            Self::Broker(_) => None,
            Self::Leader(topic, partition) => return leader(cluster, topic, *partition, now),
            Self::Coordinator(role, name) => return coordinator(cluster, *role, name, now),
        };
        place.map_or_else(
            || {
                cluster.stale(now);
                Place::Unknown(None)
            },
            Place::Known,
        )
    }

    /// Its broker does not answer for it any more, or cannot be reached.
    fn lost(&self, cluster: &mut Cluster, now: Time) {
        match self {
            Self::Coordinator(role, name) => cluster.coordinator_lost(*role, name, now),
            _ => cluster.stale(now),
        }
    }
}

fn unknown_broker(node: Node, cluster: &Cluster) -> Refusal {
    let brokers = cluster.nodes().filter(|node| *node >= 0);
    let brokers: Vec<String> = brokers.map(|node| node.to_string()).collect();
    let message = format!("broker {node} is not among {}", brokers.join(", "));
    Refusal::new(ResponseError::BrokerNotAvailable, message)
}

fn leader(cluster: &mut Cluster, name: &str, partition: i32, now: Time) -> Place {
    let topic = cluster.topic(name, now);
    if let Some(leader) = cluster.leader(topic, partition) {
        return Place::Known(Target::Node(leader.node));
    }
    cluster.stale(now);
    let count = cluster.partitions(topic);
    let code = match (cluster.missing(topic), count) {
        (Some(code), _) => code,
        (None, None) => return Place::Unknown(None),
        (None, Some(count)) if (0..count).contains(&partition) => ResponseError::LeaderNotAvailable,
        (None, Some(_)) => ResponseError::UnknownTopicOrPartition,
    };
    let refusal = Refusal::from(code);
    let is_unknown = code == ResponseError::UnknownTopicOrPartition;
    match is_unknown && cluster.learned() >= UNKNOWN_ATTEMPTS || !refusal.is_passing() {
        true => Place::Never(refusal),
        false => Place::Unknown(Some(refusal)),
    }
}

fn coordinator(cluster: &mut Cluster, role: Role, name: &str, now: Time) -> Place {
    match cluster.coordinator_refusal(role, name) {
        Some(Error::Broker { code, .. }) => Place::Never(Refusal::from(code)),
        _ => match cluster.coordinator(role, name, now) {
            Some(node) => Place::Known(Target::Node(node)),
            None => Place::Unknown(None),
        },
    }
}

/// One thing that is not settled.
#[derive(Debug)]
struct Open {
    /// When it may be sent; `None` while it is on its way.
    from: Option<Time>,
    attempts: u32,
    /// An attempt may have been done.
    doubt: bool,
    /// Why it is not settled yet.
    last: Option<Refusal>,
}

/// One call: everything that it is about.
pub(super) struct Run<'a, O: Operation> {
    operation: &'a O,
    config: &'a Resolved,
    open: BTreeMap<O::Item, Open>,
    asked: HashMap<u64, Vec<O::Item>>,
    pub(super) done: Each<O::Item, O::Value>,
}

impl<'a, O: Operation> Run<'a, O> {
    pub(super) fn new(
        operation: &'a O,
        config: &'a Resolved,
        items: impl IntoIterator<Item = O::Item>,
    ) -> Self {
        let open = || Open {
            from: Some(Time::ZERO),
            attempts: 0,
            doubt: false,
            last: None,
        };
        Self {
            operation,
            config,
            open: items.into_iter().map(|item| (item, open())).collect(),
            asked: HashMap::new(),
            done: Each::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// When something may be sent again.
    pub(super) fn wake_at(&self, now: Time) -> Option<Time> {
        let due = self.open.values().filter_map(|open| open.from);
        due.filter(|from| *from > now).min()
    }

    /// Sends what is due and whose broker is known.
    pub(super) fn step(
        &mut self,
        step: &mut Step<'_>,
        cluster: &mut Cluster,
        numbers: &mut u64,
        left: Duration,
    ) {
        let mut ready: BTreeMap<Option<Node>, Vec<O::Item>> = BTreeMap::new();
        let mut never = Vec::new();
        for (item, open) in &mut self.open {
            if open.from.is_none_or(|from| from > step.now) {
                continue;
            }
            match self.operation.route(item).place(cluster, step.now) {
                Place::Known(Target::Any) => ready.entry(None).or_default().push(item.clone()),
                Place::Known(Target::Node(node)) => {
                    ready.entry(Some(node)).or_default().push(item.clone());
                }
                Place::Unknown(why) => open.last = why.or_else(|| open.last.take()),
                Place::Never(refusal) => never.push((item.clone(), refusal)),
            }
        }
        for (item, refusal) in never {
            self.settle(&item, Err(refusal));
        }
        let patience = left.min(self.config.request_timeout);
        for (node, items) in ready {
            *numbers += 1;
            step.out.push(Outgoing {
                ticket: Ticket {
                    owner: Owner::Admin,
                    number: *numbers,
                },
                target: node.map_or(Target::Any, Target::Node),
                lane: Lane::Control,
                // The broker answers that it has not managed before it is given up.
                call: self.operation.call(&items, patience / 2),
                patience,
            });
            for item in &items {
                if let Some(open) = self.open.get_mut(item) {
                    open.from = None;
                }
            }
            self.asked.insert(*numbers, items);
        }
    }

    pub(super) fn answer(&mut self, number: u64, answer: Answer, now: Time, cluster: &mut Cluster) {
        let Some(items) = self.asked.remove(&number) else {
            return;
        };
        match answer {
            Ok(reply) => {
                for (item, result) in self.operation.read(reply, &items) {
                    if items.contains(&item) {
                        self.answered(&item, result, now, cluster);
                    }
                }
                // What the answer says nothing of is as good as lost.
                self.lost(&items, true, now, cluster);
            }
            Err(Loss::NotSent) => self.lost(&items, false, now, cluster),
            Err(Loss::Unknown) => self.lost(&items, true, now, cluster),
            Err(Loss::Impossible(error)) => {
                for item in items {
                    self.finish(&item, Err(again(&error)));
                }
            }
        }
    }

    fn answered(
        &mut self,
        item: &O::Item,
        result: Result<O::Value, Refusal>,
        now: Time,
        cluster: &mut Cluster,
    ) {
        let route = self.operation.route(item);
        let Some(open) = self.open.get_mut(item) else {
            return;
        };
        let refusal = match result {
            Err(refusal) if is_repeated(&refusal, &route, open.attempts) => refusal,
            result => return self.settle(item, result),
        };
        open.doubt |= O::CHANGES && refusal.is_doubtful();
        open.repeat(self.config, now);
        open.last = Some(refusal);
        route.lost(cluster, now);
    }

    fn lost(&mut self, items: &[O::Item], may_be_done: bool, now: Time, cluster: &mut Cluster) {
        for item in items {
            if let Some(open) = self.open.get_mut(item).filter(|open| open.from.is_none()) {
                open.doubt |= O::CHANGES && may_be_done;
                open.repeat(self.config, now);
                self.operation.route(item).lost(cluster, now);
            }
        }
    }

    fn settle(&mut self, item: &O::Item, result: Result<O::Value, Refusal>) {
        let doubtful = matches!(&result, Err(refusal) if O::CHANGES && refusal.is_doubtful());
        let what = || self.operation.what(item);
        let result = result.map_err(|refusal| refusal.error(what()).in_doubt(doubtful));
        self.finish(item, result);
    }

    fn finish(&mut self, item: &O::Item, result: Result<O::Value, Error>) {
        if let Some(open) = self.open.remove(item) {
            let result = result.map_err(|error| error.in_doubt(open.doubt));
            self.done.insert(item.clone(), result);
        }
    }

    /// The time is over. Everything that was on its way has come back as lost.
    pub(super) fn end(mut self) -> Each<O::Item, O::Value> {
        for (item, open) in std::mem::take(&mut self.open) {
            let (what, limit) = (self.operation.what(&item), self.config.api_timeout);
            let error = match open.last {
                Some(refusal) => refusal.error(what).in_doubt(open.doubt),
                None => {
                    let outcome = match open.doubt {
                        true => Outcome::Unknown,
                        false => Outcome::NotApplied,
                    };
                    let brokers = self.config.bootstrap.join(",");
                    let what = format!("the attempt to {what} at `{brokers}`");
                    Error::timed_out(what, limit, outcome)
                }
            };
            self.done.insert(item, Err(error));
        }
        self.done
    }

    fn may_be_done(&self) -> bool {
        let asked = !self.asked.is_empty() || self.open.values().any(|open| open.doubt);
        O::CHANGES && asked
    }
}

impl Open {
    fn repeat(&mut self, config: &Resolved, now: Time) {
        self.from = Some(now + backoff(config.retry_backoff, self.attempts));
        self.attempts = self.attempts.saturating_add(1);
    }
}

/// Whether the same may be answered otherwise a moment later. A controller knows every topic; other brokers may not know it yet.
fn is_repeated(refusal: &Refusal, route: &Route, attempts: u32) -> bool {
    match refusal.code {
        ResponseError::UnknownTopicOrPartition | ResponseError::UnknownTopicId => {
            *route != Route::Controller && attempts + 1 < UNKNOWN_ATTEMPTS
        }
        _ => refusal.is_passing(),
    }
}

/// The error of a request for each thing in it.
fn again(error: &Error) -> Error {
    match error {
        Error::Unsupported {
            broker,
            api,
            min,
            max,
        } => Error::Unsupported {
            broker: broker.clone(),
            api,
            min: *min,
            max: *max,
        },
        error => Error::Refused {
            reason: error.to_string(),
        },
    }
}

impl Admin {
    /// Asks about these things until each is settled or the time is over.
    pub(super) fn each<O: Operation>(
        &mut self,
        operation: &O,
        items: impl IntoIterator<Item = O::Item>,
    ) -> Result<Each<O::Item, O::Value>, Error> {
        let config = self.config.clone();
        let mut run = Run::new(operation, &config, items);
        let (mut out, mut answers) = (Vec::new(), Vec::new());
        let mut now = self.clock.now();
        let deadline = now + config.api_timeout;
        self.cluster.forget(now);
        while !run.is_done() {
            let left = deadline.saturating_sub(now);
            if left.is_zero() {
                self.hang_up(&mut run);
                return Ok(run.end());
            }
            let mut step = Step { now, out: &mut out };
            run.step(&mut step, &mut self.cluster, &mut self.numbers, left);
            if run.is_done() {
                break;
            }
            // After the run, which says what it lacks.
            self.cluster.step(&mut step);
            self.network.submit(&mut out, &self.cluster, now);
            let wake = earlier(self.cluster.wake_at(), run.wake_at(now));
            let wait = wake.map_or(left, |wake| wake.saturating_sub(now).min(left));
            let clock = self.clock;
            let waited = self.network.wait(|| clock.now(), wait, &mut answers);
            now = self.clock.now();
            self.hear(&mut answers, &mut run, now);
            if let Err(error) = waited {
                let doubt = run.may_be_done();
                self.hang_up(&mut run);
                return Err(error.in_doubt(doubt));
            }
        }
        Ok(run.done)
    }

    /// Asks about the one thing that an operation is about.
    pub(super) fn one<O: Operation>(
        &mut self,
        operation: &O,
        item: O::Item,
    ) -> Result<O::Value, Error> {
        let missing = || Error::Refused {
            reason: format!("nothing came of the attempt to {}", operation.what(&item)),
        };
        let mut found = self.each(operation, [item.clone()])?;
        found.remove(&item).unwrap_or_else(|| Err(missing()))
    }

    fn hear<O: Operation>(
        &mut self,
        answers: &mut Vec<(Ticket, Answer)>,
        run: &mut Run<'_, O>,
        now: Time,
    ) {
        for (ticket, answer) in answers.drain(..) {
            match ticket.owner {
                Owner::Cluster => self.cluster.answer(ticket.number, answer, now),
                _ => run.answer(ticket.number, answer, now, &mut self.cluster),
            }
        }
    }

    /// Nothing of a call that has ended is sent later.
    fn hang_up<O: Operation>(&mut self, run: &mut Run<'_, O>) {
        let now = self.clock.now();
        let mut answers = Vec::new();
        self.network.hang_up(now, &mut answers);
        self.hear(&mut answers, run, now);
    }
}
