//! Names made of contents: 128 bits that two different waves, or two different partial results, do not share.
//!
//! The bytes are the exact binary form that also travels between processes (MessagePack, every bit of a float), hashed by SHA-256
//! and cut in half. Nobody has to be kept from forging one; they only have to differ when the contents do.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The name of a content; 32 hexadecimal digits in text and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(u128);

impl Digest {
    /// The digest of `value`.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        // What the package hashes has a form in MessagePack: encoding into memory does not fail.
        let bytes = rmp_serde::to_vec(value).unwrap_or_default();
        let bytes: [u8; 32] = Sha256::digest(&bytes).into();
        let (half, _) = bytes.split_at(16);
        Self(
            half.iter()
                .fold(0, |all, &byte| all << 8 | u128::from(byte)),
        )
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() != 32 {
            return Err(D::Error::custom(format!(
                "`{text}` is no digest: 32 hexadecimal digits are expected"
            )));
        }
        u128::from_str_radix(&text, 16)
            .map(Self)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_contents_apart_by_every_bit_and_survives_its_text() {
        let one = Digest::of(&(1.0, "x"));
        assert_eq!(one, Digest::of(&(1.0, "x")));
        assert_ne!(one, Digest::of(&(1.0_f64.next_up(), "x")));
        assert_ne!(Digest::of(&0.0), Digest::of(&-0.0));
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), one);
    }
}
