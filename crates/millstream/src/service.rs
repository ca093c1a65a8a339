//! A service's declaration: what it reads, writes and does, in one place.
//!
//! The declaration is what is validated (`definition`), described and run; the worker knows nothing else. Each typed handler
//! is wrapped once, here, into a function over bytes, so that inputs of different types need no common enum. Running
//! threads is `runtime`'s work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Cluster;
use crate::context::Context;
use crate::dead_letter::Bytes;
use crate::definition::{Definition, Input, Output, Timer};
use crate::describe::Description;
use crate::error::{Error, ProcessError};
use crate::http::Health;
use crate::log::Message;
use crate::policy::{OnError, Settings, Start};
use crate::record::Record;
use crate::runtime::{self, Summary};
use crate::shutdown::Shutdown;
use crate::topic::{Topic, TopicPartition};
use crate::worker::failure::Failure;

/// A service: handlers over typed topics, with a state of its own for each partition.
///
/// See the [front page](crate) for a whole one.
pub struct Service<S> {
    definition: Definition<S>,
}

impl Service<()> {
    /// A service without a state: its handlers take `&mut ()`.
    ///
    /// ```
    /// use millstream::codec::{Json, Text};
    /// use millstream::{Context, ProcessError, Record, Service, Topic};
    ///
    /// static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json);
    /// static ALARMS: Topic<String, f64> = Topic::new("alarms", &Text, &Json);
    ///
    /// fn on_reading(_: &mut (), reading: Record<String, f64>, context: &mut Context) -> Result<(), ProcessError> {
    ///     if reading.value > 90.0 {
    ///         context.emit(&ALARMS, &reading.key, &reading.value)?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let service = Service::stateless("alarms").input(&READINGS, on_reading).output(&ALARMS);
    /// # drop(service);
    /// ```
    pub fn stateless(name: impl Into<String>) -> Self {
        Self::new(name, || ())
    }
}

impl<S: 'static> Service<S> {
    /// A service named `name`, which is also the name of its consumer group. `init` makes the state of one partition: it is
    /// called when this process is assigned a partition, and again when the partition has to be replayed.
    ///
    /// # The state and retries
    /// The state is the service's own, and nothing undoes what a handler changed in it. A handler that fails, by an error or a
    /// panic, is retried on the state that the failed attempt left, and a record that goes to the dead-letter topic leaves its
    /// changes behind. So do what can fail first: compute, emit, and change the state last, when nothing can fail any more.
    /// [`World::fail_first_attempts`](crate::testing::World::fail_first_attempts) shows whether a handler is right:
    ///
    /// ```
    /// # use std::collections::HashMap;
    /// # use millstream::{Context, ProcessError, Record, Topic};
    /// # use millstream::codec::{Json, Text};
    /// # static TOTALS: Topic<String, f64> = Topic::new("totals", &Text, &Json);
    /// struct Totals(HashMap<String, f64>);
    ///
    /// impl Totals {
    ///     fn on_call(&mut self, call: Record<String, f64>, context: &mut Context) -> Result<(), ProcessError> {
    ///         let total = self.0.get(&call.key).copied().unwrap_or_default() + call.value;
    ///         context.emit(&TOTALS, &call.key, &total)?;
    ///         self.0.insert(call.key, total);
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn new(name: impl Into<String>, init: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let name = name.into();
        Self {
            definition: Definition {
                name: Arc::from(name.as_str()),
                group: name,
                init: Box::new(init),
                inputs: Vec::new(),
                outputs: Vec::new(),
                timers: Vec::new(),
                policies: Vec::new(),
                dead_letters: Vec::new(),
                settings: Settings::default(),
            },
        }
    }

    /// Reads `topic`, one record at a time per partition. A handler blocks its thread, and with it every partition of that
    /// thread. Several inputs must have equal partition counts: the records of
    /// partition 3 of each meet in the state of partition 3.
    #[must_use]
    pub fn input<K: 'static, V: 'static>(
        mut self,
        topic: &Topic<K, V>,
        handler: impl Fn(&mut S, Record<'_, K, V>, &mut Context) -> Result<(), ProcessError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let (keys, values) = (topic.key_codec(), topic.value_codec());
        let handle = move |state: &mut S,
                           source: &TopicPartition,
                           message: &dyn Message,
                           context: &mut Context| {
            let key = keys
                .decode(message.key())
                .map_err(|error| Failure::decode("key", &error))?;
            let value = values
                .decode(message.value())
                .map_err(|error| Failure::decode("value", &error))?;
            let record = Record::of(key, value, message, &source.topic);
            handler(state, record, context).map_err(|error| Failure::process(&error))
        };
        self.definition.inputs.push(Input {
            topic: Arc::from(topic.name()),
            spec: topic.spec(),
            codecs: (keys.name(), values.name()),
            handle: Box::new(handle),
            paused: false,
        });
        self
    }

    /// As [`input`](Self::input), and nothing of the topic is read in a partition before its state asks for it by
    /// [`Context::resume`]: for a state that has to be rebuilt from another input first.
    #[must_use]
    pub fn input_paused<K: 'static, V: 'static>(
        self,
        topic: &Topic<K, V>,
        handler: impl Fn(&mut S, Record<'_, K, V>, &mut Context) -> Result<(), ProcessError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let mut service = self.input(topic, handler);
        if let Some(input) = service.definition.inputs.last_mut() {
            input.paused = true;
        }
        service
    }

    /// Declares that handlers and timers may emit to `topic`. Emitting to another topic stops the service.
    #[must_use]
    pub fn output<K, V>(mut self, topic: &Topic<K, V>) -> Self {
        self.definition.outputs.push(Output {
            topic: Arc::from(topic.name()),
            spec: topic.spec(),
            codecs: (topic.key_codec().name(), topic.value_codec().name()),
        });
        self
    }

    /// Calls `tick` for each assigned partition, every `every`, between two records. It blocks its thread like a handler.
    #[must_use]
    pub fn every(
        mut self,
        every: Duration,
        tick: impl Fn(&mut S, &mut Context) -> Result<(), ProcessError> + Send + Sync + 'static,
    ) -> Self {
        let tick = Box::new(tick);
        self.definition.timers.push(Timer { every, tick });
        self
    }

    /// The consumer group. Default: the service's name.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.definition.group = group.into();
        self
    }

    /// How many threads share the partitions, each a member of the group. Default: 1.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        self.set(|settings| settings.threads = threads)
    }

    /// What happens to a record that cannot be processed. Default: three retries, then stop.
    #[must_use]
    pub fn on_error(self, policy: OnError) -> Self {
        self.set(|settings| settings.on_error = policy)
    }

    /// What happens to a record of this input that cannot be processed. Default: as [`on_error`](Self::on_error) declares.
    #[must_use]
    pub fn on_error_of<K, V>(mut self, input: &Topic<K, V>, policy: OnError) -> Self {
        let policies = &mut self.definition.policies;
        policies.retain(|(topic, _)| **topic != *input.name());
        policies.push((Arc::from(input.name()), policy));
        self
    }

    /// Declares what the dead-letter topic of an input must look like: it is created so, and an existing one that differs is an
    /// error at start.
    ///
    /// ```
    /// use std::time::Duration;
    /// use millstream::codec::{Json, Text};
    /// use millstream::{OnError, Service, Topic};
    ///
    /// static ORDERS: Topic<String, f64> = Topic::new("orders", &Text, &Json);
    ///
    /// let service = Service::stateless("shipping")
    ///     .input(&ORDERS, |(), order, _| { /* .. */ Ok(()) })
    ///     .on_error(OnError::retry(3).then_dead_letter())
    ///     .dead_letter_topic(&ORDERS.dead_letters().retention(Duration::from_secs(30 * 24 * 60 * 60)));
    /// assert_eq!(service.describe().dead_letter_topics, ["orders.dlq"]);
    /// ```
    #[must_use]
    pub fn dead_letter_topic(mut self, topic: &Topic<Bytes, Bytes>) -> Self {
        self.definition.dead_letters.push(topic.spec());
        self
    }

    /// Where to read from when nothing is committed, or what is committed is gone. Default: [`Start::Earliest`].
    #[must_use]
    pub fn start_from(self, start: Start) -> Self {
        self.set(|settings| settings.start = start)
    }

    /// How often to commit what is done. Committing does not stop the flow. Default: 1 s.
    #[must_use]
    pub fn commit_every(self, every: Duration) -> Self {
        self.set(|settings| settings.commit_every = every)
    }

    /// How long to wait for unacknowledged effects at revocation and shutdown. Default: 3 s.
    #[must_use]
    pub fn drain_within(self, budget: Duration) -> Self {
        self.set(|settings| settings.drain_within = budget)
    }

    /// After how long without a heartbeat the group takes this member's partitions away (`session.timeout.ms`). Default: 45 s.
    #[must_use]
    pub fn session_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.session_timeout = timeout)
    }

    /// The most bytes that may be sent and not yet acknowledged, per thread; above it, reading pauses.
    /// Default: 32 MiB.
    #[must_use]
    pub fn max_bytes_in_flight(self, bytes: usize) -> Self {
        self.set(|settings| settings.max_bytes_in_flight = bytes)
    }

    /// Serves `/livez`, `/readyz` and `/metrics` on this address while the service runs.
    #[must_use]
    pub fn http(self, address: SocketAddr) -> Self {
        self.set(|settings| settings.http = Some(address))
    }

    /// Reports its readiness to this health, which the program serves itself: together with
    /// [`metrics::recorder`](crate::metrics::recorder) for programs that have one listener for more than this service.
    /// Its parts are removed when it has ended without an error; after an error they stay, not ready.
    #[must_use]
    pub fn health(self, health: &Health) -> Self {
        self.set(|settings| settings.health = Some(health.clone()))
    }

    /// The declaration as data; `millstream explain` prints it.
    pub fn describe(&self) -> Description {
        Description::of(&self.definition)
    }

    /// Runs until `shutdown` is requested or the service cannot go on. Blocks for all that time: the threads of the service are
    /// its own. Before it returns, all partitions are drained and committed, within [`drain_within`](Self::drain_within) and
    /// 5 s for closing the clients.
    ///
    /// # Errors
    /// The declaration is not valid, the topics are not as declared, a record stopped the service as declared, or the
    /// client failed for good. [`Error::Stuck`] means that threads are left which no longer answer: exit the process.
    pub fn run(self, cluster: &Cluster, shutdown: Shutdown) -> Result<Summary, Error> {
        runtime::run(Arc::new(self.into_definition()?), cluster, shutdown)
    }

    /// The validated declaration.
    pub(crate) fn into_definition(self) -> Result<Definition<S>, Error> {
        self.definition.validate()?;
        Ok(self.definition)
    }

    /// What a context is made of.
    pub(crate) fn name_and_outputs(&self) -> (Arc<str>, Arc<[Arc<str>]>) {
        let definition = &self.definition;
        (Arc::clone(&definition.name), definition.output_names())
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.definition.settings);
        self
    }
}
