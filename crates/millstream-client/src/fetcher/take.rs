//! From fetched bytes to the next chunk of records: checksum, aborted transactions, decompression.
//!
//! Each batch is looked at once, when it is taken. Batches of aborted transactions and markers are skipped, and the position moves over them.

use bytes::Bytes;

use super::position::{Chunk, Fetch, Position, Reading};
use crate::cluster::Topic;
use crate::wire::Malformed;
use crate::wire::batch::{Batch, Header};
use crate::wire::compression::Compression;
use crate::wire::cursor::Cursor;

/// The type of a marker that aborts a transaction.
const ABORT: i16 = 0;

impl Reading {
    /// The next records, if any were fetched.
    pub(crate) fn take(
        &mut self,
        (topic, partition): (Topic, i32),
        limit: usize,
    ) -> Result<Option<Chunk>, Malformed> {
        while let Some(fetch) = self.fetched.front_mut() {
            let mut rest: &[u8] = &fetch.records;
            let before = rest.len();
            let Some(batch) = Batch::split(&mut rest)? else {
                // A broker sends the first batch whole; only a later one may be cut off.
                if !fetch.started {
                    return Err(Malformed::Short);
                }
                self.buffered = self.buffered.saturating_sub(before);
                self.fetched.pop_front();
                continue;
            };
            fetch.started = true;
            let taken = before - rest.len();
            let (header, body) = (batch.header, fetch.records.slice_ref(batch.body));
            let from = self.position.offset;
            let skipped = skipped(fetch, &mut self.aborting, &header, &body);
            let handed_out = !skipped && header.count > 0 && header.next_offset() > from;
            // What does not decompress is not passed over: the position stays in front of it.
            let data = match handed_out {
                true => Some(plain(&header, body, limit)?),
                false => None,
            };
            fetch.records = fetch.records.slice(taken..);
            self.buffered = self.buffered.saturating_sub(taken);
            if header.next_offset() > from {
                self.position = Position {
                    offset: header.next_offset(),
                    epoch: header.leader_epoch,
                };
            }
            if let Some(data) = data {
                return Ok(Some(Chunk {
                    topic,
                    partition,
                    data,
                    header,
                    from,
                }));
            }
        }
        Ok(None)
    }
}

fn plain(header: &Header, body: Bytes, limit: usize) -> Result<Bytes, Malformed> {
    match header.compression()? {
        Compression::None => Ok(body),
        compression => {
            let mut out = Vec::new();
            compression.decompress(&body, &mut out, limit)?;
            Ok(Bytes::from(out))
        }
    }
}

/// Whether a batch is not for the application: a marker, or of an aborted transaction.
fn skipped(fetch: &mut Fetch, aborting: &mut Vec<i64>, header: &Header, body: &[u8]) -> bool {
    let producer = header.producer.id;
    while let Some((_, producer)) = fetch
        .aborted
        .pop_if(|(first, _)| *first < header.next_offset())
    {
        if !aborting.contains(&producer) {
            aborting.push(producer);
        }
    }
    if header.is_control() {
        if marker(header, body) == Some(ABORT) {
            aborting.retain(|one| *one != producer);
        }
        return true;
    }
    header.is_transactional() && aborting.contains(&producer)
}

/// The type in the key of a control record: a version, then the type.
fn marker(header: &Header, body: &[u8]) -> Option<i16> {
    let record = crate::wire::records::Records::new(*header, body).next()?;
    let mut key = Cursor::new(record.ok()?.key?);
    key.i16().ok()?;
    key.i16().ok()
}
