//! The inside of one batch: offsets and timestamps of its records, decompressed as far as needed.
//!
//! Only look-ups by time open a batch. Records stream through a small buffer: memory does not grow with what a batch
//! claims to hold, and one that decompresses to more than `LIMIT` is refused.

use std::io::{self, BufRead, BufReader, Cursor, Read};

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
