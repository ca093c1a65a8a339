//! Dead letters: what is written to `<topic>.dlq`, and how many may be.
//!
//! A dead letter is the record's own key, value and headers, untouched, with headers that tell why it is here and where
//! it came from (`crate::dead_letter` reads them). It is an effect like any other: the input is committed after the dead letter is acknowledged. A bad
//! deployment must not drain a topic into its dead letters, so their share of the latest records is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::context::Extras;
use crate::dead_letter::{ATTEMPTS, ERROR, OFFSET, PARTITION, REASON, SERVICE, TIMESTAMP, TOPIC};
use crate::log::Message;
use crate::record::Headers;
use crate::topic::{NextOffset, Offset, Partition};

use super::failure::Failure;

/// The headers of a dead letter: the record's own, then ours.
pub(crate) fn extras(
    service: &Arc<str>,
    message: &dyn Message,
    failure: &Failure,
    attempts: u32,
) -> Extras {
    let headers = headers(message)
        .with(REASON, failure.reason.as_str())
        .with(ERROR, failure.text.as_str())
        .with(SERVICE, service.as_bytes())
        .with(TOPIC, message.topic())
        .with(PARTITION, message.partition().to_string())
        .with(OFFSET, message.offset().to_string())
        .with(TIMESTAMP, message.timestamp().millis().to_string())
        .with(ATTEMPTS, attempts.to_string());
    Extras {
        headers,
        timestamp: None,
        partition: None,
    }
}

/// The record's own headers; none when they cannot be read at all, which must not keep the record from its dead letter.
pub(crate) fn headers(message: &dyn Message) -> Headers {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| message.headers()));
    read.unwrap_or_default()
}

/// The share of the latest records that were dead letters.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) seen: u64,
    pub(crate) dead: u64,
    /// The records counted as dead that are not known to be done: a replay, or the next assignment, brings them again.
    counted: BTreeMap<Partition, BTreeSet<Offset>>,
}

/// So many dead letters are always let pass: a share says nothing about a handful.
const FREE: u64 = 10;

/// Both counts are halved at this many records, so that the share follows the present.
const WINDOW: u64 = 10_000;

impl Share {
    /// Records were processed.
    pub(crate) const fn saw(&mut self, records: u64) {
        self.seen += records;
        if self.seen >= WINDOW {
            self.seen /= 2;
            self.dead /= 2;
        }
    }

    /// A record is to be dead-lettered: whether it was not before. What is done up to `watermark` does not come again.
    pub(crate) fn is_first(
        &mut self,
        partition: Partition,
        offset: Offset,
        watermark: Option<NextOffset>,
    ) -> bool {
        let counted = self.counted.entry(partition).or_default();
        if let Some(next) = watermark {
            *counted = counted.split_off(&Offset::new(next.get()));
        }
        counted.insert(offset)
    }

    /// The offsets of a partition may belong to other records now.
    pub(crate) fn forget(&mut self, partition: Partition) {
        self.counted.remove(&partition);
    }

    /// One more is to be dead-lettered: whether that is still within `limit`. The count is taken either way.
    pub(crate) fn admits(&mut self, limit: f64) -> bool {
        self.dead += 1;
        #[expect(clippy::cast_precision_loss, reason = "both are under 20,000")]
        let within = self.dead as f64 <= limit * self.seen as f64;
        within || self.dead <= FREE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handful_passes_and_a_flood_does_not() {
        let mut share = Share::default();
        let mut passed = 0;
        for _ in 0..100 {
            share.saw(1);
            if !share.admits(0.1) {
                break;
            }
            passed += 1;
        }
        assert_eq!(passed, 10);
    }

    #[test]
    fn a_steady_small_share_passes_for_ever() {
        let mut share = Share::default();
        for record in 0..1_000_000_u32 {
            share.saw(1);
            if record % 20 == 0 {
                assert!(share.admits(0.1), "record {record}: {share:?}");
            }
        }
    }

    #[test]
    fn a_flood_after_a_long_calm_is_stopped_within_the_window() {
        let mut share = Share::default();
        for _ in 0..1_000_000 {
            share.saw(1);
        }
        let flood = (0..10_000).take_while(|_| {
            share.saw(1);
            share.admits(0.1)
        });
        assert!(flood.count() < 1_200);
    }
}
