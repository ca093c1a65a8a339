//! What the settings come to for one command: the cluster it talks to, and how it is asked to stop.
//!
//! Built once from the common options and the configuration file; commands see the meaning, never the raw texts.

use anyhow::Context;
use millstream::http::{Exposition, Health, Listener};
use millstream::{Cluster, Shutdown};

use crate::args::Common;
use crate::config::{self, File};
use crate::{figures, life, supervised};

/// The cluster's default address.
pub(crate) const DEFAULT_BROKERS: &str = "127.0.0.1:9092";

/// The resolved settings of one run.
#[derive(Debug)]
pub(crate) struct Session {
    /// The common options as they were given, for processes that this one starts.
    pub(crate) common: Common,
    /// The cluster.
    pub(crate) cluster: Cluster,
}

impl Session {
    /// Resolves `common` and `file`.
    pub(crate) fn new(common: Common, file: &File) -> anyhow::Result<Self> {
        let brokers = common.brokers.as_deref().unwrap_or(DEFAULT_BROKERS);
        let mut cluster: Cluster = brokers.parse().with_context(|| {
            let origin = common.brokers_origin.as_ref();
            origin.map_or_else(String::new, ToString::to_string)
        })?;
        for property in config::resolve_properties(file, &common.properties)? {
            cluster = cluster
                .property(property.name, property.value)
                .with_context(|| property.origin.to_string())?;
        }
        Ok(Self { common, cluster })
    }

    /// Begins the life of a service process, and serves HTTP if it was asked to.
    pub(crate) fn serve(&self) -> anyhow::Result<Serving> {
        let (shutdown, health) = (life::begin()?, Health::new());
        let Some(address) = self.common.http else {
            return Ok(Serving {
                shutdown,
                health,
                served: None,
            });
        };
        let recorder = millstream::metrics::recorder()?;
        let listener = Listener::open(address, health.clone(), recorder.clone())?;
        tracing::info!(address = %listener.address(), "serving metrics and health");
        supervised::tell_address(listener.address())
            .context("failed to tell the supervisor our address")?;
        Ok(Serving {
            shutdown,
            health,
            served: Some((listener, Box::new(recorder))),
        })
    }
}

/// A service process that runs.
pub(crate) struct Serving {
    /// Ends it when requested.
    pub(crate) shutdown: Shutdown,
    /// Whether it is ready, for `/readyz`.
    pub(crate) health: Health,
    /// Where HTTP is served, and what it shows.
    served: Option<(Listener, Box<dyn Exposition>)>,
}

impl Drop for Serving {
    /// Reports the last figures: a process that has ended cannot be asked for them.
    fn drop(&mut self) {
        if let Some((_, metrics)) = &self.served
            && let Err(error) = supervised::tell_figures(&figures::read(&metrics.render()))
        {
            tracing::debug!(%error, "failed to report the last figures to the supervisor");
        }
    }
}
