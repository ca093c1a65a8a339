//! Who may do what: rules on resources, and the decision that follows from them.
//!
//! A rule allows or denies one operation on the resources that its pattern covers, to one principal or all, from one host or all. What no
//! rule allows is denied, and a rule that denies wins. Super users may do everything. Rules are Apache Kafka's, and are kept in `acls.json`
//! of the data folder; without a super user there are none, and everybody may do everything.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use super::Principal;
use super::rules::{Operation, Pattern, Permission, Resource, ResourceType, Rule};
use crate::current::Current;
use crate::error::Error;
use crate::snapshot::Kind;
use crate::topics::Refused;

const ACLS: Kind = Kind {
    magic: "millstream-acls",
    newest: 1,
};

/// What may be done to a topic, as far as rules can say it.
const TOPIC: &[Operation] = &[
    Operation::Read,
    Operation::Write,
    Operation::Create,
    Operation::Describe,
    Operation::Delete,
    Operation::Alter,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];
const GROUP: &[Operation] = &[
    Operation::Read,
    Operation::Describe,
    Operation::Delete,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];
const CLUSTER: &[Operation] = &[
    Operation::Create,
    Operation::ClusterAction,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
    Operation::IdempotentWrite,
    Operation::Alter,
    Operation::Describe,
];

/// The rules of a broker.
#[derive(Debug)]
pub(crate) struct Acls {
    path: PathBuf,
    super_users: Arc<[Principal]>,
    rules: Current<Vec<Rule>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    rules: Vec<Rule>,
}

impl Acls {
    /// Reads the rules. Rules that hold no longer because nobody is a super user any more would open the broker in silence.
    pub(crate) fn open(folder: &Path, super_users: &[String]) -> Result<Acls, Error> {
        let path = folder.join("acls.json");
        let rules = ACLS.read::<Stored>(&path)?.unwrap_or_default().rules;
        if super_users.is_empty() && !rules.is_empty() {
            return Err(Error::AclsWithoutSuperUser { path });
        }
        let names = super_users.iter();
        let names = names.map(|name| Principal::user(name.trim_start_matches("User:")));
        Ok(Acls {
            path,
            super_users: names.collect(),
            rules: Current::new(rules),
        })
    }

    /// Whether there are rules at all.
    pub(crate) fn are_on(&self) -> bool {
        !self.super_users.is_empty()
    }

    /// What this principal may do, from now on until it is asked for again; `None` when everybody may do everything.
    pub(crate) fn access(&self, principal: &Principal, host: IpAddr) -> Option<Access> {
        self.are_on().then(|| Access {
            all: self.super_users.contains(principal),
            rules: self.rules(),
            principal: principal.to_string(),
            host: host.to_canonical().to_string(),
        })
    }

    /// All rules.
    pub(crate) fn rules(&self) -> Arc<Vec<Rule>> {
        self.rules.get()
    }

    /// Adds rules; they hold when this returns, and after a power cut.
    pub(crate) fn add(&self, rules: &[Rule]) -> Result<(), Refused> {
        let new = |all: &[Rule]| {
            let mut new: Vec<Rule> = Vec::new();
            for rule in rules {
                if !all.contains(rule) && !new.contains(rule) {
                    new.push(rule.clone());
                }
            }
            new
        };
        self.change(|all| {
            let new = new(all);
            let changed = !new.is_empty();
            all.extend(new);
            changed
        })
    }

    /// Removes rules.
    pub(crate) fn remove(&self, gone: &[Rule]) -> Result<(), Refused> {
        self.change(|all| {
            let before = all.len();
            all.retain(|rule| !gone.contains(rule));
            all.len() != before
        })
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Rule>) -> bool) -> Result<(), Refused> {
        self.rules.change(|now| {
            let mut stored = Stored { rules: now.clone() };
            if !change(&mut stored.rules) {
                return Ok(None);
            }
            ACLS.write_private(&self.path, &stored).map_err(|error| {
                tracing::error!(%error, "failed to store the ACLs");
                Refused::new(ResponseError::KafkaStorageError, error.to_string())
            })?;
            Ok(Some(stored.rules))
        })
    }
}

/// What one principal may do from one host, as of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    all: bool,
    rules: Arc<Vec<Rule>>,
    principal: String,
    host: String,
}

impl Access {
    /// Whether an operation is allowed.
    pub(crate) fn allows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        if self.all {
            return true;
        }
        let mut allowed = false;
        for rule in self.rules.iter().filter(|rule| rule.covers(resource)) {
            if self.is_meant(rule) && rule.decides(operation) {
                match rule.permission {
                    Permission::Deny => return false,
                    Permission::Allow => allowed = true,
                }
            }
        }
        allowed
    }

    pub(crate) fn denies(&self, operation: Operation, resource: Resource<'_>) -> bool {
        !self.allows(operation, resource)
    }

    /// Whether an operation is allowed on at least one resource of a type, be there one now or not.
    pub(crate) fn allows_on_any(&self, operation: Operation, kind: ResourceType) -> bool {
        let meant =
            |rule: &&Rule| rule.resource == kind && self.is_meant(rule) && rule.decides(operation);
        let rules = || self.rules.iter().filter(meant);
        let denied = |allowed: &Rule| {
            let mut denials = rules().filter(|rule| rule.permission == Permission::Deny);
            denials.any(|denial| match denial.pattern {
                Pattern::Prefixed => allowed.name.starts_with(&denial.name),
                Pattern::Literal => {
                    denial.name == "*"
                        || (allowed.pattern == Pattern::Literal && denial.name == allowed.name)
                }
            })
        };
        let mut allowing = rules().filter(|rule| rule.permission == Permission::Allow);
        self.all || allowing.any(|allowed| !denied(allowed))
    }

    /// The operations that are allowed on a resource, as the bits of the protocol.
    pub(crate) fn operations(&self, resource: Resource<'_>) -> i32 {
        let all = match resource.kind {
            ResourceType::Topic => TOPIC,
            ResourceType::Group => GROUP,
            _ => CLUSTER,
        };
        all.iter()
            .filter(|operation| self.allows(**operation, resource))
            .fold(0, |bits, operation| bits | (1 << *operation as i32))
    }

    fn is_meant(&self, rule: &Rule) -> bool {
        (rule.principal == self.principal || rule.principal == "User:*")
            && (rule.host == self.host || rule.host == "*")
    }
}

#[cfg(test)]
mod tests;
