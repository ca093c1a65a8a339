//! The fields of a journal's records: how they are put into bytes and taken out again.
//!
//! Numbers are big-endian, texts and bytes have their length before them (-1 for none), lists their count. What the records mean is
//! their owners'.

use bytes::{BufMut as _, Bytes};
use kafka_protocol::protocol::StrBytes;

pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &StrBytes) {
    put_bytes(out, text.as_str().as_bytes());
}

pub(crate) fn put_optional(out: &mut Vec<u8>, text: Option<&StrBytes>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.put_u32(u32::MAX),
    }
}

/// The rest of a record; every read gives `None` when it is too short for it.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn slice(&mut self, length: u32) -> Option<&[u8]> {
        let (field, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(field)
    }

    pub(crate) fn bytes(&mut self) -> Option<Bytes> {
        let length = self.array().map(u32::from_be_bytes)?;
        self.slice(length).map(Bytes::copy_from_slice)
    }

    pub(crate) fn text(&mut self) -> Option<StrBytes> {
        StrBytes::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn optional(&mut self) -> Option<Option<StrBytes>> {
        match self.0.split_first_chunk() {
            Some((&[0xff, 0xff, 0xff, 0xff], rest)) => {
                self.0 = rest;
                Some(None)
            }
            _ => self.text().map(Some),
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.array().map(u32::from_be_bytes)?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(one(self)?);
        }
        Some(all)
    }
}
