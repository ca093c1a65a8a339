//! What a service has declared, in the form that the worker runs, and what makes it invalid.
//!
//! `service` builds it; `validate` refuses what contradicts itself before anything is opened. Policies and dead-letter topics
//! of single inputs are declared by topic, in any order, and looked up here by input.

use std::sync::Arc;
use std::time::Duration;

use crate::context::Context;
use crate::error::{Error, ProcessError};
use crate::log::Message;
use crate::policy::{Last, OnError, Settings};
use crate::topic::{TopicPartition, TopicSpec};
use crate::worker::MOST_TARGETS;
use crate::worker::failure::Failure;

/// What the worker runs.
pub(crate) struct Definition<S> {
    pub(crate) name: Arc<str>,
    pub(crate) group: String,
    pub(crate) init: Box<dyn Fn() -> S + Send + Sync>,
    pub(crate) inputs: Vec<Input<S>>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) timers: Vec<Timer<S>>,
    /// The policies of single inputs, by topic; the others have that of `settings`.
    pub(crate) policies: Vec<(Arc<str>, OnError)>,
    /// Dead-letter topics that are declared; the others are as their input asks for.
    pub(crate) dead_letters: Vec<TopicSpec>,
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

impl<S> Definition<S> {
    /// The topics that handlers may emit to.
    pub(crate) fn output_names(&self) -> Arc<[Arc<str>]> {
        let declared = self.outputs.iter().map(|output| Arc::clone(&output.topic));
        declared.collect()
    }

    /// What must be on the cluster before the service runs.
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

    /// What becomes of a record of `topic` that cannot be processed.
    pub(crate) fn policy(&self, topic: &str) -> OnError {
        let own = self.policies.iter().find(|(input, _)| **input == *topic);
        own.map_or(self.settings.on_error, |(_, policy)| *policy)
    }

    /// The dead-letter topics.
    pub(crate) fn dead_letter_topics(&self) -> Vec<TopicSpec> {
        let by_input = self.dead_letters_by_input().into_iter();
        by_input.map(|(_, spec)| spec).collect()
    }

    /// The inputs whose policy has a dead-letter topic, each with that topic.
    pub(crate) fn dead_letters_by_input(&self) -> Vec<(Arc<str>, TopicSpec)> {
        let dead = |input: &&Input<S>| self.policy(&input.topic).last == Last::DeadLetter;
        let of = |input: &Input<S>| {
            let default = input.spec.dead_letters();
            let mut declared = self.dead_letters.iter();
            let declared = declared.find(|spec| spec.name == default.name);
            let spec = declared.cloned().unwrap_or(default);
            (Arc::clone(&input.topic), spec)
        };
        self.inputs.iter().filter(dead).map(of).collect()
    }

    /// The names of the inputs.
    pub(crate) fn input_names(&self) -> Vec<Arc<str>> {
        let inputs = self.inputs.iter();
        inputs.map(|input| Arc::clone(&input.topic)).collect()
    }

    /// Refuses what contradicts itself.
    pub(crate) fn validate(&self) -> Result<(), Error> {
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
        } else if let Some(reason) = self.contradicting_policy(&dead) {
            Some(reason)
        } else if settings.commit_every.is_zero() {
            Some("the commit interval must not be zero".to_owned())
        } else if settings.max_bytes_in_flight == 0 {
            Some("the bound on bytes in flight must not be zero".to_owned())
        } else {
            None
        }
    }

    /// A policy or a dead-letter topic that belongs to no input, or a limit that is no share.
    fn contradicting_policy(&self, dead: &[TopicSpec]) -> Option<String> {
        let is_input = |topic: &str| self.inputs.iter().any(|input| *input.topic == *topic);
        if let Some((topic, _)) = self.policies.iter().find(|(topic, _)| !is_input(topic)) {
            return Some(format!(
                "a policy is declared for topic `{topic}`, which is not an input"
            ));
        }
        let is_dead = |name: &str| dead.iter().any(|spec| spec.name == name);
        if let Some(spec) = self.dead_letters.iter().find(|spec| !is_dead(&spec.name)) {
            let name = &spec.name;
            return Some(format!(
                "topic `{name}` is declared as a dead-letter topic, and no input sends its dead letters there"
            ));
        }
        let policies = self.policies.iter().map(|(_, policy)| policy);
        let mut limits = policies
            .chain([&self.settings.on_error])
            .map(|policy| policy.dead_letter_limit);
        let limit = limits.find(|limit| !(0.0..=1.0).contains(limit))?;
        Some(format!(
            "the dead-letter limit is a share from 0 to 1, not {limit}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{NoKey, Text};
    use crate::record::Record;
    use crate::service::Service;
    use crate::topic::Topic;

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
        let service = || Service::stateless("s");
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
                base().on_error(OnError::dead_letter().dead_letter_limit(1.5)),
                "the dead-letter limit is a share from 0 to 1, not 1.5",
            ),
            (
                base().on_error_of(&IN, OnError::stop().dead_letter_limit(-0.5)),
                "the dead-letter limit is a share from 0 to 1, not -0.5",
            ),
            (
                base().on_error_of(&DEAD, OnError::stop()),
                "a policy is declared for topic `in.dlq`, which is not an input",
            ),
            (
                base().dead_letter_topic(&IN.dead_letters()),
                "topic `in.dlq` is declared as a dead-letter topic, and no input sends its dead letters there",
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

    fn dead_letter_topics(service: Service<()>) -> Vec<TopicSpec> {
        let mut topics = service.into_definition().unwrap().topics();
        topics.retain(|spec| spec.name.ends_with(".dlq"));
        topics
    }

    #[test]
    fn dead_letter_topics_are_part_of_what_must_exist() {
        static WIDE: Topic<(), String> = Topic::new("wide", &NoKey, &Text).replication(3);
        let service = || {
            let both = Service::stateless("s").input(&IN, nothing);
            both.input(&WIDE, nothing).on_error(OnError::dead_letter())
        };
        let wide = TopicSpec {
            replication: Some(3),
            ..TopicSpec::named("wide.dlq")
        };
        let plain = TopicSpec::named("in.dlq");
        assert_eq!(dead_letter_topics(service()), [plain, wide.clone()]);
        let kept = IN.dead_letters().retention(Duration::from_secs(60));
        assert_eq!(
            dead_letter_topics(service().dead_letter_topic(&kept)),
            [kept.spec(), wide.clone()]
        );
        assert_eq!(
            dead_letter_topics(service().on_error_of(&IN, OnError::stop())),
            [wide]
        );
    }
}
