//! One member of a group, by the classic protocol: joins, learns its partitions, gives up what moves, heartbeats, leaves.
//!
//! A state machine of (event, now).
//!
//! ```text
//!             .----------- the group rebalances ------------.
//!             v                                             |
//!   Wanted -> Joining -> (Planning, the leader) -> Syncing -> Stable -> Leaving -> Out
//!     ^                                               |
//!     '--------- Revoking: the application ends <-----'
//! ```
//!
//! What this member owns, nobody else does: a partition that moves is given up by [`Membership::release`], when the application has committed it, and only
//! then does the group learn of it. A member that the coordinator no longer knows, or has not heard for a session, has lost its partitions at once.

mod answers;
mod claims;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::assignor::{Assignments, Member};
use super::heartbeats::Beat;
use super::messages;
use super::protocol::{NO_GENERATION, Subscription};
use crate::clock::{Time, backoff, earlier};
use crate::cluster::{Cluster, Role, Topic};
use crate::config::Grouping;
use crate::error::{Error, Outcome};
use crate::exchange::{Lane, Outgoing, Owner, Step, Target, Ticket};
use crate::fetcher::Place;
use crate::wire::api::Call;
use claims::Tenure;
pub(crate) use claims::{Change, Claim, refusal};

/// What does not change while a member is in its group.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) group: String,
    /// The name of a static member: it may be away for a session without losing its place.
    pub(crate) instance: Option<String>,
    pub(crate) request_timeout: Duration,
    pub(crate) retry_backoff: Duration,
    pub(crate) config: Grouping,
}

/// Who this member is to its coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) generation: i32,
}

impl Identity {
    fn unknown() -> Self {
        Self {
            id: String::new(),
            generation: NO_GENERATION,
        }
    }
}

/// For whom the leader shares out partitions; for nobody in any other member.
#[derive(Debug, Default)]
struct Plan {
    members: Vec<Member>,
    /// The coordinator has an assignment already (KIP-814): the leader only watches the topics.
    only_watches: bool,
}

#[derive(Debug)]
enum State {
    /// A join is due.
    Wanted,
    Joining(u64),
    /// A member that leads waits until the partitions of every topic are known, or the time is over.
    Planning(Plan, Time),
    Syncing(u64),
    Stable,
    /// The application has to give up the first partitions, as soon as it knows; the others are added after that.
    Revoking(Vec<Place>, Vec<Place>),
    /// The request that leaves, once it is sent, and when it is given up.
    Leaving(Option<u64>, Time),
    Out,
}

/// The heartbeats of a member.
#[derive(Debug, Default)]
struct Pulse {
    asked: Option<u64>,
    due: Time,
    /// When the coordinator last confirmed the membership.
    heard: Time,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Membership {
    settings: Settings,
    topics: BTreeSet<Topic>,
    identity: Identity,
    state: State,
    owned: BTreeMap<Place, Tenure>,
    /// What the application owns by the changes that it was given so far.
    known: BTreeMap<Place, Tenure>,
    pulse: Pulse,
    retry_at: Time,
    attempts: u32,
    /// Partitions of each topic for which this member, as the leader, has planned.
    planned: BTreeMap<Topic, Option<i32>>,
    numbers: u64,
    stepped: Time,
    changes: VecDeque<Change>,
}

impl Membership {
    pub(crate) fn new(settings: Settings, topics: BTreeSet<Topic>, now: Time) -> Self {
        Self {
            settings,
            topics,
            identity: Identity::unknown(),
            state: State::Wanted,
            owned: BTreeMap::new(),
            known: BTreeMap::new(),
            pulse: Pulse::default(),
            retry_at: now,
            attempts: 0,
            planned: BTreeMap::new(),
            numbers: 0,
            stepped: now,
            changes: VecDeque::new(),
        }
    }

    pub(crate) fn group(&self) -> &str {
        &self.settings.group
    }

    pub(crate) fn instance(&self) -> Option<&str> {
        self.settings.instance.as_deref()
    }

    /// A new membership in the place of this one: what the application knows to be its own is lost, and answers to this one's requests find nothing.
    pub(crate) fn replaced(self, settings: Settings, topics: BTreeSet<Topic>, now: Time) -> Self {
        let lost: Vec<_> = self.known.keys().copied().collect();
        let mut next = Self::new(settings, topics, now);
        next.numbers = self.numbers;
        next.known = self.known;
        if !lost.is_empty() {
            next.changes.push_back(Change::Lost(lost));
        }
        next
    }

    /// As whom offsets are committed; `None` while the group decides, when a coordinator refuses commits.
    pub(crate) fn committer(&self) -> Option<&Identity> {
        match self.state {
            State::Joining(_) | State::Planning(..) | State::Syncing(_) => None,
            _ => Some(&self.identity),
        }
    }

    /// The heartbeat of an assigned member, and where it goes; none while the group decides.
    pub(crate) fn beat(&self, cluster: &mut Cluster) -> Option<Beat> {
        if !matches!(self.state, State::Stable | State::Revoking(..)) {
            return None;
        }
        let node = cluster.coordinator(Role::Group, &self.settings.group, self.stepped)?;
        Some(Beat {
            address: cluster.address(node)?.to_owned(),
            request: messages::heartbeat(&self.settings, &self.identity),
        })
    }

    /// The coordinator has confirmed the membership then.
    pub(crate) fn confirmed(&mut self, heard: Time) {
        if matches!(self.state, State::Stable | State::Revoking(..)) {
            self.pulse.heard = self.pulse.heard.max(heard);
        }
    }

    /// The application has ended its work on the partitions that were revoked.
    pub(crate) fn release(&mut self) {
        let unseen = |change: &Change| matches!(change, Change::Revoked(_));
        if self.changes.iter().any(unseen) {
            // What it has ended is something else that was revoked earlier.
            return;
        }
        if let State::Revoking(revoked, added) = &mut self.state {
            let (revoked, added) = (std::mem::take(revoked), std::mem::take(added));
            self.owned.retain(|place, _| !revoked.contains(place));
            self.known.retain(|place, _| !revoked.contains(place));
            self.add(added);
            self.want(self.stepped);
        }
    }

    /// Leaves the group, by `until` at the latest. The application has committed what it wanted to.
    pub(crate) fn leave(&mut self, until: Time) {
        match self.state {
            State::Leaving(..) | State::Out => {}
            _ => self.state = State::Leaving(None, until),
        }
    }

    /// When it wants to act next.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        let retry = Some(self.retry_at).filter(|at| *at > self.stepped);
        match &self.state {
            State::Out | State::Joining(_) | State::Syncing(_) => None,
            State::Wanted => earlier(retry, self.session_end()),
            State::Planning(_, until) => Some(*until),
            State::Leaving(_, until) => earlier(retry, Some(*until)),
            State::Stable | State::Revoking(..) => {
                let beat = self.pulse.asked.is_none().then_some(self.pulse.due);
                let beat = beat.filter(|at| *at > self.stepped);
                earlier(beat, self.session_end())
            }
        }
    }

    /// When this member, not heard, has lost its partitions.
    fn session_end(&self) -> Option<Time> {
        let owns = !self.owned.is_empty();
        owns.then(|| self.pulse.heard + self.settings.config.session_timeout)
    }

    /// `commits` of this group that were asked for are not settled: whoever leaves waits for them.
    pub(crate) fn step(&mut self, step: &mut Step<'_>, cluster: &mut Cluster, commits: bool) {
        self.stepped = step.now;
        if !matches!(self.state, State::Out)
            && let Some(error) = cluster.coordinator_refusal(Role::Group, &self.settings.group)
        {
            return self.end(Err(error));
        }
        match &self.state {
            State::Out | State::Joining(_) | State::Syncing(_) => {}
            State::Leaving(asked, until) => {
                let (asked, until) = (*asked, *until);
                if !commits || step.now >= until {
                    self.step_leaving(asked, until, step, cluster);
                }
            }
            State::Planning(..) => self.plan(step, cluster),
            State::Wanted | State::Stable | State::Revoking(..) => {
                if self.session_end().is_some_and(|end| step.now >= end) {
                    self.identity.generation = NO_GENERATION;
                    self.lose(step.now);
                }
                match self.state {
                    State::Wanted => self.join(step, cluster),
                    _ => self.watch(step, cluster),
                }
            }
        }
    }

    fn step_leaving(
        &mut self,
        asked: Option<u64>,
        until: Time,
        step: &mut Step<'_>,
        cluster: &mut Cluster,
    ) {
        // A static member keeps its place for a session, and one without an id is not there.
        if self.settings.instance.is_some() || self.identity.id.is_empty() {
            self.end(Ok(()));
        } else if step.now >= until {
            let what = format!("leaving group `{}`", self.settings.group);
            let after = self.settings.request_timeout;
            self.end(Err(Error::timed_out(what, after, Outcome::Unknown)));
        } else if asked.is_none() && step.now >= self.retry_at {
            let call = messages::leave(&self.settings, &self.identity);
            // A coordinator may hold the answer to a join for as long as the group waits, and with it what follows on that connection.
            let patience = self.settings.request_timeout;
            let asked = self.send(step, cluster, (Lane::Control, patience), call);
            self.state = State::Leaving(asked, until);
        }
    }

    /// Joins, unless an eager member has partitions that it must give up first.
    fn join(&mut self, step: &mut Step<'_>, cluster: &mut Cluster) {
        if !self.settings.config.strategy.is_cooperative() && !self.owned.is_empty() {
            let all = self.owned.keys().copied().collect();
            self.revoke(all, Vec::new());
            return;
        }
        if step.now < self.retry_at {
            return;
        }
        let subscription = Subscription {
            topics: self
                .topics
                .iter()
                .map(|topic| cluster.name(*topic).to_owned())
                .collect(),
            owned: messages::named(cluster, self.owned.keys()),
            generation: self.identity.generation,
        };
        let call = messages::join(&self.settings, &self.identity, &subscription);
        let patience = self.settings.config.rebalance_timeout + self.settings.request_timeout;
        if let Some(number) = self.send(step, cluster, (Lane::Group, patience), call) {
            self.state = State::Joining(number);
        }
    }

    /// Shares out the partitions, as soon as those of every topic are known.
    fn plan(&mut self, step: &mut Step<'_>, cluster: &mut Cluster) {
        let State::Planning(plan, until) = &self.state else {
            return;
        };
        let members = &plan.members;
        let mut counts = BTreeMap::new();
        let mut planned = BTreeMap::new();
        let mut complete = true;
        for name in members.iter().flat_map(|one| &one.subscription.topics) {
            let topic = cluster.topic(name, step.now);
            let count = cluster.partitions(topic);
            complete &= count.is_some() || cluster.missing(topic).is_some();
            planned.insert(topic, count);
            if let Some(count) = count {
                counts.insert(name.clone(), count);
            }
        }
        if !complete && step.now < *until {
            return;
        }
        let assignments = match plan.only_watches {
            true => Assignments::new(),
            false => self.settings.config.strategy.assign(members, &counts),
        };
        self.planned = planned;
        let call = messages::sync(&self.settings, &self.identity, &assignments);
        self.sync(step, cluster, call);
    }

    /// Asks for the assignment. It can only be sent in the generation that has just begun: if it cannot be sent, the group is joined again.
    fn sync(&mut self, step: &mut Step<'_>, cluster: &mut Cluster, call: Call) {
        let patience = self.settings.config.rebalance_timeout + self.settings.request_timeout;
        match self.send(step, cluster, (Lane::Group, patience), call) {
            Some(number) => self.state = State::Syncing(number),
            None => self.want(step.now),
        }
    }

    /// Heartbeats, and notices what only the leader has to: topics that have grown.
    fn watch(&mut self, step: &mut Step<'_>, cluster: &mut Cluster) {
        let grown = |(topic, count): (&Topic, &Option<i32>)| cluster.partitions(*topic) != *count;
        if matches!(self.state, State::Stable) && self.planned.iter().any(grown) {
            self.planned.clear();
            self.want(step.now);
            return self.join(step, cluster);
        }
        if self.pulse.asked.is_none() && step.now >= self.pulse.due {
            let call = Call::Heartbeat(messages::heartbeat(&self.settings, &self.identity));
            // One that finds no answer leaves time to look for the coordinator and to be heard by it.
            let patience = self.settings.config.session_timeout / 3;
            self.pulse.asked = self.send(step, cluster, (Lane::Group, patience), call);
        }
    }

    /// Sends to the coordinator, if it is known.
    fn send(
        &mut self,
        step: &mut Step<'_>,
        cluster: &mut Cluster,
        (lane, patience): (Lane, Duration),
        call: Call,
    ) -> Option<u64> {
        let node = cluster.coordinator(Role::Group, &self.settings.group, step.now)?;
        self.numbers += 1;
        step.out.push(Outgoing {
            ticket: Ticket {
                owner: Owner::Membership,
                number: self.numbers,
            },
            target: Target::Node(node),
            lane,
            call,
            patience,
        });
        Some(self.numbers)
    }

    /// Joins again: at once, but when that was done already, after a pause.
    fn again(&mut self, now: Time) {
        if self.attempts == 0 {
            self.attempts = 1;
            self.want(now);
        } else {
            self.retry(now);
        }
    }

    fn want(&mut self, at: Time) {
        self.state = State::Wanted;
        self.retry_at = at;
    }

    /// Joins again after a pause.
    fn retry(&mut self, now: Time) {
        let pause = backoff(self.settings.retry_backoff, self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        self.want(now + pause);
    }

    fn add(&mut self, added: Vec<Place>) {
        if !added.is_empty() {
            self.numbers += 1;
            let tenure = self.numbers;
            self.owned
                .extend(added.iter().map(|place| (*place, tenure)));
            self.changes.push_back(Change::Assigned(tenure, added));
        }
    }

    fn revoke(&mut self, revoked: Vec<Place>, added: Vec<Place>) {
        self.changes.push_back(Change::Revoked(revoked.clone()));
        self.state = State::Revoking(revoked, added);
    }

    /// All partitions belong to others by now; a join is due.
    fn lose(&mut self, now: Time) {
        self.forget();
        self.again(now);
    }

    fn forget(&mut self) {
        let lost: Vec<_> = std::mem::take(&mut self.owned).into_keys().collect();
        self.planned.clear();
        if !lost.is_empty() {
            self.changes.push_back(Change::Lost(lost));
        }
    }

    /// No longer a member, for good.
    fn end(&mut self, result: Result<(), Error>) {
        self.forget();
        self.state = State::Out;
        self.changes.push_back(Change::Left(result));
    }
}
