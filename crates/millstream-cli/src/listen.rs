//! The address a broker listens on, as people write it: `127.0.0.1:9092`, `localhost:9092`, `[::1]:9092`, `:9092`.
//!
//! Without a host it is loopback: a broker is open to other machines only when somebody writes so.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

/// The address in `text`; a name is looked up, and its IPv4 address is preferred.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("the port is missing; write HOST:PORT, as in 127.0.0.1:9092".to_owned());
    };
    if host.contains(':') {
        return Err("an IPv6 address needs brackets, as in [::1]:9092".to_owned());
    }
    let Ok(port) = port.parse::<u16>() else {
        return Err(format!(
            "`{port}` is not a port, a number from 0 (any free port) to 65535"
        ));
    };
    if host.is_empty() || host == "localhost" {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("failed to look up `{host}`: {error}"))?
        .collect();
    let ipv4 = found.iter().find(|address| address.is_ipv4());
    ipv4.or(found.first())
        .copied()
        .ok_or_else(|| format!("`{host}` has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        address(text).map(|address| address.to_string())
    }

    #[test]
    fn names_and_missing_hosts_are_loopback() {
        for (text, expected) in [
            ("localhost:9092", "127.0.0.1:9092"),
            (":0", "127.0.0.1:0"),
            ("0.0.0.0:9092", "0.0.0.0:9092"),
            ("[::1]:9092", "[::1]:9092"),
        ] {
            assert_eq!(parsed(text), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn a_refusal_names_what_is_wrong() {
        for (text, expected) in [
            (
                "localhost",
                "the port is missing; write HOST:PORT, as in 127.0.0.1:9092",
            ),
            (
                "::1:9092x",
                "an IPv6 address needs brackets, as in [::1]:9092",
            ),
            (
                "localhost:70000",
                "`70000` is not a port, a number from 0 (any free port) to 65535",
            ),
        ] {
            assert_eq!(parsed(text), Err(expected.to_owned()));
        }
    }
}
