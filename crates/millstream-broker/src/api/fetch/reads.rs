//! What a fetch reads: one read per partition, again when the partition has grown, and the wait in between.
//!
//! Whatever a read takes has its share of the room of all answers, but for a small one, without which nobody would get on. A first batch that is larger
//! than what is left is read by one fetch at a time; the others wait for their turn.
//!
//! The order of the partitions decides who is given what the request's limit allows: the caller has put those first whose turn it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, PartitionData};
use kafka_protocol::messages::{ProducerId, TopicName};
use tokio::time::{Instant, sleep_until};

use super::{Topic, Wanted};
use crate::api::check_leader_epoch;
use crate::broker::{Broker, Taken};
use crate::log::{Aborted, HEADER_SIZE, Isolation, Partition, Span, Waiter};
use crate::security::Access;
use crate::security::rules::{Operation, Resource};

/// Read however little room is left, if the first batch is no larger: an answer without records would be asked for again at once.
const LEAST_BYTES: usize = 64 << 10;

/// Where a partition of a request is.
enum Place {
    Found(Arc<Partition>),
    /// There was none when the request came: the others are waited for all the same.
    Missing(ResponseError),
    /// It cannot be read as it is asked for.
    Failed(ResponseError),
}

impl Place {
    fn found(&self) -> Option<&Arc<Partition>> {
        match self {
            Place::Found(partition) => Some(partition),
            Place::Missing(_) | Place::Failed(_) => None,
        }
    }

    fn error(&self) -> Option<ResponseError> {
        match self {
            Place::Found(_) => None,
            Place::Missing(code) | Place::Failed(code) => Some(*code),
        }
    }
}

/// One partition of a request and what was read of it.
struct Read {
    place: Place,
    isolation: Isolation,
    from: i64,
    max_bytes: usize,
    /// The end of what this reader may see when it was last looked at.
    seen_end: i64,
    /// The limit of the last read, if it left records unread: reading again would give the same again.
    cut_at: Option<usize>,
    /// The size of a first batch that was larger than the limit of the last read.
    too_large: Option<usize>,
    records: Bytes,
    room: Option<Taken>,
    high_watermark: i64,
    last_stable: i64,
    log_start_offset: i64,
    aborted: Vec<Aborted>,
}

/// All partitions of a request.
pub(super) struct Reads {
    all: Vec<Read>,
    pub(super) max_bytes: usize,
    /// Something was left unread because other answers take all the room.
    crowded: bool,
    /// A first batch has to wait for the turn of this fetch to read more than there is room for.
    waits_for_turn: bool,
    turn: Option<Taken>,
}

impl Reads {
    pub(super) fn new(
        broker: &Broker,
        access: Option<&Access>,
        wanted: &[Wanted],
        max_bytes: usize,
        isolation: Isolation,
    ) -> Reads {
        Reads {
            all: wanted
                .iter()
                .map(|wanted| Read::new(find(broker, access, wanted), wanted, isolation))
                .collect(),
            max_bytes: max_bytes.min(broker.config.max_fetch_bytes_in_flight / 4),
            crowded: false,
            waits_for_turn: false,
            turn: None,
        }
    }

    fn total(&self) -> usize {
        self.all.iter().map(|read| read.records.len()).sum()
    }

    /// Whether the answer need not wait: enough was read, or something is wrong and the client should know.
    pub(super) fn complete(&self, min_bytes: usize) -> bool {
        let missing = |read: &Read| matches!(read.place, Place::Missing(_));
        let failed = |read: &Read| matches!(read.place, Place::Failed(_));
        self.crowded
            || self.all.iter().map(Read::counted).sum::<usize>() >= min_bytes
            || self.all.iter().all(missing)
            || self.all.iter().any(failed)
    }

    fn any_grown(&self) -> bool {
        self.all.iter().any(Read::has_grown)
    }

    /// Reads every partition that has grown since it was last read.
    pub(super) fn read_grown(&mut self, broker: &Broker) {
        let mut total = self.total();
        self.waits_for_turn = false;
        for read in &mut self.all {
            if !read.has_grown() {
                continue;
            }
            total -= read.forget();
            let limit = read.max_bytes.min(self.max_bytes.saturating_sub(total));
            if limit == 0 && total > 0 {
                read.cut_at = Some(0);
                continue;
            }
            let limit = limit.min((broker.fetch_room.left() / 4).max(LEAST_BYTES));
            let limit = limit.max(HEADER_SIZE);
            let room = broker.fetch_room.try_take(limit);
            if room.is_none() && total > 0 {
                self.crowded = true;
                continue;
            }
            read.read(limit, false, room);
            if let Some(size) = read.too_large.filter(|_| total == 0) {
                match more_room(broker, size, &mut self.turn) {
                    Some(room) => read.read(size, true, room),
                    None => {
                        self.waits_for_turn = true;
                        read.look_again();
                    }
                }
            }
            total += read.records.len();
        }
    }

    /// Waits for appends until there is enough, the time is up, or the broker stops.
    pub(super) async fn wait(&mut self, broker: &Broker, min_bytes: usize, wait: Duration) {
        let deadline = Instant::now() + wait;
        let waiter = Waiter::new();
        let _registered: Vec<_> = self
            .all
            .iter()
            .filter_map(|read| Some(read.place.found()?.on_append(&waiter)))
            .collect();
        let mut late = std::pin::pin!(sleep_until(deadline));
        let mut stopping = std::pin::pin!(broker.stopping.wait());
        loop {
            if self.waits_for_turn {
                let turn = Arc::clone(&broker.fetch_turn).acquire_owned();
                tokio::select! {
                    turn = turn => self.turn = turn.ok(),
                    () = &mut late => return,
                    () = &mut stopping => return,
                }
            } else if !self.any_grown() {
                tokio::select! {
                    () = waiter.wait() => {}
                    () = &mut late => return,
                    () = &mut stopping => return,
                }
                if !self.any_grown() {
                    // Woken by something else than an append: a deletion, which reading finds out.
                    self.all.iter_mut().for_each(Read::look_again);
                }
            }
            self.read_grown(broker);
            if self.complete(min_bytes) {
                return;
            }
        }
    }

    /// What was read, in the order of `wanted`, and the room it takes.
    pub(super) fn respond(self, wanted: &[Wanted]) -> (Vec<PartitionData>, Vec<Taken>) {
        let mut room: Option<Taken> = None;
        let mut answers = Vec::with_capacity(wanted.len());
        for (wanted, mut read) in wanted.iter().zip(self.all) {
            match (&mut room, read.room.take()) {
                (Some(room), Some(more)) => room.merge(more),
                (None, more) => room = more,
                (Some(_), None) => {}
            }
            answers.push(read.respond(wanted.partition));
        }
        (answers, room.into_iter().chain(self.turn).collect())
    }
}

/// Room for a batch of `size`: of that of all answers, or, in turn, beyond it. `None` when it is another's turn.
fn more_room(broker: &Broker, size: usize, turn: &mut Option<Taken>) -> Option<Option<Taken>> {
    if let Some(room) = broker.fetch_room.try_take(size) {
        return Some(Some(room));
    }
    if turn.is_none() {
        *turn = Arc::clone(&broker.fetch_turn).try_acquire_owned().ok();
    }
    turn.is_some().then_some(None)
}

/// The offset after the last of some whole batches; `None` when there are none.
fn end_of(mut batches: &[u8]) -> Option<i64> {
    let mut end = None;
    while let Some(header) = batches.first_chunk::<27>() {
        let mut header = header.as_slice();
        let (base, length) = (header.get_i64(), header.get_i32());
        header.advance(11);
        end = Some(base + i64::from(header.get_i32()) + 1);
        batches = batches
            .get(12 + usize::try_from(length).ok()?..)
            .unwrap_or(&[]);
    }
    end
}

fn find(broker: &Broker, access: Option<&Access>, wanted: &Wanted) -> Place {
    let (topic, unknown) = match &wanted.topic {
        Topic::Id(id) => (broker.topics.by_id(id), ResponseError::UnknownTopicId),
        Topic::Name(name) => (
            broker.topics.get(name),
            ResponseError::UnknownTopicOrPartition,
        ),
    };
    let name = match (&wanted.topic, &topic) {
        (_, Some(topic)) => Some(&topic.name),
        (Topic::Name(name), None) => Some(name),
        (Topic::Id(_), None) => None,
    };
    let denied = |name: &TopicName| {
        access.is_some_and(|access| access.denies(Operation::Read, Resource::topic(name)))
    };
    if name.is_some_and(denied) {
        return Place::Missing(ResponseError::TopicAuthorizationFailed);
    }
    let Some(topic) = topic else {
        return Place::Missing(unknown);
    };
    match (
        topic.partition(wanted.partition),
        check_leader_epoch(wanted.leader_epoch),
    ) {
        (None, _) => Place::Missing(ResponseError::UnknownTopicOrPartition),
        (Some(_), Err(code)) => Place::Failed(code),
        (Some(partition), Ok(())) => Place::Found(partition),
    }
}

impl Read {
    fn new(place: Place, wanted: &Wanted, isolation: Isolation) -> Read {
        Read {
            place,
            isolation,
            from: wanted.from,
            max_bytes: usize::try_from(wanted.max_bytes).unwrap_or(0),
            seen_end: -1,
            cut_at: None,
            too_large: None,
            records: Bytes::new(),
            room: None,
            high_watermark: -1,
            last_stable: -1,
            log_start_offset: -1,
            aborted: Vec::new(),
        }
    }

    fn has_grown(&self) -> bool {
        let partition = self.place.found().filter(|_| self.cut_at.is_none());
        partition.is_some_and(|partition| partition.readable_end(self.isolation) != self.seen_end)
    }

    /// What this partition counts towards `min_bytes`: as in Kafka, all that its limit allows if there is more.
    fn counted(&self) -> usize {
        self.records.len().max(self.cut_at.unwrap_or(0))
    }

    /// Drops what was read; returns how much it was.
    fn forget(&mut self) -> usize {
        self.room = None;
        std::mem::take(&mut self.records).len()
    }

    fn look_again(&mut self) {
        self.seen_end = -1;
        self.cut_at = None;
    }

    fn read(&mut self, limit: usize, at_least_one: bool, room: Option<Taken>) {
        let Place::Found(partition) = &self.place else {
            return;
        };
        let span = Span {
            from: self.from,
            max_bytes: limit,
            at_least_one,
            isolation: self.isolation,
        };
        match partition.read(span) {
            Ok(fetched) => {
                let end = fetched.readable_end(self.isolation);
                self.seen_end = end;
                self.high_watermark = fetched.high_watermark.offset();
                self.last_stable = fetched.last_stable.offset();
                self.log_start_offset = fetched.log_start_offset;
                // Only what was really read stays taken.
                self.room = room
                    .and_then(|mut room| room.split(fetched.records.len().min(room.num_permits())));
                let next = end_of(&fetched.records).unwrap_or(self.from);
                self.too_large = fetched.too_large;
                if fetched.too_large.is_none() && fetched.records.is_empty() {
                    // Nothing there, or compaction left nothing; if the end has moved since, it has to be read.
                    self.seen_end = fetched.looked_to;
                } else {
                    self.cut_at = (next < end).then_some(limit);
                }
                self.records = fetched.records;
                self.aborted = fetched.aborted;
            }
            Err(error) => self.place = Place::Failed(error.code()),
        }
    }

    fn respond(self, index: i32) -> PartitionData {
        let code = self.place.error().map_or(0, |code| code.code());
        let known = if code == 0 {
            (self.high_watermark, self.last_stable, self.log_start_offset)
        } else {
            (-1, -1, -1)
        };
        let aborted = self.aborted.iter().map(|one| {
            AbortedTransaction::default()
                .with_producer_id(ProducerId(one.producer_id))
                .with_first_offset(one.first)
        });
        let aborted = match self.isolation {
            Isolation::Committed => Some(aborted.collect()),
            Isolation::Uncommitted => None,
        };
        PartitionData::default()
            .with_partition_index(index)
            .with_error_code(code)
            .with_high_watermark(known.0)
            .with_last_stable_offset(known.1)
            .with_log_start_offset(known.2)
            .with_aborted_transactions(aborted)
            .with_records(Some(self.records))
    }
}

#[cfg(test)]
mod tests;
