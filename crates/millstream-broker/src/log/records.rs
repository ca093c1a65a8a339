//! The inside of one batch: offsets and timestamps of its records, decompressed as far as needed.
//!
//! Look-ups by time stream a batch through a small buffer: memory does not grow with what it claims to hold. Compaction, and appends to
//! compacted topics, open it as a whole (`inside`, `each`), and compaction closes it again (`compress`). One that decompresses to more
//! than `LIMIT` is refused.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write as _};

use super::batch::{HEADER_SIZE, Header};

/// More than any honest batch: `max.message.bytes` of zeros compressed a hundredfold.
const LIMIT: u64 = 256 << 20;

/// snappy cannot shrink data further than this.
const SNAPPY_RATIO: usize = 32;

/// The first record of the batch that `wanted` says yes to, as (offset, timestamp).
pub(super) fn find(
    header: &Header,
    batch: &[u8],
    wanted: impl Fn(i64, i64) -> bool,
) -> io::Result<Option<(i64, i64)>> {
    if header.is_log_append_time() {
        // All records have the batch's timestamp, only the offset is in question.
        let offsets = header.base_offset..=header.last_offset();
        return Ok(offsets
            .map(|offset| (offset, header.max_timestamp))
            .find(|found| wanted(found.0, found.1)));
    }
    let body = batch.get(HEADER_SIZE..).unwrap_or_default();
    let mut records = open(header.compression(), body)?.take(LIMIT);
    for _ in 0..header.count {
        match record(header, &mut records) {
            Ok((offset, timestamp)) if wanted(offset, timestamp) => {
                return Ok(Some((offset, timestamp)));
            }
            Ok(_) => {}
            Err(_) if records.limit() == 0 => {
                return Err(invalid("the batch decompresses to more than 256 MiB"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The records of a batch, decompressed.
pub(super) fn inside<'a>(header: &Header, batch: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
    let body = batch.get(HEADER_SIZE..).unwrap_or_default();
    if header.compression() == 0 {
        return Ok(Cow::Borrowed(body));
    }
    let mut bytes = Vec::new();
    open(header.compression(), body)?
        .take(LIMIT + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        ..=LIMIT => Ok(Cow::Owned(bytes)),
        _ => Err(invalid("the batch decompresses to more than 256 MiB")),
    }
}

/// One record among those of [`inside`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    attributes: u8,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) has_value: bool,
    /// Everything from the offset delta on.
    rest: &'a [u8],
}

impl Fields<'_> {
    /// Writes the record, with `shift` added to its timestamp delta.
    pub(super) fn put(&self, out: &mut Vec<u8>, shift: i64) {
        let mut start = vec![self.attributes];
        put_varint(&mut start, self.timestamp_delta.saturating_add(shift));
        put_varint(out, (start.len() + self.rest.len()) as i64);
        out.extend_from_slice(&start);
        out.extend_from_slice(self.rest);
    }
}

/// The `count` records in `bytes`.
pub(super) fn each(mut bytes: &[u8], count: i32) -> impl Iterator<Item = io::Result<Fields<'_>>> {
    (0..count).map(move |_| {
        let record = counted(&mut bytes)?.ok_or(io::ErrorKind::InvalidData)?;
        let (attributes, mut rest) = record.split_first().ok_or(io::ErrorKind::UnexpectedEof)?;
        let timestamp_delta = varint(&mut rest)?;
        let mut fields = rest;
        Ok(Fields {
            attributes: *attributes,
            timestamp_delta,
            offset_delta: varint(&mut fields)?,
            key: counted(&mut fields)?,
            has_value: counted(&mut fields)?.is_some(),
            rest,
        })
    })
}

/// Bytes behind their length, which is negative for none.
fn counted<'a>(bytes: &mut &'a [u8]) -> io::Result<Option<&'a [u8]>> {
    let Ok(length) = usize::try_from(varint(bytes)?) else {
        return Ok(None);
    };
    let (taken, rest) = bytes
        .split_at_checked(length)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    *bytes = rest;
    Ok(Some(taken))
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The records as the body of a batch with this codec.
pub(super) fn compress(compression: i16, plain: Vec<u8>) -> io::Result<Vec<u8>> {
    match compression {
        0 => Ok(plain),
        1 => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&plain)?;
            encoder.finish()
        }
        2 => {
            // As snappy-java does it: every client reads that.
            let mut out = Snappy::MAGIC.to_vec();
            out.extend([0, 0, 0, 1, 0, 0, 0, 1]);
            for chunk in plain.chunks(SNAPPY_CHUNK) {
                let block = snap::raw::Encoder::new()
                    .compress_vec(chunk)
                    .map_err(invalid)?;
                out.extend(u32::try_from(block.len()).unwrap_or(0).to_be_bytes());
                out.extend(block);
            }
            Ok(out)
        }
        3 => {
            // Kafka's Java client reads independent blocks only.
            let mut encoder = lz4::EncoderBuilder::new()
                .block_mode(lz4::BlockMode::Independent)
                .checksum(lz4::ContentChecksum::NoChecksum)
                .build(Vec::new())?;
            encoder.write_all(&plain)?;
            let (out, done) = encoder.finish();
            done.map(|()| out)
        }
        4 => zstd::stream::encode_all(plain.as_slice(), 0),
        _ => Err(invalid("the compression type is unknown")),
    }
}

/// Bytes in one block of snappy.
const SNAPPY_CHUNK: usize = 32 << 10;

/// Length, attributes, timestamp delta and offset delta; the rest is skipped.
fn record(header: &Header, from: &mut impl BufRead) -> io::Result<(i64, i64)> {
    let length =
        u64::try_from(varint(from)?).map_err(|_| invalid("a record has a negative length"))?;
    let mut fields = from.take(length);
    fields.read_exact(&mut [0])?;
    let timestamp = header.base_timestamp.saturating_add(varint(&mut fields)?);
    let offset = header.base_offset.saturating_add(varint(&mut fields)?);
    if io::copy(&mut fields, &mut io::sink()).is_err() || fields.limit() > 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((offset, timestamp))
}

fn varint(from: &mut impl Read) -> io::Result<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        let [byte] = byte;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
        }
    }
    Err(invalid("a variable-length integer has more than ten bytes"))
}

fn open<'a>(compression: i16, body: &'a [u8]) -> io::Result<Box<dyn BufRead + 'a>> {
    Ok(match compression {
        0 => Box::new(body),
        1 => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(body))),
        2 => Box::new(BufReader::new(Snappy::new(body)?)),
        3 => Box::new(BufReader::new(lz4::Decoder::new(body)?)),
        4 => Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(
            body,
        )?)),
        _ => return Err(invalid("the compression type is unknown")),
    })
}

/// snappy as Kafka's clients write it: one raw block, or blocks with a length each behind the header of snappy-java.
struct Snappy<'a> {
    framed: bool,
    rest: &'a [u8],
    block: Cursor<Vec<u8>>,
}

impl<'a> Snappy<'a> {
    const MAGIC: &'static [u8] = b"\x82SNAPPY\0";

    fn new(body: &'a [u8]) -> io::Result<Snappy<'a>> {
        let framed = body.starts_with(Self::MAGIC);
        let rest = if framed {
            body.get(16..).unwrap_or_default()
        } else {
            body
        };
        Ok(Snappy {
            framed,
            rest,
            block: Cursor::default(),
        })
    }

    fn next_block(&mut self) -> io::Result<&'a [u8]> {
        if !self.framed {
            return Ok(std::mem::take(&mut self.rest));
        }
        let (length, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, rest) = rest
            .split_at_checked(length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.rest = rest;
        Ok(block)
    }
}

impl Read for Snappy<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.block.read(out)?;
            if read > 0 || self.rest.is_empty() {
                return Ok(read);
            }
            let block = self.next_block()?;
            let claimed = snap::raw::decompress_len(block).map_err(invalid)?;
            if claimed > block.len().saturating_mul(SNAPPY_RATIO) {
                return Err(invalid("a snappy block claims an impossible length"));
            }
            self.block = Cursor::new(
                snap::raw::Decoder::new()
                    .decompress_vec(block)
                    .map_err(invalid)?,
            );
        }
    }
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
