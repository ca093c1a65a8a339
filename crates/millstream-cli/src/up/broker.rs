//! The broker of `up`: our own in this process, or a cluster elsewhere.
//!
//! Starting ours is where most first runs fail (a port that is taken, a folder that cannot be written); `hints` has
//! what to do about each. A cluster elsewhere has to respond before any service is started: an address that is wrong
//! is an error at once, and not a system that waits for ever.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use millstream::Cluster;
use millstream::admin::Admin;
use millstream_broker::{Config, Listener, Server};

/// When the services have gone, connections of others get this long to finish a request.
const DRAIN: Duration = Duration::from_millis(300);
/// A cluster that has not responded by then is not there.
const REACH: Duration = Duration::from_secs(5);

/// Which broker the services use.
#[derive(Debug)]
pub(crate) enum Broker {
    /// One in this process.
    Embedded {
        /// Its folder.
        data: PathBuf,
        /// Its address.
        listen: SocketAddr,
        /// Whether it may be open to anyone.
        allow_anyone: bool,
    },
    /// A cluster at these addresses.
    Elsewhere {
        /// Its addresses.
        brokers: String,
        /// The same with all settings.
        cluster: Cluster,
    },
}

/// A broker that services can use.
#[derive(Debug)]
pub(crate) struct Started {
    brokers: String,
    data: Option<String>,
    server: Option<Server>,
}

impl Broker {
    /// Starts the broker if it is ours, and else asks whether it is there.
    pub(crate) fn start(self) -> anyhow::Result<Started> {
        match self {
            Self::Embedded {
                listen,
                allow_anyone,
                data,
            } => {
                let mut config = Config::new(&data);
                config.listeners = vec![Listener::at(listen)];
                config.allow_anyone = allow_anyone;
                config.drain_within = DRAIN;
                let server = Server::start(config)?;
                Ok(Started {
                    brokers: server.address().to_string(),
                    data: Some(data.display().to_string()),
                    server: Some(server),
                })
            }
            Self::Elsewhere { brokers, cluster } => {
                Admin::new(&cluster)?
                    .reach(REACH, |_| true)
                    .with_context(|| {
                        format!(
                            "no response from a broker at `{brokers}` within {} s; without --brokers and KAFKA_BROKERS, `up` starts a broker of its own",
                            REACH.as_secs()
                        )
                    })?;
                Ok(Started {
                    brokers,
                    data: None,
                    server: None,
                })
            }
        }
    }
}

impl Started {
    /// Where services find it.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The data folder, if it is ours.
    pub(crate) fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// Stops the broker if it is ours: everything written is flushed.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        match self.server {
            Some(server) => Ok(server.stop()?),
            None => Ok(()),
        }
    }
}
