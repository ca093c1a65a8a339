//! Which partition a key goes to: murmur2, as in Kafka's Java client and as this crate configures librdkafka.
//!
//! So a test finds a key in the same partition as in production.
//! The reference is `org.apache.kafka.common.utils.Utils.murmur2`.

/// The partition of `key` among `count`.
pub(super) fn partition_of(key: &[u8], count: usize) -> usize {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    usize::try_from((murmur2(key) & 0x7fff_ffff) % count).unwrap_or(0)
}

/// Kafka's murmur2, after `org.apache.kafka.common.utils.Utils.murmur2`: seed 0x9747b28c, little-endian words.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c_u32 ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word
            .iter()
            .rev()
            .fold(0_u32, |k, byte| (k << 8) | u32::from(*byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest
            .iter()
            .rev()
            .fold(0_u32, |k, byte| (k << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    // The values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn the_hash_is_that_of_kafkas_java_client() {
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ];
        for (text, hash) in cases {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }
}
