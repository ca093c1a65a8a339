//! `tail --group`: reads as a member of a consumer group, which shares the partitions among its members.
//!
//! Each topic has a member and a thread of its own: the topics of one service need the same number of partitions.
//! A record is committed after it was written to standard output and flushed. A stop drains and commits; what was not shown
//! is left to the next member.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, bail};
use millstream::admin::Admin;
use millstream::codec::{Nullable, Raw};
use millstream::merged::RawRecord;
use millstream::{OnError, Service, Shutdown, Topic};

use super::Args;
use super::show::Show;
use crate::Outcome;
use crate::place::Place;
use crate::session::Session;

type Bytes = Option<Vec<u8>>;

static RECORDS: Topic<Bytes, Bytes> = Topic::new("records", &Nullable(Raw), &Nullable(Raw));

/// What all partitions of this member share.
struct Shared {
    show: Show,
    left: Option<u64>,
    failure: Option<std::io::Error>,
    shutdown: Shutdown,
}

impl Args {
    pub(super) fn run_in_group(
        &self,
        group: &str,
        session: &Session,
        show: Show,
    ) -> anyhow::Result<Outcome> {
        let start = match super::place("--from", &self.from)? {
            Place::Earliest => millstream::Start::Earliest,
            Place::End => millstream::Start::Latest,
            _ => bail!(
                "--from takes earliest or latest with --group; `millstream groups reset` moves a group elsewhere"
            ),
        };
        // A service would create a topic that is missing.
        let admin = Admin::new(&session.cluster)?;
        self.topic
            .iter()
            .try_for_each(|topic| admin.topic(topic).map(drop))?;
        // Not before: nothing is shown yet, and the question waits for a cluster that does not respond, whatever is requested.
        let serving = super::serve(session)?;
        show.waiting(&self.topic);
        let shared = Arc::new(Mutex::new(Shared {
            show,
            left: self.count,
            failure: None,
            shutdown: serving.shutdown.clone(),
        }));
        let member = |topic: &String| {
            let of_partition = Arc::clone(&shared);
            let service = Service::new("tail", move || Arc::clone(&of_partition))
                .group(group)
                .input(
                    &RECORDS.clone().named(topic.clone()),
                    |shared, record, context| {
                        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        if !shared.take(record.into_owned()) {
                            // Kept open, it is not committed: it is left to the next member.
                            let _left = context.keep_open();
                        }
                        Ok(())
                    },
                )
                .on_error(OnError::stop())
                .start_from(start);
            let ran = service.run(&session.cluster, serving.shutdown.clone());
            // One that cannot go on ends the others.
            serving.shutdown.request();
            ran
        };
        let ran = run_all(&self.topic, &member, &serving.shutdown)?;
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = shared.failure.take() {
            return Err(failure).context("failed to write to standard output");
        }
        ran.map(|()| Outcome::Done).map_err(Into::into)
    }
}

/// Runs `member` for each topic at once; the first error of any of them.
fn run_all<T>(
    topics: &[String],
    member: &(impl Fn(&String) -> Result<T, millstream::Error> + Sync),
    shutdown: &Shutdown,
) -> anyhow::Result<Result<(), millstream::Error>> {
    thread::scope(|scope| {
        let start = |topic| {
            thread::Builder::new()
                .name(format!("tail-{topic}"))
                .spawn_scoped(scope, move || member(topic).map(drop))
        };
        let threads: Result<Vec<_>, _> = topics.iter().map(start).collect();
        let threads = threads.inspect_err(|_| shutdown.request())?;
        let mut all = Ok(());
        for thread in threads {
            let ran = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            all = all.and(ran);
        }
        Ok(all)
    })
}

impl Shared {
    /// Shows `record`; whether it was taken. What comes after the last that was asked for, or when nobody reads any longer, is
    /// not.
    fn take(&mut self, record: RawRecord) -> bool {
        if self.left == Some(0) || self.failure.is_some() {
            return false;
        }
        let shown = self.show.record(record.into()).and_then(|shown| {
            self.show.flush()?;
            Ok(shown)
        });
        match shown {
            Ok(shown) => {
                self.left = self.left.map(|left| left.saturating_sub(u64::from(shown)));
            }
            Err(error) => self.failure = Some(error),
        }
        if self.left == Some(0) || self.failure.is_some() {
            self.shutdown.request();
        }
        self.failure.is_none()
    }
}
