//! `millstream tail TOPIC`: the records of a topic as they come, in the manner of `kcat -C`.
//!
//! Reads outside of any group. Nothing is decoded: bytes go out as they are, or as JSON that tells texts, null and
//! bytes apart.

use std::time::Duration;

use anyhow::Context;
use millstream::codec::{Nullable, Raw};
use millstream::reader::{Polled, Reader, Since, Until};
use millstream::{Clock as _, NextOffset, Partition, Record, SystemClock, Topic};

use crate::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::record_format::{Format, Shown};
use crate::session::Session;

type Bytes = Option<Vec<u8>>;

static RECORDS: Topic<Bytes, Bytes> = Topic::new("records", &Nullable(Raw), &Nullable(Raw));

const POLL: Duration = Duration::from_millis(100);

/// What to read and how to show it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  millstream tail rust-messages\n  millstream tail rust-messages --from earliest -n 3 --json\n  millstream tail rust-messages --from -10m --exit --format '%p %o %k %s\\n'"
)]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// Where to begin: earliest, latest, an offset, the last few (-5), a time (2026-11-21T08:00:00Z), or a time ago (-10m)
    #[arg(
        long,
        short,
        default_value = "latest",
        value_name = "PLACE",
        allow_hyphen_values = true
    )]
    from: String,
    /// Only this partition; may be repeated
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// Ends after so many records
    #[arg(long, short = 'n', value_name = "NUMBER")]
    count: Option<u64>,
    /// Ends at what was the end of the topic at the start
    #[arg(long, short)]
    exit: bool,
    /// How to show a record: %s value, %S its length, %k key, %K its length, %t topic, %p partition, %o offset, %T time in ms, %h headers
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<String>,
    /// Prints each record as a JSON object
    #[arg(long, short)]
    json: bool,
}

impl Args {
    /// Shows records until the end that was asked for, or until asked to stop.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let format = match &self.format {
            Some(format) => Format::parse(format).context("--format")?,
            None => Format::value_lines(),
        };
        let topic = RECORDS.clone().named(self.topic.clone());
        topic.spec().validate()?;
        let mut plan = Reader::of(&topic).since(since(&self.from)?);
        if !self.partition.is_empty() {
            plan = plan.partitions(self.partition.iter().map(|&partition| Partition(partition)));
        }
        if self.exit {
            plan = plan.until(Until::End);
        }
        let serving = session.serve()?;
        let mut reader = plan.open(&session.cluster)?;
        let mut output = Output::new(self.json);
        let (mut shown, mut line) = (0, Vec::new());
        while self.count.is_none_or(|count| shown < count) && !serving.shutdown.is_requested() {
            // What is shown is flushed as soon as nothing more is waiting, not record by record.
            let polled = match reader.poll(Duration::ZERO)? {
                Polled::Nothing => {
                    output.flush()?;
                    reader.poll(POLL)?
                }
                polled => polled,
            };
            match polled {
                Polled::Record(record) => {
                    let record = to_shown(record);
                    if output.is_json() {
                        output.object(&record.to_json())?;
                    } else {
                        line.clear();
                        format.write(&record, &mut line)?;
                        output.bytes(&line)?;
                    }
                    shown += 1;
                }
                Polled::Undecodable(bad) => tracing::warn!(%bad, "record not shown"),
                Polled::Nothing => {}
                Polled::End => break,
            }
        }
        output.flush()?;
        Ok(Outcome::Done)
    }
}

fn to_shown(record: Record<Bytes, Bytes>) -> Shown {
    let headers = record.headers();
    let headers = headers
        .iter()
        .map(|header| (header.name.clone(), header.value.clone()));
    Shown {
        topic: record.position.topic.to_string(),
        partition: record.position.partition.0,
        offset: record.position.offset.get(),
        timestamp: record.timestamp.millis(),
        headers: headers.collect(),
        key: record.key,
        value: record.value,
    }
}

/// Reads `--from`.
fn since(text: &str) -> anyhow::Result<Since> {
    Ok(
        match Place::parse(text, SystemClock::new().wall()).context("--from")? {
            Place::Earliest => Since::Earliest,
            Place::End => Since::End,
            Place::Offset(offset) => Since::Offset(NextOffset::new(offset)),
            Place::Last(count) => Since::Last(count),
            Place::Time(time) => Since::Time(time),
        },
    )
}
