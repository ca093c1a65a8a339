//! How large records may be: what the cluster's topics take, and dead-letter topics that take whatever their inputs carry.
//!
//! A producer that does not know a topic's limit makes batches that the topic refuses as a whole, so the limits are read from the
//! cluster before the service runs. A dead letter is its record with further headers, and a topic's limit is of what travels: the
//! record of a compressed batch may be many times as large. So dead-letter topics take what one request may carry.

use std::time::Duration;

use crate::admin::{Admin, TopicInfo};
use crate::definition::Definition;
use crate::error::{Class, Error, Outcome};
use crate::topic::TopicSpec;

const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// How long a broker may take to tell a topic's configuration.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one request may carry, and a dead-letter topic takes at least: a broker's requests are bounded by 100 MiB
/// (`socket.request.max.bytes`).
pub(crate) const LARGEST_REQUEST: u32 = 100_000_000;

/// What the headers of a dead letter may take: the text of the error is cut at 2,000 bytes, names of topics at 249.
const DEAD_LETTER_HEADERS: u32 = 16_384;

/// What the topics that a service writes to take; `None` where the cluster does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The largest batch that all of them take.
    pub(crate) largest_batch: Option<u32>,
}

impl Limits {
    fn add(&mut self, limit: Option<u32>) {
        let smaller = self.largest_batch.into_iter().chain(limit).min();
        self.largest_batch = smaller;
    }
}

/// Creates and checks the topics of a service; all of them, and what they take.
pub(crate) fn prepare<S>(
    admin: &Admin,
    definition: &Definition<S>,
) -> Result<(Vec<TopicInfo>, Limits), Error> {
    let dead_letters = definition.dead_letters_by_input();
    let is_dead_letter = |name: &str| dead_letters.iter().any(|(_, spec)| spec.name == name);
    let mut specs = definition.topics();
    specs.retain(|spec| !is_dead_letter(&spec.name));
    let mut topics = admin.ensure(&specs)?;
    let mut limits = Limits::default();
    for (input, spec) in &dead_letters {
        let carried = limit_of(admin, input)?;
        let wanted = carried
            .unwrap_or(0)
            .saturating_add(DEAD_LETTER_HEADERS)
            .max(LARGEST_REQUEST);
        topics.push(dead_letter_topic(admin, spec, (carried, wanted))?);
        limits.add(limit_of(admin, &spec.name)?);
    }
    let outputs = definition.outputs.iter().map(|output| &*output.topic);
    for output in outputs.filter(|output| !is_dead_letter(output)) {
        limits.add(limit_of(admin, output)?);
    }
    Ok((topics, limits))
}

/// Makes a dead-letter topic, or raises the limit of the one there is. What is declared for it stands.
fn dead_letter_topic(
    admin: &Admin,
    spec: &TopicSpec,
    (carried, wanted): (Option<u32>, u32),
) -> Result<TopicInfo, Error> {
    let found = match admin.topic(&spec.name) {
        Ok(_) => admin.ensure(std::slice::from_ref(spec))?,
        Err(Error::UnknownTopic { .. }) if spec.max_message_bytes.is_none() => {
            return made(&[Some(wanted), carried], spec, |spec| admin.ensure(&[spec]));
        }
        Err(Error::UnknownTopic { .. }) => admin.ensure(std::slice::from_ref(spec))?,
        Err(error) => return Err(error),
    };
    let taken = limit_of(admin, &spec.name)?;
    if spec.max_message_bytes.is_none()
        && let Some(taken) = taken
        && taken < wanted
    {
        raise(admin, &spec.name, taken, wanted)?;
    }
    one(found, &spec.name)
}

/// Makes the topic with the first of these limits that the cluster allows: some allow no topic to take so much.
fn made(
    limits: &[Option<u32>],
    spec: &TopicSpec,
    make: impl Fn(TopicSpec) -> Result<Vec<TopicInfo>, Error>,
) -> Result<TopicInfo, Error> {
    let with = |limit: Option<u32>| TopicSpec {
        max_message_bytes: limit,
        ..spec.clone()
    };
    for limit in limits.iter().copied().flatten() {
        match make(with(Some(limit))) {
            Err(error) if error.class() == Class::Refused => {
                tracing::warn!(topic = spec.name, max_message_bytes = limit, error = %error, "the cluster refuses a dead-letter topic that takes as much");
            }
            made => return one(made?, &spec.name),
        }
    }
    one(make(with(None))?, &spec.name)
}

fn raise(admin: &Admin, topic: &str, taken: u32, wanted: u32) -> Result<(), Error> {
    let value = wanted.to_string();
    match admin.alter(topic, &[(MAX_MESSAGE_BYTES, Some(&value))]) {
        Err(error) if !error.is_retriable() => {
            tracing::warn!(topic, taken, wanted, error = %error, "the dead-letter topic takes less than its input carries");
            Ok(())
        }
        result => result,
    }
}

/// What a topic takes; `None` where the cluster does not say. A limit that is not known costs no record, so it is not waited for.
fn limit_of(admin: &Admin, topic: &str) -> Result<Option<u32>, Error> {
    let configs = match admin.configs_within(topic, PATIENCE) {
        Ok(configs) => configs,
        Err(error) if error.is_retriable() && error.outcome() != Outcome::Unknown => {
            return Err(error);
        }
        // Refused, or not answered in time: there may be no right to ask.
        Err(error) => {
            tracing::debug!(topic, error = %error, "the cluster does not tell the topic's configuration");
            return Ok(None);
        }
    };
    let limit = configs
        .iter()
        .find(|config| config.name == MAX_MESSAGE_BYTES);
    let value = limit.and_then(|config| config.value.as_deref());
    Ok(value.and_then(|value| value.trim().parse().ok()))
}

fn one(mut topics: Vec<TopicInfo>, name: &str) -> Result<TopicInfo, Error> {
    topics.pop().ok_or_else(|| Error::UnknownTopic {
        topic: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A policy of the cluster: no topic may take more than 8 MB.
    #[test]
    fn a_dead_letter_topic_is_made_with_the_limit_that_the_cluster_allows() {
        let made_with = |most: u32, carried: Option<u32>| {
            let asked = RefCell::new(Vec::new());
            let make = |spec: TopicSpec| {
                asked.borrow_mut().push(spec.max_message_bytes);
                if spec.max_message_bytes.is_some_and(|limit| limit > most) {
                    return Err(Error::Kafka {
                        action: "create topic `in.dlq`".to_owned(),
                        reason: "policy violation".to_owned(),
                        class: Class::Refused,
                        outcome: Outcome::NotApplied,
                    });
                }
                Ok(vec![TopicInfo {
                    name: spec.name,
                    partitions: Vec::new(),
                }])
            };
            let limits = [Some(LARGEST_REQUEST), carried];
            made(&limits, &TopicSpec::named("in.dlq"), make).unwrap();
            asked.into_inner()
        };
        let all = Some(LARGEST_REQUEST);
        assert_eq!(made_with(u32::MAX, Some(1_000_000)), [all]);
        assert_eq!(
            made_with(8_000_000, Some(1_000_000)),
            [all, Some(1_000_000)]
        );
        assert_eq!(
            made_with(500_000, Some(1_000_000)),
            [all, Some(1_000_000), None]
        );
        assert_eq!(made_with(8_000_000, None), [all, None]);
    }

    #[test]
    fn a_batch_may_be_as_large_as_all_topics_take() {
        let mut limits = Limits::default();
        for limit in [None, Some(5_000), None, Some(2_000), Some(9_000)] {
            limits.add(limit);
        }
        let expected = Limits {
            largest_batch: Some(2_000),
        };
        assert_eq!(limits, expected);
    }
}
