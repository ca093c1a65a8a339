//! A login by SASL: what is sent, step by step, whatever the mechanism.
//!
//! The connection carries the bytes. A login that fails says why in words for the person who set the properties.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::scram::{Expected, Hash, Scram};
use crate::Error;
use crate::config::{Credentials, Mechanism};

/// Random bytes of a SCRAM nonce.
const NONCE_BYTES: usize = 18;

/// A login under way.
#[derive(Debug)]
pub(super) enum Login {
    /// Everything is said with the first message.
    Said,
    /// The broker's challenge is waited for.
    Challenged(Scram),
    /// The broker's proof is waited for.
    Proving(Expected),
}

/// Checks that a login has all that it needs.
pub(super) fn check(credentials: &Credentials) -> Result<(), Error> {
    let mechanism = credentials.mechanism;
    let missing = match mechanism {
        Mechanism::OauthBearer => credentials
            .token_file
            .is_none()
            .then_some("sasl.oauthbearer.token.file"),
        _ => credentials.user.is_empty().then_some("sasl.username"),
    };
    match missing {
        Some(name) => Err(Error::Property {
            name: name.to_owned(),
            reason: format!("it is needed to log in by {}", mechanism.name()),
        }),
        None => Ok(()),
    }
}

/// Begins a login: what is sent first.
pub(super) fn begin(credentials: &Credentials) -> Result<(Login, Vec<u8>), String> {
    let (user, password) = (&credentials.user, &credentials.password);
    let hash = match credentials.mechanism {
        Mechanism::Plain => {
            return Ok((
                Login::Said,
                format!("\0{user}\0{}", password.0).into_bytes(),
            ));
        }
        Mechanism::OauthBearer => return Ok((Login::Said, bearer(credentials)?.into_bytes())),
        Mechanism::ScramSha256 => Hash::Sha256,
        Mechanism::ScramSha512 => Hash::Sha512,
    };
    let scram = Scram::new(hash, user, password.clone(), &nonce()?);
    let first = scram.first_message().into_bytes();
    Ok((Login::Challenged(scram), first))
}

impl Login {
    /// Takes an answer: what is sent next, or nothing when the login is done.
    pub(super) fn answer(self, answer: &[u8]) -> Result<Option<(Self, Vec<u8>)>, String> {
        let text = std::str::from_utf8(answer).map_err(|_| "the answer is not text".to_owned());
        match self {
            Self::Said => Ok(None),
            Self::Challenged(scram) => {
                let (last, expected) = scram.proof(text?)?;
                Ok(Some((Self::Proving(expected), last.into_bytes())))
            }
            Self::Proving(expected) => expected.check(text?).map(|()| None),
        }
    }
}

/// The only message of OAUTHBEARER (RFC 7628, section 3.1).
fn bearer(credentials: &Credentials) -> Result<String, String> {
    let path = credentials.token_file.clone().unwrap_or_default();
    let token = std::fs::read_to_string(&path)
        .map_err(|error| format!("the token in `{}` cannot be read: {error}", path.display()))?;
    Ok(format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", token.trim()))
}

fn nonce() -> Result<String, String> {
    let mut bytes = [0; NONCE_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| "the machine has no random numbers".to_owned())?;
    Ok(BASE64.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn credentials(properties: &[(&str, &str)]) -> Credentials {
        let config = Config::default().set("security.protocol", "SASL_PLAINTEXT");
        let set = |config: Config, (name, value): &(&str, &str)| config.set(name, value);
        let config = properties.iter().try_fold(config.unwrap(), set).unwrap();
        config.resolve().credentials.unwrap()
    }

    #[test]
    fn plain_is_said_at_once() {
        let credentials = credentials(&[
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "ann"),
            ("sasl.password", "secret"),
        ]);
        check(&credentials).unwrap();
        let (login, first) = begin(&credentials).unwrap();
        assert_eq!(first, b"\0ann\0secret");
        assert!(login.answer(b"").unwrap().is_none());
    }

    #[test]
    fn a_token_is_read_at_each_login() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let credentials = credentials(&[
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.token.file", path),
        ]);
        check(&credentials).unwrap();
        for token in ["first", "second"] {
            std::fs::write(path, format!("{token}\n")).unwrap();
            let (_, said) = begin(&credentials).unwrap();
            assert_eq!(
                said,
                format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").into_bytes()
            );
        }
        drop(file);
        let gone = begin(&credentials).map(|(_, said)| said).unwrap_err();
        assert!(gone.starts_with("the token in `/"), "{gone}");
    }

    #[test]
    fn what_a_login_needs_and_has_not_is_named() {
        for (mechanism, text) in [
            (
                "PLAIN",
                "property `sasl.username`: it is needed to log in by PLAIN",
            ),
            (
                "OAUTHBEARER",
                "property `sasl.oauthbearer.token.file`: it is needed to log in by OAUTHBEARER",
            ),
        ] {
            let error = check(&credentials(&[("sasl.mechanism", mechanism)])).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn no_nonce_is_like_another() {
        let nonces = [nonce().unwrap(), nonce().unwrap()];
        assert_eq!(nonces.each_ref().map(String::len), [24, 24]);
        assert_ne!(nonces[0], nonces[1]);
    }
}
