//! TLS of a listener: its certificate, what it asks of its clients, and the handshake.
//!
//! Files are read when the broker starts; what is wrong with one is an error then, with its name. A handshake has its connection's own
//! task and a bounded time, so that one that stands still holds up nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;
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

/// What makes connections of a listener into TLS.
#[derive(Clone)]
pub(crate) struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// Reads the files of a listener.
    pub(crate) fn load(tls: &Tls) -> Result<Acceptor, Error> {
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
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
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
            self.0
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
