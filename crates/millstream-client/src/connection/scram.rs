//! A login by SCRAM (RFC 5802, RFC 7677): the client's side of the dialogue.
//!
//! The password never travels. Both sides prove that they know it, and a broker that does not is refused. Names and passwords are taken as they are,
//! without SASLprep, as Kafka does.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

use super::login::shown;
use crate::config::Secret;

/// Fewer rounds would make a password easy to guess for who has listened (RFC 5802, section 5.1; Kafka has the same bound).
const LEAST_ROUNDS: u32 = 4096;
/// More would keep the application's thread busy for long; Kafka's own bound is 16,384.
const MOST_ROUNDS: u32 = 100_000;
/// Neither nonces nor salts are longer.
const MOST_BYTES: usize = 1024;

/// What the two sides compute with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

/// A login that has begun.
#[derive(Debug)]
pub(super) struct Scram {
    hash: Hash,
    password: Secret,
    nonce: String,
    /// The first message without its header.
    first: String,
}

impl Scram {
    /// `nonce` is random, of printable characters without a comma.
    pub(super) fn new(hash: Hash, user: &str, password: Secret, nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            password,
            nonce: nonce.to_owned(),
            first: format!("n={user},r={nonce}"),
        }
    }

    /// The client's first message.
    pub(super) fn first_message(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// The client's last message, after the broker's first one, and how the broker must prove itself.
    pub(super) fn proof(&self, challenge: &str) -> Result<(String, Expected), String> {
        let Challenge {
            nonce,
            salt,
            rounds,
        } = Challenge::read(challenge)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the challenge is not an answer to this login".to_owned());
        }
        let (digest, algorithm) = (self.hash.digest(), self.hash.hmac());
        let mut salted = vec![0; digest.output_len()];
        pbkdf2::derive(
            self.hash.pbkdf2(),
            rounds,
            &salt,
            self.password.0.as_bytes(),
            &mut salted,
        );
        let sign =
            |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(algorithm, key), text.as_bytes());
        let last = format!("c=biws,r={nonce}");
        let dialogue = format!("{},{challenge},{last}", self.first);
        let client_key = sign(&salted, "Client Key");
        let stored_key = digest::digest(digest, client_key.as_ref());
        let signature = sign(stored_key.as_ref(), &dialogue);
        let pairs = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();
        let expected = Expected {
            key: hmac::Key::new(algorithm, sign(&salted, "Server Key").as_ref()),
            dialogue,
        };
        Ok((format!("{last},p={}", BASE64.encode(proof)), expected))
    }
}

/// The proof that the broker owes.
#[derive(Debug)]
pub(super) struct Expected {
    key: hmac::Key,
    dialogue: String,
}

impl Expected {
    pub(super) fn check(&self, last: &str) -> Result<(), String> {
        if let Some(reason) = last.strip_prefix("e=") {
            return Err(shown(reason));
        }
        let signature = last
            .strip_prefix("v=")
            .and_then(|rest| rest.split(',').next());
        let signature = signature.and_then(|text| BASE64.decode(text).ok());
        let is_proven = signature.is_some_and(|signature| {
            hmac::verify(&self.key, self.dialogue.as_bytes(), &signature).is_ok()
        });
        is_proven.then_some(()).ok_or_else(|| {
            "the broker does not know the password: it is not who it says it is".to_owned()
        })
    }
}

/// The broker's first message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    rounds: NonZeroU32,
}

impl<'a> Challenge<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let mut part = |name| parts.next().and_then(|part| part.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(rounds)) = (part("r="), part("s="), part("i=")) else {
            return Err("the challenge is not one of SCRAM".to_owned());
        };
        if nonce.len().max(salt.len()) > MOST_BYTES {
            return Err("the challenge is too long".to_owned());
        }
        let salt = BASE64
            .decode(salt)
            .map_err(|_| "the challenge has no salt".to_owned())?;
        let allowed = |rounds: &NonZeroU32| (LEAST_ROUNDS..=MOST_ROUNDS).contains(&rounds.get());
        let rounds = rounds.parse().ok().filter(allowed).ok_or_else(|| {
            format!(
                "the challenge asks for `{}` rounds, expected {LEAST_ROUNDS} to {MOST_ROUNDS}",
                shown(rounds)
            )
        })?;
        Ok(Self {
            nonce,
            salt,
            rounds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn login() -> Scram {
        Scram::new(Hash::Sha256, "user", Secret("pencil".to_owned()), NONCE)
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_dialogue_is_that_of_the_standard() {
        let login = login();
        assert_eq!(login.first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (last, expected) = login.proof(CHALLENGE).unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let proof = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(expected.check(proof), Ok(()));
        let refused = "the broker does not know the password: it is not who it says it is";
        for wrong in ["v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", "v=", ""] {
            assert_eq!(expected.check(wrong), Err(refused.to_owned()));
        }
        assert_eq!(
            expected.check("e=other-error"),
            Err("other-error".to_owned())
        );
    }

    #[test]
    fn a_challenge_that_is_weak_foreign_or_absurd_is_refused() {
        for (challenge, reason) in [
            ("", "the challenge is not one of SCRAM"),
            (
                "r=a,s=W22ZaJ0SNY7soEsUEjb6gQ==",
                "the challenge is not one of SCRAM",
            ),
            (
                "r=rOprNGfwEbeRWgbNEkqO1,s=?,i=4096",
                "the challenge has no salt",
            ),
            (
                "r=other,s=W22ZaJ0S,i=4096",
                "the challenge is not an answer to this login",
            ),
            (
                "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0S,i=4096",
                "the challenge is not an answer to this login",
            ),
            (
                "r=rOprNGfwEbeRWgbNEkqO1,s=W22ZaJ0S,i=1",
                "the challenge asks for `1` rounds, expected 4096 to 100000",
            ),
            (
                "r=rOprNGfwEbeRWgbNEkqO1,s=W22ZaJ0S,i=4000000000",
                "the challenge asks for `4000000000` rounds, expected 4096 to 100000",
            ),
        ] {
            let refused = login().proof(challenge).map(|(last, _)| last);
            assert_eq!(refused, Err(reason.to_owned()), "{challenge}");
        }
    }

    #[test]
    fn names_with_commas_and_equals_signs_are_escaped() {
        let login = Scram::new(Hash::Sha512, "a=b,c", Secret(String::new()), "x");
        assert_eq!(login.first_message(), "n,,n=a=3Db=2Cc,r=x");
    }
}
