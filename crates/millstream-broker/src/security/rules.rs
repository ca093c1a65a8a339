//! The parts of an ACL, by the numbers of the protocol, and what a rule covers.
//!
//! Patterns, implied operations and wildcards are those of Apache Kafka's StandardAuthorizer.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $code:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub(crate) enum $name { $($variant = $code),* }

        impl $name {
            /// What a number of the protocol stands for.
            pub(crate) fn of_code(code: i8) -> Option<$name> {
                match code {
                    $($code => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// What a rule is about.
    ResourceType { Topic = 2, Group = 3, Cluster = 4, TransactionalId = 5, DelegationToken = 6, User = 7 }
}
codes! {
    /// What is done.
    Operation {
        All = 2, Read = 3, Write = 4, Create = 5, Delete = 6, Alter = 7, Describe = 8, ClusterAction = 9, DescribeConfigs = 10,
        AlterConfigs = 11, IdempotentWrite = 12, CreateTokens = 13, DescribeTokens = 14, TwoPhaseCommit = 15,
    }
}
codes! {
    /// Which names a rule covers: one (or all, by `*`), or those that begin so.
    Pattern { Literal = 3, Prefixed = 4 }
}
codes! {
    /// What a rule decides.
    Permission { Deny = 2, Allow = 3 }
}

/// Something that a request touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource<'a> {
    pub(crate) kind: ResourceType,
    pub(crate) name: &'a str,
}

impl<'a> Resource<'a> {
    pub(crate) const CLUSTER: Resource<'static> = Resource {
        kind: ResourceType::Cluster,
        name: "kafka-cluster",
    };

    pub(crate) fn topic(name: &'a str) -> Resource<'a> {
        Resource {
            kind: ResourceType::Topic,
            name,
        }
    }

    pub(crate) fn group(name: &'a str) -> Resource<'a> {
        Resource {
            kind: ResourceType::Group,
            name,
        }
    }

    pub(crate) fn transaction(name: &'a str) -> Resource<'a> {
        Resource {
            kind: ResourceType::TransactionalId,
            name,
        }
    }
}

/// One ACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) resource: ResourceType,
    pub(crate) pattern: Pattern,
    pub(crate) name: String,
    /// `User:NAME`, or `User:*` for all.
    pub(crate) principal: String,
    /// An address, or `*` for all.
    pub(crate) host: String,
    pub(crate) operation: Operation,
    pub(crate) permission: Permission,
}

impl Rule {
    /// Whether its pattern covers a resource.
    pub(crate) fn covers(&self, resource: Resource<'_>) -> bool {
        self.resource == resource.kind
            && match self.pattern {
                Pattern::Literal => self.name == resource.name || self.name == "*",
                Pattern::Prefixed => resource.name.starts_with(&self.name),
            }
    }

    /// Whether it speaks of an operation: itself, all of them, or, where it allows, one that allows this one too.
    pub(crate) fn decides(&self, operation: Operation) -> bool {
        let implied = match operation {
            Operation::Describe => matches!(
                self.operation,
                Operation::Read | Operation::Write | Operation::Delete | Operation::Alter
            ),
            Operation::DescribeConfigs => self.operation == Operation::AlterConfigs,
            _ => false,
        };
        self.operation == operation
            || self.operation == Operation::All
            || (implied && self.permission == Permission::Allow)
    }
}

/// Rules that somebody asks for, by the numbers of the protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter<'a> {
    pub(crate) resource: i8,
    pub(crate) name: Option<&'a str>,
    pub(crate) pattern: i8,
    pub(crate) principal: Option<&'a str>,
    pub(crate) host: Option<&'a str>,
    pub(crate) operation: i8,
    pub(crate) permission: i8,
}

impl Filter<'_> {
    /// Stands for all of a kind of number.
    const ANY: i8 = 1;
    /// Stands for the patterns that cover a name.
    const MATCH: i8 = 2;

    /// Whether a rule is asked for.
    pub(crate) fn fits(&self, rule: &Rule) -> bool {
        let code = |wanted: i8, code: i8| wanted == Self::ANY || wanted == code;
        let text = |wanted: Option<&str>, text: &str| wanted.is_none_or(|wanted| wanted == text);
        let place = match (self.pattern, self.name) {
            (Self::MATCH, Some(name)) => rule.covers(Resource {
                kind: rule.resource,
                name,
            }),
            (Self::MATCH | Self::ANY, name) => text(name, &rule.name),
            (pattern, name) => pattern == rule.pattern as i8 && text(name, &rule.name),
        };
        place
            && code(self.resource, rule.resource as i8)
            && text(self.principal, &rule.principal)
            && text(self.host, &rule.host)
            && code(self.operation, rule.operation as i8)
            && code(self.permission, rule.permission as i8)
    }
}
