//! The state machines of a client, and who is told which answer.
//!
//! The driver and the simulation both run exactly this: what differs between them is only who moves the bytes and who makes up the time.

use std::collections::BTreeSet;

use crate::clock::{Time, earlier};
use crate::cluster::{Cluster, Topic};
use crate::config::Resolved;
use crate::exchange::{Answer, Outgoing, Owner, Step, Ticket};
use crate::fetcher::position::Position;
use crate::fetcher::{Fetcher, Place};
use crate::group::membership::{Claim, Membership, Settings};
use crate::group::offsets::Offsets;
use crate::producer::Producer;
use crate::transaction::Transaction;

/// All that decides.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) cluster: Cluster,
    pub(crate) producer: Producer,
    pub(crate) fetcher: Fetcher,
    pub(crate) offsets: Offsets,
    pub(crate) membership: Option<Membership>,
    pub(crate) transaction: Option<Transaction>,
}

impl Machines {
    pub(crate) fn new(config: &Resolved) -> Self {
        Self {
            cluster: Cluster::new(config.clone()),
            producer: Producer::new(config),
            fetcher: Fetcher::new(config),
            offsets: Offsets::new(config),
            membership: None,
            transaction: config
                .transactional_id
                .as_deref()
                .map(|id| Transaction::new(id, config)),
        }
    }

    /// Becomes a member of a group. Of a membership before, nothing is left but what its application must give up.
    pub(crate) fn join(&mut self, settings: Settings, topics: BTreeSet<Topic>, now: Time) {
        let before = self.membership.take();
        for place in before.iter().flat_map(Membership::known) {
            self.fetcher.unassign(*place);
        }
        self.membership = Some(match before {
            None => Membership::new(settings, topics, now),
            Some(before) => before.replaced(settings, topics, now),
        });
    }

    /// Leaves the group; nothing that it had assigned is read any more.
    pub(crate) fn leave(&mut self, until: Time) {
        if let Some(membership) = &mut self.membership {
            for place in membership.known() {
                self.fetcher.unassign(*place);
            }
            membership.leave(until);
        }
    }

    /// Commits positions for a group.
    pub(crate) fn commit(&mut self, group: &str, next: &[(Place, Position)], now: Time) -> u64 {
        let claims = self.claims(group, next);
        self.offsets.commit(group, claims, now)
    }

    /// What is committed as of now: by whom partitions are owned is what the application knows at this moment.
    pub(crate) fn claims(&self, group: &str, next: &[(Place, Position)]) -> Vec<Claim> {
        let member = self.membership.as_ref().filter(|one| one.group() == group);
        let claims = next.iter().map(|(place, position)| Claim {
            place: *place,
            position: *position,
            tenure: member.and_then(|one| one.tenure(*place)),
        });
        claims.collect()
    }

    /// Lets every machine act; its requests are appended to `out`.
    pub(crate) fn step(&mut self, now: Time, out: &mut Vec<Outgoing>) {
        let step = &mut Step { now, out };
        if let Some(transaction) = &mut self.transaction {
            let membership = self.membership.as_ref();
            transaction.step(step, &mut self.cluster, &mut self.producer, membership);
        }
        let busy = !self.producer.is_idle();
        self.producer
            .step(step, &mut self.cluster, self.transaction.as_mut());
        if let Some(transaction) = &mut self.transaction
            && busy
            && self.producer.is_idle()
        {
            // What its end has waited for was given up just now.
            let membership = self.membership.as_ref();
            transaction.step(step, &mut self.cluster, &mut self.producer, membership);
        }
        self.fetcher.step(step, &mut self.cluster);
        if let Some(membership) = &mut self.membership {
            let commits = self.offsets.is_busy(membership.group());
            membership.step(step, &mut self.cluster, commits);
        }
        self.offsets
            .step(step, &mut self.cluster, self.membership.as_ref());
        // Last, because the others say what they lack.
        self.cluster.step(step);
    }

    pub(crate) fn answer(&mut self, ticket: Ticket, answer: Answer, now: Time) {
        let (number, cluster) = (ticket.number, &mut self.cluster);
        match ticket.owner {
            Owner::Cluster => cluster.answer(number, answer, now),
            Owner::Producer => self.producer.answer(number, answer, now, cluster),
            Owner::Fetcher => self.fetcher.answer(number, answer, now, cluster),
            Owner::Offsets => {
                let membership = self.membership.as_mut();
                self.offsets
                    .answer(number, answer, now, (cluster, membership));
            }
            Owner::Transaction => {
                if let Some(transaction) = &mut self.transaction {
                    let producer = &mut self.producer;
                    transaction.answer(number, answer, now, (cluster, producer));
                }
            }
            // Those of `Admin`, which has a driver of its own.
            Owner::Admin => {}
            Owner::Membership => {
                if let Some(membership) = &mut self.membership {
                    membership.answer(number, answer, now, cluster);
                }
            }
        }
    }

    /// Whether a machine can act at once.
    pub(crate) fn is_urgent(&self) -> bool {
        self.producer.is_urgent() || self.fetcher.is_urgent()
    }

    /// When the next of them wants to act.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        let transacting = self.transaction.as_ref().and_then(Transaction::wake_at);
        let grouped = self.membership.as_ref().and_then(Membership::wake_at);
        let reading = earlier(
            self.fetcher.wake_at(),
            earlier(self.offsets.wake_at(), earlier(grouped, transacting)),
        );
        let producing = earlier(self.producer.wake_at(), self.cluster.wake_at());
        earlier(reading, producing)
    }
}
