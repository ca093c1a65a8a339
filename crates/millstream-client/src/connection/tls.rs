//! Encryption by TLS, whom this client believes, what it shows of itself, and a socket whose bytes are encrypted or not.
//!
//! Files are read when the client is made; what is wrong with one is an error then, with its name.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    RootCertStore, SignatureScheme,
};

use crate::Error;
use crate::config::Encryption;

const AUTHORITIES: &str = "ssl.ca.location";
const CERTIFICATE: &str = "ssl.certificate.location";
const KEY: &str = "ssl.key.location";

/// What makes sockets into encrypted ones.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the files.
    pub(super) fn load(encryption: &Encryption) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |error: rustls::Error| refused(KEY, error.to_string());
        let verifier = verifier(encryption, &provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match (&encryption.certificate, &encryption.key) {
            (None, None) => config.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates(CERTIFICATE, certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unreadable(KEY, key, error, "private key"))?;
                config.with_client_auth_cert(chain, key).map_err(unusable)?
            }
            (Some(_), None) => return Err(refused(KEY, format!("`{CERTIFICATE}` needs it"))),
            (None, Some(_)) => return Err(refused(CERTIFICATE, format!("`{KEY}` needs it"))),
        };
        Ok(Self(Arc::new(config)))
    }

    fn session(&self, host: &str) -> Result<ClientConnection, rustls::Error> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| rustls::Error::General(format!("`{host}` is not a host")))?;
        ClientConnection::new(Arc::clone(&self.0), name)
    }
}

fn refused(name: &str, reason: String) -> Error {
    Error::Property {
        name: name.to_owned(),
        reason,
    }
}

fn unreadable(name: &str, path: &Path, error: PemError, what: &str) -> Error {
    let path = path.display();
    refused(
        name,
        match error {
            PemError::Io(error) => format!("`{path}` cannot be read: {error}"),
            PemError::NoItemsFound => {
                format!("`{path}` has no {what} in PEM that is not encrypted")
            }
            error => format!("`{path}` is not PEM: {error}"),
        },
    )
}

fn certificates(name: &str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |error| unreadable(name, path, error, "certificate");
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if all.is_empty() {
        return Err(failed(PemError::NoItemsFound));
    }
    Ok(all)
}

/// Whom this client believes: the authorities of a file, or those of the system.
fn authorities(file: Option<&PathBuf>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(AUTHORITIES, path)? {
                store.add(certificate).map_err(|error| {
                    refused(AUTHORITIES, format!("`{}`: {error}", path.display()))
                })?;
            }
        }
        None => {
            // Systems have certificates that nobody can read; those that are left decide.
            let found = rustls_native_certs::load_native_certs();
            for error in found.errors {
                tracing::warn!(%error, "certificates of the system cannot be read");
            }
            store.add_parsable_certificates(found.certs);
        }
    }
    match store.is_empty() {
        true => Err(refused(
            AUTHORITIES,
            "the system has no certificates of authorities, so it has to be set".to_owned(),
        )),
        false => Ok(store),
    }
}

fn verifier(
    encryption: &Encryption,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let store = Arc::new(authorities(encryption.authorities.as_ref())?);
    let verifier = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider))
        .build()
        .map_err(|error| refused(AUTHORITIES, error.to_string()))?;
    Ok(match encryption.checks_host {
        true => verifier,
        false => Arc::new(AnyHost(verifier)),
    })
}

/// As Kafka's `ssl.endpoint.identification.algorithm=none`: the authority decides, whatever the host.
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// A socket that does not block. What it reads and writes is plain; what travels is encrypted where there is a session.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Stream {
    /// `host` is the one that a broker's certificate must name.
    pub(super) fn new(
        socket: TcpStream,
        tls: Option<&Tls>,
        host: &str,
    ) -> Result<Self, rustls::Error> {
        let session = tls.map(|tls| tls.session(host)).transpose()?;
        Ok(Self {
            socket,
            session: session.map(Box::new),
        })
    }

    fn is_handshaking(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.is_handshaking())
    }

    /// Why no repetition mends an error: two sides that do not believe each other, or do not both speak TLS.
    pub(super) fn refusal(&self, error: &std::io::Error) -> Option<String> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        match error {
            rustls::Error::InvalidCertificate(_) => Some(error.to_string()),
            // A server may look at a client's certificate after the client has finished.
            rustls::Error::AlertReceived(alert) if is_about_certificates(*alert) => {
                Some(error.to_string())
            }
            rustls::Error::InvalidMessage(_) if self.is_handshaking() => {
                Some("it does not speak TLS at this port".to_owned())
            }
            rustls::Error::PeerIncompatible(_) => Some(error.to_string()),
            _ => None,
        }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Sends what is encrypted and waits, as far as the socket takes it.
    pub(super) fn push(&mut self) -> std::io::Result<()> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        while session.wants_write() {
            match session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, place: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let Some(session) = &mut self.session else {
                return self.socket.read(place);
            };
            match session.reader().read(place) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            let arrived = session.read_tls(&mut self.socket)?;
            let processed = session.process_new_packets();
            let is_readable = processed
                .as_ref()
                .map_or(true, |state| state.plaintext_bytes_to_read() > 0);
            // What this side has to say about it, be it an alert, goes out first. What has arrived counts whatever becomes of it.
            let pushed = self.push();
            if !is_readable {
                pushed?;
            }
            processed.map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))?;
            if arrived == 0 {
                return Ok(0);
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push()?;
        let Some(session) = &mut self.session else {
            return self.socket.write(bytes);
        };
        // A session takes no more than it may hold until the socket has taken some of it.
        match session.writer().write(bytes)? {
            0 if !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
            taken => {
                self.push()?;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.push()
    }
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::CertificateRequired
    )
}
