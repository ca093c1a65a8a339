//! The one record of the system: what the sender writes and the receiver reads, as JSON.
//!
//! The four fields and their spelling are the contract with programs in other languages on the same topic:
//! `{"id": "<uuid v4>", "content": "..", "timestamp": "2026-11-21T02:39:33.120Z", "counter": 42}`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One message, as it stands in the topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// A version 4 UUID, new for every message; it is also the key, so that messages spread over the partitions.
    pub id: Uuid,
    /// The text.
    pub content: String,
    /// When the sender made the message; in the topic as ISO 8601, UTC, milliseconds, `Z`.
    #[serde(with = "iso_milliseconds")]
    pub timestamp: Timestamp,
    /// 1, 2, 3, .. in each run of a sender.
    pub counter: u64,
}

impl Message {
    /// The message number `counter`, made at `now`.
    #[must_use]
    pub fn new(counter: u64, now: Timestamp) -> Self {
        Self {
            id: Uuid::new_v4(),
            content: format!("Hello from Rust sender! Message #{counter}"),
            timestamp: now,
            counter,
        }
    }

    /// How long the message was on its way at `now`: zero when the sender's clock is ahead of ours.
    #[must_use]
    pub fn latency(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.timestamp)).unwrap_or(Duration::ZERO)
    }
}

/// A timestamp as `2026-11-21T02:39:33.120Z`; any ISO 8601 instant with an offset is accepted on the way in.
mod iso_milliseconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{at:.3}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_message_has_exactly_the_four_fields_of_the_contract() {
        let id: Uuid = "5f0c5a0e-30c6-4d3c-9d3a-2f5f1c1d9b11".parse().unwrap();
        let message = Message {
            id,
            ..Message::new(42, at("2026-11-21T02:39:33.1209Z"))
        };
        let json = serde_json::to_string(&message).unwrap();
        assert_eq!(
            json,
            "{\"id\":\"5f0c5a0e-30c6-4d3c-9d3a-2f5f1c1d9b11\",\"content\":\"Hello from Rust sender! Message #42\",\
             \"timestamp\":\"2026-11-21T02:39:33.120Z\",\"counter\":42}"
        );
        let back: Message = serde_json::from_str(&json).unwrap();
        assert_eq!(back.timestamp, at("2026-11-21T02:39:33.120Z"));
        assert_eq!(back.counter, 42);
    }

    #[test]
    fn ids_are_version_4_and_differ() {
        let (a, b) = (
            Message::new(1, Timestamp::UNIX_EPOCH),
            Message::new(1, Timestamp::UNIX_EPOCH),
        );
        assert_eq!(a.id.get_version_num(), 4);
        assert_ne!(a.id, b.id);
    }

    #[test]
    fn whole_seconds_keep_their_three_digits() {
        let json = serde_json::to_value(Message::new(1, at("2026-11-21T02:39:33Z"))).unwrap();
        assert_eq!(json["timestamp"], "2026-11-21T02:39:33.000Z");
    }

    /// Fault 34: a clock that is ahead gives no negative latency.
    #[test]
    fn latency_is_never_negative() {
        let message = Message::new(1, at("2026-11-21T02:39:33.500Z"));
        assert_eq!(
            message.latency(at("2026-11-21T02:39:33.750Z")),
            Duration::from_millis(250)
        );
        assert_eq!(
            message.latency(at("2026-11-21T02:39:33.000Z")),
            Duration::ZERO
        );
    }

    #[test]
    fn a_local_offset_is_read_as_the_instant_it_names() {
        let json = r#"{"id":"5f0c5a0e-30c6-4d3c-9d3a-2f5f1c1d9b11","content":"","timestamp":"2026-11-21T03:39:33+01:00","counter":1}"#;
        let message: Message = serde_json::from_str(json).unwrap();
        assert_eq!(message.timestamp, at("2026-11-21T02:39:33Z"));
    }
}
