//! Kafka's null: records without a key, and tombstones.
//!
//! `Nullable` wraps any other codec and is the only one that reads null as a value; `NoKey` is for topics whose
//! records have no key.

use super::{Codec, CodecError, Encoded};

/// No key: writes null, reads whatever is there as `()`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoKey;

impl Codec<()> for NoKey {
    fn name(&self) -> &'static str {
        "none"
    }

    fn encode(&self, (): &(), _out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        Ok(Encoded::Null)
    }

    fn decode(&self, _bytes: Option<&[u8]>) -> Result<(), CodecError> {
        Ok(())
    }
}

/// Another codec with null as `None`: `Nullable(Json)` reads and writes tombstones.
///
/// ```
/// use millstream::codec::{Codec, Json, Nullable};
///
/// let tombstone: Option<u32> = Nullable(Json).decode(None).unwrap();
/// assert_eq!(tombstone, None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nullable<C>(pub C);

impl<T, C: Codec<T>> Codec<Option<T>> for Nullable<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn encode(&self, value: &Option<T>, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        match value {
            Some(value) => self.0.encode(value, out),
            None => Ok(Encoded::Null),
        }
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Option<T>, CodecError> {
        match bytes {
            Some(bytes) => self.0.decode(Some(bytes)).map(Some),
            None => Ok(None),
        }
    }
}
