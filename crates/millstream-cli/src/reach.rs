//! A cluster where nobody listens is an error at once, not after the client's patience.
//!
//! The client tries again and again, which is right for a service that waits for its cluster and wrong for somebody who
//! mistyped a port. A plain TCP connection is tried first: if every address refuses it, the command ends. Any other outcome,
//! a timeout included, is left to the client.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use millstream::Cluster;

use crate::config::Origin;
use crate::session::Session;

/// A connection that takes longer may still come about.
const TRY: Duration = Duration::from_millis(500);
/// Where a broker listens when only its host is named.
const PORT: u16 = 9092;

/// Nobody listens at any address of the cluster.
#[derive(Debug)]
pub(crate) struct Refused {
    brokers: String,
    origin: Option<Origin>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failed to connect to `{}`", self.brokers)?;
        match &self.origin {
            Some(Origin::Option(_)) | None => {}
            Some(origin) => write!(f, " ({origin})")?,
        }
        f.write_str(": connection refused")
    }
}

impl std::error::Error for Refused {}

/// Fails if every address of the cluster refuses a connection.
pub(crate) fn refuse_dead(session: &Session) -> Result<(), Refused> {
    if addresses(&session.cluster).all(|address| is_refused(&address)) {
        return Err(Refused {
            brokers: session.cluster.brokers().to_owned(),
            origin: session.common.brokers_origin.clone(),
        });
    }
    Ok(())
}

/// `host:port` of each broker; both may come as `PROTOCOL://host`.
fn addresses(cluster: &Cluster) -> impl Iterator<Item = String> + '_ {
    let places = cluster.brokers().split(',').map(str::trim);
    places.map(|place| {
        let place = place.split_once("://").map_or(place, |(_, place)| place);
        let has_port = place
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if has_port && !place.ends_with(']') {
            place.to_owned()
        } else {
            format!("{place}:{PORT}")
        }
    })
}

fn is_refused(address: &str) -> bool {
    // A name that cannot be resolved here may be known to a proxy: not ours to judge.
    let Ok(mut resolved) = address.to_socket_addrs() else {
        return false;
    };
    resolved.all(|address| {
        let tried = TcpStream::connect_timeout(&address, TRY);
        tried.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_broker_has_its_port() {
        let cluster = Cluster::new("a:1, SASL_SSL://b:2,c,[::1]:3,[::1]");
        let found: Vec<String> = addresses(&cluster).collect();
        assert_eq!(found, ["a:1", "b:2", "c:9092", "[::1]:3", "[::1]:9092"]);
    }

    #[test]
    fn an_address_with_a_listener_is_not_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_refused(&listener.local_addr().unwrap().to_string()));
        assert!(is_refused("127.0.0.1:1"));
    }
}
