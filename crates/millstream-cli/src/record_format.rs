//! How `tail` shows a record: a format in the manner of `kcat -f`, or one JSON object.
//!
//! The bytes are never hidden: text output writes them as they are, JSON tells bytes that are not UTF-8 in hex, and
//! null, empty and absent stay three different things.

use std::io::{self, Write};

use anyhow::bail;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// One record, with its bytes as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    Key,
    KeyLength,
    Value,
    ValueLength,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

impl Format {
    /// The value on a line of its own.
    pub(crate) fn value_lines() -> Self {
        Self(vec![Token::Value, Token::Literal(b"\n".to_vec())])
    }

    /// Reads a format: `%s %k %S %K %t %p %o %T %h %%` and the escapes `\n \t \r \0 \\`, as kcat has them.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut tokens = Vec::new();
        let mut literal = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => literal.push(escaped(characters.next())?),
                '%' => match directive(characters.next())? {
                    None => literal.push(b'%'),
                    Some(token) => {
                        if !literal.is_empty() {
                            tokens.push(Token::Literal(std::mem::take(&mut literal)));
                        }
                        tokens.push(token);
                    }
                },
                other => literal.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            tokens.push(Token::Literal(literal));
        }
        Ok(Self(tokens))
    }

    /// Writes `record` in this format.
    pub(crate) fn write(&self, record: &Shown, out: &mut Vec<u8>) -> io::Result<()> {
        for token in &self.0 {
            match token {
                Token::Literal(bytes) => out.extend(bytes),
                Token::Key => out.extend(record.key.as_deref().unwrap_or_default()),
                Token::Value => out.extend(record.value.as_deref().unwrap_or_default()),
                Token::KeyLength => write!(out, "{}", length(record.key.as_ref()))?,
                Token::ValueLength => write!(out, "{}", length(record.value.as_ref()))?,
                Token::Topic => out.extend(record.topic.as_bytes()),
                Token::Partition => write!(out, "{}", record.partition)?,
                Token::Offset => write!(out, "{}", record.offset)?,
                Token::Timestamp => write!(out, "{}", record.timestamp)?,
                Token::Headers => write_headers(&record.headers, out),
            }
        }
        Ok(())
    }
}

/// Kafka's way: -1 for null.
fn length(bytes: Option<&Vec<u8>>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

fn write_headers(headers: &[(String, Option<Vec<u8>>)], out: &mut Vec<u8>) {
    for (position, (name, value)) in headers.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend(name.as_bytes());
        out.push(b'=');
        out.extend(value.as_deref().unwrap_or(b"NULL"));
    }
}

fn directive(letter: Option<char>) -> anyhow::Result<Option<Token>> {
    Ok(Some(match letter {
        Some('%') => return Ok(None),
        Some('s') => Token::Value,
        Some('S') => Token::ValueLength,
        Some('k') => Token::Key,
        Some('K') => Token::KeyLength,
        Some('t') => Token::Topic,
        Some('p') => Token::Partition,
        Some('o') => Token::Offset,
        Some('T') => Token::Timestamp,
        Some('h') => Token::Headers,
        Some(other) => {
            bail!("unknown `%{other}` in the format; there are %s %S %k %K %t %p %o %T %h %%")
        }
        None => bail!("the format ends in a single %; write %% for the sign itself"),
    }))
}

fn escaped(letter: Option<char>) -> anyhow::Result<u8> {
    Ok(match letter {
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('r') => b'\r',
        Some('0') => 0,
        Some('\\') => b'\\',
        Some(other) => bail!("unknown `\\{other}` in the format; there are \\n \\t \\r \\0 \\\\"),
        None => bail!("the format ends in a single \\; write \\\\ for the sign itself"),
    })
}

impl Shown {
    /// The record as a JSON object: `key` and `value` are texts or null, or `key_hex` and `value_hex`.
    pub(crate) fn to_json(&self) -> impl Serialize {
        let mut object = Map::new();
        let timestamp = jiff::Timestamp::from_millisecond(self.timestamp)
            .map_or_else(|_| json!(self.timestamp), |at| json!(format!("{at:.3}")));
        object.insert("topic".to_owned(), json!(self.topic));
        object.insert("partition".to_owned(), json!(self.partition));
        object.insert("offset".to_owned(), json!(self.offset));
        object.insert("timestamp".to_owned(), timestamp);
        insert(&mut object, "key", self.key.as_deref());
        insert(&mut object, "value", self.value.as_deref());
        let header = |(name, value): &(String, Option<Vec<u8>>)| {
            let mut object = Map::from_iter([("name".to_owned(), json!(name))]);
            insert(&mut object, "value", value.as_deref());
            Value::Object(object)
        };
        object.insert(
            "headers".to_owned(),
            self.headers.iter().map(header).collect(),
        );
        Value::Object(object)
    }
}

fn insert(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => object.insert(name.to_owned(), json!(text)),
        Some(Err(_)) => {
            let hex: String = bytes
                .unwrap_or_default()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            object.insert(format!("{name}_hex"), json!(hex))
        }
    };
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

    fn shown(format: &str, record: &Shown) -> String {
        let mut out = Vec::new();
        Format::parse(format)
            .unwrap()
            .write(record, &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_directive_of_kcat_that_we_have_is_filled_in() {
        assert_eq!(
            shown("%t[%p]@%o %T %k:%K %s:%S %h 100%%\\n", &record()),
            "calls[3]@17 1763692773120 k:1 hello:5 a=1,b=NULL 100%\n"
        );
    }

    #[test]
    fn null_and_empty_differ_in_their_length() {
        let null = Shown {
            value: None,
            key: Some(Vec::new()),
            ..record()
        };
        assert_eq!(shown("%K %S", &null), "0 -1");
    }

    #[test]
    fn a_wrong_format_is_refused_with_the_right_ones() {
        let text = |format| Format::parse(format).unwrap_err().to_string();
        assert_eq!(
            text("%q"),
            "unknown `%q` in the format; there are %s %S %k %K %t %p %o %T %h %%"
        );
        assert_eq!(
            text("x%"),
            "the format ends in a single %; write %% for the sign itself"
        );
        assert_eq!(
            text("\\q"),
            "unknown `\\q` in the format; there are \\n \\t \\r \\0 \\\\"
        );
    }

    #[test]
    fn json_tells_texts_null_and_bytes_apart() {
        let json = |record: &Shown| serde_json::to_string(&record.to_json()).unwrap();
        assert_eq!(
            json(&record()),
            r#"{"headers":[{"name":"a","value":"1"},{"name":"b","value":null}],"key":"k","offset":17,"partition":3,"timestamp":"2025-11-21T02:39:33.120Z","topic":"calls","value":"hello"}"#
        );
        let bytes = Shown {
            key: None,
            value: Some(vec![0xff, 0x00]),
            headers: Vec::new(),
            ..record()
        };
        assert_eq!(
            json(&bytes),
            r#"{"headers":[],"key":null,"offset":17,"partition":3,"timestamp":"2025-11-21T02:39:33.120Z","topic":"calls","value_hex":"ff00"}"#
        );
    }
}
