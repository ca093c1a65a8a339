//! Logins by SCRAM (RFC 5802, RFC 7677): what is kept of a password, and the exchange that proves that a client knows it.
//!
//! The broker keeps a salt, a count of iterations and two keys, from which neither the password nor a proof can be made. An unknown user
//! gets a salt like any other and fails at the end, so that the exchange does not say who exists.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};

/// Iterations of a credential: Kafka's limits, and its default.
pub(crate) const ITERATIONS: std::ops::RangeInclusive<i32> = 4096..=16384;
const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// How a client proves that it knows a password, by the number of Kafka's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Mechanism {
    #[serde(rename = "SCRAM-SHA-256")]
    Sha256 = 1,
    #[serde(rename = "SCRAM-SHA-512")]
    Sha512 = 2,
}

impl Mechanism {
    pub(crate) const ALL: [Mechanism; 2] = [Mechanism::Sha256, Mechanism::Sha512];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Mechanism::Sha256 => "SCRAM-SHA-256",
            Mechanism::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of a number in the protocol.
    pub(crate) fn of_code(code: i8) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|of| *of as i8 == code)
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Mechanism::Sha256 => hmac::HMAC_SHA256,
            Mechanism::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn sign(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac(), key), text)
            .as_ref()
            .to_vec()
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.hmac().digest_algorithm(), bytes)
            .as_ref()
            .to_vec()
    }

    fn salted(self, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let algorithm = match self {
            Mechanism::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Mechanism::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut salted = vec![0; self.hmac().digest_algorithm().output_len()];
        pbkdf2::derive(algorithm, iterations, salt, password, &mut salted);
        salted
    }
}

/// Bytes that nobody guesses.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The system has no randomness only before it has booted; a nonce of zeros would then still need the right keys.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random bytes");
    }
    bytes
}

/// What is kept of one user's password for one mechanism.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    #[serde(with = "text")]
    salt: Vec<u8>,
    #[serde(with = "text")]
    stored_key: Vec<u8>,
    #[serde(with = "text")]
    server_key: Vec<u8>,
    iterations: NonZeroU32,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}

impl Credential {
    /// For a password.
    pub(crate) fn new(mechanism: Mechanism, password: &str) -> Credential {
        let salt = random::<16>().to_vec();
        let salted = mechanism.salted(password.as_bytes(), &salt, DEFAULT_ITERATIONS);
        Credential::of_salted(mechanism, salt, &salted, DEFAULT_ITERATIONS)
    }

    /// For a password that a client has salted.
    pub(crate) fn of_salted(
        mechanism: Mechanism,
        salt: Vec<u8>,
        salted: &[u8],
        iterations: NonZeroU32,
    ) -> Credential {
        Credential {
            salt,
            stored_key: mechanism.hash(&mechanism.sign(salted, b"Client Key")),
            server_key: mechanism.sign(salted, b"Server Key"),
            iterations,
        }
    }

    /// For a user who does not exist: always the same for a name, and nobody knows its password.
    pub(crate) fn decoy(mechanism: Mechanism, secret: &[u8], name: &str) -> Credential {
        let salt = mechanism.sign(secret, name.as_bytes());
        let salt = salt.into_iter().take(16).collect();
        let salted = random::<32>();
        Credential::of_salted(mechanism, salt, &salted, DEFAULT_ITERATIONS)
    }

    pub(crate) fn iterations(&self) -> i32 {
        i32::try_from(self.iterations.get()).unwrap_or(i32::MAX)
    }

    /// Whether it was made of this password. Takes milliseconds of processor time.
    pub(crate) fn is_of(&self, mechanism: Mechanism, password: &str) -> bool {
        let salted = mechanism.salted(password.as_bytes(), &self.salt, self.iterations);
        let key = mechanism.hash(&mechanism.sign(&salted, b"Client Key"));
        equal(&key, &self.stored_key)
    }
}

/// Compares in a time that does not say where the difference is.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && difference == 0
}

/// The first message of a client.
pub(crate) struct First {
    pub(crate) user: String,
    header: String,
    bare: String,
    nonce: String,
}

impl First {
    /// `n,,n=alice,r=4f1c..`; `None` when it is none, or asks for what is not there (channel binding, another identity).
    pub(crate) fn parse(message: &[u8]) -> Option<First> {
        let message = std::str::from_utf8(message).ok()?;
        let (binding, rest) = message.split_once(',')?;
        let (identity, bare) = rest.split_once(',')?;
        let mut fields = bare.split(',');
        let user = unescape(fields.next()?.strip_prefix("n=")?)?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        let same = identity.is_empty() || unescape(identity.strip_prefix("a=")?)? == user;
        let plain = binding == "n" || binding == "y";
        (plain && same && !user.is_empty() && !nonce.is_empty()).then(|| First {
            user,
            header: format!("{binding},{identity},"),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }
}

/// `=2C` and `=3D` of a name.
fn unescape(name: &str) -> Option<String> {
    let text = name.replace("=2C", ",").replace("=3D", "=");
    (name.matches('=').count() == name.matches("=2C").count() + name.matches("=3D").count())
        .then_some(text)
}

/// An exchange after its first message.
pub(crate) struct Exchange {
    mechanism: Mechanism,
    credential: Credential,
    user: String,
    /// What the client has to repeat.
    binding: String,
    nonce: String,
    /// The messages until now, which the proof covers.
    messages: String,
    /// The answer to the first message.
    pub(crate) challenge: String,
}

impl Exchange {
    pub(crate) fn new(mechanism: Mechanism, first: First, credential: Credential) -> Exchange {
        let nonce = format!("{}{}", first.nonce, STANDARD.encode(random::<18>()));
        let challenge = format!(
            "r={nonce},s={},i={}",
            STANDARD.encode(&credential.salt),
            credential.iterations
        );
        Exchange {
            mechanism,
            credential,
            user: first.user,
            binding: STANDARD.encode(first.header),
            messages: format!("{},{challenge}", first.bare),
            nonce,
            challenge,
        }
    }

    pub(crate) fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// Checks the last message of the client; returns the user and the last answer.
    pub(crate) fn finish(self, message: &[u8]) -> Option<(String, String)> {
        let message = std::str::from_utf8(message).ok()?;
        let (signed, proof) = message.rsplit_once(",p=")?;
        let mut fields = signed.split(',');
        let binding = fields.next()?.strip_prefix("c=")?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        let messages = format!("{},{signed}", self.messages);
        let signature = self
            .mechanism
            .sign(&self.credential.stored_key, messages.as_bytes());
        let proof = STANDARD.decode(proof).ok()?;
        let key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let known = proof.len() == signature.len()
            && equal(&self.mechanism.hash(&key), &self.credential.stored_key);
        // As Kafka: older versions of librdkafka put the client's nonce in front once more.
        if !known || binding != self.binding || !nonce.ends_with(&self.nonce) {
            return None;
        }
        let verifier = self
            .mechanism
            .sign(&self.credential.server_key, messages.as_bytes());
        Some((self.user, format!("v={}", STANDARD.encode(verifier))))
    }
}

/// Bytes as base64 in a file.
mod text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn an_exchange_is_that_of_the_standard() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mechanism = Mechanism::Sha256;
        let salted = mechanism.salted(b"pencil", &salt, DEFAULT_ITERATIONS);
        let credential = Credential::of_salted(mechanism, salt, &salted, DEFAULT_ITERATIONS);
        let first = First::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let mut exchange = Exchange::new(mechanism, first, credential);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let challenge = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        exchange.messages = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{challenge}");
        exchange.nonce = nonce.to_owned();
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(
            exchange.finish(last.as_bytes()),
            Some((
                "user".to_owned(),
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned()
            ))
        );
    }

    #[test]
    fn a_nonce_may_have_that_of_the_client_twice_and_no_other() {
        let mechanism = Mechanism::Sha256;
        let salted = mechanism.salted(b"secret", b"salt", DEFAULT_ITERATIONS);
        let finished = |nonce: fn(&str) -> String| {
            let salt = b"salt".to_vec();
            let credential = Credential::of_salted(mechanism, salt, &salted, DEFAULT_ITERATIONS);
            let first = First::parse(b"n,,n=user,r=abc").unwrap();
            let exchange = Exchange::new(mechanism, first, credential);
            let signed = format!("c=biws,r={}", nonce(&exchange.nonce));
            let messages = format!("{},{signed}", exchange.messages);
            let key = mechanism.sign(&salted, b"Client Key");
            let signature = mechanism.sign(&mechanism.hash(&key), messages.as_bytes());
            let proof: Vec<u8> = key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
            let last = format!("{signed},p={}", STANDARD.encode(proof));
            exchange.finish(last.as_bytes()).map(|(user, _)| user)
        };
        let user = Some("user".to_owned());
        assert_eq!(finished(str::to_owned), user);
        assert_eq!(finished(|nonce| format!("abc{nonce}")), user);
        assert_eq!(finished(|nonce| format!("{nonce}abc")), None);
    }

    #[test]
    fn a_credential_knows_its_password_and_shows_nothing() {
        for mechanism in Mechanism::ALL {
            let credential = Credential::new(mechanism, "secret");
            assert!(credential.is_of(mechanism, "secret"));
            assert!(!credential.is_of(mechanism, "Secret"));
            assert_eq!(format!("{credential:?}"), "Credential { .. }");
        }
    }

    #[test]
    fn a_first_message_is_read_with_escapes_or_refused() {
        let user = |text: &str| First::parse(text.as_bytes()).map(|first| first.user);
        assert_eq!(user("n,,n=a=2Cb=3Dc,r=1"), Some("a,b=c".to_owned()));
        assert_eq!(user("y,a=me,n=me,r=1"), Some("me".to_owned()));
        for refused in [
            "",
            "n,,n=,r=1",
            "n,,n=me,r=",
            "n,,r=1,n=me",
            "n,a=other,n=me,r=1",
            "p=tls-unique,,n=me,r=1",
            "n,,n=a=4Db,r=1",
        ] {
            assert_eq!(user(refused), None, "{refused}");
        }
    }
}
