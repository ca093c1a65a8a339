//! Fetch sessions (KIP-227): the broker remembers what a consumer wants, so that each request names only what changes and each answer
//! only the partitions that have something new.
//!
//! A session belongs to no connection: it is found by its id, which nobody can guess, and its epoch tells that no request is missing.
//! A session is a convenience: one that is gone is made anew by the client. So their memory is bounded, and one that was not used for
//! two minutes makes room for a new one.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::log::lock;

/// A session that was used since is not given up for a new one.
const IDLE_MS: i64 = 120_000;
/// Partitions of all sessions together, of about 150 bytes each.
const MOST_PARTITIONS: usize = 250_000;
/// The epoch of a request that wants a session.
const INITIAL: i32 = 0;
/// The epoch of a request that wants none.
const FINAL: i32 = -1;

/// A topic as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Name(TopicName),
    Id(Uuid),
}

impl Topic {
    fn of(name: &TopicName, id: Uuid, version: i16) -> Topic {
        if version >= 13 {
            Topic::Id(id)
        } else {
            Topic::Name(name.clone())
        }
    }

    /// The same topic without the frame in which its name came.
    fn detached(&self) -> Topic {
        match self {
            Topic::Name(name) => Topic::Name(TopicName(StrBytes::from_string(name.to_string()))),
            Topic::Id(id) => Topic::Id(*id),
        }
    }
}

/// What a consumer wants of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    pub(super) from: i64,
    pub(super) max_bytes: i32,
    pub(super) leader_epoch: i32,
}

impl Wanted {
    fn new(topic: Topic, of: &FetchPartition) -> Wanted {
        Wanted {
            topic,
            partition: of.partition,
            from: of.fetch_offset,
            max_bytes: of.partition_max_bytes,
            leader_epoch: of.current_leader_epoch,
        }
    }
}

/// All that a request names, in its order.
pub(super) fn wanted(request: &FetchRequest, version: i16) -> impl Iterator<Item = Wanted> {
    request.topics.iter().flat_map(move |topic| {
        let named = Topic::of(&topic.topic, topic.topic_id, version);
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| Wanted::new(named.clone(), partition))
    })
}

/// What a request asks for.
pub(super) enum Begun {
    /// All that it names, and perhaps a session.
    Whole { keep: bool },
    /// All that its session has.
    Continued(Continued),
}

/// The sessions of all consumers.
#[derive(Debug)]
pub(crate) struct Sessions {
    most: usize,
    by_id: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
    partitions: AtomicUsize,
}

impl Sessions {
    /// At most `most` sessions at a time.
    pub(crate) fn new(most: usize) -> Sessions {
        Sessions {
            most,
            by_id: Mutex::new(HashMap::new()),
            partitions: AtomicUsize::new(0),
        }
    }

    /// Finds the session of a request and changes it by what the request names.
    pub(super) fn begin(
        &self,
        request: &FetchRequest,
        version: i16,
        now_ms: i64,
    ) -> Result<Begun, ResponseError> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if version < 7 {
            return Ok(Begun::Whole { keep: false });
        }
        if epoch == INITIAL || epoch == FINAL {
            self.end(id);
            let keep = epoch == INITIAL;
            return Ok(Begun::Whole { keep });
        }
        let session = lock(&self.by_id).get(&id).map(Arc::clone);
        let session = session.ok_or(ResponseError::FetchSessionIdNotFound)?;
        let left = {
            let mut session = lock(&session);
            session.check(epoch, version)?;
            let before = session.entries.len();
            session.change(request, version);
            let after = session.entries.len();
            session.epoch = following(epoch);
            session.used_ms = now_ms;
            self.partitions.fetch_add(after, Ordering::Relaxed);
            self.partitions.fetch_sub(before, Ordering::Relaxed);
            after
        };
        if left == 0 {
            self.end(id);
            return Ok(Begun::Whole { keep: false });
        }
        if self.partitions.load(Ordering::Relaxed) > MOST_PARTITIONS {
            self.end(id);
            return Err(ResponseError::FetchSessionIdNotFound);
        }
        Ok(Begun::Continued(Continued {
            id,
            epoch: following(epoch),
            session,
        }))
    }

    /// Makes a session of what was asked for and answered; its id, or 0 when there is no room for one.
    pub(super) fn keep(
        &self,
        wanted: &[Wanted],
        answers: &[PartitionData],
        version: i16,
        now_ms: i64,
    ) -> i32 {
        let mut by_id = lock(&self.by_id);
        if wanted.is_empty() || !self.make_room(&mut by_id, wanted.len(), now_ms) {
            return 0;
        }
        let session = Session::new(wanted, answers, version, now_ms);
        let id = loop {
            let id = random_id();
            if id != 0 && !by_id.contains_key(&id) {
                break id;
            }
        };
        self.partitions
            .fetch_add(session.entries.len(), Ordering::Relaxed);
        by_id.insert(id, Arc::new(Mutex::new(session)));
        id
    }

    /// Whether there is room for a session of `partitions`, after the one that was idle longest is given up for it.
    fn make_room(
        &self,
        by_id: &mut HashMap<i32, Arc<Mutex<Session>>>,
        partitions: usize,
        now_ms: i64,
    ) -> bool {
        let full = |count: usize| {
            let taken = self.partitions.load(Ordering::Relaxed);
            count >= self.most || taken + partitions > MOST_PARTITIONS
        };
        if !full(by_id.len()) {
            return true;
        }
        let used = by_id.iter().map(|(id, one)| (lock(one).used_ms, *id));
        let oldest = used.min().filter(|(used, _)| now_ms - used >= IDLE_MS);
        if let Some(session) = oldest.and_then(|(_, id)| by_id.remove(&id)) {
            self.forget(&session);
        }
        !full(by_id.len())
    }

    fn end(&self, id: i32) {
        let ended = lock(&self.by_id).remove(&id);
        if let Some(session) = ended {
            self.forget(&session);
        }
    }

    fn forget(&self, session: &Mutex<Session>) {
        let mut session = lock(session);
        session.epoch = ENDED;
        let count = std::mem::take(&mut session.entries).len();
        self.partitions.fetch_sub(count, Ordering::Relaxed);
    }
}

/// The epoch of a session that is over: no request has it.
const ENDED: i32 = -2;

/// The epoch after `epoch`; 0 begins a session, so it is never met again.
fn following(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

fn random_id() -> i32 {
    let [a, b, c, d, ..] = *Uuid::new_v4().as_bytes();
    i32::from_be_bytes([a & 0x7f, b, c, d])
}

/// A partition of a session: what is wanted of it, and what its consumer knows of it.
#[derive(Debug)]
struct Entry {
    wanted: Wanted,
    known: Option<Known>,
}

/// High watermark and log start offset, as they were last told.
type Known = (i64, i64);

/// `None` after an error, so that the partition is sent again when the error is gone.
fn known(data: &PartitionData) -> Option<Known> {
    (data.error_code == 0).then_some((data.high_watermark, data.log_start_offset))
}

type Key = (Topic, i32);

#[derive(Debug)]
struct Session {
    /// The epoch of the next request.
    epoch: i32,
    by_topic_id: bool,
    entries: BTreeMap<Key, Entry>,
    /// The last partition that gave records: the next answer begins after it, so that each has its turn.
    after: Option<Key>,
    used_ms: i64,
}

impl Session {
    fn new(wanted: &[Wanted], answers: &[PartitionData], version: i16, now_ms: i64) -> Session {
        let mut session = Session {
            epoch: following(INITIAL),
            by_topic_id: version >= 13,
            entries: BTreeMap::new(),
            after: None,
            used_ms: now_ms,
        };
        for (wanted, answer) in wanted.iter().zip(answers) {
            session.want(wanted.clone());
            session.note(wanted, answer);
        }
        session
    }

    fn check(&self, epoch: i32, version: i16) -> Result<(), ResponseError> {
        if self.epoch == ENDED {
            return Err(ResponseError::FetchSessionIdNotFound);
        }
        if self.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if self.by_topic_id != (version >= 13) {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        Ok(())
    }

    /// Adds a partition, of which the consumer knows nothing yet.
    fn want(&mut self, mut wanted: Wanted) {
        wanted.topic = wanted.topic.detached();
        let key = (wanted.topic.clone(), wanted.partition);
        let known = None;
        self.entries.insert(key, Entry { wanted, known });
    }

    fn change(&mut self, request: &FetchRequest, version: i16) {
        for wanted in wanted(request, version) {
            let key = (wanted.topic.clone(), wanted.partition);
            match self.entries.get_mut(&key) {
                Some(entry) => {
                    entry.wanted.from = wanted.from;
                    entry.wanted.max_bytes = wanted.max_bytes;
                    entry.wanted.leader_epoch = wanted.leader_epoch;
                }
                None => self.want(wanted),
            }
        }
        for topic in &request.forgotten_topics_data {
            let named = Topic::of(&topic.topic, topic.topic_id, version);
            for partition in &topic.partitions {
                self.entries.remove(&(named.clone(), *partition));
            }
        }
    }

    /// All partitions, those first that have waited longest for their turn.
    fn wanted(&self) -> Vec<Wanted> {
        let wanted = |(_, entry): (&Key, &Entry)| entry.wanted.clone();
        let Some(after) = &self.after else {
            return self.entries.iter().map(wanted).collect();
        };
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        let rest = self.entries.range(behind);
        rest.chain(self.entries.range(..=after))
            .map(wanted)
            .collect()
    }

    /// Whether an answer has something that the consumer does not know; from now on it knows.
    fn note(&mut self, wanted: &Wanted, data: &PartitionData) -> bool {
        let key = (wanted.topic.clone(), wanted.partition);
        let Some(entry) = self.entries.get_mut(&key) else {
            return false;
        };
        let has_records = data
            .records
            .as_ref()
            .is_some_and(|records| !records.is_empty());
        let now = known(data);
        let news = has_records || now.is_none() || now != entry.known;
        entry.known = now;
        if has_records {
            self.after = Some(key);
        }
        news
    }
}

/// A session as one request has found it.
pub(super) struct Continued {
    pub(super) id: i32,
    /// The epoch that the session has until its next request.
    epoch: i32,
    session: Arc<Mutex<Session>>,
}

impl Continued {
    /// All partitions of the session, in the order of their turns.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        lock(&self.session).wanted()
    }

    /// What of the answers its consumer does not know yet.
    pub(super) fn news(
        &self,
        wanted: Vec<Wanted>,
        answers: Vec<PartitionData>,
    ) -> Result<Vec<(Wanted, PartitionData)>, ResponseError> {
        let mut session = lock(&self.session);
        if session.epoch != self.epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        let answered = wanted.into_iter().zip(answers);
        Ok(answered
            .filter(|(wanted, data)| session.note(wanted, data))
            .collect())
    }
}
