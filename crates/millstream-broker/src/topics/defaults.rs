//! What topics follow that have no config of their own: the broker's settings, some of which can be changed while it runs.
//!
//! A value comes from the first of four layers that has one: set for this broker, set for all brokers, set when the broker started, Kafka's
//! default. The first two are what AlterConfigs changes; they go by Kafka's names for the broker (`log.retention.ms`), and are kept in
//! `broker-configs.json` of the data folder. Everything else of the broker is set when it starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use super::Refused;
use super::config::{DEFINITIONS, Definition, Overrides, Source};
use crate::config::{Config, names};
use crate::error::Error;
use crate::snapshot::{Durability, Kind};

const KIND: Kind = Kind {
    magic: "millstream-broker-configs",
    newest: 1,
};

/// What was set while a broker ran, by the broker's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dynamic {
    /// For this broker.
    pub(crate) this: Overrides,
    /// For all brokers.
    pub(crate) all: Overrides,
}

/// Which brokers a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    This,
    All,
}

impl Dynamic {
    /// What was set for these brokers.
    pub(crate) fn of(&self, scope: Scope) -> &Overrides {
        match scope {
            Scope::This => &self.this,
            Scope::All => &self.all,
        }
    }

    /// The same with other values for these brokers.
    pub(crate) fn with(&self, scope: Scope, overrides: Overrides) -> Dynamic {
        match scope {
            Scope::This => Dynamic {
                this: overrides,
                ..self.clone()
            },
            Scope::All => Dynamic {
                all: overrides,
                ..self.clone()
            },
        }
    }

    fn path(data: &Path) -> PathBuf {
        data.join("broker-configs.json")
    }
}

/// All layers below the configs of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    config: Arc<Config>,
    pub(crate) dynamic: Dynamic,
}

impl Defaults {
    /// What was set when the broker started, and nothing since.
    pub(crate) fn new(config: &Arc<Config>) -> Defaults {
        Defaults {
            config: Arc::clone(config),
            dynamic: Dynamic::default(),
        }
    }

    /// The same with what an earlier start has left.
    pub(super) fn open(config: &Arc<Config>) -> Result<Defaults, Error> {
        let stored = KIND.read(&Dynamic::path(&config.data))?;
        Ok(Defaults {
            dynamic: stored.unwrap_or_default(),
            ..Defaults::new(config)
        })
    }

    /// The same with other dynamic values, which are on the disk when this returns.
    pub(super) fn change(&self, dynamic: Dynamic) -> Result<Defaults, Error> {
        KIND.write(
            &Dynamic::path(&self.config.data),
            &dynamic,
            Durability::Disk,
        )?;
        Ok(Defaults {
            config: Arc::clone(&self.config),
            dynamic,
        })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Where each value of a config comes from, the one that counts first. There is always one.
    pub(crate) fn layers(&self, of: &Definition) -> Vec<(Source, String)> {
        let set = |overrides: &Overrides| overrides.get(of.broker?).cloned();
        let at_start = Some(of.broker_value(&self.config)).filter(|value| value != of.default);
        let layers = [
            (Source::DynamicBroker, set(&self.dynamic.this)),
            (Source::DynamicDefault, set(&self.dynamic.all)),
            (Source::Broker, at_start),
            (Source::Default, Some(of.default.to_owned())),
        ];
        layers
            .into_iter()
            .filter_map(|(source, value)| Some((source, value?)))
            .collect()
    }

    /// The value that counts, and where it comes from.
    pub(crate) fn value(&self, of: &Definition) -> (Source, String) {
        let first = self.layers(of).into_iter().next();
        first.unwrap_or_else(|| (Source::Default, of.default.to_owned()))
    }
}

/// Finds a config by the name that it has for the broker.
pub(crate) fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|of| of.broker == Some(name))
}

/// Refuses what cannot be set while the broker runs.
pub(crate) fn check_name(name: &str) -> Result<&'static Definition, Refused> {
    if let Some(definition) = definition(name) {
        return Ok(definition);
    }
    let text = match names::is_known(name) {
        true => format!(
            "Cannot update these configs dynamically: {name}. It is set when the broker starts."
        ),
        false => format!(
            "Cannot update these configs dynamically: {name}. There is no such config; describing the broker lists those that are not read-only."
        ),
    };
    Err(Refused::new(ResponseError::InvalidRequest, text))
}

/// Refuses values that cannot be, in the words of Kafka.
pub(crate) fn check_all(overrides: &Overrides) -> Result<(), Refused> {
    for (name, value) in overrides {
        let of = *check_name(name)?;
        let named = Definition {
            name: of.broker.unwrap_or(of.name),
            ..of
        };
        named
            .check(value)
            .map_err(|text| Refused::new(ResponseError::InvalidRequest, text))?;
    }
    Ok(())
}
