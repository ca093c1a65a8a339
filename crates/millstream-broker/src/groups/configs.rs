//! Dynamic configs of groups, by Kafka's names: what is set for one group holds instead of the broker's setting.
//!
//! A group need not exist to have configs, and keeps them when it is deleted, as in Apache Kafka. They are kept in `group-configs.json` of
//! the data folder, which is replaced whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kafka_protocol::ResponseError;

use super::consumer;
use crate::config::Config;
use crate::current::Current;
use crate::error::Error;
use crate::snapshot::{Durability, Kind};
use crate::topics::Refused;
use crate::topics::config::Overrides;

const FILE: Kind = Kind {
    magic: "millstream-group-configs",
    newest: 1,
};

/// One config of a group.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    /// The broker's setting that holds for groups without this config.
    pub(crate) broker: &'static str,
    pub(crate) help: &'static str,
    /// Kafka's `group.consumer.min.*` and `group.consumer.max.*`, in milliseconds.
    allowed: (i32, i32),
    broker_value: fn(&Config) -> i32,
    set: fn(&mut consumer::Rules, i32),
}

/// All configs that a group can have here, in the order of their names.
pub(crate) const DEFINITIONS: [Definition; 2] = [
    Definition {
        name: "consumer.heartbeat.interval.ms",
        broker: "group.consumer.heartbeat.interval.ms",
        help: "How often a member of the group sends a heartbeat.",
        allowed: (5000, 15_000),
        broker_value: |config| config.group_consumer_heartbeat_interval_ms,
        set: |rules, value| rules.heartbeat_interval_ms = value,
    },
    Definition {
        name: "consumer.session.timeout.ms",
        broker: "group.consumer.session.timeout.ms",
        help: "How long a member of the group may send no heartbeat before it is removed.",
        allowed: (45_000, 60_000),
        broker_value: |config| config.group_consumer_session_timeout_ms,
        set: |rules, value| rules.session_timeout_ms = value,
    },
];

impl Definition {
    /// The value for groups without this config.
    pub(crate) fn broker_value(&self, config: &Config) -> i32 {
        (self.broker_value)(config)
    }
}

/// What is set for each group.
#[derive(Debug)]
pub(crate) struct GroupConfigs {
    path: PathBuf,
    set: Current<AllSet>,
}

type AllSet = BTreeMap<String, Overrides>;

impl GroupConfigs {
    pub(crate) fn open(folder: &Path) -> Result<GroupConfigs, Error> {
        let path = folder.join("group-configs.json");
        let set = FILE.read::<AllSet>(&path)?.unwrap_or_default();
        Ok(GroupConfigs {
            path,
            set: Current::new(set),
        })
    }

    /// What is set for a group.
    pub(crate) fn of(&self, group: &str) -> Overrides {
        self.set.get().get(group).cloned().unwrap_or_default()
    }

    /// The rules of a group, where `rules` are those of all.
    pub(super) fn apply(&self, group: &str, mut rules: consumer::Rules) -> consumer::Rules {
        let set = self.set.get();
        let Some(overrides) = set.get(group) else {
            return rules;
        };
        for of in &DEFINITIONS {
            if let Some(value) = overrides
                .get(of.name)
                .and_then(|text| text.trim().parse().ok())
            {
                (of.set)(&mut rules, value);
            }
        }
        rules
    }

    /// Gives a group the configs that `change` makes of those it has; they hold when this returns, and after a power cut.
    pub(crate) fn replace(
        &self,
        group: &str,
        config: &Config,
        validate_only: bool,
        change: impl FnOnce(&Overrides) -> Result<Overrides, Refused>,
    ) -> Result<(), Refused> {
        if group.is_empty() {
            let text = "Default group resources are not allowed.";
            return Err(Refused::new(ResponseError::InvalidRequest, text));
        }
        self.set.change(|now| {
            let overrides = change(now.get(group).unwrap_or(&Overrides::new()))?;
            check(&overrides, config)
                .map_err(|text| Refused::new(ResponseError::InvalidConfig, text))?;
            if validate_only {
                return Ok(None);
            }
            let mut changed = now.clone();
            match overrides.is_empty() {
                true => changed.remove(group),
                false => changed.insert(group.to_owned(), overrides),
            };
            FILE.write(&self.path, &changed, Durability::Disk)?;
            Ok(Some(changed))
        })
    }
}

/// Refuses names that are not known, values that are not allowed, and heartbeats that would come too late.
fn check(overrides: &Overrides, config: &Config) -> Result<(), String> {
    for (name, text) in overrides {
        let of = DEFINITIONS.iter().find(|of| of.name == name);
        let of = of.ok_or_else(|| format!("Unknown group config name: {name}"))?;
        let value: i32 = text.trim().parse().map_err(|_| {
            format!("Invalid value {text} for configuration {name}: Not a number of type INT")
        })?;
        let (least, most) = of.allowed;
        if value < least {
            return Err(format!("{name} must be greater than or equal to {least}"));
        } else if value > most {
            return Err(format!("{name} must be less than or equal to {most}"));
        }
    }
    let [heartbeat, session] = DEFINITIONS.each_ref().map(|of| {
        let set = overrides.get(of.name);
        set.and_then(|text| text.trim().parse().ok())
            .unwrap_or_else(|| of.broker_value(config))
    });
    match session > heartbeat {
        true => Ok(()),
        false => Err(
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::testing::CONSUMER_RULES;

    const SESSION: &str = "consumer.session.timeout.ms";

    fn set(configs: &GroupConfigs, group: &str, value: &str) -> Result<(), String> {
        let overrides = Overrides::from([(SESSION.to_owned(), value.to_owned())]);
        let replaced = configs.replace(group, &Config::new(""), false, |_| Ok(overrides));
        replaced.map_err(|refused| refused.message)
    }

    #[test]
    fn what_is_set_for_a_group_holds_for_it_alone_and_over_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let configs = GroupConfigs::open(data.path()).unwrap();
        set(&configs, "readers", "50000").unwrap();
        for configs in [configs, GroupConfigs::open(data.path()).unwrap()] {
            let rules = configs.apply("readers", CONSUMER_RULES);
            assert_eq!(rules.session_timeout_ms, 50_000);
            assert_eq!(rules.heartbeat_interval_ms, 5000);
            let rules = configs.apply("others", CONSUMER_RULES);
            assert_eq!(rules.session_timeout_ms, 45_000);
        }
    }

    #[test]
    fn values_beyond_the_limits_of_kafka_are_refused() {
        let data = tempfile::tempdir().unwrap();
        let configs = GroupConfigs::open(data.path()).unwrap();
        let refused = [
            ("44999", "greater than or equal to 45000"),
            ("60001", "less than or equal to 60000"),
        ];
        for (value, reason) in refused {
            let message = set(&configs, "readers", value).unwrap_err();
            assert_eq!(message, format!("{SESSION} must be {reason}"));
        }
        assert_eq!(configs.of("readers"), Overrides::new());
    }
}
