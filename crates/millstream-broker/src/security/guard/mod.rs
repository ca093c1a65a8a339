//! Authorisation: what a request asks for and its sender may not do is taken out of it before its API sees it, and refused in the answer.
//!
//! Each request says here, once, which operation on which resource it needs, and which code stands for a refusal: those of Apache Kafka.
//! The APIs themselves know nothing of it, but for Fetch, whose sessions name
//! topics that a request does not. Without rules none of this runs.

mod cluster;
mod groups;
mod topics;
mod transactions;

use kafka_protocol::protocol::StrBytes;

use super::acls::Access;
use crate::broker::Broker;

/// What is done to the answer after a request was served.
type Amend<R> = Box<dyn FnOnce(&mut R) + Send>;

/// What becomes of a request.
pub(crate) enum Verdict<R> {
    /// It is served as far as it is left.
    Serve(Option<Amend<R>>),
    /// It is not served: this is the answer.
    Refuse(R),
}

impl<R> Verdict<R> {
    const SERVE: Verdict<R> = Verdict::Serve(None);

    /// It is served, and then the answer is amended.
    fn amend(amend: impl FnOnce(&mut R) + Send + 'static) -> Verdict<R> {
        Verdict::Serve(Some(Box::new(amend)))
    }

    /// Refuses all of a request, or serves all of it.
    fn all(refused: Option<R>) -> Verdict<R> {
        refused.map_or(Verdict::SERVE, Verdict::Refuse)
    }
}

/// A request that says what its sender must be allowed to do.
pub(crate) trait Guarded {
    /// What answers it.
    type Response;

    /// Takes out what is denied.
    fn guard(&mut self, at: &Guard<'_>) -> Verdict<Self::Response>;
}

/// Who asks, in which version, and where.
pub(crate) struct Guard<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) access: &'a Access,
    pub(crate) version: i16,
}

/// Takes out of a list what is denied.
fn take<T>(items: &mut Vec<T>, denied: impl FnMut(&mut T) -> bool) -> Vec<T> {
    items.extract_if(.., denied).collect()
}

/// Kafka's codes TOPIC_, GROUP_, CLUSTER_ and TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
const NO_TOPIC: i16 = 29;
const NO_GROUP: i16 = 30;
const NO_CLUSTER: i16 = 31;
const NO_TRANSACTION: i16 = 53;

/// The text that goes with a code.
fn text(code: i16) -> Option<StrBytes> {
    Some(StrBytes::from_static_str(match code {
        NO_TOPIC => "Topic authorization failed.",
        NO_GROUP => "Group authorization failed.",
        NO_TRANSACTION => "Transactional Id authorization failed.",
        _ => "Cluster authorization failed.",
    }))
}
