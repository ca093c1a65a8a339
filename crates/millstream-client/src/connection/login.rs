//! A login by SASL: what is sent, step by step, whatever the mechanism.
//!
//! The connection carries the bytes. A login that fails says why in words for the person who set the properties.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::scram::{Expected, Hash, Scram};
use crate::Error;
use crate::config::{Credentials, Mechanism};

/// Random bytes of a SCRAM nonce.
const NONCE_BYTES: usize = 18;
/// The longest token that is read.
const TOKEN_BYTES: u64 = 1 << 20;
/// So much of what a broker says about a login is shown.
const SHOWN: usize = 300;

const TOKEN_FILE: &str = "sasl.oauthbearer.token.file";

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
        Mechanism::OauthBearer => credentials.token_file.is_none().then_some(TOKEN_FILE),
        _ => credentials.user.is_empty().then_some("sasl.username"),
    };
    if let Some(name) = missing {
        let reason = format!("it is needed to log in by {}", mechanism.name());
        return Err(property(name, reason));
    }
    for (name, value) in [
        ("sasl.username", &credentials.user),
        ("sasl.password", &credentials.password.0),
    ] {
        if value.contains('\0') {
            return Err(property(name, "it holds a NUL byte".to_owned()));
        }
    }
    Ok(())
}

fn property(name: &str, reason: String) -> Error {
    Error::Property {
        name: name.to_owned(),
        reason,
    }
}

/// What a broker says, as one bounded line: it may be anybody.
pub(super) fn shown(text: &str) -> String {
    let escaped = text.escape_debug().to_string();
    escaped.chars().take(SHOWN).collect()
}

/// Begins a login: what is sent first.
pub(super) fn begin(credentials: &Credentials) -> Result<(Login, Vec<u8>), Error> {
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
            // A broker that refuses a token says why, and waits for more.
            Self::Said if answer.is_empty() => Ok(None),
            Self::Said => Err(shown(&String::from_utf8_lossy(answer))),
            Self::Challenged(scram) => {
                let (last, expected) = scram.proof(text?)?;
                Ok(Some((Self::Proving(expected), last.into_bytes())))
            }
            Self::Proving(expected) => expected.check(text?).map(|()| None),
        }
    }
}

/// The only message of OAUTHBEARER (RFC 7628, section 3.1).
fn bearer(credentials: &Credentials) -> Result<String, Error> {
    let path = credentials.token_file.clone().unwrap_or_default();
    let token = token(&path)
        .map_err(|error| property(TOKEN_FILE, format!("`{}`: {error}", path.display())))?;
    Ok(format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}"))
}

/// The token of a file, which somebody else may be writing.
fn token(path: &Path) -> std::io::Result<String> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    file.take(TOKEN_BYTES).read_to_string(&mut text)?;
    let token = text.trim();
    match token.is_empty() || token.contains(|c: char| c.is_control() || c.is_whitespace()) {
        true => Err(std::io::Error::other("it does not hold one token")),
        false => Ok(token.to_owned()),
    }
}

fn nonce() -> Result<String, Error> {
    let mut bytes = [0; NONCE_BYTES];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::Refused {
        reason: "the machine has no random numbers".to_owned(),
    })?;
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
        let path = path.to_owned();
        let refused = || {
            begin(&credentials)
                .map(|(_, said)| said)
                .unwrap_err()
                .to_string()
        };
        for half in ["", " \n", "two tokens", "a\u{1}auth=b"] {
            std::fs::write(&path, half).unwrap();
            let begins =
                format!("property `sasl.oauthbearer.token.file`: `{path}`: it does not hold");
            assert!(refused().starts_with(&begins), "{}", refused());
        }
        drop(file);
        assert!(
            refused().ends_with("No such file or directory (os error 2)"),
            "{}",
            refused()
        );
    }

    /// A broker answers a token that it does not take without an error code, and waits for the client to give up.
    #[test]
    fn a_token_that_is_refused_is_no_login() {
        let refused = Login::Said.answer(b"{\"status\":\"invalid_token\"}\n");
        assert_eq!(
            refused.map(drop),
            Err(r#"{\"status\":\"invalid_token\"}\n"#.to_owned())
        );
        assert_eq!(shown(&"x".repeat(9000)).len(), SHOWN);
    }

    #[test]
    fn a_nul_byte_would_move_the_fields_of_a_login() {
        let error = check(&credentials(&[("sasl.username", "ann\0root")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "property `sasl.username`: it holds a NUL byte"
        );
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
