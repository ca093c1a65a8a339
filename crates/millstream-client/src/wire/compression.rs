//! The four codecs of record batches, with a limit on what they may grow to.
//!
//! Snappy comes in two forms: raw, and in the chunks of the Java library (a magic, then length and raw block in turn); both are read, the
//! latter is written, as Java does. LZ4 frames are written with independent blocks, because Java reads no others.

use std::io::{Read, Write as _};

use super::Malformed;
use crate::Error;

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic, and two 32-bit versions.
const XERIAL_HEADER: usize = 16;
const XERIAL_BLOCK: usize = 32 << 10;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// All of them, in the order of their numbers.
    pub const ALL: [Compression; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its name in Kafka's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub(crate) fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    pub(crate) fn of_number(codec: i16) -> Result<Self, Malformed> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.number() == codec)
            .ok_or(Malformed::Codec { codec })
    }

    /// Appends `plain`, compressed, to `out`.
    pub(crate) fn compress(self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let done = match self {
            Self::None => {
                out.extend_from_slice(plain);
                Ok(())
            }
            Self::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder
                    .write_all(plain)
                    .and_then(|()| encoder.finish().map(drop))
            }
            Self::Snappy => xerial(plain, out),
            Self::Lz4 => lz4::EncoderBuilder::new()
                .block_mode(lz4::BlockMode::Independent)
                .build(out)
                .and_then(|mut encoder| {
                    encoder.write_all(plain)?;
                    encoder.finish().1
                }),
            Self::Zstd => zstd::stream::copy_encode(plain, out, 0),
        };
        done.map_err(|source| Error::Compress {
            codec: self.name(),
            source,
        })
    }

    /// Replaces `out` by what `packed` decompresses to, which may be `limit` bytes at most.
    pub fn decompress(
        self,
        packed: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), Malformed> {
        out.clear();
        let broken = Malformed::Compressed { codec: self.name() };
        match self {
            Self::None => {
                if packed.len() > limit {
                    return Err(Malformed::TooLarge { limit });
                }
                out.extend_from_slice(packed);
                Ok(())
            }
            Self::Gzip => bounded(
                flate2::read::MultiGzDecoder::new(packed),
                out,
                limit,
                broken,
            ),
            Self::Snappy => snappy(packed, out, limit),
            Self::Lz4 => {
                let decoder = lz4::Decoder::new(packed).map_err(|_| broken)?;
                bounded(decoder, out, limit, broken)
            }
            Self::Zstd => {
                let decoder =
                    zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| broken)?;
                bounded(decoder, out, limit, broken)
            }
        }
    }
}

/// Reads to the end, and no more than the limit and one byte.
fn bounded(
    reader: impl Read,
    out: &mut Vec<u8>,
    limit: usize,
    broken: Malformed,
) -> Result<(), Malformed> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_to_end(out).map_err(|_| broken)?;
    if out.len() > limit {
        return Err(Malformed::TooLarge { limit });
    }
    Ok(())
}

fn xerial(plain: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1_u32.to_be_bytes());
    out.extend_from_slice(&1_u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK) {
        let packed = encoder.compress_vec(block)?;
        let length = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(())
}

fn snappy(packed: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Malformed> {
    if !packed.starts_with(&XERIAL_MAGIC) {
        return snappy_block(packed, out, limit);
    }
    let mut rest = packed.get(XERIAL_HEADER..).ok_or(Malformed::Short)?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length);
        let (block, after) = usize::try_from(length)
            .ok()
            .and_then(|length| after.split_at_checked(length))
            .ok_or(Malformed::Length {
                length: i64::from(length),
                available: after.len(),
            })?;
        snappy_block(block, out, limit)?;
        rest = after;
    }
    match rest {
        [] => Ok(()),
        _ => Err(Malformed::Short),
    }
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Malformed> {
    let broken = Malformed::Compressed { codec: "snappy" };
    let size = snap::raw::decompress_len(block).map_err(|_| broken)?;
    let start = out.len();
    // Snappy cannot shrink more than this, so a length above it is a lie.
    let possible = block.len().saturating_mul(64);
    if size > limit.saturating_sub(start) || size > possible {
        return Err(Malformed::TooLarge { limit });
    }
    out.resize(start + size, 0);
    let place = out.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new()
        .decompress(block, place)
        .map_err(|_| broken)?;
    out.truncate(start + written);
    Ok(())
}
