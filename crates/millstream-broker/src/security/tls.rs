//! TLS of a listener: its certificate, what it asks of its clients, and the handshake.
//!
//! Files are read when the broker starts; what is wrong with one is an error then, with its name. They are read again when they have changed:
//! new connections meet the new certificate, and what cannot be used is logged and the last one that could stays. A handshake has its
//! connection's own task and a bounded time, so that one that stands still holds up nobody.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::Principal;
use crate::error::Error;
use crate::stream::Stream;

/// What a TLS handshake begins with.
const HANDSHAKE: u8 = 0x16;

/// The certificate of a listener, and what it asks of its clients. Files are in PEM.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tls {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whether clients show certificates too.
    pub clients: ClientCertificates,
}

impl Tls {
    /// All files.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let authorities = match &self.clients {
            ClientCertificates::None => None,
            ClientCertificates::Requested(path) | ClientCertificates::Required(path) => Some(path),
        };
        let own = [&self.certificate, &self.key];
        own.into_iter().chain(authorities).map(PathBuf::as_path)
    }

    /// TLS with this certificate and key; clients show none.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Tls {
        Tls {
            certificate: certificate.into(),
            key: key.into(),
            clients: ClientCertificates::None,
        }
    }
}

/// Whether clients show certificates. One that does is its subject to the broker: `User:CN=alice,O=example`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    None,
    /// Who shows one must have it from an authority in this file; who shows none is anonymous.
    Requested(PathBuf),
    /// Everybody must show one from an authority in this file.
    Required(PathBuf),
}

/// Which file lies at each path, and when it was changed last: what is different after a change, also one by links.
type Stamps = Vec<Option<(u64, u64, i64, i64)>>;

/// What makes connections of a listener into TLS.
pub(crate) struct Acceptor {
    tls: Tls,
    current: RwLock<TlsAcceptor>,
    read: Mutex<Read>,
}

/// What was read.
struct Read {
    /// The files as they were when the certificate in use was read.
    used: Stamps,
    /// As they were when they could not be used. They are tried again all the same: what was wrong need not have been in them.
    refused: Option<Stamps>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// Reads the files of a listener.
    pub(crate) fn load(tls: &Tls) -> Result<Acceptor, Error> {
        // Before they are read: what changes in between is read again.
        let read = Read {
            used: stamps(tls),
            refused: None,
        };
        Ok(Acceptor {
            current: RwLock::new(load(tls)?),
            tls: tls.clone(),
            read: Mutex::new(read),
        })
    }

    /// Reads the files again if they have changed.
    pub(crate) fn refresh(&self) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.tls);
        if read.used == now {
            return;
        }
        let path = self.tls.certificate.display();
        match load(&self.tls) {
            Ok(acceptor) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                *read = Read {
                    used: now,
                    refused: None,
                };
                tracing::info!(%path, "certificate read again");
            }
            Err(_) if read.refused.as_ref() == Some(&now) => {}
            Err(error) => {
                read.refused = Some(now);
                tracing::error!(%path, %error, "changed certificate cannot be used, the one before stays");
            }
        }
    }

    fn current(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// Does the handshake; returns who the client has shown to be.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        within: Duration,
    ) -> Result<(Stream, Principal), String> {
        let shaken = timeout(within, async {
            let mut first = [0];
            match stream.peek(&mut first).await {
                Ok(1) if first == [HANDSHAKE] => {}
                Ok(1) => {
                    return Err("what came is not TLS: the client connects without it".to_owned());
                }
                Ok(_) => return Err("the peer closed the connection".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
            self.current()
                .accept(stream)
                .await
                .map_err(|error| error.to_string())
        });
        let stream = shaken
            .await
            .map_err(|_| "the peer took too long".to_owned())??;
        let shown = stream.get_ref().1.peer_certificates();
        let principal = match shown.and_then(<[_]>::first) {
            Some(certificate) => Principal::user(&subject(certificate)?),
            None => Principal::anonymous(),
        };
        Ok((Stream::Tls(Box::new(stream)), principal))
    }
}

fn stamps(tls: &Tls) -> Stamps {
    let stamp = |path: &Path| {
        let file = fs::metadata(path).ok()?;
        Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    };
    tls.files().map(stamp).collect()
}

fn load(tls: &Tls) -> Result<TlsAcceptor, Error> {
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| unusable(&tls.key, pem_reason(error, "private key")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = match &tls.clients {
        ClientCertificates::None => WebPkiClientVerifier::no_client_auth(),
        ClientCertificates::Requested(path) => verifier(path, false)?,
        ClientCertificates::Required(path) => verifier(path, true)?,
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&tls.certificate, error.to_string()))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => unusable(
                &tls.key,
                format!(
                    "it is not the key of the certificate in `{}`",
                    tls.certificate.display()
                ),
            ),
            error => unusable(&tls.certificate, error.to_string()),
        })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn unusable(path: &Path, reason: String) -> Error {
    Error::Tls {
        path: path.to_path_buf(),
        reason,
    }
}

fn pem_reason(error: PemError, wanted: &str) -> String {
    match error {
        PemError::NoItemsFound => format!("there is no {wanted} in PEM in it"),
        PemError::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |error| unusable(path, pem_reason(error, "certificate"));
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(wrong)?
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    match chain.is_empty() {
        true => Err(wrong(PemError::NoItemsFound)),
        false => Ok(chain),
    }
}

fn verifier(path: &Path, required: bool) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(path, error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match required {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    builder
        .build()
        .map_err(|error| unusable(path, error.to_string()))
}

/// The subject of a certificate as RFC 4514 writes it, the most specific name first.
fn subject(certificate: &CertificateDer<'_>) -> Result<String, String> {
    Certificate::from_der(certificate)
        .map(|certificate| certificate.tbs_certificate.subject.to_string())
        .map_err(|error| format!("failed to read the subject of the client's certificate: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::SystemTime;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// What kept the files from being read may end without a change of the files, as with permissions.
    #[test]
    fn files_that_could_not_be_read_are_tried_again_though_they_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (certificate, key) = (path("server.pem"), path("server.key"));
        let signed = || {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let write = |at: &Path, text: &str| {
            let file = fs::File::create(at).unwrap();
            (&file).write_all(text.as_bytes()).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        };
        let before = signed();
        write(&certificate, &before.0);
        write(&key, &before.1);
        let acceptor = Acceptor::load(&Tls::new(&certificate, &key)).unwrap();
        let first = acceptor.current();
        let is_replaced = || !Arc::ptr_eq(first.config(), acceptor.current().config());

        let next = signed();
        fs::remove_file(&key).unwrap();
        fs::write(&certificate, &next.0).unwrap();
        // As long as the key, and none.
        write(&key, &"x".repeat(next.1.len()));
        acceptor.refresh();
        assert!(!is_replaced());
        write(&key, &next.1);
        acceptor.refresh();
        assert!(is_replaced());
    }
}
