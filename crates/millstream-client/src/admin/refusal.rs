//! What a broker's code means for whoever administers: whether it passes, whether the change may have been made all the same, and what to do.
//!
//! Whether a request is repeated in the end is decided in `asking`.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use crate::error::Error;

/// A code, and what the broker said with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: ResponseError,
    message: Option<String>,
}

impl From<ResponseError> for Refusal {
    fn from(code: ResponseError) -> Self {
        Self {
            code,
            message: None,
        }
    }
}

impl Refusal {
    pub(super) fn new(code: ResponseError, message: String) -> Self {
        Self {
            code,
            message: Some(message),
        }
    }

    /// The same code may not come back a moment later. A topic that nobody knows is another matter: see `asking`.
    pub(super) fn is_passing(&self) -> bool {
        use ResponseError::{ConcurrentTransactions, RebalanceInProgress, UnknownServerError};
        match self.code {
            RebalanceInProgress | ConcurrentTransactions => true,
            UnknownServerError => false,
            code => code.is_retriable(),
        }
    }

    /// The broker may have done, or may still do, what it was asked for.
    pub(super) fn is_doubtful(&self) -> bool {
        use ResponseError::{NetworkException, RequestTimedOut, UnknownServerError};
        matches!(
            self.code,
            RequestTimedOut | NetworkException | UnknownServerError
        )
    }

    /// The error for `what` was asked for, such as "create topic `x`".
    pub(super) fn error(self, what: String) -> Error {
        let code = self.code;
        let said = match self.message {
            Some(message) => format!("{} ({code})", message.trim_end().trim_end_matches('.')),
            None => code.to_string(),
        };
        let reason = match advice(code) {
            Some(advice) => format!("{said}; {advice}"),
            None => said,
        };
        Error::Administration { what, code, reason }
    }
}

/// The value, or the refusal that came in its place.
pub(super) fn answered<V>(
    code: i16,
    message: Option<&StrBytes>,
    value: impl FnOnce() -> V,
) -> Result<V, Refusal> {
    let Some(code) = ResponseError::try_from_code(code) else {
        return Ok(value());
    };
    let message = message.filter(|message| !message.trim().is_empty());
    Err(Refusal {
        code,
        message: message.map(StrBytes::to_string),
    })
}

fn advice(code: ResponseError) -> Option<&'static str> {
    use ResponseError as Code;
    Some(match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopicId => {
            "there is no such topic or partition; list the topics for those that there are"
        }
        Code::TopicAlreadyExists => "use another name, or delete the topic first",
        Code::InvalidTopicException => {
            "a name has 1 to 249 letters, digits, dots, underscores and hyphens"
        }
        Code::InvalidReplicationFactor => "use at most as many replicas as there are brokers",
        Code::InvalidPartitions => "a topic has at least one partition and never loses one",
        Code::InvalidConfig => "describe the configuration for its names and values",
        Code::LeaderNotAvailable => "the partition has no leader; see that its brokers run",
        Code::OffsetOutOfRange => "use an offset between the start and the end of the partition",
        Code::GroupIdNotFound => "list the groups for those that there are",
        Code::NonEmptyGroup | Code::UnknownMemberId | Code::RebalanceInProgress => {
            "the group has members; stop them first"
        }
        Code::GroupSubscribedToTopic => "members of the group read the topic; stop them first",
        Code::TransactionalIdNotFound => "list the transactions for those that there are",
        Code::SecurityDisabled => "the brokers have no authorizer; set one to have ACLs",
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            "log in as a principal that an ACL allows to do this"
        }
        Code::BrokerNotAvailable => "describe the cluster for the brokers that run",
        Code::PolicyViolation => "the cluster has a rule against it; ask whoever runs it",
        Code::RequestTimedOut => "see that the cluster's controller and brokers run",
        Code::ThrottlingQuotaExceeded => "change less at a time, or raise the quota",
        _ => return None,
    })
}
