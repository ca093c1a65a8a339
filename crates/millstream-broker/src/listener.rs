//! Where a broker listens, and the address that clients of each listener are given to connect to.
//!
//! A client connects first to an address that it is configured with, and then only to what the answer names: so every answer names the listener that
//! its request came in by. Inside a container and outside of it the same broker has two names.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use crate::error::Error;
use crate::security::{Acceptor, ClientCertificates, Tls};

/// One address to listen on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listener {
    /// What it is called in errors and logs; each listener has a name of its own.
    pub name: String,
    /// Address to listen on; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Host and port that clients are given to connect to; the listening address when `None`.
    pub advertised: Option<(String, u16)>,
    /// Connections are encrypted. Default: they are not.
    pub tls: Option<Tls>,
    /// Clients log in. Default: they do not.
    pub sasl: bool,
}

impl Listener {
    /// The name of a listener that was given none.
    pub const DEFAULT_NAME: &str = "default";

    /// A listener without a name, for brokers that have only one.
    pub fn at(address: impl Into<SocketAddr>) -> Listener {
        Listener::named(Listener::DEFAULT_NAME, address)
    }

    /// One of several.
    pub fn named(name: impl Into<String>, address: impl Into<SocketAddr>) -> Listener {
        Listener {
            name: name.into(),
            address: address.into(),
            advertised: None,
            tls: None,
            sasl: false,
        }
    }

    /// The same with an address of its own for clients.
    #[must_use]
    pub fn advertised(self, host: impl Into<String>, port: u16) -> Listener {
        Listener {
            advertised: Some((host.into(), port)),
            ..self
        }
    }

    /// The same with encryption.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Listener {
        Listener {
            tls: Some(tls),
            ..self
        }
    }

    /// The same, where clients log in.
    #[must_use]
    pub fn sasl(self) -> Listener {
        Listener { sasl: true, ..self }
    }

    /// Whether other machines reach it, and it asks nobody who they are.
    pub(crate) fn lets_anyone_in(&self) -> bool {
        let certificates = self.tls.as_ref().map(|tls| &tls.clients);
        let certain = matches!(certificates, Some(ClientCertificates::Required(_)));
        !self.address.ip().is_loopback() && !self.sasl && !certain
    }

    /// The security protocol, as Kafka calls it.
    fn protocol(&self) -> &'static str {
        match (&self.tls, self.sasl) {
            (None, false) => "PLAINTEXT",
            (None, true) => "SASL_PLAINTEXT",
            (Some(_), false) => "SSL",
            (Some(_), true) => "SASL_SSL",
        }
    }

    /// As Kafka's setting `listeners` writes it: a listener without a name has that of its protocol.
    pub(crate) fn shown(&self) -> String {
        let name = match self.name.as_str() {
            Listener::DEFAULT_NAME => self.protocol(),
            name => name,
        };
        format!("{name}://{}", self.address)
    }

    /// The address for clients, when the system has chosen the port of `bound`.
    fn for_clients(&self, bound: SocketAddr) -> (String, u16) {
        match &self.advertised {
            Some(advertised) => advertised.clone(),
            // Nobody can connect to "any address": loopback at least works on this machine.
            None if bound.ip().is_unspecified() => ("127.0.0.1".to_owned(), bound.port()),
            None => (bound.ip().to_string(), bound.port()),
        }
    }
}

/// Refuses listeners that could not be told apart.
pub(crate) fn check(listeners: &[Listener]) -> Result<(), Error> {
    let refuse = |listener: &Listener, reason| {
        Err(Error::Listener {
            name: listener.name.clone(),
            reason,
        })
    };
    if listeners.is_empty() {
        return refuse(
            &Listener::at(([127, 0, 0, 1], 0)),
            "is missing: there is none",
        );
    }
    for (index, listener) in listeners.iter().enumerate() {
        let before = listeners.iter().take(index);
        if listener.name.is_empty() {
            return refuse(listener, "needs a name");
        }
        if before.clone().any(|other| other.name == listener.name) {
            return refuse(listener, "has the name of another listener");
        }
    }
    Ok(())
}

/// A listener as its clients know it.
#[derive(Debug, Default)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) host: StrBytes,
    pub(crate) port: i32,
    pub(crate) tls: Option<Acceptor>,
    pub(crate) sasl: bool,
    /// Whether nobody can read along between the client and the broker.
    pub(crate) keeps_secrets: bool,
}

/// A listener that holds its address; connections wait until they are accepted by [`serve`](crate::serve).
#[derive(Debug)]
pub struct Bound {
    pub(crate) socket: StdListener,
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Bound {
    /// Takes the address, and reads the files of TLS.
    pub fn bind(listener: &Listener) -> Result<Bound, Error> {
        let refused = |source| Error::Listen {
            address: listener.address,
            source,
        };
        let socket = StdListener::bind(listener.address).map_err(refused)?;
        socket.set_nonblocking(true).map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        let (host, port) = listener.for_clients(address);
        let endpoint = Arc::new(Endpoint {
            name: listener.name.clone(),
            host: StrBytes::from_string(host),
            port: i32::from(port),
            tls: listener.tls.as_ref().map(Acceptor::load).transpose()?,
            sasl: listener.sasl,
            keeps_secrets: listener.tls.is_some() || address.ip().is_loopback(),
        });
        Ok(Bound {
            socket,
            address,
            endpoint,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(names: &[&str]) -> String {
        let at = |name: &&str| Listener::named(*name, ([127, 0, 0, 1], 0));
        let listeners: Vec<Listener> = names.iter().map(at).collect();
        check(&listeners).unwrap_err().to_string()
    }

    #[test]
    fn listeners_are_told_apart_by_name() {
        assert_eq!(refused(&[""]), "listener `` needs a name");
        assert_eq!(
            refused(&["a", "b", "a"]),
            "listener `a` has the name of another listener"
        );
        assert_eq!(refused(&[]), "listener `default` is missing: there is none");
    }
}
