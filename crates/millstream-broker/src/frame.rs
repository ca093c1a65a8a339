//! From bytes to requests: the length in front of a frame, the request header, and a decoder that can be trusted.
//!
//! The generated decoders allocate whatever an array's length claims, so that a frame of 20 bytes could ask for
//! 300 GB and abort the process. They read through [`Guarded`], which lets no length through that the rest of the
//! frame could not hold. Everything wrong with a frame is `Broken`, and costs its connection only.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::buf::{ByteBuf, NotEnoughBytesError};
use kafka_protocol::protocol::{Decodable, StrBytes};

/// Largest frame of any request that carries no records; bounds what decoded requests take.
pub(crate) const MAX_COMMAND_BYTES: usize = 8 << 20;

/// Bytes that are no request this broker could answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("frame of {length} bytes, the limit is {limit}")]
    Length { length: i64, limit: usize },
    #[error("it begins as TLS does, but this listener is without")]
    Tls,
    #[error("frame ends early")]
    Short,
    #[error("unknown API key {key}")]
    UnknownApi { key: i16 },
    #[error("version {version} of API {key} is not served")]
    UnknownVersion { key: i16, version: i16 },
    #[error("produce without acknowledgement failed with code {code}")]
    Unanswerable { code: i16 },
    #[error("failed to decode: {reason}")]
    Decode { reason: String },
    #[error("failed to encode: {reason}")]
    Encode { reason: String },
}

impl From<TryGetError> for Broken {
    fn from(_: TryGetError) -> Broken {
        Broken::Short
    }
}

/// The same text in memory of its own: a slice would hold the whole frame that it came in.
pub(crate) fn own(text: &StrBytes) -> StrBytes {
    StrBytes::from_string(text.as_str().to_owned())
}

/// Whether a frame of this length may be sent for this API.
pub(crate) fn check_length(length: i64, key: i16, max_frame_bytes: usize) -> Result<usize, Broken> {
    let produce = ApiKey::Produce as i16;
    let limit = if key == produce {
        max_frame_bytes
    } else {
        max_frame_bytes.min(MAX_COMMAND_BYTES)
    };
    match usize::try_from(length) {
        Ok(size) if (8..=limit).contains(&size) => Ok(size),
        // A handshake's type and version where the length should be.
        _ if (0x16_0300..=0x16_0304).contains(&(length >> 8)) => Err(Broken::Tls),
        _ => Err(Broken::Length { length, limit }),
    }
}

/// What stands in front of every request.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<StrBytes>,
}

impl Header {
    /// Takes the header off the frame's front; the body is left.
    pub(crate) fn decode(frame: &mut Bytes) -> Result<Header, Broken> {
        let mut start = frame.as_ref();
        let (key, version, correlation_id) = (
            start.try_get_i16()?,
            start.try_get_i16()?,
            start.try_get_i32()?,
        );
        let api = ApiKey::try_from(key).map_err(|()| Broken::UnknownApi { key })?;
        let known = api.valid_versions();
        if api == ApiKey::ApiVersions && !(known.min..=known.max).contains(&version) {
            // KIP-511: the answer says which versions there are, so nothing after the correlation id is looked at.
            frame.clear();
            return Ok(Header {
                key,
                version,
                correlation_id,
                client_id: None,
            });
        }
        let header: RequestHeader = decode_guarded(frame, api.request_header_version(version))?;
        Ok(Header {
            key,
            version,
            correlation_id,
            client_id: header.client_id,
        })
    }
}

/// Decodes a whole request body.
pub(crate) fn decode_body<T: Decodable>(mut body: Bytes, version: i16) -> Result<T, Broken> {
    decode_guarded(&mut body, version)
}

fn decode_guarded<T: Decodable>(frame: &mut Bytes, version: i16) -> Result<T, Broken> {
    let mut guarded = Guarded {
        bytes: frame.clone(),
        window: 0,
        clamped: false,
    };
    let decoded = T::decode(&mut guarded, version).map_err(|error| Broken::Decode {
        reason: error.to_string(),
    })?;
    if !guarded.clamped {
        *frame = guarded.bytes;
        return Ok(decoded);
    }
    // Every array was read to its end, so all lengths are true: what was clamped were plain numbers.
    T::decode(frame, version).map_err(|error| Broken::Decode {
        reason: error.to_string(),
    })
}

/// A frame that reads no length as longer than its own rest.
///
/// Compact lengths are variable-length integers, read byte by byte; each one above the rest is an error. Other lengths
/// are 32-bit integers, as are plain numbers: above the rest they are read as "rest + 1", which as a length
/// is sure to fail and as a number is noted, so that the frame is read again when it has turned out honest.
struct Guarded {
    bytes: Bytes,
    /// The bytes last read one by one, the newest lowest: a boolean may stand before a length, so that every
    /// alignment of up to five of them is looked at.
    window: u64,
    clamped: bool,
}

impl Guarded {
    fn note_u8(&mut self, byte: u8) -> Result<(), TryGetError> {
        self.window = (self.window << 8) | u64::from(byte);
        let rest = u64::try_from(self.bytes.remaining()).unwrap_or(u64::MAX);
        let mut value = u64::from(byte & 0x7f);
        let mut older = self.window >> 8;
        for _ in 0..4 {
            if value > rest + 1 {
                return Err(TryGetError {
                    requested: usize::MAX,
                    available: self.bytes.remaining(),
                });
            }
            if older & 0x80 == 0 {
                break;
            }
            value = (value << 7) | (older & 0x7f);
            older >>= 8;
        }
        if value > rest + 1 {
            return Err(TryGetError {
                requested: usize::MAX,
                available: self.bytes.remaining(),
            });
        }
        Ok(())
    }
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.window = 0;
        self.bytes.advance(count);
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        self.note_u8(byte)?;
        Ok(byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        self.window = 0;
        let value = self.bytes.try_get_i32()?;
        let rest = i32::try_from(self.bytes.remaining()).unwrap_or(i32::MAX - 1);
        if value <= rest {
            return Ok(value);
        }
        self.clamped = true;
        Ok(rest + 1)
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.peek_bytes(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.window = 0;
        self.bytes.get_bytes(size)
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        self.window = 0;
        self.bytes.try_get_bytes(size)
    }
}

#[cfg(test)]
mod tests;
