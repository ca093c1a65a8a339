//! The records of a batch, read in place and borrowed from its bytes.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//!   | key: length varint (-1 none), bytes | value: the same
//!   | headers: count varint, each: name length varint, name, value length varint (-1 none), value
//! ```
//!
//! Nothing is copied and nothing is allocated. The checksum was compared before ([`super::batch`]), so what does not parse here
//! was written so by a producer; it is an error that names the record, never a panic.

use super::Malformed;
use super::batch::Header;
use super::cursor::Cursor;

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its own offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value; a record without one is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// The headers of a record, in the order in which they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn parse(cursor: Cursor<'a>, count: i32) -> Result<Self, Malformed> {
        let headers = Self {
            count: cursor.length(i64::from(count))?,
            bytes: cursor.rest(),
        };
        let mut walk = cursor;
        for _ in 0..headers.count {
            one_header(&mut walk)?;
        }
        walk.end()?;
        Ok(headers)
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        HeaderIter {
            left: self.count,
            cursor: Cursor::new(self.bytes),
        }
    }
}

/// Walks over the headers of a record, which were checked when the record was read.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    left: usize,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        one_header(&mut self.cursor).ok()
    }
}

fn one_header<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, Option<&'a [u8]>), Malformed> {
    let name = cursor.nullable()?.ok_or(Malformed::Length {
        length: -1,
        available: cursor.left(),
    })?;
    let name = std::str::from_utf8(name).map_err(|_| Malformed::Text)?;
    Ok((name, cursor.nullable()?))
}

/// Walks over the records of a batch.
///
/// After an error nothing more is returned. A batch whose count does not match its bytes ends with an error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: Header,
    left: i32,
    cursor: Cursor<'a>,
    failed: bool,
}

impl<'a> Records<'a> {
    /// `bytes` are the records of the batch, decompressed.
    pub fn new(header: Header, bytes: &'a [u8]) -> Self {
        Self {
            header,
            left: header.count,
            cursor: Cursor::new(bytes),
            failed: false,
        }
    }

    fn read(&mut self) -> Result<Record<'a>, Malformed> {
        let length = self.cursor.varint()?;
        let length = self.cursor.length(i64::from(length))?;
        let mut record = Cursor::new(self.cursor.take(length)?);
        record.u8()?;
        let timestamp = record.varlong()?;
        let delta = record.varint()?;
        if delta < 0 || delta > self.header.last_offset_delta {
            return Err(Malformed::Count { count: delta });
        }
        let key = record.nullable()?;
        let value = record.nullable()?;
        let headers = match record.varint()? {
            0 => {
                record.end()?;
                Headers::default()
            }
            count => Headers::parse(record, count)?,
        };
        let timestamp = if self.header.is_log_append_time() {
            self.header.max_timestamp
        } else {
            self.header.base_timestamp.saturating_add(timestamp)
        };
        Ok(Record {
            offset: self.header.base_offset.saturating_add(i64::from(delta)),
            timestamp,
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.left == 0 {
            self.failed = true;
            return match self.cursor.end() {
                Ok(()) => None,
                Err(error) => Some(Err(error)),
            };
        }
        self.left -= 1;
        let record = self.read();
        self.failed = record.is_err();
        Some(record)
    }
}
