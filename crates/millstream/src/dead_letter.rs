//! Dead letters as they are read: why a record could not be processed, where it was, and its bytes.
//!
//! A dead letter is the record's own key, value and headers, untouched, with further headers that say why it is here and
//! where it came from. They are written by `worker/dead_letter`; here are their names and the type that reads them.

use std::fmt;
use std::sync::Arc;

use crate::codec::CodecError;
use crate::record::{Headers, OwnedRecord, Position, Record, Timestamp};
use crate::topic::{Offset, Partition, Topic};

/// Why: `decode`, `process`, `panic` or `refused`.
pub const REASON: &str = "millstream-dlq-reason";
/// The error's text.
pub const ERROR: &str = "millstream-dlq-error";
/// The service that could not process it.
pub const SERVICE: &str = "millstream-dlq-service";
/// The topic it was read from.
pub const TOPIC: &str = "millstream-dlq-topic";
/// The partition it was read from.
pub const PARTITION: &str = "millstream-dlq-partition";
/// Its offset there.
pub const OFFSET: &str = "millstream-dlq-offset";
/// Its time there, in milliseconds since 1970.
pub const TIMESTAMP: &str = "millstream-dlq-timestamp";
/// How often it was tried.
pub const ATTEMPTS: &str = "millstream-dlq-attempts";

/// The bytes of a key or a value; `None` is null.
pub type Bytes = Option<Vec<u8>>;

/// A record that could not be processed, read from the [dead-letter topic](Topic::dead_letters) of its input.
///
/// ```no_run
/// use millstream::codec::{Json, Text};
/// use millstream::reader::{Reader, Until};
/// use millstream::{Cluster, DeadLetter, Topic};
///
/// static ORDERS: Topic<String, f64> = Topic::new("orders", &Text, &Json);
///
/// let cluster = Cluster::new("kafka:9092");
/// for record in Reader::of(&ORDERS.dead_letters()).until(Until::End).open(&cluster)? {
///     let letter = DeadLetter::of(record?)?;
///     println!("{}: {} ({})", letter.origin, letter.error, letter.reason);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// What went wrong.
    pub reason: Reason,
    /// The error's text.
    pub error: String,
    /// The service that could not process it.
    pub service: String,
    /// Where the record was read.
    pub origin: Position,
    /// The record's time there.
    pub timestamp: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// The key's bytes, as they were.
    pub key: Bytes,
    /// The value's bytes, as they were.
    pub value: Bytes,
    /// The headers, as they were.
    pub headers: Headers,
}

/// What went wrong with a record that is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Its bytes are not what the topic's codecs read.
    Decode,
    /// The handler returned an error.
    Process,
    /// The handler or a codec panicked.
    Panic,
    /// The cluster refused what the handler emitted, for good.
    Refused,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Decode, Self::Process, Self::Panic, Self::Refused];

    /// As it is written in headers and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Process => "process",
            Self::Panic => "panic",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that is no dead letter: a header is missing or not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position} is not a dead letter: header `{header}` is missing or not valid")]
pub struct NotADeadLetter {
    /// Where it lies.
    pub position: Position,
    /// The header.
    pub header: &'static str,
}

impl DeadLetter {
    /// What a record of a dead-letter topic says.
    ///
    /// # Errors
    /// One of our headers is missing or cannot be read: something else has written to the topic.
    pub fn of(record: Record<'_, Bytes, Bytes>) -> Result<Self, NotADeadLetter> {
        let record = record.into_owned();
        let headers = record.headers();
        let position = &record.position;
        let invalid = |header| NotADeadLetter {
            position: position.clone(),
            header,
        };
        let text = |header| {
            let bytes = headers.get(header).ok_or_else(|| invalid(header))?;
            std::str::from_utf8(bytes).map_err(|_| invalid(header))
        };
        let reason = text(REASON)?;
        let mut reasons = Reason::ALL.into_iter();
        let reason = reasons.find(|known| known.as_str() == reason);
        Ok(Self {
            reason: reason.ok_or_else(|| invalid(REASON))?,
            error: text(ERROR)?.to_owned(),
            service: text(SERVICE)?.to_owned(),
            origin: Position {
                topic: Arc::from(text(TOPIC)?),
                partition: Partition(number(text(PARTITION)?).ok_or_else(|| invalid(PARTITION))?),
                offset: Offset::new(number(text(OFFSET)?).ok_or_else(|| invalid(OFFSET))?),
            },
            timestamp: Timestamp::from_millis(
                number(text(TIMESTAMP)?).ok_or_else(|| invalid(TIMESTAMP))?,
            ),
            attempts: number(text(ATTEMPTS)?).ok_or_else(|| invalid(ATTEMPTS))?,
            headers: originals(&headers),
            key: record.key.clone(),
            value: record.value.clone(),
        })
    }

    /// The record as it was, decoded by the topic it was read from: to be looked at, or sent once more.
    ///
    /// # Errors
    /// The bytes are not what the topic's codecs read, as with every dead letter whose reason is [`Reason::Decode`].
    pub fn decode<K, V>(&self, topic: &Topic<K, V>) -> Result<OwnedRecord<K, V>, CodecError> {
        let key = topic.key_codec().decode(self.key.as_deref())?;
        let value = topic.value_codec().decode(self.value.as_deref())?;
        let (headers, origin) = (self.headers.clone(), self.origin.clone());
        Ok(Record::new(key, value, headers, self.timestamp, origin))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The headers that the record had before ours were added: ours are the last eight. A dead letter of a dead letter keeps
/// the first ones.
fn originals(headers: &Headers) -> Headers {
    let own = headers.len().saturating_sub(8);
    headers.iter().take(own).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Json, Text};

    static ORDERS: Topic<String, u32> = Topic::new("orders", &Text, &Json);

    fn letter(headers: Headers) -> Record<'static, Bytes, Bytes> {
        let position = Position {
            topic: "orders.dlq".into(),
            partition: Partition(0),
            offset: Offset::new(3),
        };
        let (key, value) = (Some(b"ann".to_vec()), Some(b"7".to_vec()));
        Record::new(key, value, headers, Timestamp::from_millis(9), position)
    }

    fn headers() -> Headers {
        Headers::new()
            .with("trace", "1")
            .with(REASON, "process")
            .with(ERROR, "no stock")
            .with(SERVICE, "shipping")
            .with(TOPIC, "orders")
            .with(PARTITION, "2")
            .with(OFFSET, "41")
            .with(TIMESTAMP, "8")
            .with(ATTEMPTS, "4")
    }

    #[test]
    fn a_dead_letter_says_why_and_where_and_gives_the_record_back() {
        let dead = DeadLetter::of(letter(headers())).unwrap();
        assert_eq!((dead.reason, dead.attempts), (Reason::Process, 4));
        assert_eq!(dead.error, "no stock");
        assert_eq!(dead.origin.to_string(), "orders[2]@41");
        let order = dead.decode(&ORDERS).unwrap();
        assert_eq!((order.key.as_str(), order.value), ("ann", 7));
        assert_eq!(*order.headers(), Headers::new().with("trace", "1"));
        assert_eq!(order.timestamp, Timestamp::from_millis(8));
    }

    #[test]
    fn what_is_no_dead_letter_is_refused_with_the_header_named() {
        let error = DeadLetter::of(letter(headers().with(OFFSET, "far"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "orders.dlq[0]@3 is not a dead letter: header `millstream-dlq-offset` is missing or not valid"
        );
        let error = DeadLetter::of(letter(Headers::new())).unwrap_err();
        assert_eq!(error.header, REASON);
    }
}
