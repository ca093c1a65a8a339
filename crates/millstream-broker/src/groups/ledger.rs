//! The groups' journal, and the queue in front of it: no group waits for a disk.
//!
//! A group puts its records in the queue under its own lock, so that they are in the order in which it decided. Whoever answers a request writes
//! all that is queued, after that lock was released, and answers when its own record is stored; many records share a write and a sync.
//! Only one of those who wait occupies a thread.
//!
//! When the disk is full, what is queued stays there and is written as soon as there is space; nothing more is queued until then. After a failed
//! write or sync nothing is queued any more.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kafka_protocol::messages::GroupId;

use super::records::{self, Found, Replayed};
use super::slot::Slot;
use crate::error::Error;
use crate::journal::{Journal, Unwritten, Written};
use crate::log::{blocking, lock};

/// How many records were queued before and with the one that is waited for.
pub(crate) type UpTo = u64;

#[derive(Debug)]
pub(super) struct Ledger {
    queue: Mutex<Queue>,
    /// How many of all records that were queued are stored.
    stored: AtomicU64,
    journal: Mutex<Journal>,
    /// Held by the one task that writes for all others.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Queue {
    records: VecDeque<Queued>,
    queued: UpTo,
    /// Why nothing is queued now.
    closed: Option<Unwritten>,
}

#[derive(Debug)]
struct Queued {
    group: GroupId,
    number: UpTo,
    record: Vec<u8>,
}

impl Ledger {
    /// Opens the journal and gives the groups that are in it.
    pub(super) fn open(path: &Path, fsync: bool) -> Result<(Ledger, Vec<Found>), Error> {
        let mut replayed = Replayed::default();
        let journal = Journal::open(path, records::FORMAT, fsync, |record| {
            replayed.apply(record)
        })?;
        let ledger = Ledger {
            queue: Mutex::new(Queue {
                records: VecDeque::new(),
                queued: 0,
                closed: None,
            }),
            stored: AtomicU64::new(0),
            journal: Mutex::new(journal),
            writing: tokio::sync::Mutex::default(),
        };
        Ok((ledger, replayed.groups.into_values().collect()))
    }

    /// Queues a record. Does not wait.
    pub(super) fn queue(&self, group: &GroupId, record: Vec<u8>) -> Result<UpTo, Unwritten> {
        let mut queue = lock(&self.queue);
        if let Some(unwritten) = queue.closed {
            return Err(unwritten);
        }
        Journal::check_size(&record)?;
        queue.queued += 1;
        let number = queue.queued;
        queue.records.push_back(Queued {
            group: group.clone(),
            number,
            record,
        });
        Ok(number)
    }

    /// How many records were queued so far.
    pub(super) fn queued(&self) -> UpTo {
        lock(&self.queue).queued
    }

    /// Whether the disk was full the last time.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.queue).closed == Some(Unwritten::NoSpace)
    }

    fn has_stored(&self, up_to: UpTo) -> bool {
        self.stored.load(Ordering::Acquire) >= up_to
    }

    /// Returns when all records up to one are stored. `groups` are asked for when the journal has to be written anew.
    pub(super) async fn settle(
        &self,
        up_to: UpTo,
        groups: impl FnOnce() -> Vec<Arc<Mutex<Slot>>>,
    ) -> Result<(), Unwritten> {
        if self.has_stored(up_to) {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        self.settle_here(up_to, groups)
    }

    /// As `settle`, for those who may block their thread.
    pub(super) fn settle_here(
        &self,
        up_to: UpTo,
        groups: impl FnOnce() -> Vec<Arc<Mutex<Slot>>>,
    ) -> Result<(), Unwritten> {
        if self.has_stored(up_to) {
            return Ok(());
        }
        let written = blocking(|| self.write(groups));
        match self.has_stored(up_to) {
            true => Ok(()),
            false => Err(written.err().unwrap_or(Unwritten::Poisoned)),
        }
    }

    /// Tries again what a full disk has refused, unless somebody does.
    pub(super) fn retry(&self, groups: impl FnOnce() -> Vec<Arc<Mutex<Slot>>>) {
        if let Ok(_writing) = self.writing.try_lock() {
            // If it fails, the next record is refused.
            blocking(|| self.write(groups)).ok();
        }
    }

    /// Stores all that is queued, and writes the journal anew when most of it is dead.
    fn write(&self, groups: impl FnOnce() -> Vec<Arc<Mutex<Slot>>>) -> Result<(), Unwritten> {
        let mut journal = lock(&self.journal);
        self.drain(&mut journal)?;
        if journal.is_mostly_dead() {
            self.rewrite(&mut journal, &groups());
        }
        Ok(())
    }

    fn drain(&self, journal: &mut Journal) -> Result<(), Unwritten> {
        let (mut records, queued) = {
            let mut queue = lock(&self.queue);
            if queue.closed == Some(Unwritten::Poisoned) {
                return Err(Unwritten::Poisoned);
            }
            (std::mem::take(&mut queue.records), queue.queued)
        };
        let written = append(journal, &mut records);
        {
            let mut queue = lock(&self.queue);
            queue.closed = written.err();
            if queue.closed == Some(Unwritten::Poisoned) {
                records.clear();
                queue.records.clear();
            }
            records.append(&mut queue.records);
            queue.records = records;
        }
        written?;
        self.stored.store(queued, Ordering::Release);
        Ok(())
    }

    /// Writes the journal anew, group by group. What a group has queued until its turn is in it. A failure costs nothing but space.
    fn rewrite(&self, journal: &mut Journal, groups: &[Arc<Mutex<Slot>>]) {
        let mut covered: HashMap<GroupId, UpTo> = HashMap::new();
        let mut live = groups.iter().flat_map(|slot| {
            let slot = lock(slot);
            // What is queued under its name belongs to the group that came after it.
            if slot.is_gone {
                return Vec::new();
            }
            covered.insert(slot.group.id.clone(), self.queued());
            slot.records()
        });
        let rewritten = journal.rewrite(&mut live);
        drop(live);
        match rewritten {
            Ok(()) => {
                let is_left = |one: &Queued| {
                    covered
                        .get(&one.group)
                        .is_none_or(|up_to| one.number > *up_to)
                };
                lock(&self.queue).records.retain(is_left);
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, "groups' journal keeps growing");
            }
        }
    }

    /// Forces everything to the disk.
    pub(super) fn flush(&self) -> Result<(), Error> {
        let mut journal = lock(&self.journal);
        // Nobody waits for what is refused here.
        self.drain(&mut journal).ok();
        journal.flush()
    }

    /// The journal's disk, as tests have it.
    #[cfg(test)]
    pub(super) fn disk(&self) -> crate::journal::FaultyDisk {
        lock(&self.journal).faulty_disk()
    }

    /// How much of the journal a power cut leaves for certain.
    #[cfg(test)]
    pub(super) fn forced(&self) -> (std::path::PathBuf, u64) {
        lock(&self.journal).forced()
    }
}

/// Stores records in their order; on an error those that are not stored are left.
fn append(journal: &mut Journal, records: &mut VecDeque<Queued>) -> Result<(), Unwritten> {
    let mut last = Written::settled();
    while let Some(first) = records.front() {
        last = journal.append(&first.record)?;
        records.pop_front();
    }
    last.settle()
}
