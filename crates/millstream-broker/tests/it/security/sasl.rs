//! Logins by PLAIN and SCRAM: who gets in, who does not, and what comes before a login.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, DescribeUserScramCredentialsRequest,
    MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use millstream_broker::{Config, Listener, User};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use ring::pbkdf2;

use super::{LOOPBACK, Secured, client, encrypted, metadata, refused, round_trip};
use crate::raw::{Client, text};
use crate::support::PATIENCE;

fn with_root(config: &mut Config) {
    config.users = vec![User::new("root", "secret")];
}

/// A listener with logins, and one for whoever changes the users.
fn start() -> Secured {
    Secured::start(|config, _| two(config))
}

fn two(config: &mut Config) {
    with_root(config);
    config.listeners = vec![
        Listener::named("login", LOOPBACK).sasl(),
        Listener::named("open", LOOPBACK),
    ];
}

fn handshake(client: &mut Client, mechanism: &str) -> SaslHandshakeResponse {
    let request = SaslHandshakeRequest::default().with_mechanism(text(mechanism));
    client.call(1, &request)
}

fn authenticate(client: &mut Client, version: i16, message: &str) -> SaslAuthenticateResponse {
    let bytes = Bytes::copy_from_slice(message.as_bytes());
    let request = SaslAuthenticateRequest::default().with_auth_bytes(bytes);
    client.call(version, &request)
}

fn settings<'a>(mechanism: &'a str, user: &'a str, password: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", mechanism),
        ("sasl.username", user),
        ("sasl.password", password),
    ]
}

#[test]
fn a_client_logs_in_before_anything_else() {
    let secured = start();
    for version in 0..=2 {
        let mut client = Client::connect(&secured.address(0));
        client.call(2, &ApiVersionsRequest::default());
        let offered = handshake(&mut client, "PLAIN");
        let names: Vec<&str> = offered.mechanisms.iter().map(|of| of.as_str()).collect();
        assert_eq!(
            (offered.error_code, names),
            (0, vec!["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
        );
        let proved = authenticate(&mut client, version, "\0root\0secret");
        assert_eq!((proved.error_code, proved.session_lifetime_ms), (0, 0));
        let metadata = client.call(12, &MetadataRequest::default());
        assert_eq!(metadata.brokers.len(), 1);
        // A second login changes nothing.
        let again = handshake(&mut client, "PLAIN");
        assert_eq!(again.error_code, ResponseError::IllegalSaslState.code());
        assert_eq!(
            client.call(12, &MetadataRequest::default()).brokers.len(),
            1
        );
    }
}

#[test]
fn who_logs_in_again_goes_on_and_who_does_not_is_cut_off() {
    let with_lifetime = |lifetime| {
        Secured::start(move |config, _| {
            two(config);
            config.users.push(User::new("other", "secret"));
            config.connections_max_reauth = lifetime;
        })
    };
    let secured = with_lifetime(Duration::from_millis(1));
    for version in 0..=2 {
        let mut client = Client::connect(&secured.address(0));
        handshake(&mut client, "PLAIN");
        let proved = authenticate(&mut client, version, "\0root\0secret");
        let lifetime = if version == 0 { 0 } else { 1 };
        assert_eq!(
            (proved.error_code, proved.session_lifetime_ms),
            (0, lifetime)
        );
        std::thread::park_timeout(Duration::from_millis(2));
        // Too late for anything but another login.
        assert_eq!(handshake(&mut client, "PLAIN").error_code, 0);
        assert_eq!(authenticate(&mut client, 2, "\0root\0secret").error_code, 0);
        std::thread::park_timeout(Duration::from_millis(2));
        client.send(12, &MetadataRequest::default());
        assert!(client.is_closed());
    }
    let secured = with_lifetime(Duration::from_secs(3600));
    let log_in = || {
        let mut client = Client::connect(&secured.address(0));
        handshake(&mut client, "PLAIN");
        let proved = authenticate(&mut client, 2, "\0root\0secret");
        assert_eq!(proved.session_lifetime_ms, 3_600_000);
        client
    };
    let mut client = log_in();
    for _ in 0..3 {
        assert_eq!(handshake(&mut client, "PLAIN").error_code, 0);
        let proved = authenticate(&mut client, 2, "\0root\0secret");
        assert_eq!(
            (proved.error_code, proved.session_lifetime_ms),
            (0, 3_600_000)
        );
        assert_eq!(
            client.call(12, &MetadataRequest::default()).brokers.len(),
            1
        );
    }
    // A connection is one user's, by one mechanism.
    assert_eq!(handshake(&mut client, "PLAIN").error_code, 0);
    let other = authenticate(&mut client, 2, "\0other\0secret");
    let failed = ResponseError::SaslAuthenticationFailed.code();
    assert_eq!(other.error_code, failed);
    assert!(client.is_closed());
    let mut client = log_in();
    let code = handshake(&mut client, "SCRAM-SHA-256").error_code;
    assert_eq!(code, ResponseError::IllegalSaslState.code());
    assert!(client.is_closed());
    // Nothing else comes in the middle of a login.
    let mut client = log_in();
    handshake(&mut client, "PLAIN");
    client.send(12, &MetadataRequest::default());
    assert!(client.is_closed());
}

#[test]
fn librdkafka_logs_in_again_while_it_works() {
    let secured = Secured::start(|config, _| {
        two(config);
        // librdkafka logs in again when nine tenths have passed: the rest is for a busy machine.
        config.connections_max_reauth = Duration::from_secs(5);
    });
    let settings = settings("SCRAM-SHA-512", "root", "secret");
    let producer: BaseProducer = client(&secured.address(0), &settings).create().unwrap();
    for number in 0..60 {
        let value = format!("value {number}");
        let record: BaseRecord<'_, (), str> = BaseRecord::to("again").payload(&value);
        producer.send(record).unwrap();
        producer.flush(PATIENCE).unwrap();
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(producer.in_flight_count(), 0);
}

#[test]
fn a_request_before_the_login_costs_its_connection() {
    let secured = start();
    let mut client = Client::connect(&secured.address(0));
    client.send(12, &MetadataRequest::default());
    assert!(client.is_closed());
    let mut client = Client::connect(&secured.address(0));
    handshake(&mut client, "PLAIN");
    client.send(2, &ApiVersionsRequest::default());
    assert!(client.is_closed());
    let mut client = Client::connect(&secured.address(0));
    let early = authenticate(&mut client, 2, "\0root\0secret");
    assert_eq!(early.error_code, ResponseError::IllegalSaslState.code());
    assert!(client.is_closed());
}

#[test]
fn a_wrong_password_is_answered_and_costs_the_connection() {
    let secured = start();
    for message in [
        "\0root\0Secret",
        "\0nobody\0secret",
        "other\0root\0secret",
        "\0root",
        "\0\0",
        "",
    ] {
        let mut client = Client::connect(&secured.address(0));
        handshake(&mut client, "PLAIN");
        let refused = authenticate(&mut client, 2, message);
        assert_eq!(
            (refused.error_code, refused.error_message.unwrap().as_str()),
            (
                ResponseError::SaslAuthenticationFailed.code(),
                "Authentication failed during authentication due to invalid credentials with SASL mechanism PLAIN"
            ),
            "{message:?}"
        );
        assert!(client.is_closed());
    }
    let mut client = Client::connect(&secured.address(0));
    let refused = handshake(&mut client, "GSSAPI");
    let code = ResponseError::UnsupportedSaslMechanism.code();
    assert_eq!((refused.error_code, refused.mechanisms.len()), (code, 3));
    assert!(client.is_closed());
}

#[test]
fn an_unknown_user_is_challenged_like_any_other() {
    let secured = start();
    let challenge = |user: &str| {
        let mut client = Client::connect(&secured.address(0));
        handshake(&mut client, "SCRAM-SHA-256");
        let challenged = authenticate(&mut client, 2, &format!("n,,n={user},r=abc"));
        assert_eq!(challenged.error_code, 0);
        let challenge = String::from_utf8(challenged.auth_bytes.to_vec()).unwrap();
        let nonce = challenge.split(',').next().unwrap().to_owned();
        assert!(nonce.starts_with("r=abc") && nonce.len() > 20, "{nonce}");
        let refused = authenticate(&mut client, 2, &format!("c=biws,{nonce},p=AAAA"));
        assert_eq!(
            refused.error_code,
            ResponseError::SaslAuthenticationFailed.code()
        );
        assert!(client.is_closed());
        challenge.split_once(',').unwrap().1.to_owned()
    };
    // The same salt each time, as of a user who exists.
    assert_eq!(challenge("nobody"), challenge("nobody"));
    assert_eq!(challenge("root"), challenge("root"));
    assert_ne!(challenge("nobody"), challenge("somebody"));
}

#[test]
fn librdkafka_logs_in_by_every_mechanism_also_by_tls() {
    let secured = Secured::start(|config, folder| {
        with_root(config);
        let mut encrypted = encrypted(folder).sasl();
        encrypted.name = "encrypted".to_owned();
        config.listeners = vec![Listener::named("plain", LOOPBACK).sasl(), encrypted];
    });
    let ca = secured.folder.path().join("ca.pem");
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let plain = client(&secured.address(0), &settings(mechanism, "root", "secret"));
        round_trip(&plain, &format!("plain-{mechanism}"), "value");
        let mut encrypted = client(&secured.address(1), &settings(mechanism, "root", "secret"));
        encrypted.set("security.protocol", "sasl_ssl");
        encrypted.set("ssl.ca.location", ca.to_str().unwrap());
        round_trip(&encrypted, &format!("encrypted-{mechanism}"), "value");
        for (user, password) in [("root", "wrong"), ("nobody", "secret")] {
            let wrong = client(&secured.address(0), &settings(mechanism, user, password));
            let expected = format!("invalid credentials with SASL mechanism {mechanism}");
            refused(&wrong, &expected);
        }
    }
}

#[test]
fn plain_is_not_offered_where_others_can_read_along() {
    let secured = Secured::start(|config, _| {
        with_root(config);
        let anywhere = Listener::at(([0, 0, 0, 0], 0)).advertised("127.0.0.1", 1);
        config.listeners = vec![anywhere.sasl()];
    });
    let port = secured.address(0).rsplit_once(':').unwrap().1.to_owned();
    let mut client = Client::connect(&format!("127.0.0.1:{port}"));
    let refused = handshake(&mut client, "PLAIN");
    let names: Vec<&str> = refused.mechanisms.iter().map(|of| of.as_str()).collect();
    assert_eq!(names, ["SCRAM-SHA-512", "SCRAM-SHA-256"]);
    assert!(client.is_closed());
}

/// What a client sends instead of a password.
fn upsertion(user: &str, password: &str, iterations: i32) -> ScramCredentialUpsertion {
    let salt = b"a salt of a test";
    let mut salted = [0; 32];
    let rounds = NonZeroU32::new(u32::try_from(iterations).unwrap()).unwrap();
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, rounds, salt, password.as_bytes(), &mut salted);
    ScramCredentialUpsertion::default()
        .with_name(text(user))
        .with_mechanism(1)
        .with_iterations(iterations)
        .with_salt(Bytes::from_static(salt))
        .with_salted_password(Bytes::copy_from_slice(&salted))
}

fn alter(client: &mut Client, request: AlterUserScramCredentialsRequest) -> Vec<(String, i16)> {
    let results = client.call(0, &request).results.into_iter();
    results
        .map(|of| (of.user.as_str().to_owned(), of.error_code))
        .collect()
}

fn described(client: &mut Client) -> Vec<(String, Vec<(i8, i32)>)> {
    let response = client.call(0, &DescribeUserScramCredentialsRequest::default());
    let results = response.results.into_iter().map(|of| {
        let infos = of.credential_infos.iter();
        let infos = infos.map(|info| (info.mechanism, info.iterations));
        (of.user.as_str().to_owned(), infos.collect())
    });
    results.collect()
}

#[test]
fn stored_users_log_in_until_they_are_deleted() {
    let mut secured = start();
    let mut open = Client::connect(&secured.address(1));
    let code = ResponseError::UnacceptableCredential.code();
    let request = AlterUserScramCredentialsRequest::default().with_upsertions(vec![
        upsertion("alice", "wonder", 8192),
        upsertion("quick", "x", 100),
        upsertion("root", "x", 4096),
        upsertion("", "x", 4096),
    ]);
    assert_eq!(
        alter(&mut open, request),
        [
            ("alice".to_owned(), 0),
            ("quick".to_owned(), code),
            ("root".to_owned(), code),
            (String::new(), code)
        ]
    );
    let both = ("root".to_owned(), vec![(1, 4096), (2, 4096)]);
    assert_eq!(
        described(&mut open),
        [("alice".to_owned(), vec![(1, 8192)]), both.clone()]
    );
    secured.restart(|config, _| two(config));
    for mechanism in ["SCRAM-SHA-256", "PLAIN"] {
        let alice = client(&secured.address(0), &settings(mechanism, "alice", "wonder"));
        assert_eq!(metadata(&alice).brokers().len(), 1);
    }
    let other = settings("SCRAM-SHA-512", "alice", "wonder");
    refused(&client(&secured.address(0), &other), "invalid credentials");
    let mut open = Client::connect(&secured.address(1));
    let deletion = ScramCredentialDeletion::default()
        .with_name(text("alice"))
        .with_mechanism(1);
    let request = AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion]);
    assert_eq!(alter(&mut open, request.clone()), [("alice".to_owned(), 0)]);
    let code = ResponseError::ResourceNotFound.code();
    assert_eq!(alter(&mut open, request), [("alice".to_owned(), code)]);
    assert_eq!(described(&mut open), [both]);
    let alice = settings("SCRAM-SHA-256", "alice", "wonder");
    refused(&client(&secured.address(0), &alice), "invalid credentials");
}
