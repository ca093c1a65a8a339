//! How `tail` shows a record as text: in a format in the manner of `kcat -f`, or as one line with all that a person wants.
//!
//! What comes from the record is written as it is, or escaped for a terminal; what the user wrote into the format is the
//! user's own. As a JSON object: `record_json`.

use std::io::{self, Write};

use anyhow::bail;
use millstream::Timestamp;
use millstream::merged::RawRecord;

use crate::escape::{self, Layout};
use crate::place;

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

impl From<RawRecord> for Shown {
    fn from(record: RawRecord) -> Self {
        let headers = record.headers();
        let headers = headers
            .iter()
            .map(|header| (header.name.clone(), header.value.clone()));
        Self {
            topic: record.position.topic.to_string(),
            partition: record.position.partition.0,
            offset: record.position.offset.get(),
            timestamp: record.timestamp.millis(),
            headers: headers.collect(),
            key: record.key,
            value: record.value,
        }
    }
}

/// What becomes of control characters in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controls {
    /// They are written as they are.
    Raw,
    /// They are escaped.
    Escaped,
}

impl Controls {
    fn push(self, bytes: &[u8], layout: Layout, out: &mut Vec<u8>) {
        match self {
            Self::Raw => out.extend(bytes),
            Self::Escaped => escape::push(bytes, layout, out),
        }
    }
}

/// Writes `record` on one line: time, place, key, value, headers, two spaces apart. A key that is null is `-`, a value that
/// is null `(tombstone)`.
pub(crate) fn write_line(record: &Shown, controls: Controls, out: &mut Vec<u8>) -> io::Result<()> {
    let time = place::text_of(Timestamp::from_millis(record.timestamp));
    write!(
        out,
        "{}  {}[{}]@{}  ",
        time.as_deref().unwrap_or("-"),
        record.topic,
        record.partition,
        record.offset
    )?;
    let one = Layout::OneLine;
    controls.push(record.key.as_deref().unwrap_or(b"-"), one, out);
    out.extend(b"  ");
    controls.push(record.value.as_deref().unwrap_or(b"(tombstone)"), one, out);
    if !record.headers.is_empty() {
        out.extend(b"  ");
        write_headers(&record.headers, controls, out);
    }
    out.push(b'\n');
    Ok(())
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
    pub(crate) fn write(
        &self,
        record: &Shown,
        controls: Controls,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let push = |bytes: &Option<Vec<u8>>, out: &mut Vec<u8>| {
            controls.push(bytes.as_deref().unwrap_or_default(), Layout::Keep, out);
        };
        for token in &self.0 {
            match token {
                Token::Literal(bytes) => out.extend(bytes),
                Token::Key => push(&record.key, out),
                Token::Value => push(&record.value, out),
                Token::KeyLength => write!(out, "{}", length(record.key.as_ref()))?,
                Token::ValueLength => write!(out, "{}", length(record.value.as_ref()))?,
                Token::Topic => out.extend(record.topic.as_bytes()),
                Token::Partition => write!(out, "{}", record.partition)?,
                Token::Offset => write!(out, "{}", record.offset)?,
                Token::Timestamp => write!(out, "{}", record.timestamp)?,
                Token::Headers => write_headers(&record.headers, controls, out),
            }
        }
        Ok(())
    }
}

/// Kafka's way: -1 for null.
fn length(bytes: Option<&Vec<u8>>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

fn write_headers(headers: &[(String, Option<Vec<u8>>)], controls: Controls, out: &mut Vec<u8>) {
    for (position, (name, value)) in headers.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        controls.push(name.as_bytes(), Layout::OneLine, out);
        out.push(b'=');
        controls.push(value.as_deref().unwrap_or(b"NULL"), Layout::OneLine, out);
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
            .write(record, Controls::Raw, &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    fn line(record: &Shown, controls: Controls) -> String {
        let mut out = Vec::new();
        write_line(record, controls, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_shows_time_place_key_value_and_headers() {
        assert_eq!(
            line(&record(), Controls::Escaped),
            "2025-11-21T02:39:33.120Z  calls[3]@17  k  hello  a=1,b=NULL\n"
        );
        let tombstone = Shown {
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: -1,
            ..record()
        };
        assert_eq!(
            line(&tombstone, Controls::Escaped),
            "-  calls[3]@17  -  (tombstone)\n"
        );
    }

    #[test]
    fn control_characters_are_escaped_or_left() {
        let hostile = Shown {
            value: Some(b"\x1b[31m\n".to_vec()),
            key: Some(b"\x07".to_vec()),
            headers: vec![("\x1bh".to_owned(), Some(b"\r".to_vec()))],
            ..record()
        };
        assert_eq!(
            line(&hostile, Controls::Escaped),
            "2025-11-21T02:39:33.120Z  calls[3]@17  \\u{7}  \\u{1b}[31m\\n  \\u{1b}h=\\r\n"
        );
        let format = Format::parse("%k %s %h").unwrap();
        let mut out = Vec::new();
        format.write(&hostile, Controls::Escaped, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\\u{7} \\u{1b}[31m\n \\u{1b}h=\\r"
        );
        assert_eq!(shown("%k %s %h", &hostile), "\x07 \x1b[31m\n \x1bh=\r");
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
}
