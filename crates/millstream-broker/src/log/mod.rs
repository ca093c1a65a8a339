//! The store of one partition: an append-only sequence of record batches in files.
//!
//! A batch is stored as it arrived, compressed ones included; only its base offset and leader epoch are patched,
//! both of which lie outside its checksum. `batch` knows the header, `records` the inside of one batch; `segment` is
//! one file of batches with its sparse `index` of offsets and times; `partition` is the whole log, whose `append`,
//! `read`, `search`, `retention` and `compaction` have a file each; `waiter` wakes those who wait for records. `isolation` says how far a reader may
//! see, `marker` is the batch that ends a transaction, `aborted` the ranges that readers of committed records skip.
//! `checkpoint` says what is known to be good, `producer_file` keeps what is known of producers, `recovery` checks the rest when a partition is opened, by `scan`.
//!
//! Invariants: an acknowledged batch has left this process by write(2) (with `fsync`, has reached the disk); what a
//! reader has seen goes away only by retention and compaction; a batch is visible as a whole or not at all.

mod aborted;
mod append;
mod batch;
mod checkpoint;
mod compaction;
mod config;
mod error;
mod file;
mod index;
mod isolation;
mod marker;
mod partition;
mod producer_file;
mod read;
mod records;
mod recovery;
mod retention;
mod scan;
mod search;
mod segment;
#[cfg(test)]
pub(crate) mod testing;
mod waiter;

pub(crate) use aborted::Aborted;
pub(crate) use append::Appended;
pub(crate) use batch::{HEADER_SIZE, Header};
pub(crate) use compaction::Pass;
pub(crate) use config::{LogConfig, TimestampType};
pub(crate) use error::{AppendError, ReadError};
#[cfg(test)]
pub(crate) use file::faults;
pub(crate) use file::is_no_space;
pub(crate) use isolation::Isolation;
pub(crate) use marker::{Marker, Outcome};
pub(crate) use partition::{Partition, close_all};
pub(crate) use read::Span;
pub(crate) use waiter::Waiter;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Handle, RuntimeFlavor};

/// Locks without regard to panics elsewhere: what a lock guards here is changed only after what could fail.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what waits for a disk so that other tasks of the runtime go on, if there is one.
pub(crate) fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}
