//! What a fetch brought: records that are kept, leaders that have moved, positions that are out of range.
//!
//! An answer counts only for partitions that were neither sought nor assigned anew since it was asked for.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::position::{Fetch, Position, Reading};
use super::{Fetcher, Place};
use crate::clock::Time;
use crate::cluster::{Cluster, Leader};
use crate::error::Error;
use crate::exchange::Node;
use crate::wire::Malformed;
use crate::wire::fetched::{Fetched, FetchedPartition};

impl Fetcher {
    pub(super) fn fetched(
        &mut self,
        (node, asked): (Node, &[(Place, u64)]),
        fetched: Fetched,
        now: Time,
        cluster: &mut Cluster,
    ) {
        let quiet = u64::try_from(fetched.throttle_ms).unwrap_or(0);
        if quiet > 0
            && let Some(broker) = self.brokers.get_mut(&node)
        {
            broker.quiet_until = now + Duration::from_millis(quiet);
        }
        if let Some(code) = ResponseError::try_from_code(fetched.error) {
            // The broker has thrown the session away: it begins anew at once. Other errors get a pause.
            self.forget_session(node);
            let gone = matches!(
                code,
                ResponseError::FetchSessionIdNotFound | ResponseError::InvalidFetchSessionEpoch
            );
            let broker = self.brokers.get_mut(&node);
            let at_once =
                gone && broker.is_some_and(|one| !std::mem::replace(&mut one.forgot, true));
            for (place, generation) in asked.iter().filter(|_| !at_once) {
                self.again(*place, *generation, now);
            }
            return;
        }
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.forgot = false;
            broker.session.answered(fetched.session_id);
        }
        for partition in fetched.partitions {
            let place = cluster
                .find(&partition.topic)
                .map(|one| (one, partition.partition));
            let found = asked.iter().find(|(one, _)| Some(*one) == place);
            if let Some((place, generation)) = found {
                self.fetched_one(*place, *generation, partition, now, cluster);
            }
        }
    }

    fn fetched_one(
        &mut self,
        place: Place,
        generation: u64,
        fetched: FetchedPartition,
        now: Time,
        cluster: &mut Cluster,
    ) {
        let Some(reading) = self.still(place, generation) else {
            return;
        };
        match ResponseError::try_from_code(fetched.error) {
            None => {
                reading.attempts = 0;
                reading.high_watermark = fetched.high_watermark;
                let paused = reading.paused;
                match reading.keep(fetched) {
                    Ok(true) if !paused => self.make_ready(place),
                    Ok(_) => {}
                    Err(source) => {
                        let error = Error::Records {
                            topic: cluster.name(place.0).to_owned(),
                            partition: place.1,
                            offset: reading.ahead.offset,
                            source,
                        };
                        self.halt(place, error);
                    }
                }
            }
            Some(ResponseError::OffsetOutOfRange) => {
                // What was fetched before is still good; by how much the position is off is asked when it is taken.
                if reading.buffered == 0 {
                    self.out_of_range(place, cluster);
                } else {
                    self.again(place, generation, now);
                }
            }
            // A log that is damaged is damaged the next time as well; what a broker cannot name may be gone then.
            Some(code)
                if code == ResponseError::UnknownServerError
                    || code.is_retriable() && code != ResponseError::CorruptMessage =>
            {
                if let Some((node, epoch)) = fetched.leader {
                    cluster.moved(place.0, place.1, Leader { node, epoch });
                }
                cluster.stale(now);
                self.again(place, generation, now);
            }
            Some(code) => {
                let place_name = format!("{}/{}", cluster.name(place.0), place.1);
                let error = Error::Broker {
                    api: "Fetch",
                    place: place_name,
                    code,
                };
                self.halt(place, error);
            }
        }
    }
}

impl Reading {
    /// Keeps what was fetched; whether there is something to take. Records that do not reach the offset that was asked for are damage: asked for again they would come again.
    fn keep(&mut self, fetched: FetchedPartition) -> Result<bool, Malformed> {
        if fetched.records.is_empty() {
            return Ok(false);
        }
        let ahead = last(&fetched.records).ok_or(Malformed::Short)?;
        if ahead.offset <= self.ahead.offset {
            return Err(Malformed::Behind);
        }
        self.ahead = ahead;
        self.buffered += fetched.records.len();
        let mut aborted: Vec<_> = fetched
            .aborted
            .iter()
            .map(|(producer, first)| (*first, *producer))
            .collect();
        aborted.sort_unstable_by(|one, other| other.cmp(one));
        self.fetched.push_back(Fetch {
            records: fetched.records,
            aborted,
            started: false,
        });
        Ok(true)
    }
}

/// Where reading goes on after these batches, read from their headers only. Damaged ones are found when they are taken.
fn last(records: &Bytes) -> Option<Position> {
    let mut rest: &[u8] = records;
    let mut last = None;
    while let Some(header) = rest.get(..61) {
        let field = |from: usize| {
            header
                .get(from..)
                .and_then(|field| field.first_chunk::<4>())
        };
        let base = i64::from_be_bytes(*header.first_chunk()?);
        let size = usize::try_from(i32::from_be_bytes(*field(8)?)).ok()?;
        let delta = i32::from_be_bytes(*field(23)?);
        let Some(after) = rest.get(size.saturating_add(12)..) else {
            break;
        };
        last = Some(Position {
            offset: base.checked_add(i64::from(delta))?.checked_add(1)?,
            epoch: i32::from_be_bytes(*field(12)?),
        });
        rest = after;
    }
    // A batch that is damaged in its first bytes must still be found.
    last.or_else(|| {
        (records.len() >= 61).then_some(Position {
            offset: i64::MAX,
            epoch: -1,
        })
    })
}
