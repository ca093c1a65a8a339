//! `millstream send TOPIC`: each line of standard input becomes a record, in the manner of `kcat -P`, or each JSON object
//! that `tail --json` wrote.
//!
//! 0 means that every line was acknowledged; 1, that some were not; 2, that a line could not be read, which ends the
//! command after the lines before it are sent. A line is never written twice, and lines of a partition keep their order.

mod input;
mod line;
mod report;

use std::borrow::Cow;
use std::time::Duration;

use anyhow::{Context, bail};
use millstream::codec::{Codec, CodecError, Encodable, Encoded, Nullable, Raw};
use millstream::{Cluster, Draft, Emitter, Headers, Partition, Topic};
use millstream_systems::number;

use crate::Outcome;
use crate::output::counted;
use crate::session::Session;
use input::{Input, Lines};
use report::Report;

/// Bytes, or null.
type Bytes = Option<Vec<u8>>;

/// Bytes, or null, of a line that is still where it was read.
#[derive(Debug)]
struct Part<'a>(Option<Cow<'a, [u8]>>);

impl Encodable<Bytes> for Part<'_> {
    /// The topic's codec takes bytes as they are.
    fn encode_with(&self, _: &dyn Codec<Bytes>, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        let Some(bytes) = &self.0 else {
            return Ok(Encoded::Null);
        };
        out.extend_from_slice(bytes);
        Ok(Encoded::Bytes)
    }
}

/// Values and keys as bytes; a key that is not there is null, and so is a tombstone's value.
static LINES: Topic<Bytes, Bytes> = Topic::new("lines", &Nullable(Raw), &Nullable(Raw));

/// Longer than any delivery takes: librdkafka gives up after message.timeout.ms, 5 minutes.
const PATIENCE: Duration = Duration::from_secs(330);

/// Where to send.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A line is never written twice, and the lines of a partition keep their order. The input that ends at once, such as that of `echo`, is \
        sent without waiting for a producer id, and then a line whose acknowledgement is lost is reported as failed instead of being sent again.\n\n\
        Examples:\n  echo hello | millstream send greetings\n  \
        printf 'a:1\\nb:2\\n' | millstream send numbers --key-separator :\n  \
        echo '{\"key\":\"a\",\"value\":null}' | millstream send numbers --json\n  \
        millstream tail numbers --from earliest --exit --json | millstream send numbers-copy --json"
)]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// Splits each line at the first occurrence: the part before it is the key
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(long, short, value_name = "TEXT", conflicts_with = "key_separator")]
    key: Option<String>,
    /// Sends to this partition, whatever the key
    #[arg(long, short, value_name = "NUMBER", value_parser = number::whole(0..=i32::MAX))]
    partition: Option<i32>,
    /// Adds a header to every record; may be repeated
    #[arg(long, short = 'H', value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// Sends null, a tombstone, for an empty value
    #[arg(long, short = 'Z')]
    null: bool,
    /// Reads records as `tail --json` writes them, one object per line: key, value, headers and timestamp are sent
    #[arg(long, short, conflicts_with_all = ["key_separator", "key", "null"])]
    json: bool,
    /// With --json: sends each record to the number of the partition it had. Default: the key decides
    #[arg(long, requires = "json", conflicts_with = "partition")]
    keep_partition: bool,
}

impl Args {
    /// Sends all lines and waits for their outcome.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let topic = LINES.clone().named(self.topic.clone());
        topic.spec().validate()?;
        let sending = Sending {
            headers: headers(&self.header)?,
            topic,
            report: Report::default(),
            args: self,
        };
        sending.run(&session.cluster)
    }
}

/// A run of the command.
struct Sending {
    args: Args,
    topic: Topic<Bytes, Bytes>,
    headers: Headers,
    report: Report,
}

impl Sending {
    fn run(self, cluster: &Cluster) -> anyhow::Result<Outcome> {
        let mut input = Input::of_stdin()?;
        if input::may_be_short(cluster) && input.is_short()? {
            return self.run_short(&input.take_lines(), cluster);
        }
        let emitter = Emitter::on_failure(cluster, self.report.on_failure())?;
        let read = self.send_input(&mut input, &emitter);
        // What failed is in the report.
        _ = emitter.flush(PATIENCE);
        self.report.delivered(emitter.counts().delivered);
        self.end(&emitter, read)
    }

    fn run_short(self, lines: &Lines, cluster: &Cluster) -> anyhow::Result<Outcome> {
        let emitter = Emitter::new(&input::for_short(cluster)?)?;
        let mut read = Ok(());
        for (number, line) in (1..).zip(lines.iter()) {
            let receipt = self.report.short_receipt(number);
            read = self.send(number, line, &emitter, |draft| draft.send_then(receipt));
            if read.is_err() {
                break;
            }
        }
        // What failed is in the report.
        _ = emitter.flush(PATIENCE);
        let again = self.report.lines_to_repeat();
        if again.is_empty() {
            return self.end(&emitter, read);
        }
        let emitter = Emitter::new(cluster)?;
        for (number, line) in (1..).zip(lines.iter()) {
            if again.contains(&number) {
                let receipt = self.report.receipt(number);
                self.send(number, line, &emitter, |draft| draft.send_then(receipt))
                    .unwrap_or(());
            }
        }
        self.end(&emitter, read)
    }

    fn send_input(&self, input: &mut Input, emitter: &Emitter) -> Result<(), BadLine> {
        let mut number = 0;
        loop {
            let lines = match input.next() {
                Ok(Some(lines)) => lines,
                Ok(None) => return Ok(()),
                Err(reason) => {
                    let number = number + 1;
                    return Err(BadLine { number, reason });
                }
            };
            for line in lines.iter() {
                number += 1;
                self.send(number, line, emitter, |draft| draft.send_numbered(number))?;
            }
        }
    }

    /// Hands line `number` to the client, as `hand_over` does it.
    fn send(
        &self,
        number: u64,
        line: &[u8],
        emitter: &Emitter,
        hand_over: impl FnOnce(Draft<'_, &Emitter>) -> Result<(), millstream::Error>,
    ) -> Result<(), BadLine> {
        let record = line::read(&self.args, &self.headers, line)
            .map_err(|reason| BadLine { number, reason })?;
        let mut draft = emitter.record(&self.topic, &record.key, &record.value);
        draft = draft.headers(&record.headers);
        let kept = record.partition.filter(|_| self.args.keep_partition);
        if let Some(partition) = self.args.partition.map(Partition).or(kept) {
            draft = draft.partition(partition);
        }
        if let Some(timestamp) = record.timestamp {
            draft = draft.timestamp(timestamp);
        }
        if let Err(error) = hand_over(draft) {
            self.report.refused(number, &error);
        }
        Ok(())
    }

    /// Waits for every outcome and says what it is.
    fn end(self, emitter: &Emitter, read: Result<(), BadLine>) -> anyhow::Result<Outcome> {
        // Failures are in the report; what this could add is only that some are undecided.
        _ = emitter.flush(PATIENCE);
        let (delivered, failed) = self.report.counts();
        let undecided = emitter.counts().pending();
        if let Err(BadLine { number, reason }) = read {
            bail!(
                "line {number}: {reason:#}; of the {} before it {delivered} delivered, and none after it was read",
                counted(number - 1, "line")
            );
        }
        if undecided > 0 {
            bail!(
                "{} still not acknowledged after {} s; {delivered} delivered, {failed} failed",
                counted(undecided, "line"),
                PATIENCE.as_secs()
            );
        }
        if self.report.is_unacknowledged() {
            // The client repeats what the cluster refuses, and keeps the reason to itself.
            tracing::error!(
                "the cluster did not acknowledge all lines in time; its log may say why, for example that a disk is full"
            );
        }
        tracing::info!(topic = self.args.topic, delivered, failed, "lines sent");
        Ok(if failed == 0 {
            Outcome::Done
        } else {
            Outcome::Negative
        })
    }
}

/// A line that is not what the options say.
struct BadLine {
    number: u64,
    reason: anyhow::Error,
}

fn headers(words: &[String]) -> anyhow::Result<Headers> {
    let mut headers = Headers::new();
    for word in words {
        let (name, value) = word
            .split_once('=')
            .with_context(|| format!("`{word}` is not a header; --header takes name=value"))?;
        headers.push(name, Some(value.into()));
    }
    Ok(headers)
}
