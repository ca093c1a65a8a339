//! MessagePack by `rmp-serde`: structs as maps with field names, so that a reader may know fewer or more fields
//! than the writer.
//!
//! NaN and the infinities are ordinary numbers of the format and pass. Nesting ends at 128 levels as in JSON, and
//! bytes left over after the value are refused: rmp-serde alone would ignore them, and a framing mistake would
//! pass for a good record.

use std::io::Cursor;

use rmp_serde::decode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Encoded, Kind};

const NAME: &str = "messagepack";
const DEPTH: usize = 128;

/// MessagePack with named fields, for any serde type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessagePack;

impl<T: Serialize + DeserializeOwned> Codec<T> for MessagePack {
    fn name(&self) -> &'static str {
        NAME
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        let before = out.len();
        match rmp_serde::encode::write_named(out, value) {
            Ok(()) => Ok(Encoded::Bytes),
            Err(error) => {
                out.truncate(before);
                Err(CodecError::encode(NAME, Kind::Type, error.to_string()))
            }
        }
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        let bytes = bytes.ok_or_else(|| CodecError::null(NAME))?;
        let mut deserializer = rmp_serde::Deserializer::new(Cursor::new(bytes));
        deserializer.set_max_depth(DEPTH);
        let value = T::deserialize(&mut deserializer);
        let at = usize::try_from(deserializer.position())
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        match value {
            Ok(value) if at == bytes.len() => Ok(value),
            Ok(_) => {
                let left = bytes.len() - at;
                let detail = format!("{left} bytes are left over after the value");
                Err(CodecError::decode(NAME, Kind::Trailing, Some(at), detail))
            }
            Err(error) => Err(CodecError::decode(
                NAME,
                kind_of(&error),
                Some(at),
                detail_of(&error),
            )),
        }
    }
}

fn kind_of(error: &decode::Error) -> Kind {
    match error {
        decode::Error::InvalidMarkerRead(_) | decode::Error::InvalidDataRead(_) => Kind::Truncated,
        decode::Error::OutOfRange => Kind::OutOfRange,
        decode::Error::Utf8Error(_) => Kind::NotUtf8,
        decode::Error::DepthLimitExceeded => Kind::TooDeep,
        decode::Error::TypeMismatch(_)
        | decode::Error::LengthMismatch(_)
        | decode::Error::Uncategorized(_)
        | decode::Error::Syntax(_) => Kind::Type,
    }
}

fn detail_of(error: &decode::Error) -> String {
    match error {
        decode::Error::InvalidMarkerRead(_) | decode::Error::InvalidDataRead(_) => {
            "the bytes end before the value does".to_owned()
        }
        other => other.to_string(),
    }
}
