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
    /// A response that does not decode.
    #[error("response does not decode")]
    Response,
}
