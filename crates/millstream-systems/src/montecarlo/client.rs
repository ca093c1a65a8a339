//! How a program asks for integrals and follows them: requests out, progress and answers in, cancellation.
//!
//! A client needs no group and leaves nothing behind. It begins to read the results before it asks, so no answer is missed,
//! and hears everybody's; what is not its own it passes over.

use std::collections::HashMap;
use std::time::Duration;

use millstream::reader::{Polled, Reader, Since};
use millstream::{Cluster, Emitter, Error, Partition};
use millstream_montecarlo::Request;

use super::records::{Action, Control, Outcome};
use super::topics::{PARTITIONS, Topics};
use crate::settings;

/// Asks for integrals.
pub struct Client {
    topics: Topics,
    emitter: Emitter,
    cluster: Cluster,
}

impl Client {
    /// A client of the system under these topics.
    ///
    /// # Errors
    /// The settings are refused.
    pub fn new(topics: Topics, cluster: &Cluster) -> Result<Self, Error> {
        let cluster = settings::with_defaults(cluster, [("linger.ms", "0")])?;
        Ok(Self {
            emitter: Emitter::new(&cluster)?,
            topics,
            cluster,
        })
    }

    /// Asks for an integral as job `id`.
    ///
    /// # Errors
    /// The request cannot be sent.
    pub fn submit(&self, id: &str, request: &Request) -> Result<(), Error> {
        let bytes = serde_json::to_vec(request).unwrap_or_default();
        self.emitter
            .send(&self.topics.requests, &Some(id.to_owned()), &bytes)
    }

    /// Wants a job to end where it stands. Written to every partition: whoever asked may have partitioned differently.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn cancel(&self, id: &str) -> Result<(), Error> {
        let control = Control {
            action: Action::Cancel,
            job: Some(id.to_owned()),
            ticket: None,
            reason: None,
        };
        let key = Some(id.to_owned());
        (0..PARTITIONS).try_for_each(|partition| {
            self.emitter
                .record(&self.topics.control, &key, &control)
                .partition(Partition(partition))
                .send()
        })
    }

    /// Whether the cluster is connected, as [`Emitter::connected`].
    #[must_use]
    pub fn connected(&self) -> Option<bool> {
        self.emitter.connected()
    }

    /// Waits until all that was asked is on the cluster.
    ///
    /// # Errors
    /// Something is not, within this time.
    pub fn flush(&self, within: Duration) -> Result<(), Error> {
        self.emitter.flush(within)
    }

    /// Begins to listen to answers.
    ///
    /// # Errors
    /// The topic of results is not there, or the cluster does not answer.
    pub fn listen(&self) -> Result<Answers, Error> {
        let reader = Reader::of(&self.topics.results)
            .since(Since::End)
            .open(&self.cluster)?;
        Ok(Answers {
            reader,
            wanted: HashMap::new(),
        })
    }
}

/// Answers as they come.
pub struct Answers {
    reader: Reader<String, Outcome>,
    wanted: HashMap<String, usize>,
}

impl Answers {
    /// Wants the answer of job `id`, called `number` from now on.
    pub fn want(&mut self, id: &str, number: usize) {
        self.wanted.insert(id.to_owned(), number);
    }

    /// How many jobs have not ended.
    #[must_use]
    pub fn open(&self) -> usize {
        self.wanted.len()
    }

    /// Waits up to `wait` for word of a job that is wanted; its number, and what is known of it. After its answer it is not
    /// wanted any more.
    ///
    /// # Errors
    /// The results cannot be read any more.
    pub fn poll(&mut self, wait: Duration) -> Result<Option<(usize, Outcome)>, Error> {
        let Polled::Record(record) = self.reader.poll(wait)? else {
            return Ok(None);
        };
        let Some(number) = self.wanted.get(&record.key).copied() else {
            return Ok(None);
        };
        if record.value.is_last() {
            self.wanted.remove(&record.key);
        }
        Ok(Some((number, record.value)))
    }
}
