//! The one error of this package.
//!
//! Texts are lower case, say what was tried and on what, and never hold a secret or the bytes of a record.
//! Errors of Kafka also answer whether trying again may help and whether the request may have been carried out:
//! an unknown outcome is never taken for success.

use std::io;
use std::net::SocketAddr;

/// Whether a request that failed was carried out all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Applied,
    /// It was not.
    NotApplied,
    /// Nobody can tell: the answer did not arrive.
    Unknown,
}

/// What can go wrong in this library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A property that the Kafka client does not have.
    #[error("unknown property `{name}`{}", did_you_mean(*.nearest))]
    UnknownProperty {
        /// The name as given.
        name: String,
        /// The known name nearest to it, if one is near.
        nearest: Option<&'static str>,
    },

    /// A property that may not have this value, or may not be set at all.
    #[error("invalid value for property `{name}`: {reason}")]
    InvalidProperty {
        /// The property.
        name: String,
        /// Why, without the value if it is a secret.
        reason: String,
    },

    /// A bootstrap address that is none.
    #[error("invalid broker address `{address}`: {reason}")]
    InvalidBrokers {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The cluster or the client refused or failed something.
    #[error("failed to {action}: {reason}")]
    Kafka {
        /// What was tried, such as "create topic `calls`".
        action: String,
        /// Why it failed.
        reason: String,
        /// Whether trying again may help.
        retriable: bool,
        /// Whether it may have been carried out.
        outcome: Outcome,
    },

    /// The HTTP listener could not be opened.
    #[error("failed to listen on `{address}`")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::Kafka { retriable, .. } => *retriable,
            _ => false,
        }
    }

    /// Whether what failed was carried out all the same.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Kafka { outcome, .. } => *outcome,
            _ => Outcome::NotApplied,
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}
