//! What may be given where a key or a value is to be encoded: the value itself, or what it borrows as.
//!
//! A topic of `String` keys takes `"ann"` as well as `&String`, one of `Vec<u8>` values takes a slice. A codec encodes its own
//! type only, so a borrowed form is copied into an owned one first; the owned one is encoded without a copy.

use super::{Codec, CodecError, Encoded};

/// What a [`Codec`] of `T` can encode: a `T`, a `str` for `String`, a `[u8]` for `Vec<u8>`.
///
/// ```
/// use millstream::Topic;
/// use millstream::codec::{Json, Text};
/// use millstream::testing::World;
///
/// static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json);
///
/// let mut world = World::new();
/// let room = String::from("kitchen");
/// world.send(&READINGS, &room, &20.5);
/// world.send(&READINGS, "kitchen", &20.7);
/// assert_eq!(world.read(&READINGS)[1].key, room);
/// ```
pub trait Encodable<T> {
    /// Appends the bytes to `out`, by `codec`.
    ///
    /// # Errors
    /// As [`Codec::encode`].
    fn encode_with(&self, codec: &dyn Codec<T>, out: &mut Vec<u8>) -> Result<Encoded, CodecError>;
}

impl<T> Encodable<T> for T {
    fn encode_with(&self, codec: &dyn Codec<T>, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        codec.encode(self, out)
    }
}

impl Encodable<String> for str {
    fn encode_with(
        &self,
        codec: &dyn Codec<String>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, CodecError> {
        codec.encode(&self.to_owned(), out)
    }
}

impl Encodable<Vec<u8>> for [u8] {
    fn encode_with(
        &self,
        codec: &dyn Codec<Vec<u8>>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, CodecError> {
        codec.encode(&self.to_vec(), out)
    }
}

impl<const N: usize> Encodable<Vec<u8>> for [u8; N] {
    fn encode_with(
        &self,
        codec: &dyn Codec<Vec<u8>>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, CodecError> {
        codec.encode(&self.to_vec(), out)
    }
}
