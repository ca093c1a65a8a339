//! The store of one partition: an append-only sequence of record batches in files.
//!
//! A batch is stored as it arrived, compressed ones included; only its base offset and leader epoch are patched,
//! both of which lie outside its checksum. `batch` knows the header, `records` the inside of one batch;
//! `segment` is one file of batches with its sparse `index` of offsets and times; `partition` is the whole log
//! (its files `append`, `read`, `search`, `retention` say what they do), `waiter` wakes those who wait for records.
//! `checkpoint` and `recovery` say what is known to be good and check the rest when a partition is opened.
//!
//! Invariants: an acknowledged batch has left this process by write(2) (with `fsync`, has reached the disk); what a
//! reader sees never goes away but by retention; a batch is either wholly visible or not at all.
//!
//! Two things come later and have their place here: compaction (`compaction`, beside `retention`; readers already
//! allow for gaps between offsets) and transactions (the aborted ranges and the last stable offset beside
//! `partition`'s end offset, markers through `append`).

pub(crate) mod batch;
mod config;
mod error;
mod file;
mod partition;
mod waiter;

pub(crate) use config::{LogConfig, TimestampType};
pub(crate) use error::{AppendError, ReadError};
pub(crate) use partition::Partition;
pub(crate) use waiter::Waiter;
