//! Variable-length integers: 7 bits a byte, the lowest first; signed ones are zigzag encoded.
//!
//! Those of record batches are signed (`varint`, `varlong` of Kafka's protocol guide), those of compact arrays and strings
//! are not. Reading is in [`super::cursor`].

/// Bytes that `value` takes as a signed variable-length integer.
pub(crate) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value` as a signed variable-length integer.
pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(low(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low(rest));
}

/// The value of a zigzag-encoded integer.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn low(value: u64) -> u8 {
    let [byte, ..] = value.to_le_bytes();
    byte & 0x7f
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Cursor;
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_takes_the_computed_size() {
        let mut values = vec![0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN];
        values.extend((0..64).flat_map(|bit| [1_i64 << bit, -(1_i64 << (bit % 63))]));
        let mut random = fastrand::Rng::with_seed(1);
        values.extend((0..1000).map(|_| random.i64(..) >> random.u32(0..64)));
        for value in values {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(bytes.len(), size(value), "{value}");
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.varlong(), Ok(value));
            assert_eq!(cursor.end(), Ok(()));
        }
    }

    #[test]
    fn the_encodings_of_the_protocol_guide() {
        for (value, bytes) in [
            (0, vec![0]),
            (-1, vec![1]),
            (1, vec![2]),
            (300, vec![216, 4]),
            (i64::from(i32::MIN), vec![255, 255, 255, 255, 15]),
        ] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes);
        }
    }
}
