//! Which topics the members of a group subscribe to: names that exist, and what regular expressions match.
//!
//! The catalogue of topics has a version, so that a heartbeat looks at it only after something changed in it. What a regular expression
//! matches is kept until then.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use regex::Regex;
use uuid::Uuid;

use super::member::Profile;
use crate::groups::catalogue::Catalogue;

/// Reads a regular expression, which has to match whole names. Memory for it is bounded.
pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(1 << 20)
        .build()
}

/// What is known of the catalogue.
#[derive(Debug, Default)]
pub(super) struct Subscribed {
    /// The version of the catalogue that the stored state is about; `None` after a start.
    pub(super) stored: Option<u64>,
    /// The version that `matches` are of.
    version: u64,
    matches: BTreeMap<StrBytes, BTreeSet<TopicName>>,
}

/// The topics of all members at one version of the catalogue.
pub(super) struct Topics {
    pub(super) version: u64,
    /// The number of partitions of each topic.
    pub(super) counts: BTreeMap<Uuid, i32>,
    /// Names, ids and numbers of partitions in one number, to notice changes after a restart.
    pub(super) hash: u32,
    /// By member, in the order given.
    pub(super) by_member: Vec<Rc<BTreeSet<Uuid>>>,
}

impl Subscribed {
    /// Finds the topics of all members.
    pub(super) fn look_up<'a>(
        &mut self,
        members: impl Iterator<Item = &'a Profile>,
        catalogue: &dyn Catalogue,
    ) -> Topics {
        let version = catalogue.version();
        if self.version != version {
            self.matches.clear();
            self.version = version;
        }
        let mut found: BTreeMap<TopicName, (Uuid, i32)> = BTreeMap::new();
        // Most members subscribe to the same.
        let mut same: BTreeMap<(&BTreeSet<TopicName>, &StrBytes), Rc<BTreeSet<Uuid>>> =
            BTreeMap::new();
        let by_member = members.map(|profile| {
            let key = (&profile.names, &profile.pattern);
            if let Some(known) = same.get(&key) {
                return Rc::clone(known);
            }
            let mut ids = BTreeSet::new();
            for name in profile
                .names
                .iter()
                .chain(self.matched(&profile.pattern, catalogue))
            {
                if let Some((id, count)) = catalogue.find(name) {
                    found.insert(name.clone(), (id, count));
                    ids.insert(id);
                }
            }
            let ids = Rc::new(ids);
            same.insert(key, Rc::clone(&ids));
            ids
        });
        let by_member = by_member.collect();
        Topics {
            version,
            hash: hash(&found),
            counts: found.into_values().collect(),
            by_member,
        }
    }

    /// The names that a regular expression matches.
    fn matched(&mut self, pattern: &StrBytes, catalogue: &dyn Catalogue) -> &BTreeSet<TopicName> {
        self.matches.entry(pattern.clone()).or_insert_with(|| {
            if pattern.is_empty() {
                return BTreeSet::new();
            }
            let regex = compile(pattern);
            let names = catalogue.names().into_iter();
            names
                .filter(|name| regex.as_ref().is_ok_and(|regex| regex.is_match(name)))
                .collect()
        })
    }

    /// Whether a regular expression matches a name, as of the last look.
    pub(super) fn matches(&self, pattern: &StrBytes, name: &str) -> bool {
        let names = self.matches.get(pattern);
        names.is_some_and(|names| names.iter().any(|one| one.as_str() == name))
    }
}

fn hash(topics: &BTreeMap<TopicName, (Uuid, i32)>) -> u32 {
    topics.iter().fold(0, |sum, (name, (id, count))| {
        let sum = crc32c::crc32c_append(sum, name.as_bytes());
        let sum = crc32c::crc32c_append(sum, id.as_bytes());
        crc32c::crc32c_append(sum, &count.to_be_bytes())
    })
}
