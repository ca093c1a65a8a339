//! `tail --group`: reads as a member of a consumer group, which shares the partitions among its members.
//!
//! A record is committed after it was written to standard output and flushed. A stop drains and commits; what was not shown
//! is left to the next member.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use millstream::admin::Admin;
use millstream::codec::{Nullable, Raw};
use millstream::{OnError, ProcessError, Service, Shutdown, Topic};

use super::Args;
use super::show::Show;
use crate::Outcome;
use crate::place::Place;
use crate::session::{Serving, Session};

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
        serving: &Serving,
        show: Show,
    ) -> anyhow::Result<Outcome> {
        let [topic] = self.topic.as_slice() else {
            bail!("--group reads one topic; start another process for another topic");
        };
        let start = match super::place("--from", &self.from)? {
            Place::Earliest => millstream::Start::Earliest,
            Place::End => millstream::Start::Latest,
            _ => bail!(
                "--from takes earliest or latest with --group; `millstream groups reset` moves a group elsewhere"
            ),
        };
        // A service would create a topic that is missing.
        Admin::new(&session.cluster)?.topic(topic)?;
        show.waiting(&self.topic);
        let shared = Arc::new(Mutex::new(Shared {
            show,
            left: self.count,
            failure: None,
            shutdown: serving.shutdown.clone(),
        }));
        let of_partition = Arc::clone(&shared);
        let service = Service::new("tail", move || Arc::clone(&of_partition))
            .group(group)
            .input(
                &RECORDS.clone().named(topic.clone()),
                |shared, record, _| {
                    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    shared.record(record.into_owned())
                },
            )
            .on_error(OnError::stop())
            .start_from(start)
            .health(&serving.health);
        let ran = service.run(&session.cluster, serving.shutdown.clone());
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = shared.failure.take() {
            return Err(failure).context("failed to write to standard output");
        }
        match ran {
            // The record after the last that was asked for: it is left to the next member.
            Err(millstream::Error::Stopped { .. }) if shared.left == Some(0) => Ok(Outcome::Done),
            ran => ran.map(|_| Outcome::Done).map_err(Into::into),
        }
    }
}

impl Shared {
    fn record(&mut self, record: millstream::merged::RawRecord) -> Result<(), ProcessError> {
        if self.left == Some(0) || self.failure.is_some() {
            return Err(ProcessError::new("nothing more is to be shown").permanent());
        }
        let shown = self.show.record(record.into()).and_then(|shown| {
            self.show.flush()?;
            Ok(shown)
        });
        match shown {
            Ok(false) => {}
            Ok(true) => {
                self.left = self.left.map(|left| left.saturating_sub(1));
                if self.left == Some(0) {
                    self.shutdown.request();
                }
            }
            Err(error) => {
                self.failure = Some(error);
                self.shutdown.request();
                return Err(ProcessError::new("standard output is closed").permanent());
            }
        }
        Ok(())
    }
}
