//! What is read of each partition before new records are followed: from a position up to a stop.
//!
//! Positions are resolved once, when reading begins, with one question per kind of offset for all partitions of all topics.
//! A stop never lies behind what was the end then, so that reading up to it ends by itself.

use std::sync::Arc;

use super::Plan;
use crate::error::Error;
use crate::log::kafka::offsets::{ByPartition, Which};
use crate::log::kafka::reader::PartitionReader;
use crate::reader::{Since, Until};
use crate::topic::{NextOffset, TopicPartition};

/// The part of a partition that is read first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) partition: TopicPartition,
    /// The first offset that is there.
    pub(super) start: NextOffset,
    /// Where reading begins.
    pub(super) begin: NextOffset,
    /// Where it stops.
    pub(super) stop: NextOffset,
}

impl Span {
    /// Begins `width` offsets before the stop, as far as they are there.
    pub(super) fn begin_before_stop(&mut self, width: i64) {
        let back = NextOffset::new(self.stop.get().saturating_sub(width));
        self.begin = back.max(self.start);
    }

    /// Whether it begins at the first offset that is there.
    pub(super) fn is_whole(&self) -> bool {
        self.begin <= self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begin >= self.stop
    }
}

/// The spans of all partitions that `plan` names, in order.
pub(super) fn resolve(client: &PartitionReader, plan: &Plan) -> Result<Vec<Span>, Error> {
    let partitions = chosen(client, plan)?;
    let starts = client.offsets(&partitions, Which::Start)?;
    let ends = client.offsets(&partitions, Which::End)?;
    let begins = match plan.since {
        Since::Time(time) => client.offsets(&partitions, Which::Time(time))?,
        _ => ByPartition::new(),
    };
    let stops = match plan.until {
        Until::Time(time) => client.offsets(&partitions, Which::Time(time))?,
        _ => ByPartition::new(),
    };
    let span = |((partition, start), end): ((TopicPartition, NextOffset), NextOffset)| {
        let at = |offsets: &ByPartition| offsets.get(&partition).copied();
        let end = end.max(start);
        let stop = match plan.until {
            Until::Forever | Until::End => end,
            Until::Offset(offset) => offset.clamp(start, end),
            Until::Time(_) => at(&stops).unwrap_or(end).clamp(start, end),
        };
        let begin = match plan.since {
            // The last records are looked for from the stop back.
            Since::Earliest | Since::Last(_) => start,
            Since::End => end,
            Since::Time(_) => at(&begins).unwrap_or(end),
            Since::Offset(wanted) if wanted < start || wanted > end => {
                return Err(Error::InvalidPosition {
                    partition,
                    wanted,
                    start,
                    end,
                });
            }
            Since::Offset(offset) => offset,
        };
        Ok(Span {
            partition,
            start,
            begin,
            stop,
        })
    };
    starts
        .into_iter()
        .zip(ends.into_values())
        .map(span)
        .collect()
}

fn chosen(client: &PartitionReader, plan: &Plan) -> Result<Vec<TopicPartition>, Error> {
    let mut chosen = Vec::new();
    for topic in &plan.topics {
        let name: Arc<str> = topic.as_str().into();
        let all = client.partitions_of(topic)?;
        let wanted = plan.partitions.as_ref().unwrap_or(&all);
        if let Some(missing) = wanted.iter().find(|partition| !all.contains(partition)) {
            return Err(Error::InvalidTopic {
                topic: topic.clone(),
                reason: format!("it has no partition {missing}, only 0 to {}", all.len() - 1),
            });
        }
        let named = |&partition| TopicPartition::new(name.clone(), partition);
        chosen.extend(wanted.iter().map(named));
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}
