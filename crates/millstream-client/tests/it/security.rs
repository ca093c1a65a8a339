//! Encrypted connections and logins: what goes through them, and what is refused with a reason that says what to do.

use std::path::{Path, PathBuf};

use millstream_broker::{ClientCertificates, Config as BrokerConfig, Listener, Server, Tls, User};
use millstream_client::admin::{Admin, At, TopicPartition};
use millstream_client::{Class, Client, Config, Error, Event, Outbound, Outcome, Start};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::support::{deliver, topic_at, until};

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// What a name and a password may have that a dialogue must not trip over.
const USER: &str = "ann=a,b";
const PASSWORD: &str = "se,cr=et \u{e4}";

/// A broker that is reached in several ways, and the certificates.
struct Secured {
    folder: TempDir,
    server: Option<Server>,
}

/// The ways, in the order of the listeners.
#[derive(Clone, Copy)]
enum Way {
    Open,
    Encrypted,
    Certified,
    Login,
    EncryptedLogin,
    OtherHost,
}

impl Secured {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let authority = Authority::new(path, "ca");
        let server = || authority.sign("server", "127.0.0.1");
        let elsewhere = authority.sign("elsewhere", "elsewhere.example");
        authority.sign("client", "client.example");
        Authority::new(path, "other").sign("stranger", "stranger.example");
        let mut required = server();
        required.clients = ClientCertificates::Required(path.join("ca.pem"));
        let mut config = BrokerConfig::ephemeral(path.join("data"));
        config.users = vec![User::new(USER, PASSWORD)];
        config.listeners = vec![
            Listener::named("open", LOOPBACK),
            Listener::named("encrypted", LOOPBACK).tls(server()),
            Listener::named("certified", LOOPBACK).tls(required),
            Listener::named("login", LOOPBACK).sasl(),
            Listener::named("both", LOOPBACK).tls(server()).sasl(),
            Listener::named("other", LOOPBACK).tls(elsewhere),
        ];
        let server = Server::start(config).unwrap();
        Self {
            folder,
            server: Some(server),
        }
    }

    fn address(&self, way: Way) -> String {
        let addresses = self.server.as_ref().unwrap().addresses();
        addresses[way as usize].1.to_string()
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn config(&self, way: Way, properties: &[(&str, &str)]) -> Config {
        let ca = self.file("ca.pem");
        let ways = match way {
            Way::Open => vec![],
            Way::Encrypted | Way::Certified | Way::OtherHost => {
                vec![("security.protocol", "SSL"), ("ssl.ca.location", &*ca)]
            }
            Way::Login => vec![("security.protocol", "SASL_PLAINTEXT")],
            Way::EncryptedLogin => {
                vec![("security.protocol", "SASL_SSL"), ("ssl.ca.location", &*ca)]
            }
        };
        let config = Config::new(&self.address(way)).unwrap();
        let all = ways.into_iter().chain(properties.iter().copied());
        all.fold(config, |config, (name, value)| {
            config.set(name, value).unwrap()
        })
    }

    /// Writes and reads by this configuration.
    fn round_trip(&self, config: &Config) {
        let name = topic_at(&self.address(Way::Open), 1);
        let config = config.clone().set("max.request.size", "4000000").unwrap();
        let mut client = Client::new(&config).unwrap();
        let topic = client.topic(&name);
        // Larger than all that TLS and a socket keep at a time.
        let values = ["small".to_owned(), "0123456789".repeat(90_000)];
        for value in &values {
            let record = Outbound {
                value: Some(value.as_bytes()),
                ..Outbound::default()
            };
            client.send(topic, &record).unwrap();
        }
        deliver(&mut client);
        client.assign(topic, 0, Start::Earliest);
        let mut read = Vec::new();
        until(&mut client, "both are read", |_, event| {
            if let Some(Event::Records(chunk)) = event {
                let records = chunk
                    .records()
                    .map(|record| record.unwrap().value.unwrap().to_vec());
                read.extend(records);
            }
            (read.len() == values.len()).then_some(())
        });
        let expected: Vec<_> = values.into_iter().map(String::into_bytes).collect();
        assert_eq!(read, expected);
    }

    /// The error of a client that asks for a topic.
    fn refusal(&self, config: &Config) -> Error {
        let name = topic_at(&self.address(Way::Open), 1);
        let mut client = Client::new(config).unwrap();
        let topic = client.topic(&name);
        client.partitions(topic).unwrap_err()
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let stopped = server.stop();
            if !std::thread::panicking() {
                stopped.unwrap();
            }
        }
    }
}

/// An authority that signs certificates into a folder.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap().pem();
        std::fs::write(folder.join(format!("{name}.pem")), certificate).unwrap();
        Self {
            folder: folder.to_path_buf(),
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str, host: &str) -> Tls {
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let path = |end: &str| self.folder.join(format!("{name}.{end}"));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(path("pem"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        Tls::new(path("pem"), path("key"))
    }
}

#[test]
fn records_go_through_tls_and_every_login() {
    let secured = Secured::start();
    secured.round_trip(&secured.config(Way::Encrypted, &[]));
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for way in [Way::Login, Way::EncryptedLogin] {
            secured.round_trip(&secured.config(
                way,
                &[
                    ("sasl.mechanism", mechanism),
                    ("sasl.username", USER),
                    ("sasl.password", PASSWORD),
                ],
            ));
        }
    }
}

#[test]
fn a_client_shows_its_certificate_where_it_must() {
    let secured = Secured::start();
    let shown = |name: &str| {
        let (certificate, key) = (
            secured.file(&format!("{name}.pem")),
            secured.file(&format!("{name}.key")),
        );
        secured.config(
            Way::Certified,
            &[
                ("ssl.certificate.location", &certificate),
                ("ssl.key.location", &key),
            ],
        )
    };
    secured.round_trip(&shown("client"));
    let address = secured.address(Way::Certified);
    for config in [secured.config(Way::Certified, &[]), shown("stranger")] {
        let error = secured.refusal(&config);
        let begin = format!(
            "failed to encrypt the connection to broker `{address}`: received fatal alert: "
        );
        assert!(error.to_string().starts_with(&begin), "{error}");
        assert_eq!(error.class(), Class::Fatal);
    }
}

#[test]
fn a_broker_that_cannot_prove_who_it_is_gets_nothing() {
    let secured = Secured::start();
    let other = secured.file("other.pem");
    let unknown = secured.config(Way::Encrypted, &[("ssl.ca.location", &other)]);
    let error = secured.refusal(&unknown).to_string();
    assert!(
        error.ends_with(": invalid peer certificate: UnknownIssuer"),
        "{error}"
    );

    let wrong_host = secured
        .refusal(&secured.config(Way::OtherHost, &[]))
        .to_string();
    assert!(
        wrong_host.contains("certificate not valid for name \"127.0.0.1\""),
        "{wrong_host}"
    );
    let any_host = [("ssl.endpoint.identification.algorithm", "none")];
    secured.round_trip(&secured.config(Way::OtherHost, &any_host));
}

#[test]
fn a_login_that_is_refused_ends_the_waiting_and_says_why() {
    let secured = Secured::start();
    let address = secured.address(Way::Login);
    let refusal = |properties: &[(&str, &str)]| {
        let error = secured.refusal(&secured.config(Way::Login, properties));
        assert_eq!(error.class(), Class::Fatal);
        let text = error.to_string();
        let begin = format!("failed to log in at broker `{address}`: ");
        text.strip_prefix(&begin).unwrap_or(&text).to_owned()
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        for (user, password) in [(USER, "wrong"), ("nobody", PASSWORD)] {
            let said = refusal(&[
                ("sasl.mechanism", mechanism),
                ("sasl.username", user),
                ("sasl.password", password),
            ]);
            assert!(said.starts_with("Authentication failed"), "{said}");
        }
    }
    let token = secured.file("token");
    std::fs::write(&token, "token").unwrap();
    let said = refusal(&[
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.token.file", &token),
    ]);
    assert_eq!(
        said,
        "it does not offer OAUTHBEARER, but SCRAM-SHA-512, SCRAM-SHA-256, PLAIN; see `sasl.mechanism`"
    );
}

/// One broker of several whose certificate is wrong: the others serve.
#[test]
fn a_broker_that_is_not_believed_costs_nothing_where_another_serves() {
    let secured = Secured::start();
    let config = secured.config(Way::Encrypted, &[]);
    for _ in 0..8 {
        let both = [Way::OtherHost, Way::Encrypted].map(|way| secured.address(way));
        let config = config.clone().set("bootstrap.servers", &both.join(","));
        secured.round_trip(&config.unwrap());
    }
}

#[test]
fn a_port_without_tls_is_named_as_such() {
    let secured = Secured::start();
    let ca = secured.file("ca.pem");
    let config = Config::new(&secured.address(Way::Open)).unwrap();
    let config = config.set("security.protocol", "SSL").unwrap();
    let config = config.set("ssl.ca.location", &ca).unwrap();
    let config = config.set("max.block.ms", "500").unwrap();
    // The broker takes the first bytes for the length of a frame, and closes the connection.
    let error = secured.refusal(&config);
    assert_eq!(error.class(), Class::Retriable, "{error}");
}

#[test]
fn files_that_are_missing_or_wrong_are_named_before_anything_is_connected() {
    let secured = Secured::start();
    let (ca, client, key) = (
        secured.file("ca.pem"),
        secured.file("client.pem"),
        secured.file("client.key"),
    );
    let none = secured.file("none.pem");
    let refused = |properties: &[(&str, &str)]| {
        let config = secured.config(Way::Encrypted, properties);
        Client::new(&config).map(drop).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&[("ssl.ca.location", &none)]),
        format!(
            "property `ssl.ca.location`: `{none}` cannot be read: No such file or directory (os error 2)"
        )
    );
    assert_eq!(
        refused(&[("ssl.ca.location", &key)]),
        format!(
            "property `ssl.ca.location`: `{key}` has no certificate in PEM that is not encrypted"
        )
    );
    assert_eq!(
        refused(&[("ssl.certificate.location", &client)]),
        "property `ssl.key.location`: `ssl.certificate.location` needs it"
    );
    assert_eq!(
        refused(&[("ssl.key.location", &key)]),
        "property `ssl.certificate.location`: `ssl.key.location` needs it"
    );
    assert_eq!(
        refused(&[
            ("ssl.certificate.location", &client),
            ("ssl.key.location", &ca)
        ]),
        format!(
            "property `ssl.key.location`: `{ca}` has no private key in PEM that is not encrypted"
        )
    );
}

/// Heartbeats have a connection of their own.
#[test]
fn a_member_of_a_group_logs_in_with_all_its_connections() {
    let secured = Secured::start();
    let config = secured.config(
        Way::EncryptedLogin,
        &[
            ("sasl.username", USER),
            ("sasl.password", PASSWORD),
            ("heartbeat.interval.ms", "20"),
            ("auto.offset.reset", "earliest"),
        ],
    );
    let name = topic_at(&secured.address(Way::Open), 1);
    let mut client = Client::new(&config).unwrap();
    let topic = client.topic(&name);
    client.join("group", None, &[topic]).unwrap();
    let record = Outbound {
        value: Some(b"one"),
        ..Outbound::default()
    };
    client.send(topic, &record).unwrap();
    client.flush();
    until(&mut client, "the record is read", |client, event| {
        if let Some(Event::Assigned(places)) = &event {
            for (topic, partition) in places {
                client.assign(*topic, *partition, Start::Earliest);
            }
        }
        matches!(event, Some(Event::Records(_))).then_some(())
    });
}

#[test]
fn administration_logs_in_with_all_its_connections_and_a_refusal_ends_its_call() {
    let secured = Secured::start();
    let name = topic_at(&secured.address(Way::Open), 2);
    let login = [("sasl.username", USER), ("sasl.password", PASSWORD)];
    let mut admin = Admin::new(&secured.config(Way::EncryptedLogin, &login)).unwrap();
    let place = TopicPartition::new(&name, 1);
    let ends = admin.offsets(std::slice::from_ref(&place), At::End);
    assert_eq!(ends.unwrap()[&place].as_ref().unwrap().unwrap().offset, 0);

    let wrong = [("sasl.username", USER), ("sasl.password", "wrong")];
    let mut admin = Admin::new(&secured.config(Way::EncryptedLogin, &wrong)).unwrap();
    for _ in 0..2 {
        let error = admin.topics().unwrap_err();
        assert_eq!(
            (error.class(), error.outcome()),
            (Class::Fatal, Outcome::NotApplied)
        );
        let address = secured.address(Way::EncryptedLogin);
        let expected = format!("failed to log in at broker `{address}`: ");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}
