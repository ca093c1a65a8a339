//! Who is on a connection, how that is known (TLS, SASL, users and their passwords), and what they may do (ACLs).
//!
//! A connection is somebody before its first request is answered: nobody in particular, the subject of a certificate, or a user who has
//! logged in. No secret is ever logged or shown by `Debug`.

mod acls;
mod guard;
mod login;
pub(crate) mod quotas;
pub(crate) mod rules;
mod scram;
mod tls;
mod users;

use std::fmt;

use kafka_protocol::protocol::StrBytes;

pub(crate) use acls::{Access, Acls};
pub(crate) use guard::{Guard, Guarded, Verdict};
pub(crate) use login::{Gate, Login};
pub(crate) use quotas::{Quotas, Use};
pub(crate) use scram::{Credential, Mechanism};
pub(crate) use tls::Acceptor;
pub use tls::{ClientCertificates, Tls};
pub use users::User;
pub(crate) use users::{Change, Users, check_new};

/// Who sends requests: Kafka's `User:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Principal(StrBytes);

impl Principal {
    /// Nobody in particular.
    pub(crate) fn anonymous() -> Principal {
        Principal(StrBytes::from_static_str("ANONYMOUS"))
    }

    pub(crate) fn user(name: &str) -> Principal {
        Principal(StrBytes::from_string(name.to_owned()))
    }

    pub(crate) fn name(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User:{}", self.name())
    }
}

#[cfg(test)]
mod tests;
