//! Certificates of the broker and of its clients, and what speaks no TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use kafka_protocol::messages::MetadataRequest;
use millstream_broker::{ClientCertificates, Config, Listener, Server, Tls};
use rcgen::date_time_ymd;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{
    Authority, LOOPBACK, Secured, Signed, client, encrypted, metadata, refused, round_trip,
};
use crate::raw::Client;
use crate::support::{PATIENCE, eventually};

fn settings(ca: &str) -> Vec<(&str, &str)> {
    vec![
        ("security.protocol", "ssl"),
        ("ssl.ca.location", ca),
        ("message.max.bytes", "2000000"),
    ]
}

#[test]
fn a_client_by_tls_reads_what_it_has_written() {
    let secured = Secured::start(|config, folder| config.listeners = vec![encrypted(folder)]);
    let ca = secured.folder.path().join("ca.pem");
    let config = client(&secured.address(0), &settings(ca.to_str().unwrap()));
    round_trip(&config, "small", "value");
    // Larger than all that TLS keeps at a time.
    round_trip(&config, "large", &"0123456789".repeat(80_000));
}

#[test]
fn a_client_does_not_trust_a_certificate_of_another_authority() {
    let secured = Secured::start(|config, folder| config.listeners = vec![encrypted(folder)]);
    let other = Authority::new(secured.folder.path(), "other");
    let ca = other.certificate.to_str().unwrap();
    let config = client(&secured.address(0), &settings(ca));
    refused(&config, "certificate verify failed");
}

#[test]
fn a_client_shows_a_certificate_or_is_refused() {
    let secured = Secured::start(|config, folder| {
        let authority = Authority::new(folder, "ca");
        let server = authority.sign("server");
        authority.sign("alice");
        authority.sign_with("late", |params| {
            params.not_after = date_time_ymd(2020, 1, 1)
        });
        Authority::new(folder, "other").sign("stranger");
        Authority::called(folder, "false-ca", "ca").sign("impostor");
        let mut required = Tls::new(&server.certificate, &server.key);
        required.clients = ClientCertificates::Required(authority.certificate.clone());
        let mut requested = Tls::new(server.certificate, server.key);
        requested.clients = ClientCertificates::Requested(authority.certificate);
        config.listeners = vec![
            Listener::named("required", LOOPBACK).tls(required),
            Listener::named("requested", LOOPBACK).tls(requested),
        ];
    });
    let folder = secured.folder.path();
    let shown = |listener: usize, name: Option<&str>| {
        let ca = folder.join("ca.pem");
        let mut config = client(&secured.address(listener), &settings(ca.to_str().unwrap()));
        if let Some(name) = name {
            let path = |end: &str| folder.join(format!("{name}.{end}")).display().to_string();
            config.set("ssl.certificate.location", path("pem"));
            config.set("ssl.key.location", path("key"));
        }
        config
    };
    assert_eq!(metadata(&shown(0, Some("alice"))).brokers().len(), 1);
    assert_eq!(metadata(&shown(1, Some("alice"))).brokers().len(), 1);
    assert_eq!(metadata(&shown(1, None)).brokers().len(), 1);
    for (listener, name, reason) in [
        (0, None, "certificate required"),
        (0, Some("late"), "certificate expired"),
        // Its authority is not one that the broker names, so that it is not even shown.
        (0, Some("stranger"), "certificate required"),
        (0, Some("impostor"), "decrypt error"),
        (1, Some("impostor"), "decrypt error"),
    ] {
        refused(&shown(listener, name), reason);
    }
}

#[test]
fn plain_text_and_tls_do_not_meet_and_nothing_hangs() {
    let secured = Secured::start(|config, folder| {
        let mut encrypted = encrypted(folder);
        encrypted.name = "encrypted".to_owned();
        config.listeners = vec![encrypted, Listener::named("plain", LOOPBACK)];
    });
    refused(&client(&secured.address(0), &[]), "brokers are down");
    let ca = secured.folder.path().join("ca.pem");
    let config = client(&secured.address(1), &settings(ca.to_str().unwrap()));
    refused(&config, "SSL handshake failed");
    let mut plain = Client::connect(&secured.address(0));
    plain.send(12, &MetadataRequest::default());
    assert!(plain.is_closed());
}

#[test]
fn a_handshake_that_stands_still_holds_up_nobody_and_is_ended() {
    let secured = Secured::start(|config, folder| {
        config.listeners = vec![encrypted(folder)];
        config.io_timeout = Duration::from_secs(3);
        config.max_connections = 8;
    });
    let mut silent: Vec<TcpStream> = (0..6)
        .map(|_| TcpStream::connect(secured.address(0)).unwrap())
        .collect();
    for stream in &mut silent[3..] {
        stream.write_all(&[0x16, 3, 1]).unwrap();
    }
    let ca = secured.folder.path().join("ca.pem");
    let config = client(&secured.address(0), &settings(ca.to_str().unwrap()));
    assert_eq!(metadata(&config).brokers().len(), 1);
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Perhaps an alert, and then the end.
        stream.read_to_end(&mut Vec::new()).ok();
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (one, other) = (authority.sign("one"), authority.sign("other"));
    let (none, text) = (folder.path().join("none.pem"), folder.path().join("text"));
    std::fs::write(&text, "this is no certificate").unwrap();
    let refused = |tls: Tls| {
        let mut config = Config::ephemeral(folder.path().join("data"));
        config.listeners = vec![Listener::at(LOOPBACK).tls(tls)];
        let refused = Server::start(config).unwrap_err().to_string();
        refused.replace(&folder.path().display().to_string(), "")
    };
    let Signed { certificate, key } = &one;
    assert_eq!(
        refused(Tls::new(&none, key)),
        "failed to use `/none.pem` for TLS: No such file or directory (os error 2)"
    );
    assert_eq!(
        refused(Tls::new(&text, key)),
        "failed to use `/text` for TLS: there is no certificate in PEM in it"
    );
    assert_eq!(
        refused(Tls::new(certificate, &text)),
        "failed to use `/text` for TLS: there is no private key in PEM in it"
    );
    assert_eq!(
        refused(Tls::new(certificate, &other.key)),
        "failed to use `/other.key` for TLS: it is not the key of the certificate in `/one.pem`"
    );
    let mut tls = Tls::new(certificate, key);
    tls.clients = ClientCertificates::Required(text);
    assert_eq!(
        refused(tls),
        "failed to use `/text` for TLS: there is no certificate in PEM in it"
    );
}

#[test]
fn a_changed_certificate_is_read_again_and_a_broken_one_is_not_used() {
    let secured = Secured::start(|config, folder| {
        config.listeners = vec![encrypted(folder)];
        config.certificates_check = Duration::from_millis(20);
    });
    let folder = secured.folder.path();
    let trusting = |ca: &str| {
        let ca = folder.join(ca).display().to_string();
        client(&secured.address(0), &settings(&ca))
    };
    let before = trusting("ca.pem");
    assert_eq!(metadata(&before).brokers().len(), 1);
    let replace = |of: &Signed| {
        for (from, to) in [(&of.certificate, "server.pem"), (&of.key, "server.key")] {
            std::fs::rename(from, folder.join(to)).unwrap();
        }
    };
    replace(&Authority::new(folder, "next").sign("server-next"));
    let shown = |ca: &str| {
        eventually(&format!("the certificate of {ca} is shown"), || {
            let consumer: BaseConsumer = trusting(ca).create().unwrap();
            let metadata = consumer.fetch_metadata(None, Duration::from_secs(5));
            metadata.is_ok().then_some(())
        });
    };
    shown("next.pem");
    refused(&before, "certificate verify failed");
    // Looked at many times, and never used.
    std::fs::write(folder.join("server.pem"), "no certificate").unwrap();
    std::thread::park_timeout(Duration::from_millis(200));
    shown("next.pem");
    std::fs::remove_file(folder.join("server.key")).unwrap();
    replace(&Authority::new(folder, "last").sign("server-last"));
    shown("last.pem");
}
