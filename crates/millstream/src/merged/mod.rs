//! Several topics as one stream of records, for programs that show or copy them: no group, no commits, bytes as they are.
//!
//! What lies in the topics when reading begins comes in the order of its time: all partitions are merged, each in the order
//! of its offsets. What is written afterwards comes as it arrives. Memory is bounded by a few megabytes a partition, however
//! much there is to read; [`Since::Last`] remembers 32 bytes of each record it looks for.

mod last;
mod merge;
mod span;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use last::{Found, LastRecords};
use merge::Merge;
use span::Span;

use crate::config::Cluster;
use crate::error::Error;
use crate::log::Message;
use crate::log::kafka::growth::Growth;
use crate::log::kafka::reader::{Found as Polled, PartitionReader};
use crate::reader::{Since, Until};
use crate::record::{Position, Record};
use crate::topic::{Partition, TopicSpec};

/// How long a question to the cluster may take when reading begins. Default of [`Plan::patience`].
const PATIENCE: Duration = Duration::from_secs(10);
/// How much further back each look for the last records goes when gaps hid some of them.
const WIDER: i64 = 4;
/// How many records such a look takes before its caller can do something else.
const BURST: usize = 1_000;

/// A record whose key and value are bytes, or null.
pub type RawRecord = Record<'static, Option<Vec<u8>>, Option<Vec<u8>>>;

/// What is to be read; made by [`MergedReader::of`].
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `open`"]
pub struct Plan {
    topics: Vec<String>,
    since: Since,
    until: Until,
    partitions: Option<Vec<Partition>>,
    patience: Duration,
}

impl Plan {
    /// Where to begin. Default: the earliest record. [`Since::Last`] counts over all partitions here: the latest records by
    /// their time.
    pub fn since(mut self, since: Since) -> Self {
        self.since = since;
        self
    }

    /// Where to end. Default: never.
    pub fn until(mut self, until: Until) -> Self {
        self.until = until;
        self
    }

    /// Only these partitions of each topic. Default: all; without an [end](Self::until) also those that are added later, from their
    /// first record. They are looked for each 30 s, or as the property `topic.metadata.refresh.interval.ms` says.
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = Partition>) -> Self {
        self.partitions = Some(partitions.into_iter().collect());
        self
    }

    /// How long each question to the cluster may take while opening. Default: 10 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks the cluster for the positions and begins.
    ///
    /// # Errors
    /// A topic or a partition does not exist, an offset is out of range, or the cluster does not answer.
    pub fn open(self, cluster: &Cluster) -> Result<MergedReader, Error> {
        for topic in &self.topics {
            TopicSpec::named(topic).validate()?;
        }
        let name = self.topics.join(", ");
        let client = PartitionReader::open(cluster, &name, self.patience)?;
        let spans = span::resolve(&client, &self)?;
        let mut reader = MergedReader {
            cluster: cluster.clone(),
            patience: self.patience,
            name,
            names: self
                .topics
                .iter()
                .map(|topic| topic.as_str().into())
                .collect(),
            spans,
            follows: self.until == Until::Forever,
            all: self.partitions.is_none(),
            stage: Stage::Ended,
        };
        reader.stage = match self.since {
            Since::Last(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let width = i64::try_from(count).unwrap_or(i64::MAX);
                reader.look_back(count, width)?
            }
            _ => Stage::Merging(reader.merge()?),
        };
        Ok(reader)
    }
}

/// Reads several topics outside of any group.
///
/// ```no_run
/// use std::time::Duration;
/// use millstream::Cluster;
/// use millstream::merged::{MergedReader, Next};
/// use millstream::reader::{Since, Until};
///
/// let plan = MergedReader::of(["orders", "payments"]).since(Since::Last(10)).until(Until::End);
/// let mut reader = plan.open(&Cluster::new("127.0.0.1:9092"))?;
/// loop {
///     match reader.poll(Duration::from_secs(1))? {
///         Next::Record(record) => println!("{} {:?}", record.position, record.value),
///         Next::Nothing => {}
///         Next::End => break,
///     }
/// }
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct MergedReader {
    cluster: Cluster,
    patience: Duration,
    /// The topics, for error texts.
    name: String,
    names: Vec<Arc<str>>,
    spans: Vec<Span>,
    follows: bool,
    /// Whether all partitions are read, also those that are added.
    all: bool,
    stage: Stage,
}

/// What is being read.
enum Stage {
    /// The last records, up to the end.
    LookingBack(LookBack),
    /// The last records, found.
    Giving(VecDeque<RawRecord>),
    /// What lay in the topics when reading began.
    Merging(Merge),
    /// What came since.
    Following(PartitionReader, Option<Growth>),
    Ended,
}

/// A look for the last `count` records.
struct LookBack {
    count: usize,
    width: i64,
    merge: Merge,
    last: LastRecords,
}

impl LookBack {
    /// Looks at what comes within `wait`, at a few records at a time; whether all is seen.
    fn go_on(&mut self, wait: Duration) -> Result<bool, Error> {
        for _ in 0..BURST {
            match self.merge.next(wait)? {
                Some(record) => self.last.push(record),
                None => return Ok(self.merge.is_done()),
            }
        }
        Ok(false)
    }
}

/// What a poll gave.
#[derive(Debug)]
#[must_use]
pub enum Next {
    /// The next record.
    Record(RawRecord),
    /// No record came in time.
    Nothing,
    /// Every partition was read to its end; nothing more will come.
    End,
}

impl MergedReader {
    /// Plans to read all partitions of `topics`, from the earliest record, without end.
    pub fn of<T: Into<String>>(topics: impl IntoIterator<Item = T>) -> Plan {
        Plan {
            topics: topics.into_iter().map(Into::into).collect(),
            since: Since::Earliest,
            until: Until::Forever,
            partitions: None,
            patience: PATIENCE,
        }
    }

    /// Waits up to `wait` for the next record; longer while the last records are looked for or added partitions, but for no more than
    /// a second or a thousand records. A broker that is away shows as [`Next::Nothing`].
    ///
    /// # Errors
    /// What does not pass by itself: no permission, a position that retention has overtaken, a topic deleted.
    pub fn poll(&mut self, wait: Duration) -> Result<Next, Error> {
        loop {
            let record = match &mut self.stage {
                Stage::LookingBack(look) => {
                    if !look.go_on(wait)? {
                        return Ok(Next::Nothing);
                    }
                    self.stage = self.looked_back()?;
                    continue;
                }
                Stage::Giving(kept) => kept.pop_front(),
                Stage::Merging(merge) => match merge.next(wait)? {
                    None if !merge.is_done() => return Ok(Next::Nothing),
                    record => record,
                },
                Stage::Following(client, growth) => {
                    if let Some(growth) = growth {
                        growth.look(client)?;
                    }
                    return Ok(match client.poll(wait)? {
                        Polled::Record(message) => Next::Record(raw(&self.names, &message)),
                        Polled::End(_) | Polled::Nothing => Next::Nothing,
                    });
                }
                Stage::Ended => return Ok(Next::End),
            };
            match record {
                Some(record) => return Ok(Next::Record(record)),
                None => self.stage = self.after_the_past()?,
            }
        }
    }

    /// Reads all spans.
    fn merge(&self) -> Result<Merge, Error> {
        Merge::open(&self.cluster, &self.name, self.patience, &self.spans)
    }

    /// Reads the last `width` offsets of each span.
    fn look_back(&mut self, count: usize, width: i64) -> Result<Stage, Error> {
        for span in &mut self.spans {
            span.begin_before_stop(width);
        }
        Ok(Stage::LookingBack(LookBack {
            count,
            width,
            merge: self.merge()?,
            last: LastRecords::new(count),
        }))
    }

    /// After a look back: what it found, or a wider one where compaction or transactions have left gaps.
    fn looked_back(&mut self) -> Result<Stage, Error> {
        let Stage::LookingBack(look) = std::mem::replace(&mut self.stage, Stage::Ended) else {
            return Ok(Stage::Ended);
        };
        let is_complete =
            |span: &Span| span.is_whole() || look.merge.read_of(&span.partition) >= look.count;
        if look.count == 0 || self.spans.iter().all(is_complete) {
            return match look.last.found() {
                Found::Records(records) => Ok(Stage::Giving(records)),
                Found::Begins(begins) => {
                    for span in &mut self.spans {
                        let begin = begins.get(&span.partition).copied();
                        span.begin = begin.unwrap_or(span.stop);
                    }
                    Ok(Stage::Merging(self.merge()?))
                }
            };
        }
        self.look_back(look.count, look.width.saturating_mul(WIDER))
    }

    /// When everything that was there is read: follow what comes, or end.
    fn after_the_past(&self) -> Result<Stage, Error> {
        if !self.follows {
            return Ok(Stage::Ended);
        }
        let client = PartitionReader::open(&self.cluster, &self.name, self.patience)?;
        let ends = self.spans.iter();
        client.start(
            &ends
                .map(|span| (span.partition.clone(), span.stop))
                .collect(),
        )?;
        let known = self.spans.iter().map(|span| span.partition.clone());
        let growth = self.all.then(|| Growth::of(self.names.clone(), known));
        Ok(Stage::Following(client, growth))
    }
}

impl fmt::Debug for MergedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergedReader")
            .field("topics", &self.names)
            .field("spans", &self.spans)
            .finish_non_exhaustive()
    }
}

/// A copy of `message`, its topic's name taken from `names` where it is there.
fn raw(names: &[Arc<str>], message: &impl Message) -> RawRecord {
    let topic = names.iter().find(|name| ***name == *message.topic());
    let position = Position {
        topic: topic.map_or_else(|| message.topic().into(), Arc::clone),
        partition: message.partition(),
        offset: message.offset(),
    };
    Record::new(
        message.key().map(<[u8]>::to_vec),
        message.value().map(<[u8]>::to_vec),
        message.headers(),
        message.timestamp(),
        position,
    )
}
