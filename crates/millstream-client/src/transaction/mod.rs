//! Transactions: what is sent between begin and commit, and the offsets that it was made from, are seen whole or not at all.
//!
//! A state machine of (event, now), by the protocol that every supported cluster speaks (KIP-98, KIP-360, KIP-447). Nothing blocks: to begin, to commit and to
//! abort are requests of the application, and [`Ended`] tells what became of them.
//!
//! ```text
//! Ready --begin--> Open --commit, abort--> Ending --> Ready
//!                   ^                        |
//!                   '---- a commit failed ---'  then only abort helps
//! ```
//!
//! Before the first transaction the producer id is asked for, and after an abort with failures its next epoch, which fences what is still on its way.
//! A partition is part of the transaction before its first batch goes out, so the coordinator knows where markers belong whatever happens to this client.

mod answers;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::clock::{Time, backoff, earlier};
use crate::cluster::{Cluster, Role};
use crate::config::Resolved;
use crate::error::{Error, Outcome};
use crate::exchange::{Lane, Node, Outgoing, Owner, Step, Target, Ticket};
use crate::fetcher::Place;
use crate::group::membership::{Claim, Membership, refusal};
use crate::producer::Producer;
use crate::wire::api::Call;

/// Producer id and epoch.
pub(crate) type Identity = (i64, i16);

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All of it is seen.
    Committed,
    /// None of it is seen.
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Open,
    Ending(Ended),
    /// Fenced, or refused for good.
    Failed,
}

/// Positions that are committed with the transaction.
#[derive(Debug)]
struct Offsets {
    group: String,
    next: Vec<Claim>,
    /// Whether the coordinator has the group among what is part of the transaction.
    added: bool,
}

/// What the request on its way asks for.
#[derive(Debug)]
enum Asked {
    Identity,
    Partitions(Vec<Place>),
    Group,
    Offsets,
    End,
}

/// The transactions of one client.
#[derive(Debug)]
pub(crate) struct Transaction {
    id: String,
    timeout: Duration,
    request_timeout: Duration,
    retry_backoff: Duration,
    give_up: Duration,
    state: State,
    identity: Option<Identity>,
    /// The producer id is not known, or must get another epoch.
    renew: bool,
    parts: Parts,
    /// The request on its way: one at a time.
    asked: Option<(u64, Asked)>,
    retry: Retry,
    /// Why the open transaction can only be aborted.
    broken: Option<Error>,
    numbers: u64,
    pub(crate) ended: VecDeque<Result<Ended, Error>>,
}

/// What belongs to the open transaction.
#[derive(Debug, Default)]
struct Parts {
    wanted: BTreeSet<Place>,
    added: BTreeSet<Place>,
    offsets: VecDeque<Offsets>,
    /// Whether the coordinator may have an open transaction: something became part of it, or may have.
    known: bool,
    end: End,
}

/// How far the end of the open transaction is.
#[derive(Debug, Default)]
struct End {
    /// When its outcome is told, whatever it is.
    give_up_at: Option<Time>,
    /// Whether the coordinator may have committed: a request that said so found no answer.
    doubt: bool,
}

#[derive(Debug, Default)]
struct Retry {
    at: Time,
    attempts: u32,
    stepped: Time,
}

impl Transaction {
    pub(crate) fn new(id: &str, config: &Resolved) -> Self {
        Self {
            id: id.to_owned(),
            timeout: config.transaction_timeout,
            request_timeout: config.request_timeout,
            retry_backoff: config.retry_backoff,
            give_up: config.max_block,
            state: State::Ready,
            identity: None,
            renew: true,
            parts: Parts::default(),
            asked: None,
            retry: Retry::default(),
            broken: None,
            numbers: 0,
            ended: VecDeque::new(),
        }
    }

    /// As whom batches are written; none while the id or its epoch is not known.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity.filter(|_| !self.renew)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending(_))
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    pub(crate) fn begin(&mut self) {
        self.parts = Parts::default();
        self.state = State::Open;
    }

    /// Whether batches of a partition may go out. One that is not part of the transaction yet becomes so.
    pub(crate) fn admits(&mut self, place: Place) -> bool {
        let sending = matches!(self.state, State::Open | State::Ending(Ended::Committed));
        if !sending || self.broken.is_some() {
            return false;
        }
        if self.parts.added.contains(&place) {
            return true;
        }
        self.parts.wanted.insert(place);
        false
    }

    /// Commits these positions with the transaction.
    pub(crate) fn offsets(&mut self, group: &str, next: Vec<Claim>) {
        self.parts.offsets.push_back(Offsets {
            group: group.to_owned(),
            next,
            added: false,
        });
    }

    pub(crate) fn end(&mut self, how: Ended) {
        if self.state == State::Open {
            self.state = State::Ending(how);
        }
    }

    /// When it wants to act next.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        if self.asked.is_some() {
            return None;
        }
        let later = |at: &Time| *at > self.retry.stepped;
        let retry = Some(self.retry.at).filter(later);
        earlier(retry, self.parts.end.give_up_at.filter(later))
    }

    pub(crate) fn step(
        &mut self,
        step: &mut Step<'_>,
        cluster: &mut Cluster,
        producer: &mut Producer,
        membership: Option<&Membership>,
    ) {
        self.retry.stepped = step.now;
        if let Some(reason) = producer.take_failure() {
            self.break_off(Error::Aborted { reason });
        }
        self.look_after(step.now, cluster);
        match self.state {
            State::Ending(Ended::Committed) if self.broken.is_some() => self.report_broken(),
            State::Ending(Ended::Committed) => producer.hurry_if_busy(),
            State::Ending(Ended::Aborted) => {
                self.parts.wanted.clear();
                self.parts.offsets.clear();
                producer.fail_all("the transaction was aborted");
            }
            State::Failed => producer.fail_all("no transaction is possible any more"),
            State::Ready | State::Open => {}
        }
        if self.asked.is_none() && step.now >= self.retry.at {
            self.ask(step, cluster, producer, membership);
        }
    }

    /// Notices what no answer says: a coordinator that there will never be, and an end that nobody hears for too long.
    fn look_after(&mut self, now: Time, cluster: &Cluster) {
        if self.asked.is_some() || self.state == State::Failed {
            return;
        }
        if let Some(error) = cluster.coordinator_refusal(Role::Transaction, &self.id) {
            return self.fail(error.in_doubt(self.parts.end.doubt));
        }
        if let Some(offsets) = self.parts.offsets.front()
            && let Some(error) = cluster.coordinator_refusal(Role::Group, &offsets.group)
        {
            self.break_off(error);
        }
        if self.is_ending() {
            let give_up_at = now + self.give_up;
            let give_up_at = *self.parts.end.give_up_at.get_or_insert(give_up_at);
            if now >= give_up_at {
                self.expire();
            }
        }
    }

    /// Sends what is due: the id, then what becomes part of the transaction, then its end.
    fn ask(
        &mut self,
        step: &mut Step<'_>,
        cluster: &mut Cluster,
        producer: &mut Producer,
        membership: Option<&Membership>,
    ) {
        match (self.state, self.identity()) {
            (State::Failed, _) | (State::Ready, Some(_)) => {}
            (_, None) => {
                let call = requests::identity(&self.id, self.timeout, self.identity);
                self.ask_coordinator(step, cluster, Asked::Identity, call);
            }
            (State::Open | State::Ending(_), Some(identity)) => {
                if self.broken.is_none() && !self.parts.wanted.is_empty() {
                    let places: Vec<_> = self.parts.wanted.iter().copied().collect();
                    let call = requests::partitions(&self.id, identity, cluster, &places);
                    self.ask_coordinator(step, cluster, Asked::Partitions(places), call);
                } else if self.broken.is_none() && !self.parts.offsets.is_empty() {
                    self.ask_offsets(step, cluster, identity, membership);
                } else if let State::Ending(how) = self.state
                    && producer.is_idle()
                {
                    if self.parts.known {
                        let call = requests::end(&self.id, identity, how);
                        self.ask_coordinator(step, cluster, Asked::End, call);
                    } else {
                        // Nothing was sent: there is nothing to end.
                        self.finish(how);
                    }
                }
            }
        }
    }

    fn ask_offsets(
        &mut self,
        step: &mut Step<'_>,
        cluster: &mut Cluster,
        identity: Identity,
        membership: Option<&Membership>,
    ) {
        let Some(offsets) = self.parts.offsets.front() else {
            return;
        };
        if !offsets.added {
            let call = requests::group(&self.id, identity, &offsets.group);
            return self.ask_coordinator(step, cluster, Asked::Group, call);
        }
        let member = membership.filter(|one| one.group() == offsets.group);
        if let Some(error) = refusal(member, &offsets.group, &offsets.next, cluster) {
            return self.break_off(error);
        }
        // The group decides who owns what; its coordinator would refuse the commit.
        if member.is_some_and(|one| one.committer().is_none()) {
            return;
        }
        if let Some(node) = cluster.coordinator(Role::Group, &offsets.group, step.now) {
            let call = requests::offsets(
                &self.id,
                identity,
                (cluster, member),
                &offsets.group,
                &offsets.next,
            );
            self.send(step, node, Asked::Offsets, call);
        }
    }

    fn ask_coordinator(
        &mut self,
        step: &mut Step<'_>,
        cluster: &mut Cluster,
        asked: Asked,
        call: Call,
    ) {
        if let Some(node) = cluster.coordinator(Role::Transaction, &self.id, step.now) {
            self.send(step, node, asked, call);
        }
    }

    fn send(&mut self, step: &mut Step<'_>, node: Node, asked: Asked, call: Call) {
        self.numbers += 1;
        let lane = match asked {
            Asked::Offsets => Lane::Offsets,
            _ => Lane::Control,
        };
        self.asked = Some((self.numbers, asked));
        step.out.push(Outgoing {
            ticket: Ticket {
                owner: Owner::Transaction,
                number: self.numbers,
            },
            target: Target::Node(node),
            lane,
            call,
            patience: self.request_timeout,
        });
    }

    fn retry(&mut self, now: Time) {
        self.retry.at = now + backoff(self.retry_backoff, self.retry.attempts);
        self.retry.attempts = self.retry.attempts.saturating_add(1);
    }

    /// The open transaction can only be aborted.
    fn break_off(&mut self, error: Error) {
        if matches!(self.state, State::Open | State::Ending(_)) && self.broken.is_none() {
            self.broken = Some(error);
        }
    }

    fn report_broken(&mut self) {
        self.state = State::Open;
        self.parts.end = End::default();
        let reason = self
            .broken
            .as_ref()
            .map(Error::to_string)
            .unwrap_or_default();
        self.ended.push_back(Err(Error::Aborted { reason }));
    }

    fn finish(&mut self, how: Ended) {
        // What failed has left a gap in a sequence, or a copy on its way: a new epoch fences both.
        self.renew = self.broken.take().is_some();
        self.state = State::Ready;
        self.parts = Parts::default();
        self.retry = Retry::default();
        self.ended.push_back(Ok(how));
    }

    /// What nobody hears for too long is told as far as it is known.
    fn expire(&mut self) {
        let State::Ending(how) = self.state else {
            return;
        };
        let what = format!("the end of a transaction of `{}`", self.id);
        let error = Error::timed_out(what, self.give_up, Outcome::NotApplied);
        match how {
            Ended::Committed if !self.parts.end.doubt => self.break_off(error),
            _ => {
                let error = error.in_doubt(self.parts.end.doubt);
                self.fail(error);
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.state = State::Failed;
        self.ended.push_back(Err(error));
    }
}
