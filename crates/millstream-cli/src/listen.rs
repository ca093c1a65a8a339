//! The addresses a broker listens on, as people write them: `127.0.0.1:9092`, `localhost:9092`, `[::1]:9092`, `:9092`; where there are
//! several, each with a name in front: `inside=0.0.0.0:9092`.
//!
//! Without a host it is loopback: a broker is open to other machines only when somebody writes so.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use millstream_broker::{Listener, Tls};

/// Something that belongs to one listener: to the one that is named, or to the only one.
#[derive(Clone, Debug)]
pub(crate) struct Named<T> {
    name: Option<String>,
    value: T,
}

/// `NAME=VALUE` or `VALUE`, where `parse` reads the value.
fn named<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Named<T>, String> {
    let (name, value) = match text.split_once('=') {
        Some(("", _)) => return Err("the name before `=` is missing".to_owned()),
        Some((name, value)) => (Some(name.to_owned()), value),
        None => (None, text),
    };
    Ok(Named {
        name,
        value: parse(value)?,
    })
}

/// An address with what is spoken there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    tls: bool,
    sasl: bool,
    address: SocketAddr,
}

/// The value of `--listen`: the protocol goes by Kafka's name for it.
pub(crate) fn listen(text: &str) -> Result<Named<Place>, String> {
    named(text, |text| {
        let (protocol, rest) = text.split_once("://").unwrap_or(("plaintext", text));
        let (tls, sasl) = match protocol.to_ascii_lowercase().as_str() {
            "plaintext" => (false, false),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            _ => {
                return Err(format!(
                    "there is no protocol `{protocol}`, only plaintext, ssl, sasl_plaintext and sasl_ssl"
                ));
            }
        };
        let address = address(rest)?;
        Ok(Place { tls, sasl, address })
    })
}

/// The value of `--advertised`.
pub(crate) fn advertised(text: &str) -> Result<Named<(String, u16)>, String> {
    named(text, |text| {
        let parsed = text
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        match parsed {
            Some((host, port)) if !host.is_empty() && port > 0 => Ok((host.to_owned(), port)),
            _ => Err("write HOST:PORT, as in kafka.example.org:9092".to_owned()),
        }
    })
}

/// The listeners that both options mean together.
pub(crate) fn listeners(
    listen: Vec<Named<Place>>,
    tls: Option<&Tls>,
    advertised: Vec<Named<(String, u16)>>,
) -> Result<Vec<Listener>, String> {
    let several = listen.len() > 1;
    let mut listeners = Vec::new();
    for Named { name, value } in listen {
        let mut listener = match name {
            Some(name) => Listener::named(name, value.address),
            None if several => {
                return Err(format!(
                    "each of several --listen needs a name; write --listen NAME={}",
                    value.address
                ));
            }
            None => Listener::at(value.address),
        };
        listener.sasl = value.sasl;
        if value.tls {
            listener.tls = Some(tls.cloned().ok_or_else(|| {
                format!(
                    "--listen {} by TLS needs --tls-certificate FILE and --tls-key FILE",
                    value.address
                )
            })?);
        }
        listeners.push(listener);
    }
    for Named { name, value } in advertised {
        let found = match &name {
            Some(name) => listeners.iter_mut().find(|of| of.name == *name),
            None if several => {
                let (host, port) = value;
                return Err(format!(
                    "--advertised {host}:{port} does not say which --listen it is for; write --advertised NAME={host}:{port}"
                ));
            }
            None => listeners.first_mut(),
        };
        match found {
            Some(listener) => listener.advertised = Some(value),
            None => {
                let name = name.unwrap_or_default();
                return Err(format!("--advertised {name}=.. names no --listen"));
            }
        }
    }
    let needs = |of: &&Listener| of.address.ip().is_unspecified() && of.advertised.is_none();
    match listeners.iter().find(needs) {
        Some(listener) => {
            let name = match several {
                true => format!("{}=", listener.name),
                false => String::new(),
            };
            Err(format!(
                "--listen {name}{} accepts connections at every address of this machine, but clients need one to connect to; add --advertised {name}HOST:PORT",
                listener.address
            ))
        }
        None => Ok(listeners),
    }
}

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

    fn resolved(listening: &[&str], told: &[&str]) -> Result<Vec<String>, String> {
        let listening = listening.iter().map(|text| listen(text).unwrap()).collect();
        let told = told.iter().map(|text| advertised(text).unwrap()).collect();
        let show = |of: &Listener| format!("{}={} {:?}", of.name, of.address, of.advertised);
        listeners(listening, None, told).map(|all| all.iter().map(show).collect())
    }

    #[test]
    fn each_listener_has_its_advertised_address() {
        assert_eq!(
            resolved(&[":9092"], &["kafka:1"]).unwrap(),
            [r#"default=127.0.0.1:9092 Some(("kafka", 1))"#]
        );
        let both = ["in=0.0.0.0:9092", "out=:9093"];
        assert_eq!(
            resolved(&both, &["in=broker:9092"]).unwrap(),
            [
                r#"in=0.0.0.0:9092 Some(("broker", 9092))"#,
                "out=127.0.0.1:9093 None"
            ]
        );
    }

    #[test]
    fn what_is_said_of_no_listener_is_refused_with_what_to_write() {
        let both = ["in=:9092", "out=:9093"];
        for (listening, told, expected) in [
            (
                &["ssl://:1"][..],
                &[][..],
                "--listen 127.0.0.1:1 by TLS needs --tls-certificate FILE and --tls-key FILE",
            ),
            (
                &[":1", ":2"],
                &[][..],
                "each of several --listen needs a name; write --listen NAME=127.0.0.1:1",
            ),
            (
                &both,
                &["kafka:1"],
                "--advertised kafka:1 does not say which --listen it is for; write --advertised NAME=kafka:1",
            ),
            (
                &both,
                &["no=kafka:1"],
                "--advertised no=.. names no --listen",
            ),
            (
                &["in=0.0.0.0:1", "out=:2"],
                &["out=kafka:2"],
                "--listen in=0.0.0.0:1 accepts connections at every address of this machine, but clients need one to connect to; add --advertised in=HOST:PORT",
            ),
        ] {
            assert_eq!(resolved(listening, told), Err(expected.to_owned()));
        }
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
