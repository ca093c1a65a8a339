//! From a `Cluster` to a configuration of librdkafka, and its errors and log lines made safe to show.
//!
//! Every client of this crate is configured here, in one order of precedence: Millstream's defaults, the user's
//! properties, and last what Millstream depends on (checked when the property was set, so that nothing the user
//! asked for is silently overridden). rdkafka's own configuration error prints the value, secret or not: it
//! never leaves this module unmapped.

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaConfRes;

use super::properties::{self, Side};
use crate::config::Cluster;
use crate::error::{Class, Error, Outcome};

/// Which client is being configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A consumer, in a group or not.
    Consumer,
    /// A producer.
    Producer,
    /// Neither: the properties of a group's member do not concern it.
    Admin,
}

/// Builds the configuration of one client: `defaults`, then the cluster's properties that belong to `role`,
/// then `forced`.
pub(crate) fn client_config(
    cluster: &Cluster,
    role: Role,
    defaults: &[(&str, &str)],
    forced: &[(&str, &str)],
) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("client.id", "millstream");
    // The level is decided by whoever listens to `tracing`; librdkafka's own filter lets warnings pass.
    config.set_log_level(RDKafkaLogLevel::Info);
    // librdkafka's own 10 s would keep a service still for so long after an outage of three; the Java clients have 1 s.
    config.set("reconnect.backoff.max.ms", "1000");
    for (name, value) in defaults {
        config.set(*name, *value);
    }
    for (name, value) in cluster.raw_properties() {
        let belongs = match properties::side_of(name) {
            Some(Side::Consumer) => role == Role::Consumer,
            Some(Side::Producer) => role == Role::Producer,
            Some(Side::Common) | None => true,
        };
        if belongs {
            config.set(name, value);
        }
    }
    for (name, value) in forced {
        config.set(*name, *value);
    }
    config.set("bootstrap.servers", cluster.brokers());
    config
}

/// Checks one property by name and value, as librdkafka would.
pub(crate) fn check_property(name: &str, value: &str) -> Result<(), Error> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Err(Error::UnknownProperty {
                name: name.to_owned(),
                nearest: properties::nearest(name),
            })
        }
        Err(KafkaError::ClientConfig(_, description, ..)) => {
            let reason = if properties::is_secret(name) {
                "the value is refused (not shown: it is a secret)".to_owned()
            } else {
                format!("`{value}` is refused: {description}")
            };
            Err(Error::InvalidProperty {
                name: name.to_owned(),
                reason,
            })
        }
        Err(_) => {
            let reason = "name or value holds a NUL byte".to_owned();
            Err(Error::InvalidProperty {
                name: name.to_owned(),
                reason,
            })
        }
    }
}

/// Maps an error of the client to ours: `action` is what was tried, such as "create topic `calls`".
pub(crate) fn kafka_error(
    cluster: &Cluster,
    action: impl Into<String>,
    error: &KafkaError,
) -> Error {
    let reason = match error {
        // NOTE: the fourth field is the value; it must not be shown.
        KafkaError::ClientConfig(_, description, name, _) if !properties::is_secret(name) => {
            format!("property `{name}`: {description}")
        }
        KafkaError::ClientConfig(_, _, name, _) => {
            format!("the value of property `{name}` is refused")
        }
        KafkaError::ClientCreation(text)
        | KafkaError::AdminOpCreation(text)
        | KafkaError::Subscription(text)
        | KafkaError::Seek(text)
        | KafkaError::PauseResume(text) => text.clone(),
        other => code_of(other).map_or_else(|| other.to_string(), code_text),
    };
    let code = code_of(error);
    Error::Kafka {
        action: action.into(),
        reason: cluster.scrub(&reason),
        class: code.map_or(Class::Refused, class_of),
        outcome: code.map_or(Outcome::NotApplied, outcome_of),
    }
}

/// The code of an error; rdkafka itself leaves out that of an administrative request.
fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// Maps an error code of the protocol or of the client to ours.
pub(crate) fn code_error(action: impl Into<String>, code: RDKafkaErrorCode) -> Error {
    Error::Kafka {
        action: action.into(),
        reason: code_text(code),
        class: class_of(code),
        outcome: outcome_of(code),
    }
}

/// librdkafka's sentence for a code, without its `Broker: ` and `Local: `.
pub(crate) fn code_text(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    // rdkafka shows `Name (Origin: sentence)`.
    let sentence = text
        .split_once('(')
        .map_or(text.as_str(), |(_, rest)| rest.trim_end_matches(')'));
    let sentence = sentence.strip_prefix("Broker: ").unwrap_or(sentence);
    let sentence = sentence.strip_prefix("Local: ").unwrap_or(sentence);
    // `API version` and the like begin with a word of capitals.
    let is_capitals = sentence.chars().nth(1).is_some_and(char::is_uppercase);
    let mut letters = sentence.chars();
    match letters.next() {
        Some(first) if !is_capitals => first.to_lowercase().chain(letters).collect(),
        _ => sentence.to_owned(),
    }
}

/// What can be done after `code`. A code that is not named here is the refusal of one request or record.
fn class_of(code: RDKafkaErrorCode) -> Class {
    use RDKafkaErrorCode as Code;
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::QueueFull
        | Code::RequestTimedOut
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotController
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::KafkaStorageError
        | Code::UnstableOffsetCommit
        | Code::ThrottlingQuotaExceeded
        | Code::ConcurrentTransactions
        | Code::WaitingForCoordinator
        | Code::PreviousInProgress
        | Code::RebalanceInProgress
        // The client dropped what it had not sent.
        | Code::PurgeQueue
        | Code::PurgeInflight => Class::Retriable,
        // Of the first, another record of the same batch is to blame.
        Code::InvalidDifferentRecord
        | Code::InvalidTransactionalState
        | Code::InvalidProducerIdMapping => Class::Abortable,
        Code::Fenced
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch
        | Code::TransactionCoordinatorFenced
        | Code::FencedInstanceId
        | Code::FencedMemberEpoch
        // The group goes on without this member.
        | Code::IllegalGeneration
        | Code::UnknownMemberId => Class::Fenced,
        Code::Fatal
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::OutOfOrderSequenceNumber
        | Code::DuplicateSequenceNumber
        | Code::UnknownProducerId
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat
        | Code::InvalidRequiredAcks
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic => Class::Fatal,
        _ => Class::Refused,
    }
}

/// Whether a request that failed with `code` may have been carried out all the same.
fn outcome_of(code: RDKafkaErrorCode) -> Outcome {
    use RDKafkaErrorCode as Code;
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::RequestTimedOut
        | Code::NetworkException
        | Code::PurgeInflight
        | Code::NotEnoughReplicasAfterAppend => Outcome::Unknown,
        _ => Outcome::NotApplied,
    }
}

/// The context of clients that have no events of their own: log lines and errors go to `tracing`, scrubbed.
pub(crate) struct Logging(pub(crate) Cluster);

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(&self.0, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&self.0, &error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ConsumerContext for Logging {}

/// Sends one line of librdkafka's log to `tracing`, without secrets.
pub(crate) fn forward_log(
    cluster: &Cluster,
    level: RDKafkaLogLevel,
    facility: &str,
    message: &str,
) {
    use RDKafkaLogLevel as Level;
    let message = cluster.scrub(message);
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error | Level::Warning => {
            tracing::warn!(target: "millstream::librdkafka", facility, message, "client warned");
        }
        Level::Notice | Level::Info => {
            tracing::info!(target: "millstream::librdkafka", facility, message, "client said");
        }
        Level::Debug => {
            tracing::debug!(target: "millstream::librdkafka", facility, message, "client said")
        }
    }
}

/// Sends a global error of librdkafka to `tracing`, without secrets. It repairs itself, so it is a warning.
pub(crate) fn forward_error(cluster: &Cluster, error: &KafkaError, reason: &str) {
    // The client tells the end of a partition as an error; whoever asked for it gets it as an event.
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
        return;
    }
    let code = error
        .rdkafka_error_code()
        .map_or_else(String::new, code_text);
    let reason = cluster.scrub(reason);
    tracing::warn!(target: "millstream::librdkafka", brokers = cluster.brokers(), code, reason, "client failed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_class_that_says_what_can_still_be_done() {
        use RDKafkaErrorCode as Code;
        let classes = [
            (Code::MessageTimedOut, Class::Retriable),
            (Code::NotEnoughReplicas, Class::Retriable),
            (Code::MessageSizeTooLarge, Class::Refused),
            (Code::InvalidRecord, Class::Refused),
            (Code::UnknownPartition, Class::Refused),
            (Code::InvalidTransactionalState, Class::Abortable),
            (Code::ProducerFenced, Class::Fenced),
            (Code::FencedInstanceId, Class::Fenced),
            (Code::TopicAuthorizationFailed, Class::Fatal),
            (Code::OutOfOrderSequenceNumber, Class::Fatal),
            (Code::Fatal, Class::Fatal),
        ];
        for (code, class) in classes {
            assert_eq!(code_error("send", code).class(), class, "{code:?}");
        }
    }

    /// The controller moves while a topic is created: the request was sent, and nobody says what became of it.
    #[test]
    fn a_sentence_of_the_client_begins_small_unless_with_a_word_of_capitals() {
        for (code, expected) in [
            (
                RDKafkaErrorCode::UnsupportedVersion,
                "API version not supported",
            ),
            (
                RDKafkaErrorCode::GroupIdNotFound,
                "the group id does not exist",
            ),
        ] {
            assert_eq!(code_text(code), expected);
        }
    }

    #[test]
    fn an_administrative_request_without_an_answer_is_retriable_and_its_outcome_unknown() {
        let late = KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut);
        let error = kafka_error(&Cluster::new("a:1"), "create topic `calls`", &late);
        assert_eq!(
            error.to_string(),
            "failed to create topic `calls`: timed out"
        );
        assert_eq!(
            (error.class(), error.outcome()),
            (Class::Retriable, Outcome::Unknown)
        );
    }
}
