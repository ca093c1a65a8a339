//! Raw bytes: the record's own bytes, untouched.
//!
//! An empty value is an empty vector; null is refused, so that a tombstone is never mistaken for it
//! (`Nullable(Raw)` takes both).

use super::{Codec, CodecError, Encoded};

/// Bytes as they are, for `Vec<u8>`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Raw;

impl Codec<Vec<u8>> for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        out.extend_from_slice(value);
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Vec<u8>, CodecError> {
        bytes
            .map(<[u8]>::to_vec)
            .ok_or_else(|| CodecError::null("raw"))
    }
}
