//! The broker of `up`: our own in this process, or a cluster elsewhere.
//!
//! Starting ours is where most first runs fail (a port that is taken, a folder that cannot be written); `hints` has
//! what to do about each.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use millstream_broker::{Config, Server};

/// When the services have gone, connections of others get this long to finish a request.
const DRAIN: Duration = Duration::from_millis(300);

/// Which broker the services use.
#[derive(Debug)]
pub(crate) enum Broker {
    /// One in this process.
    Embedded {
        /// Its folder.
        data: PathBuf,
        /// Its address.
        listen: SocketAddr,
    },
    /// A cluster at these addresses.
    Elsewhere(String),
}

/// A broker that services can use.
#[derive(Debug)]
pub(crate) struct Started {
    brokers: String,
    title: String,
    server: Option<Server>,
}

impl Broker {
    /// Starts the broker if it is ours.
    pub(crate) fn start(self) -> anyhow::Result<Started> {
        match self {
            Self::Embedded { listen, data } => {
                let mut config = Config::new(&data);
                config.listen = listen;
                config.drain_within = DRAIN;
                let server = Server::start(config)?;
                let address = server.address();
                let title = format!("broker {address} in {}", data.display());
                Ok(Started {
                    brokers: address.to_string(),
                    title,
                    server: Some(server),
                })
            }
            Self::Elsewhere(brokers) => Ok(Started {
                title: format!("cluster {brokers}"),
                brokers,
                server: None,
            }),
        }
    }
}

impl Started {
    /// Where services find it.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// What the status shows of it.
    pub(crate) fn title(&self) -> String {
        self.title.clone()
    }

    /// Stops the broker if it is ours: everything written is flushed.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        match self.server {
            Some(server) => Ok(server.stop()?),
            None => Ok(()),
        }
    }
}
