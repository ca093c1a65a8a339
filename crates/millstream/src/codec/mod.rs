//! Codecs: how a key or a value becomes bytes and comes back.
//!
//! Owns the [`Codec`] trait, its typed [`CodecError`] and one file per format. A codec knows nothing of topics,
//! offsets or headers: whoever calls it adds where the bytes came from. Two rules hold for every codec:
//! what it encodes it also decodes to an equal value, and bytes from outside never panic, overflow the stack
//! or grow memory beyond a small multiple of their own length.
//!
//! | codec | type | null | notes |
//! |---|---|---|---|
//! | [`Json`] | any serde type | refused | NaN and infinities are refused when encoding; 128 levels deep at most |
//! | [`MessagePack`] | any serde type | refused | structs as maps, so that fields may be added; 128 levels at most |
//! | [`Raw`] | `Vec<u8>` | refused | the bytes as they are |
//! | [`Text`] | `String` | refused | UTF-8, NUL allowed |
//! | [`NoKey`] | `()` | written | reads anything as `()` |
//! | [`Nullable`] | `Option<T>` | `None` | tombstones around any other codec |

mod encodable;
mod error;
mod finite;
mod json;
mod messagepack;
mod nullable;
mod raw;
mod text;

pub use encodable::Encodable;
pub use error::{CodecError, Kind, LineColumn};
pub use json::Json;
pub use messagepack::MessagePack;
pub use nullable::{NoKey, Nullable};
pub use raw::Raw;
pub use text::Text;

/// What [`Codec::encode`] produced: bytes, or Kafka's null (no key, or a tombstone value).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Encoded {
    /// The bytes appended to the buffer, possibly none (an empty value is not null).
    Bytes,
    /// Null; nothing was appended.
    Null,
}

/// Turns values of one type into bytes and back.
///
/// A codec is a constant without state, so that a `Topic` can be a `static`.
///
/// ```
/// use millstream::codec::{Codec, Encoded, Json};
///
/// let mut bytes = Vec::new();
/// assert_eq!(Json.encode(&vec![1, 2], &mut bytes), Ok(Encoded::Bytes));
/// assert_eq!(bytes, b"[1,2]");
///
/// let back: Result<Vec<i32>, _> = Json.decode(Some(b"[1,x]"));
/// assert_eq!(back.unwrap_err().to_string(), "failed to decode json at line 1 column 4: expected value");
/// ```
pub trait Codec<T>: Send + Sync {
    /// A short lower-case name for descriptions and errors, such as `json`.
    fn name(&self) -> &'static str;

    /// Appends the encoded value to `out`. After an error `out` is as long as before.
    ///
    /// # Errors
    /// The value has no form in this codec, for example NaN in JSON.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, CodecError>;

    /// Decodes a whole key or value; `None` is Kafka's null.
    ///
    /// # Errors
    /// The bytes are not a value of `T`; the error says why and at which byte.
    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError>;
}

#[cfg(test)]
mod tests;
