//! Bytes on the wire: frames, API versions, record batches, compression.
//!
//! Everything here is a pure function of bytes; sockets and clocks are elsewhere. Bytes that come from outside are never
//! trusted: a length is compared with what is there before memory is reserved, and every violation is a [`Malformed`].

pub mod api;
pub mod batch;
pub mod builder;
pub mod compression;
pub(crate) mod cursor;
pub mod fetched;
pub mod frame;
pub mod murmur2;
pub mod records;
pub(crate) mod varint;

#[cfg(test)]
mod tests;

use std::time::Duration;

use kafka_protocol::protocol::StrBytes;

/// Text as requests hold it.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Milliseconds as requests hold them.
pub(crate) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// The first code that is not success, 0 if there is none: what was asked for together succeeds as a whole, or is repeated as a whole.
pub(crate) fn first_refusal(codes: impl IntoIterator<Item = i16>) -> i16 {
    let mut codes = codes.into_iter();
    codes.find(|code| *code != 0).unwrap_or(0)
}

/// What is wrong with bytes from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Fewer bytes than the format needs.
    #[error("the bytes end early")]
    Short,
    /// A length that is negative or larger than what holds it.
    #[error("length {length} where {available} bytes are left")]
    Length {
        /// As it was read.
        length: i64,
        /// What was left.
        available: usize,
    },
    /// A variable-length integer of more bytes than its type has.
    #[error("variable-length integer is too long")]
    Varint,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// A record batch of another format than v2.
    #[error("record batch format {magic}, only 2 is supported")]
    Magic {
        /// The format's number.
        magic: i8,
    },
    /// The checksum of a batch is not that of its bytes.
    #[error("checksum {stored:08x} in the batch, {computed:08x} over its bytes")]
    Checksum {
        /// The one in the header.
        stored: u32,
        /// The one of the bytes.
        computed: u32,
    },
    /// A count of records that is negative or does not match the records.
    #[error("batch counts {count} records and holds another number")]
    Count {
        /// As it was read.
        count: i32,
    },
    /// A compression codec that is not known.
    #[error("unknown compression codec {codec}")]
    Codec {
        /// Its number.
        codec: i16,
    },
    /// Compressed records that do not decompress.
    #[error("failed to decompress {codec} records")]
    Compressed {
        /// The codec's name.
        codec: &'static str,
    },
    /// Records that decompress to more than the limit.
    #[error("records decompress to more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Bytes after the end of a value.
    #[error("{count} bytes after the end")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Records that end before the offset that was asked for.
    #[error("the records end before the offset that was asked for")]
    Behind,
    /// A response that does not decode.
    #[error("response does not decode")]
    Response,
}
