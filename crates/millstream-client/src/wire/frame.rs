//! Frames: a length of 32 bits, and so many bytes.
//!
//! A reader takes what a socket gives and hands out whole frames, without a copy. The length is not trusted: above the limit it
//! is an error, and memory grows with what has arrived, never with what was announced.

use std::io::{ErrorKind, Read};

use bytes::Bytes;

use super::Malformed;
use crate::Error;

/// Memory that is reserved ahead of what has arrived.
const AHEAD: usize = 1 << 20;

/// Cuts what a socket gives into frames.
#[derive(Debug)]
pub struct FrameReader {
    limit: usize,
    length: [u8; 4],
    /// Bytes of the length that have arrived.
    known: usize,
    body: Vec<u8>,
    /// Bytes of the body that have arrived.
    filled: usize,
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// A whole frame without its length.
    Frame(Bytes),
    /// The socket has nothing more for now.
    Blocked,
    /// The other side has closed the connection.
    Closed,
}

impl FrameReader {
    /// A reader that refuses frames above `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            length: [0; 4],
            known: 0,
            body: Vec::new(),
            filled: 0,
        }
    }

    /// Reads until a frame is complete or the source has nothing more.
    pub fn read(&mut self, source: &mut impl Read) -> Result<Progress, Error> {
        while self.known < self.length.len() {
            let place = self.length.get_mut(self.known..).unwrap_or_default();
            match some(source, place)? {
                Some(0) => return Ok(Progress::Closed),
                Some(count) => self.known += count,
                None => return Ok(Progress::Blocked),
            }
        }
        let size = self.size()?;
        while self.filled < size {
            if self.filled == self.body.len() {
                let ahead = self.filled.max(AHEAD);
                self.body.resize(size.min(self.filled + ahead), 0);
            }
            let place = self.body.get_mut(self.filled..).unwrap_or_default();
            match some(source, place)? {
                Some(0) => return Ok(Progress::Closed),
                Some(count) => self.filled += count,
                None => return Ok(Progress::Blocked),
            }
        }
        self.known = 0;
        self.filled = 0;
        Ok(Progress::Frame(Bytes::from(std::mem::take(&mut self.body))))
    }

    /// Bytes of a frame that is not complete.
    pub fn partial(&self) -> usize {
        self.known + self.filled
    }

    /// From now on frames may be so large.
    pub(crate) fn raise_limit(&mut self, limit: usize) {
        self.limit = self.limit.max(limit);
    }

    /// The largest frame that it reads.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Memory that it holds for a frame that is not complete.
    pub fn reserved(&self) -> usize {
        self.body.capacity()
    }

    fn size(&self) -> Result<usize, Error> {
        let length = i32::from_be_bytes(self.length);
        usize::try_from(length)
            .ok()
            .filter(|size| *size <= self.limit)
            .ok_or(Error::Frame {
                source: Malformed::Length {
                    length: i64::from(length),
                    available: self.limit,
                },
            })
    }
}

/// One read; `None` when it would block.
fn some(source: &mut impl Read, place: &mut [u8]) -> Result<Option<usize>, Error> {
    loop {
        match source.read(place) {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Receive { source }),
        }
    }
}
