//! Who may connect, and as whom: certificates, logins, and what is refused.

mod acls;
mod quotas;
mod refusals;
mod sasl;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use millstream_broker::{Config, Listener, Server, Tls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientContext, Message};
use tempfile::TempDir;

use crate::support::{PATIENCE, eventually};

pub(crate) const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// A broker with a folder of its own, and certificates beside its data.
pub(crate) struct Secured {
    pub(crate) folder: TempDir,
    server: Option<Server>,
}

impl Secured {
    pub(crate) fn start(configure: impl FnOnce(&mut Config, &Path)) -> Secured {
        let folder = tempfile::tempdir().unwrap();
        let mut secured = Secured {
            folder,
            server: None,
        };
        secured.restart(configure);
        secured
    }

    pub(crate) fn restart(&mut self, configure: impl FnOnce(&mut Config, &Path)) {
        self.stop();
        let mut config = Config::ephemeral(self.folder.path().join("data"));
        configure(&mut config, self.folder.path());
        self.server = Some(Server::start(config).unwrap());
    }

    /// The address of the n-th listener.
    pub(crate) fn address(&self, listener: usize) -> String {
        let server = self.server.as_ref().unwrap();
        server.addresses()[listener].1.to_string()
    }

    fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            let stopped = server.stop();
            if !std::thread::panicking() {
                stopped.unwrap();
            }
        }
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An authority that signs certificates into a folder.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: PathBuf,
}

/// A certificate and its key.
pub(crate) struct Signed {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Authority {
        Authority::called(folder, name, name)
    }

    /// One whose file is not called as it is.
    pub(crate) fn called(folder: &Path, file: &str, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = folder.join(format!("{file}.pem"));
        std::fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority {
            folder: folder.to_path_buf(),
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub(crate) fn sign(&self, name: &str) -> Signed {
        self.sign_with(name, |_| {})
    }

    pub(crate) fn sign_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Signed {
        let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(hosts).unwrap();
        let subject = &mut params.distinguished_name;
        subject.push(DnType::OrganizationName, "example");
        subject.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let signed = Signed {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        };
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(&signed.certificate, certificate.pem()).unwrap();
        std::fs::write(&signed.key, key.serialize_pem()).unwrap();
        signed
    }
}

/// A listener with a certificate of an authority that is made for it, which clients find in `ca.pem`.
pub(crate) fn encrypted(folder: &Path) -> Listener {
    let signed = Authority::new(folder, "ca").sign("server");
    Listener::at(LOOPBACK).tls(Tls::new(signed.certificate, signed.key))
}

/// The settings of a client of librdkafka at this address.
pub(crate) fn client(address: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config.set("group.id", "security");
    config.set("auto.offset.reset", "earliest");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// Keeps what a client reports.
#[derive(Default)]
struct Errors(Mutex<Vec<String>>);

impl ClientContext for Errors {
    fn error(&self, _: KafkaError, reason: &str) {
        self.0.lock().unwrap().push(reason.to_owned());
    }

    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl ConsumerContext for Errors {}

/// Waits until a client that cannot connect reports this reason, perhaps among others.
pub(crate) fn refused(config: &ClientConfig, reason: &str) {
    let consumer: BaseConsumer<Errors> = config.create_with_context(Errors::default()).unwrap();
    let reported = || consumer.context().0.lock().unwrap().join("\n");
    let what = format!("the client reports {reason}");
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(&what, || {
            consumer.poll(Duration::from_millis(20));
            reported().contains(reason).then_some(())
        });
    }));
    assert!(found.is_ok(), "{what}, but only {}", reported());
}

/// What a client learns that can connect.
pub(crate) fn metadata(config: &ClientConfig) -> Metadata {
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.fetch_metadata(None, PATIENCE).unwrap()
}

/// Writes a record and reads it again.
pub(crate) fn round_trip(config: &ClientConfig, topic: &str, value: &str) {
    let producer: BaseProducer = config.create().unwrap();
    let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).payload(value);
    producer.send(record).unwrap();
    producer.flush(PATIENCE).unwrap();
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let read = eventually("the record", || {
        consumer.poll(Duration::from_millis(50))?.ok()
    });
    assert_eq!(read.payload(), Some(value.as_bytes()));
}
