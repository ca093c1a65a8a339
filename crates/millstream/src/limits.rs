//! How large records may be: what the cluster's topics take, and dead-letter topics that take whatever their inputs carry.
//!
//! A producer that does not know a topic's limit makes batches that the topic refuses as a whole, so the limits are read from the
//! cluster before the service runs. A dead letter is its record with further headers, and a topic's limit is of what travels: the
//! record of a compressed batch may be many times as large. So dead-letter topics take what one request may carry.

use std::time::Duration;

use crate::admin::{Admin, TopicInfo};
use crate::definition::Definition;
use crate::error::{Error, Outcome};
use crate::topic::TopicSpec;

const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// How long a broker may take to tell a topic's configuration.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a dead-letter topic takes at least; a broker's requests are bounded by 100 MiB (`socket.request.max.bytes`).
const LARGEST_DEAD_LETTER: u32 = 100_000_000;

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
        let carried = limit_of(admin, input)?.unwrap_or(0);
        let wanted = carried
            .saturating_add(DEAD_LETTER_HEADERS)
            .max(LARGEST_DEAD_LETTER);
        topics.push(dead_letter_topic(admin, spec, wanted)?);
        limits.add(limit_of(admin, &spec.name)?);
    }
    let outputs = definition.outputs.iter().map(|output| &*output.topic);
    for output in outputs.filter(|output| !is_dead_letter(output)) {
        limits.add(limit_of(admin, output)?);
    }
    Ok((topics, limits))
}

/// Makes a dead-letter topic, or raises the limit of the one there is. What is declared for it stands.
fn dead_letter_topic(admin: &Admin, spec: &TopicSpec, wanted: u32) -> Result<TopicInfo, Error> {
    let follows = TopicSpec {
        max_message_bytes: spec.max_message_bytes.or(Some(wanted)),
        ..spec.clone()
    };
    let found = match admin.topic(&spec.name) {
        Ok(_) => admin.ensure(std::slice::from_ref(spec))?,
        Err(Error::UnknownTopic { .. }) => return one(admin.ensure(&[follows])?, &spec.name),
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
    use super::*;

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
