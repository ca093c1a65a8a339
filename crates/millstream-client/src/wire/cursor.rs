//! A position in bytes from outside, and every kind of value that is read there.
//!
//! No read allocates, none passes the end, and a length is compared with what is left before it is used.

use super::{Malformed, varint};

/// The bytes that are not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Fails when something is left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(Malformed::Trailing { count }),
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, Malformed> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// A signed variable-length integer of 64 bits.
    pub(crate) fn varlong(&mut self) -> Result<i64, Malformed> {
        self.unsigned(10).map(varint::unzigzag)
    }

    /// A signed variable-length integer of 32 bits.
    pub(crate) fn varint(&mut self) -> Result<i32, Malformed> {
        let value = self.unsigned(5).map(varint::unzigzag)?;
        i32::try_from(value).map_err(|_| Malformed::Varint)
    }

    /// A variable-length integer without a sign, of 32 bits.
    pub(crate) fn unsigned_varint(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.unsigned(5)?).map_err(|_| Malformed::Varint)
    }

    fn unsigned(&mut self, most: u32) -> Result<u64, Malformed> {
        // Most lengths and deltas are one byte.
        if let Some((&first, rest)) = self.rest.split_first()
            && first < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(first));
        }
        let mut value = 0_u64;
        for place in 0..most {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if place == 9 && part > 1 {
                return Err(Malformed::Varint);
            }
            value |= part << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Varint)
    }

    /// A length that is known to fit into what is left.
    pub(crate) fn length(&self, length: i64) -> Result<usize, Malformed> {
        let available = self.left();
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= available)
            .ok_or(Malformed::Length { length, available })
    }

    /// Bytes behind their signed variable length; a length of -1 is `None`.
    pub(crate) fn nullable(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.varint()? {
            -1 => Ok(None),
            length => {
                let length = self.length(i64::from(length))?;
                self.take(length).map(Some)
            }
        }
    }

    /// Bytes behind a compact length, which is one more than their number; 0 is `None`.
    pub(crate) fn compact(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.compact_length()? {
            None => Ok(None),
            Some(length) => self.take(length).map(Some),
        }
    }

    /// A compact length of bytes or of an array, of which each element takes a byte at least.
    pub(crate) fn compact_length(&mut self) -> Result<Option<usize>, Malformed> {
        match self.unsigned_varint()? {
            0 => Ok(None),
            more => self.length(i64::from(more) - 1).map(Some),
        }
    }

    /// Text behind a compact length.
    pub(crate) fn compact_text(&mut self) -> Result<&'a str, Malformed> {
        let bytes = self.compact()?.ok_or(Malformed::Length {
            length: -1,
            available: self.left(),
        })?;
        std::str::from_utf8(bytes).map_err(|_| Malformed::Text)
    }

    /// The tagged fields at the end of a structure, each given to `visit` by its number.
    pub(crate) fn tags(
        &mut self,
        mut visit: impl FnMut(u32, Cursor<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()?;
            let size = self.length(i64::from(size))?;
            visit(tag, Cursor::new(self.take(size)?))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_of_too_many_bytes_is_refused() {
        assert_eq!(Cursor::new(&[0xff; 5]).varint(), Err(Malformed::Varint));
        assert_eq!(Cursor::new(&[0xff; 10]).varlong(), Err(Malformed::Varint));
        assert_eq!(Cursor::new(&[0xff; 4]).varint(), Err(Malformed::Short));
        assert_eq!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(),
            Err(Malformed::Varint)
        );
    }

    #[test]
    fn a_length_above_the_rest_is_refused() {
        let refused = Err(Malformed::Length {
            length: 5,
            available: 2,
        });
        assert_eq!(Cursor::new(&[10, 1, 2]).nullable(), refused);
        assert_eq!(Cursor::new(&[6, 1, 2]).compact(), refused);
        assert_eq!(Cursor::new(&[1, 1, 2]).nullable(), Ok(None));
        assert_eq!(Cursor::new(&[4, 1, 2]).nullable(), Ok(Some(&[1, 2][..])));
    }
}
