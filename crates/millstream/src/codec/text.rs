//! UTF-8 text, the usual codec of keys.
//!
//! Every string is a legal value, the empty one and NUL included; bytes that are not UTF-8 are refused with the
//! first bad byte named.

use super::{Codec, CodecError, Encoded, Kind};

/// UTF-8 text, for `String`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Text;

impl Codec<String> for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        out.extend_from_slice(value.as_bytes());
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<String, CodecError> {
        let bytes = bytes.ok_or_else(|| CodecError::null("text"))?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(CodecError::decode(
                "text",
                Kind::NotUtf8,
                Some(error.valid_up_to()),
                "invalid utf-8",
            )),
        }
    }
}
