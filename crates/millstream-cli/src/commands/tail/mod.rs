//! `millstream tail TOPIC..`: the records of topics as they come, in the manner of `kcat -C`.
//!
//! What is there already comes in the order of its time over all partitions and topics; what is written later comes as it
//! arrives. Reads outside of any group, or as a member of one. Nothing is decoded; see `show` for what is printed.

mod group;
mod show;

use std::time::Duration;

use anyhow::{Context, bail};
use millstream::merged::{MergedReader, Next};
use millstream::reader::{Since, Until};
use millstream::{Clock as _, NextOffset, Partition, SystemClock};
use millstream_systems::number;

use crate::Outcome;
use crate::closed_output;
use crate::place::Place;
use crate::session::{Serving, Session};
use show::Show;

/// How long a poll waits for a record before a stop is noticed.
const POLL: Duration = Duration::from_millis(100);

const ORDER: &str = "\
Order: records that are in the topics when the command starts are shown by their time, over all partitions of all topics; within a partition \
always by offset. Later ones are shown as they arrive.

Output: a terminal gets one line per record with time, topic[partition]@offset, key, value and headers, control characters escaped. A pipe or a \
file gets the values as they are, a line each. --long, --format, --json and --raw choose something else.

Examples:
  millstream tail rust-messages
  millstream tail rust-messages --from -5
  millstream tail rust-messages --from earliest -n 3 --json --pretty
  millstream tail rust-messages calls --from -1d --until end --long
  millstream tail rust-messages --from -10m --exit --format '%p %o %k %s\\n'
  millstream tail rust-messages --from earliest --exit --grep 'Message #1[0-9]'
  millstream tail calls --from earliest --exit --json | millstream send calls-copy --json
  millstream tail rust-messages --group mine --from earliest -n 5";

/// What to read and how to show it.
#[derive(Debug, clap::Args)]
#[command(after_help = ORDER)]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true)]
    topic: Vec<String>,
    /// Where to begin: earliest, latest, an offset in each partition, the last records over all partitions (-5), a time (2026-11-21T08:00:00Z), or a time ago (-10m, -1d)
    #[arg(
        long,
        short,
        default_value = "latest",
        value_name = "PLACE",
        allow_hyphen_values = true
    )]
    from: String,
    /// Where to end: end (that of the topics when the command starts), an offset, a time, or a time ago. Never later than end. Default: no end
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    until: Option<String>,
    /// The same as --until end
    #[arg(long, short, conflicts_with = "until")]
    exit: bool,
    /// Ends after this number of records
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = number::whole(0..=u64::MAX))]
    count: Option<u64>,
    /// Only this partition of each topic; may be repeated
    #[arg(long, short, value_name = "NUMBER", value_parser = number::whole(0..=i32::MAX))]
    partition: Vec<i32>,
    /// Reads as a member of this consumer group and commits what was shown. --from, earliest or latest, holds where the group has no committed offset
    #[arg(long, short, value_name = "GROUP", value_parser = clap::builder::NonEmptyStringValueParser::new(), conflicts_with_all = ["until", "exit", "partition"])]
    group: Option<String>,
    #[command(flatten)]
    show: show::Options,
}

impl Args {
    /// Shows records until the end that was asked for, or until asked to stop.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let show = Show::new(&self.show)?;
        match &self.group {
            Some(group) => self.run_in_group(group, session, show),
            None => self.run_alone(session, show),
        }
    }

    fn run_alone(&self, session: &Session, mut show: Show) -> anyhow::Result<Outcome> {
        let mut plan = MergedReader::of(&self.topic)
            .since(since(&self.from)?)
            .until(self.until()?);
        if !self.partition.is_empty() {
            plan = plan.partitions(self.partition.iter().map(|&partition| Partition(partition)));
        }
        let mut reader = plan.open(&session.cluster)?;
        // Not before: nothing is shown yet, and opening waits for a cluster that does not respond, whatever is requested.
        let serving = serve(session)?;
        let shutdown = &serving.shutdown;
        show.waiting(&self.topic);
        let mut shown = 0;
        while self.count.is_none_or(|count| shown < count) && !shutdown.is_requested() {
            // What is shown is flushed as soon as nothing more is waiting, not record by record.
            let polled = match reader.poll(Duration::ZERO)? {
                Next::Nothing => {
                    show.flush()?;
                    reader.poll(POLL)?
                }
                polled => polled,
            };
            match polled {
                Next::Record(record) => shown += u64::from(show.record(record.into())?),
                Next::Nothing => {}
                Next::End => break,
            }
        }
        show.flush()?;
        Ok(Outcome::Done)
    }

    fn until(&self) -> anyhow::Result<Until> {
        let Some(text) = &self.until else {
            return Ok(if self.exit {
                Until::End
            } else {
                Until::Forever
            });
        };
        Ok(match place("--until", text)? {
            Place::End => Until::End,
            Place::Offset(offset) => Until::Offset(NextOffset::new(offset)),
            Place::Time(time) => Until::Time(time),
            Place::Earliest | Place::Last(_) => {
                bail!(
                    "--until takes end, an offset, a time or a time ago, as in -10m; `{text}` is none of these"
                )
            }
        })
    }
}

/// From here on a signal, or an output that somebody closes, asks for an orderly end.
fn serve(session: &Session) -> anyhow::Result<Serving> {
    let serving = session.serve()?;
    let stop = serving.shutdown.clone();
    closed_output::on_closed(move || stop.request()).context("failed to watch standard output")?;
    Ok(serving)
}

/// Reads `--from`.
fn since(text: &str) -> anyhow::Result<Since> {
    Ok(match place("--from", text)? {
        Place::Earliest => Since::Earliest,
        Place::End => Since::End,
        Place::Offset(offset) => Since::Offset(NextOffset::new(offset)),
        Place::Last(count) => Since::Last(count),
        Place::Time(time) => Since::Time(time),
    })
}

fn place(option: &'static str, text: &str) -> anyhow::Result<Place> {
    Place::parse(text, SystemClock::new().wall()).context(option)
}
