//! A service's declaration: what it reads, writes and does, in one place.
//!
//! The declaration is what is validated, described and run; the worker knows nothing else. Each typed handler is
//! wrapped once, here, into a function over bytes, so that inputs of different types need no common enum. Running
//! threads is `runtime`'s work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Cluster;
use crate::context::Context;
use crate::describe::Description;
use crate::error::{Error, ProcessError};
use crate::http::Health;
use crate::log::Message;
use crate::policy::{OnError, Settings, Start};
use crate::record::Record;
use crate::runtime::{self, Summary};
use crate::shutdown::Shutdown;
use crate::topic::{Topic, TopicPartition, TopicSpec};
use crate::worker::MOST_TARGETS;
use crate::worker::failure::Failure;

/// A service: handlers over typed topics, with a state of its own for each partition.
///
/// See the [front page](crate) for a whole one.
pub struct Service<S> {
    definition: Definition<S>,
}

/// What the worker runs.
pub(crate) struct Definition<S> {
    pub(crate) name: Arc<str>,
    pub(crate) group: String,
    pub(crate) init: Box<dyn Fn() -> S + Send + Sync>,
    pub(crate) inputs: Vec<Input<S>>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) timers: Vec<Timer<S>>,
    pub(crate) settings: Settings,
}

/// One input topic and its handler, over bytes.
pub(crate) struct Input<S> {
    pub(crate) topic: Arc<str>,
    pub(crate) spec: TopicSpec,
    pub(crate) codecs: (&'static str, &'static str),
    pub(crate) handle: Box<Handle<S>>,
    /// Not read before the state asks for it.
    pub(crate) paused: bool,
}

/// A handler over bytes: decodes, then calls the service's own function.
pub(crate) type Handle<S> = dyn Fn(&mut S, &TopicPartition, &dyn Message, &mut Context) -> Result<(), Failure>
    + Send
    + Sync;

/// One output topic.
pub(crate) struct Output {
    pub(crate) topic: Arc<str>,
    pub(crate) spec: TopicSpec,
    pub(crate) codecs: (&'static str, &'static str),
}

/// What is called at an interval.
pub(crate) struct Timer<S> {
    pub(crate) every: Duration,
    pub(crate) tick: Box<Tick<S>>,
}

/// A timer's function.
pub(crate) type Tick<S> = dyn Fn(&mut S, &mut Context) -> Result<(), ProcessError> + Send + Sync;

impl<S: 'static> Service<S> {
    /// A service named `name`, which is also its consumer group's. `init` makes the state of one partition: it is called
    /// whenever this process is given a partition, and again when the partition has to be replayed.
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
                settings: Settings::default(),
            },
        }
    }

    /// Reads `topic`, one record at a time per partition. Several inputs must have equal partition counts: the records of
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

    /// Declares that handlers and timers may emit to `topic`.
    #[must_use]
    pub fn output<K, V>(mut self, topic: &Topic<K, V>) -> Self {
        self.definition.outputs.push(Output {
            topic: Arc::from(topic.name()),
            spec: topic.spec(),
            codecs: (topic.key_codec().name(), topic.value_codec().name()),
        });
        self
    }

    /// Calls `tick` for each partition held, every `every`, between two records.
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

    /// The consumer group, when it is not to be the service's name.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.definition.group = group.into();
        self
    }

    /// How many threads share the partitions, each a member of the group. 1 when not said.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        self.set(|settings| settings.threads = threads)
    }

    /// What becomes of a record that cannot be processed. Three retries, then stop, when not said.
    #[must_use]
    pub fn on_error(self, policy: OnError) -> Self {
        self.set(|settings| settings.on_error = policy)
    }

    /// The share of records, 0 to 1, that may go to the dead-letter topic before the service stops: a bad deployment must
    /// not drain a topic. 0.1 when not said; 1 is no limit.
    #[must_use]
    pub fn dead_letter_limit(self, share: f64) -> Self {
        self.set(|settings| settings.dead_letter_limit = share)
    }

    /// Where to read from when nothing is committed, or what is committed is gone. The beginning when not said.
    #[must_use]
    pub fn start_from(self, start: Start) -> Self {
        self.set(|settings| settings.start = start)
    }

    /// How often to commit what is done. 1 s when not said. Committing does not stop the flow.
    #[must_use]
    pub fn commit_every(self, every: Duration) -> Self {
        self.set(|settings| settings.commit_every = every)
    }

    /// How long to wait for effects under way at revocation and shutdown. 3 s when not said.
    #[must_use]
    pub fn drain_within(self, budget: Duration) -> Self {
        self.set(|settings| settings.drain_within = budget)
    }

    /// After how long without a sign of life the group takes this member's partitions away. 45 s when not said.
    #[must_use]
    pub fn session_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.session_timeout = timeout)
    }

    /// The most bytes that may be sent and not yet acknowledged, per thread; above it, reading pauses. 32 MiB when not said.
    #[must_use]
    pub fn max_bytes_in_flight(self, bytes: usize) -> Self {
        self.set(|settings| settings.max_bytes_in_flight = bytes)
    }

    /// Serves `/livez`, `/readyz` and `/metrics` on this address while the service runs.
    #[must_use]
    pub fn http(self, address: SocketAddr) -> Self {
        self.set(|settings| settings.http = Some(address))
    }

    /// Tells its readiness to this health, which the program serves itself: together with
    /// [`metrics::recorder`](crate::metrics::recorder) for programs that have one listener for more than this service.
    #[must_use]
    pub fn health(self, health: &Health) -> Self {
        self.set(|settings| settings.health = Some(health.clone()))
    }

    /// What is declared, for people and programs; what `explain` prints.
    pub fn describe(&self) -> Description {
        Description::of(&self.definition)
    }

    /// Runs until `shutdown` is requested or the service cannot go on; blocks. All partitions are drained and committed
    /// on the way out.
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

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.definition.settings);
        self
    }
}

/// The dead-letter topic of `topic`.
pub(crate) fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}

impl<S> Definition<S> {
    /// The topics effects may go to: the declared outputs, then the dead-letter topic of each input.
    pub(crate) fn output_names(&self) -> Arc<[Arc<str>]> {
        let declared = self.outputs.iter().map(|output| Arc::clone(&output.topic));
        declared.collect()
    }

    /// What must be on the cluster before the service runs. A dead-letter topic keeps its records twice as long as its
    /// input, where that is known: somebody has to look at them.
    pub(crate) fn topics(&self) -> Vec<TopicSpec> {
        let mut specs: Vec<TopicSpec> = Vec::new();
        let inputs = self.inputs.iter().map(|input| input.spec.clone());
        let outputs = self.outputs.iter().map(|output| output.spec.clone());
        for spec in inputs.chain(outputs).chain(self.dead_letter_topics()) {
            if !specs.iter().any(|known| known.name == spec.name) {
                specs.push(spec);
            }
        }
        specs
    }

    /// The dead-letter topics, if the policy has any.
    pub(crate) fn dead_letter_topics(&self) -> Vec<TopicSpec> {
        if self.settings.on_error.last != crate::policy::Last::DeadLetter {
            return Vec::new();
        }
        let inputs = self.inputs.iter();
        inputs
            .map(|input| TopicSpec::named(dead_letter_topic(&input.topic)))
            .collect()
    }

    /// The names of the inputs.
    pub(crate) fn input_names(&self) -> Vec<Arc<str>> {
        let inputs = self.inputs.iter();
        inputs.map(|input| Arc::clone(&input.topic)).collect()
    }

    fn validate(&self) -> Result<(), Error> {
        self.topics().iter().try_for_each(TopicSpec::validate)?;
        match self.contradiction() {
            None => Ok(()),
            Some(reason) => Err(Error::InvalidService {
                service: self.name.to_string(),
                reason,
            }),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let settings = &self.settings;
        let repeated = |names: Vec<&Arc<str>>| {
            let mut sorted = names;
            sorted.sort();
            let mut pairs = sorted.windows(2);
            pairs.find_map(|pair| match pair {
                [first, second] if first == second => Some(first.to_string()),
                _ => None,
            })
        };
        let dead = self.dead_letter_topics();
        let is_dead = |name: &Arc<str>| dead.iter().any(|spec| *spec.name == **name);
        if self.name.is_empty() || self.group.is_empty() {
            Some("its name and its group must not be empty".to_owned())
        } else if self.inputs.is_empty() {
            Some("it has no input".to_owned())
        } else if let Some(topic) = repeated(self.inputs.iter().map(|i| &i.topic).collect()) {
            Some(format!("topic `{topic}` is an input twice"))
        } else if let Some(topic) = repeated(self.outputs.iter().map(|o| &o.topic).collect()) {
            Some(format!("topic `{topic}` is an output twice"))
        } else if let Some(input) = self.inputs.iter().find(|input| is_dead(&input.topic)) {
            let topic = &input.topic;
            Some(format!(
                "topic `{topic}` is an input and a dead-letter topic of another input"
            ))
        } else if self.outputs.len() + self.inputs.len() > MOST_TARGETS {
            let count = self.outputs.len() + self.inputs.len();
            Some(format!(
                "it has {count} inputs and outputs, more than {MOST_TARGETS}"
            ))
        } else if settings.threads == 0 {
            Some("it needs at least one thread".to_owned())
        } else if self.timers.iter().any(|timer| timer.every.is_zero()) {
            Some("the interval of a timer must not be zero".to_owned())
        } else if !(0.0..=1.0).contains(&settings.dead_letter_limit) {
            let limit = settings.dead_letter_limit;
            Some(format!(
                "the dead-letter limit is a share from 0 to 1, not {limit}"
            ))
        } else if settings.commit_every.is_zero() {
            Some("the commit interval must not be zero".to_owned())
        } else if settings.max_bytes_in_flight == 0 {
            Some("the bound on bytes in flight must not be zero".to_owned())
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{NoKey, Text};

    static IN: Topic<(), String> = Topic::new("in", &NoKey, &Text);
    static DEAD: Topic<(), String> = Topic::new("in.dlq", &NoKey, &Text);

    fn nothing(_: &mut (), _: Record<(), String>, _: &mut Context) -> Result<(), ProcessError> {
        Ok(())
    }

    fn refused(service: Service<()>) -> String {
        service
            .into_definition()
            .map(|_| ())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_contradiction_is_refused_before_anything_runs() {
        let service = || Service::new("s", || ());
        let base = || service().input(&IN, nothing);
        let cases = [
            (service(), "it has no input"),
            (base().input(&IN, nothing), "topic `in` is an input twice"),
            (
                base().output(&IN).output(&IN),
                "topic `in` is an output twice",
            ),
            (
                base()
                    .input(&DEAD, nothing)
                    .on_error(OnError::dead_letter()),
                "topic `in.dlq` is an input and a dead-letter topic of another input",
            ),
            (base().threads(0), "it needs at least one thread"),
            (
                base().every(Duration::ZERO, |_, _| Ok(())),
                "the interval of a timer must not be zero",
            ),
            (
                base().dead_letter_limit(1.5),
                "the dead-letter limit is a share from 0 to 1, not 1.5",
            ),
            (base().group(""), "its name and its group must not be empty"),
        ];
        for (service, reason) in cases {
            assert_eq!(
                refused(service),
                format!("service `s` is not valid: {reason}")
            );
        }
    }

    #[test]
    fn dead_letter_topics_are_part_of_what_must_exist() {
        let service = Service::new("s", || ())
            .input(&IN, nothing)
            .on_error(OnError::dead_letter());
        let definition = service.into_definition().unwrap();
        let names: Vec<String> = definition
            .topics()
            .into_iter()
            .map(|spec| spec.name)
            .collect();
        assert_eq!(names, ["in", "in.dlq"]);
    }
}
