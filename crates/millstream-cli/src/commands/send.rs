//! `millstream send TOPIC`: each line of standard input becomes a record, in the manner of `kcat -P`.
//!
//! Done means that every line was acknowledged; a single failure is told and ends with 1. Lines are bytes: nothing is
//! assumed about their encoding.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use millstream::codec::{Nullable, Raw};
use millstream::{Emitter, Headers, Partition, Topic};

use crate::Outcome;
use crate::session::Session;

/// Bytes, or null.
type Bytes = Option<Vec<u8>>;

/// Values and keys as bytes; a key that is not there is null, and so is a tombstone's value.
static LINES: Topic<Bytes, Bytes> = Topic::new("lines", &Nullable(Raw), &Nullable(Raw));

/// Longer than any delivery takes: librdkafka gives up after message.timeout.ms, 5 minutes.
const PATIENCE: Duration = Duration::from_secs(330);
/// The largest line that is read; a broker takes 1 MB unless configured otherwise.
const LONGEST_LINE: u64 = 64 << 20;

/// Where to send.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  echo hello | millstream send greetings\n  printf 'a:1\\nb:2\\n' | millstream send numbers --key-separator :"
)]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// Splits each line at the first occurrence: what stands before is the key
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(long, short, value_name = "TEXT", conflicts_with = "key_separator")]
    key: Option<String>,
    /// Sends to this partition, whatever the key
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Adds a header to every record; may be repeated
    #[arg(long, short = 'H', value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// Sends null, a tombstone, for an empty value
    #[arg(long, short = 'Z')]
    null: bool,
}

impl Args {
    /// Sends all lines and waits for their outcome.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let topic = LINES.clone().named(self.topic.clone());
        topic.spec().validate()?;
        let headers = headers(&self.header)?;
        let emitter = Emitter::new(&session.cluster)?;
        let failed = Arc::new(AtomicU64::new(0));
        let mut input = io::stdin().lock();
        let mut number = 0_u64;
        while let Some(line) = read_line(&mut input)? {
            number += 1;
            let (key, value) = self.split(line).with_context(|| format!("line {number}"))?;
            let mut draft = emitter.record(&topic, &key, &value).headers(&headers);
            if let Some(partition) = self.partition {
                draft = draft.partition(Partition(partition));
            }
            let failures = Arc::clone(&failed);
            let sent = draft.send_then(move |outcome| {
                if let Err(error) = outcome {
                    failures.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(line = number, %error, "line not delivered");
                }
            });
            if let Err(error) = sent {
                failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(line = number, %error, "line refused");
            }
        }
        // Failures have told themselves; what this could add is only that some are undecided.
        _ = emitter.flush(PATIENCE);
        let undecided = emitter.counts().pending();
        let failed = failed.load(Ordering::Relaxed);
        if undecided > 0 {
            bail!(
                "{undecided} of {number} lines are still not acknowledged after {} s",
                PATIENCE.as_secs()
            );
        }
        tracing::info!(
            topic = self.topic,
            delivered = number - failed,
            failed,
            "sent"
        );
        Ok(if failed == 0 {
            Outcome::Done
        } else {
            Outcome::Negative
        })
    }

    /// Key and value of a line.
    fn split(&self, line: Vec<u8>) -> anyhow::Result<(Bytes, Bytes)> {
        let (key, value) = match &self.key_separator {
            None => (self.key.clone().map(String::into_bytes), line),
            Some(separator) => match find(&line, separator.as_bytes()) {
                Some((key, value)) => (Some(key.to_vec()), value.to_vec()),
                None => bail!(
                    "there is no `{separator}` in it; every line needs a key with --key-separator"
                ),
            },
        };
        let value = if self.null && value.is_empty() {
            None
        } else {
            Some(value)
        };
        Ok((key, value))
    }
}

/// What stands before and after the first `separator`.
fn find<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line
        .windows(separator.len().max(1))
        .position(|window| window == separator)?;
    Some((line.get(..at)?, line.get(at + separator.len()..)?))
}

fn headers(words: &[String]) -> anyhow::Result<Headers> {
    let mut headers = Headers::new();
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            bail!("--header takes name=value; it was given `{word}`");
        };
        headers.push(name, Some(value.into()));
    }
    Ok(headers)
}

/// The next line without its end; `None` at the end of the input.
fn read_line(input: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = io::Read::take(&mut *input, LONGEST_LINE)
        .read_until(b'\n', &mut line)
        .context("failed to read standard input")?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if u64::try_from(read).is_ok_and(|read| read == LONGEST_LINE) {
        bail!("a line is longer than {} MiB", LONGEST_LINE >> 20);
    }
    Ok(Some(line))
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

    #[test]
    fn keys_stand_before_the_first_separator() {
        let split = |line: &str| args(&["-K", "::"]).split(line.into()).unwrap();
        assert_eq!(
            split("a::b::c"),
            (Some(b"a".to_vec()), Some(b"b::c".to_vec()))
        );
        assert_eq!(split("::"), (Some(Vec::new()), Some(Vec::new())));
        let error = args(&["-K", "::"])
            .split("plain".into())
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "there is no `::` in it; every line needs a key with --key-separator"
        );
    }

    #[test]
    fn an_empty_value_is_null_only_when_asked() {
        assert_eq!(
            args(&[]).split(Vec::new()).unwrap(),
            (None, Some(Vec::new()))
        );
        assert_eq!(
            args(&["-Z", "-k", "x"]).split(Vec::new()).unwrap(),
            (Some(b"x".to_vec()), None)
        );
    }

    #[test]
    fn lines_end_at_any_line_end_and_the_last_needs_none() {
        let mut input = &b"one\r\ntwo\n\n\xff\x00last"[..];
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(
            lines,
            [
                b"one".to_vec(),
                b"two".to_vec(),
                Vec::new(),
                b"\xff\x00last".to_vec()
            ]
        );
    }
}
