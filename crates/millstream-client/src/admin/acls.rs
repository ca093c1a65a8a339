//! Access control lists, which are only read.
//!
//! Words of the protocol that this client does not know keep their numbers: a rule that nobody here can name is shown all the same.

use std::time::Duration;

use kafka_protocol::messages::DescribeAclsRequest;

use super::Admin;
use super::asking::{Operation, Read, Route};
use super::refusal::answered;
use crate::error::Error;
use crate::wire::api::{Call, Reply};
use crate::wire::text;

/// Words of the protocol, each with its number.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $word:ident = $code:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$item])* $word,)*
            /// A word that this client does not know, by its number.
            Unknown(i8),
        }

        impl $name {
            fn of(code: i8) -> Self {
                match code {
                    $($code => Self::$word,)*
                    code => Self::Unknown(code),
                }
            }

            fn code(self) -> i8 {
                match self {
                    $(Self::$word => $code,)*
                    Self::Unknown(code) => code,
                }
            }
        }
    };
}

words! {
    /// What is guarded.
    AclResource {
        /// A topic.
        Topic = 2,
        /// A group.
        Group = 3,
        /// The cluster.
        Cluster = 4,
        /// A transactional id.
        TransactionalId = 5,
        /// A delegation token.
        DelegationToken = 6,
        /// A user, for delegation tokens.
        User = 7,
    }
}

words! {
    /// Which names are meant.
    AclPattern {
        /// This name, or all if it is `*`.
        Literal = 3,
        /// All names that begin so.
        Prefixed = 4,
    }
}

words! {
    /// What is done.
    AclOperation {
        /// Everything.
        All = 2,
        /// Read.
        Read = 3,
        /// Write.
        Write = 4,
        /// Create.
        Create = 5,
        /// Delete.
        Delete = 6,
        /// Change what is not a configuration.
        Alter = 7,
        /// Describe what is not a configuration.
        Describe = 8,
        /// What brokers do among themselves.
        ClusterAction = 9,
        /// Describe a configuration.
        DescribeConfigs = 10,
        /// Change a configuration.
        AlterConfigs = 11,
        /// Write idempotently without another permission.
        IdempotentWrite = 12,
        /// Create delegation tokens for others.
        CreateTokens = 13,
        /// Describe delegation tokens of others.
        DescribeTokens = 14,
        /// Abort transactions of others.
        TwoPhaseCommit = 15,
    }
}

words! {
    /// Whether it may be done.
    AclPermission {
        /// It may not, whatever else is allowed.
        Deny = 2,
        /// It may.
        Allow = 3,
    }
}

/// A rule: who may, or may not, do what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Acl {
    /// The kind of what is guarded.
    pub resource: AclResource,
    /// Its name, or how its name begins.
    pub name: String,
    /// Which of the two.
    pub pattern: AclPattern,
    /// Who: `User:alice`, or `User:*` for anyone.
    pub principal: String,
    /// From where: an address, or `*` for anywhere.
    pub host: String,
    /// What is done.
    pub operation: AclOperation,
    /// Whether it may be done.
    pub permission: AclPermission,
}

/// Which rules are asked for. Default: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclFilter {
    /// Those of this kind of resource.
    pub resource: Option<AclResource>,
    /// Those that hold for the resource of this name, or with a pattern those of exactly this name.
    pub name: Option<String>,
    /// Those with this pattern.
    pub pattern: Option<AclPattern>,
    /// Those of this principal, such as `User:alice`.
    pub principal: Option<String>,
    /// Those from this host.
    pub host: Option<String>,
    /// Those of this operation.
    pub operation: Option<AclOperation>,
    /// Those that allow, or those that deny.
    pub permission: Option<AclPermission>,
}

impl Admin {
    /// The rules that a filter lets through, in order.
    ///
    /// # Errors
    /// [`Error::Administration`] if the cluster has no authorizer, or if this client may not describe it.
    pub fn acls(&mut self, filter: &AclFilter) -> Result<Vec<Acl>, Error> {
        self.one(&DescribeAcls(filter), ())
    }
}

struct DescribeAcls<'a>(&'a AclFilter);

/// "Any" in a filter.
const ANY: i8 = 1;
/// Every pattern that holds for a name.
const MATCH: i8 = 2;

impl Operation for DescribeAcls<'_> {
    type Item = ();
    type Value = Vec<Acl>;
    const CHANGES: bool = false;

    fn what(&self, (): &()) -> String {
        "read the ACLs".to_owned()
    }

    fn route(&self, (): &()) -> Route {
        Route::Any
    }

    fn call(&self, _: &[()], _: Duration) -> Call {
        let Self(filter) = self;
        let any = filter.name.as_ref().map_or(ANY, |_| MATCH);
        let pattern = filter.pattern.map_or(any, AclPattern::code);
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(filter.resource.map_or(ANY, AclResource::code))
            .with_resource_name_filter(filter.name.as_deref().map(text))
            .with_pattern_type_filter(pattern)
            .with_principal_filter(filter.principal.as_deref().map(text))
            .with_host_filter(filter.host.as_deref().map(text))
            .with_operation(filter.operation.map_or(ANY, AclOperation::code))
            .with_permission_type(filter.permission.map_or(ANY, AclPermission::code));
        Call::DescribeAcls(request)
    }

    fn read(&self, reply: Reply, _: &[()]) -> Read<(), Vec<Acl>> {
        let Reply::DescribeAcls(reply) = reply else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for resource in reply.resources {
            for acl in resource.acls {
                found.push(Acl {
                    resource: AclResource::of(resource.resource_type),
                    name: resource.resource_name.to_string(),
                    pattern: AclPattern::of(resource.pattern_type),
                    principal: acl.principal.to_string(),
                    host: acl.host.to_string(),
                    operation: AclOperation::of(acl.operation),
                    permission: AclPermission::of(acl.permission_type),
                });
            }
        }
        found.sort();
        let message = reply.error_message.as_ref();
        vec![((), answered(reply.error_code, message, || found))]
    }
}
