//! What record a line is: split at the key's separator, as a whole, or as a JSON object.
//!
//! Lines are bytes: nothing is assumed about their encoding. A line that is not what the options say is an error with what
//! is expected instead; which line it is, the caller knows.

use std::borrow::Cow;

use anyhow::bail;
use millstream::{Headers, Partition, Timestamp};

use super::{Args, Part};
use crate::record_json;

/// The record of one line.
#[derive(Debug)]
pub(super) struct LineRecord<'a> {
    pub(super) key: Part<'a>,
    pub(super) value: Part<'a>,
    pub(super) headers: Cow<'a, Headers>,
    pub(super) timestamp: Option<Timestamp>,
    /// The partition it had, of a JSON object.
    pub(super) partition: Option<Partition>,
}

/// Reads `line`; `headers` are those that every record gets.
pub(super) fn read<'a>(
    args: &'a Args,
    headers: &'a Headers,
    line: &'a [u8],
) -> anyhow::Result<LineRecord<'a>> {
    if args.json {
        let mut draft = record_json::parse(line)?;
        for header in headers {
            draft
                .headers
                .push(header.name.clone(), header.value.clone());
        }
        return Ok(LineRecord {
            key: Part(draft.key.map(Cow::Owned)),
            value: Part(draft.value.map(Cow::Owned)),
            headers: Cow::Owned(draft.headers),
            timestamp: draft.timestamp,
            partition: draft.partition,
        });
    }
    let (key, value) = split(args, line)?;
    Ok(LineRecord {
        key: Part(key.map(Cow::Borrowed)),
        value: Part((!(args.null && value.is_empty())).then_some(Cow::Borrowed(value))),
        headers: Cow::Borrowed(headers),
        timestamp: None,
        partition: None,
    })
}

/// Key and value of a line.
fn split<'a>(args: &'a Args, line: &'a [u8]) -> anyhow::Result<(Option<&'a [u8]>, &'a [u8])> {
    let Some(separator) = &args.key_separator else {
        return Ok((args.key.as_deref().map(str::as_bytes), line));
    };
    match find(line, separator.as_bytes()) {
        Some((key, value)) => Ok((Some(key), value)),
        None => {
            bail!("there is no `{separator}` in it; every line needs a key with --key-separator")
        }
    }
}

/// What stands before and after the first `separator`.
fn find<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line
        .windows(separator.len().max(1))
        .position(|window| window == separator)?;
    Some((line.get(..at)?, line.get(at + separator.len()..)?))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        Line::try_parse_from(["send", "topic"].iter().chain(words))
            .unwrap()
            .args
    }

    fn parts(words: &[&str], line: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let (args, headers) = (args(words), Headers::new());
        let record = read(&args, &headers, line).unwrap();
        let owned = |part: Part<'_>| part.0.map(Cow::into_owned);
        (owned(record.key), owned(record.value))
    }

    #[test]
    fn keys_stand_before_the_first_separator() {
        let split = |line: &str| parts(&["-K", "::"], line.as_bytes());
        assert_eq!(
            split("a::b::c"),
            (Some(b"a".to_vec()), Some(b"b::c".to_vec()))
        );
        assert_eq!(split("::"), (Some(Vec::new()), Some(Vec::new())));
        let error = read(&args(&["-K", "::"]), &Headers::new(), b"plain").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no `::` in it; every line needs a key with --key-separator"
        );
    }

    #[test]
    fn an_empty_value_is_null_only_when_asked() {
        assert_eq!(parts(&[], b""), (None, Some(Vec::new())));
        assert_eq!(parts(&["-Z", "-k", "x"], b""), (Some(b"x".to_vec()), None));
    }

    #[test]
    fn a_json_record_gets_the_headers_of_the_command_after_its_own() {
        let own = Headers::new().with("copied", "yes");
        let line = br#"{"value":"v","headers":[{"name":"a","value":"1"}]}"#;
        let args = args(&["--json"]);
        let record = read(&args, &own, line).unwrap();
        let expected = Headers::new().with("a", "1").with("copied", "yes");
        assert_eq!(record.headers.into_owned(), expected);
    }
}
