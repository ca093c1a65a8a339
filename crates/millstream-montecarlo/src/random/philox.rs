//! Philox4x32-10: random bits as a function of a key and a counter.
//!
//! Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011). A key is a seed; the counter says what
//! for: a purpose, an iteration, a place. Slow beside xoshiro, so only used to start streams.

use super::Purpose;

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// Ten rounds over `counter`.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [a, b] = [
            u64::from(counter[0]) * u64::from(MULTIPLIERS[0]),
            u64::from(counter[2]) * u64::from(MULTIPLIERS[1]),
        ];
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// All random bits of one purpose at one place: a seed, an iteration and a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    seed: u64,
    purpose: Purpose,
    iteration: u32,
    number: u64,
}

impl Key {
    pub(crate) const fn new(seed: u64, purpose: Purpose, iteration: u32, number: u64) -> Self {
        Self {
            seed,
            purpose,
            iteration,
            number,
        }
    }

    /// The `index`-th 128 bits, for an index below 2^16.
    pub(crate) fn bits(self, index: u16) -> [u64; 2] {
        let counter = [
            self.number as u32,
            self.iteration,
            u32::from(index) << 16 | u32::from(self.purpose as u8),
            (self.number >> 32) as u32,
        ];
        let [a, b, c, d] = philox(counter, [self.seed as u32, (self.seed >> 32) as u32]);
        [
            u64::from(a) | u64::from(b) << 32,
            u64::from(c) | u64::from(d) << 32,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of Random123 1.14 for philox4x32 with 10 rounds.
    #[test]
    fn known_answers_of_the_authors_come_out() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn every_part_of_a_key_changes_the_bits() {
        let keys = [
            Key::new(1, Purpose::Plain, 0, 0),
            Key::new(1 << 40, Purpose::Plain, 0, 0),
            Key::new(1, Purpose::Strata, 0, 0),
            Key::new(1, Purpose::Plain, 1, 0),
            Key::new(1, Purpose::Plain, 0, 1),
            Key::new(1, Purpose::Plain, 0, 1 << 32),
        ];
        let mut seen: Vec<_> = keys
            .iter()
            .flat_map(|key| [key.bits(0), key.bits(1)])
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 12);
    }
}
