//! A record as a JSON object, in both directions: `tail --json` writes it, `send --json` reads it, and nothing is lost
//! between them.
//!
//! `key` and `value` are texts or null; bytes that are not UTF-8 are `key_hex` and `value_hex` instead. `timestamp` is a
//! time in UTC with milliseconds, the milliseconds since 1970 where a calendar does not reach, or null. Headers are a list,
//! for their order counts and a name may come twice.

use std::borrow::Cow;

use anyhow::{Context, bail};
use millstream::{Header, Headers, Partition, Timestamp};
use serde::{Deserialize, Serialize};

use crate::place;
use crate::record_format::Shown;

/// The object. Of a pair of fields, such as `value` and `value_hex`, one is there.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonRecord<'a> {
    #[serde(default, borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default)]
    offset: Option<i64>,
    #[serde(default)]
    timestamp: Option<Time<'a>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    key: Option<Option<Cow<'a, str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    value: Option<Option<Cow<'a, str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_hex: Option<String>,
    #[serde(default)]
    headers: Vec<JsonHeader<'a>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonHeader<'a> {
    /// Null if the name is not UTF-8: then the client cannot read the header.
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    value: Option<Option<Cow<'a, str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_hex: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Time<'a> {
    Millis(i64),
    Text(Cow<'a, str>),
}

/// What is sent of a record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Headers,
    pub(crate) timestamp: Option<Timestamp>,
    /// Where it lay; `--keep-partition` sends it there again.
    pub(crate) partition: Option<Partition>,
}

/// A field that is there, be it null; `default` is for one that is not.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl<'a> JsonRecord<'a> {
    /// The object of `record`.
    pub(crate) fn of(record: &'a Shown) -> Self {
        let time = Timestamp::from_millis(record.timestamp);
        let (key, key_hex) = text_or_hex(record.key.as_deref());
        let (value, value_hex) = text_or_hex(record.value.as_deref());
        let header = |(name, bytes): &'a (String, Option<Vec<u8>>)| {
            let (value, value_hex) = text_or_hex(bytes.as_deref());
            JsonHeader {
                name: (!is_unreadable(name, bytes.as_deref())).then_some(Cow::Borrowed(&**name)),
                value,
                value_hex,
            }
        };
        Self {
            topic: Some(Cow::Borrowed(&record.topic)),
            partition: Some(record.partition),
            offset: Some(record.offset),
            timestamp: time.is_known().then(|| {
                place::text_of(time).map_or(Time::Millis(time.millis()), |text| {
                    Time::Text(Cow::Owned(text))
                })
            }),
            key,
            key_hex,
            value,
            value_hex,
            headers: record.headers.iter().map(header).collect(),
        }
    }
}

/// Reads the object that `line` holds.
pub(crate) fn parse(line: &[u8]) -> anyhow::Result<Draft> {
    let object: JsonRecord<'_> =
        serde_json::from_slice(line).context("not a record as `tail --json` writes it")?;
    if object.value.is_none() && object.value_hex.is_none() {
        bail!("`value` is missing; a tombstone has \"value\":null");
    }
    let mut headers = Headers::new();
    for (number, header) in (1..).zip(object.headers) {
        let Some(name) = header.name else {
            bail!(
                "header {number} has a name that is not UTF-8, which cannot be read or written; without it the copy would not be whole"
            );
        };
        let value = bytes("value", header.value, header.value_hex)
            .with_context(|| format!("header `{name}`"))?;
        headers.push(name, value);
    }
    Ok(Draft {
        key: bytes("key", object.key, object.key_hex)?,
        value: bytes("value", object.value, object.value_hex)?,
        headers,
        timestamp: object.timestamp.map(time).transpose()?,
        partition: object.partition.map(Partition),
    })
}

/// Whether a header could not be read.
fn is_unreadable(name: &str, value: Option<&[u8]>) -> bool {
    name == Header::UNREADABLE && value.is_none()
}

/// The fields of a text, or of bytes that are not UTF-8.
fn text_or_hex(bytes: Option<&[u8]>) -> (Option<Option<Cow<'_, str>>>, Option<String>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => (Some(None), None),
        Some(Ok(text)) => (Some(Some(Cow::Borrowed(text))), None),
        Some(Err(bytes)) => {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (None, Some(hex))
        }
    }
}

fn bytes(
    name: &str,
    text: Option<Option<Cow<'_, str>>>,
    hex: Option<String>,
) -> anyhow::Result<Option<Vec<u8>>> {
    match (text, hex) {
        (Some(_), Some(_)) => bail!("both `{name}` and `{name}_hex`; a record has one of them"),
        (text, None) => Ok(text.flatten().map(|text| text.into_owned().into_bytes())),
        (None, Some(hex)) => match from_hex(&hex) {
            Some(bytes) => Ok(Some(bytes)),
            None => bail!("`{name}_hex` is `{hex}`; two digits 0 to f a byte are expected"),
        },
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| u8::try_from(char::from(*byte).to_digit(16)?).ok();
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

fn time(time: Time<'_>) -> anyhow::Result<Timestamp> {
    match time {
        Time::Millis(millis) => Ok(Timestamp::from_millis(millis)),
        Time::Text(text) => match text.parse::<jiff::Timestamp>() {
            Ok(at) => Ok(Timestamp::from_millis(at.as_millisecond())),
            Err(_) => bail!("`timestamp` is `{text}`; write 2026-11-21T08:00:00.000Z"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Shown {
        Shown {
            topic: "calls".to_owned(),
            partition: 3,
            offset: 17,
            timestamp: 1_763_692_773_120,
            key: Some(b"k".to_vec()),
            value: Some(b"hello".to_vec()),
            headers: vec![
                ("a".to_owned(), Some(b"1".to_vec())),
                ("b".to_owned(), None),
            ],
        }
    }

    fn json(record: &Shown) -> String {
        serde_json::to_string(&JsonRecord::of(record)).unwrap()
    }

    #[test]
    fn texts_null_and_bytes_are_told_apart() {
        assert_eq!(
            json(&record()),
            r#"{"topic":"calls","partition":3,"offset":17,"timestamp":"2025-11-21T02:39:33.120Z","key":"k","value":"hello","headers":[{"name":"a","value":"1"},{"name":"b","value":null}]}"#
        );
        let bytes = Shown {
            key: None,
            value: Some(vec![0xff, 0x00]),
            headers: Vec::new(),
            timestamp: -1,
            ..record()
        };
        assert_eq!(
            json(&bytes),
            r#"{"topic":"calls","partition":3,"offset":17,"timestamp":null,"key":null,"value_hex":"ff00","headers":[]}"#
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let hard = Shown {
            key: Some(vec![0x80]),
            value: Some(b"\x1b[0m \"quoted\"\n".to_vec()),
            headers: vec![
                ("a".to_owned(), Some(vec![0xfe])),
                ("a".to_owned(), Some(Vec::new())),
                ("b".to_owned(), None),
            ],
            timestamp: i64::MAX,
            ..record()
        };
        let empty = Shown {
            key: Some(Vec::new()),
            value: None,
            timestamp: -1,
            headers: Vec::new(),
            ..record()
        };
        for record in [record(), hard, empty] {
            let line = crate::escape::json(json(&record));
            let mut headers = Headers::new();
            for (name, value) in &record.headers {
                headers.push(name, value.clone());
            }
            let time = Timestamp::from_millis(record.timestamp);
            let expected = Draft {
                key: record.key,
                value: record.value,
                headers,
                timestamp: time.is_known().then_some(time),
                partition: Some(Partition(3)),
            };
            assert_eq!(parse(line.as_bytes()).unwrap(), expected, "{line}");
        }
    }

    /// A copy that loses a header without a word would be no copy.
    #[test]
    fn a_header_whose_name_is_not_utf8_is_not_lost_in_a_copy() {
        let unreadable = (Header::UNREADABLE.to_owned(), None);
        let record = Shown {
            headers: vec![("a".to_owned(), None), unreadable],
            ..record()
        };
        let line = json(&record);
        assert!(line.contains(r#"{"name":null,"value":null}"#), "{line}");
        assert_eq!(
            parse(line.as_bytes()).unwrap_err().to_string(),
            "header 2 has a name that is not UTF-8, which cannot be read or written; without it the copy would not be whole"
        );
    }

    #[test]
    fn a_record_by_hand_needs_its_value_only() {
        let draft = parse(br#"{"value":"x"}"#).unwrap();
        assert_eq!((draft.key, draft.value), (None, Some(b"x".to_vec())));
        assert_eq!((draft.timestamp, draft.partition), (None, None));
    }

    #[test]
    fn what_is_not_a_record_is_refused_with_its_reason() {
        for (line, reason) in [
            (r#"{"key":"x"}"#, "`value` is missing"),
            (
                r#"{"value":"x","value_hex":"00"}"#,
                "both `value` and `value_hex`",
            ),
            (r#"{"value_hex":"0"}"#, "`value_hex` is `0`"),
            (r#"{"value_hex":"zz"}"#, "`value_hex` is `zz`"),
            (
                r#"{"value":"x","timestamp":"noon"}"#,
                "`timestamp` is `noon`",
            ),
            (r#"{"value":"x","vlaue":"y"}"#, "unknown field `vlaue`"),
            ("plain", "not a record as `tail --json` writes it"),
            (
                r#"{"value":"x","headers":[{"name":"h","value":"1","value_hex":"31"}]}"#,
                "header `h`: both",
            ),
        ] {
            let error = format!("{:#}", parse(line.as_bytes()).unwrap_err());
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
