//! The generated records of the system: JSON, one of three kinds, the same for the same thread and number.
//!
//! A generator is a pure function of (kind, thread, number), so that a test, or a reader who doubts, can compute
//! what must stand in the topic. Only the time of making is not part of it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the records are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generator {
    /// Orders of a shop: customer, product, quantity, price.
    Orders,
    /// Readings of thermometers: sensor and temperature.
    Readings,
    /// Lines of words, of `--size` bytes.
    Text,
}

/// One generated record, as it stands in the topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The thread that made it, from 0.
    pub thread: u32,
    /// The number in its thread, from 1.
    pub number: u64,
    /// What it carries.
    #[serde(flatten)]
    pub body: Body,
}

/// What an item carries; `kind` names it in the JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Body {
    /// One line of an order.
    Order {
        /// Number of the customer, 1 to 1000.
        customer: u32,
        /// Name of the product.
        product: String,
        /// Pieces, 1 to 9.
        quantity: u32,
        /// Price of one piece in cents.
        price_cents: u32,
    },
    /// One reading of a thermometer.
    Reading {
        /// Number of the sensor, 1 to 100.
        sensor: u32,
        /// Degrees Celsius, two digits after the point.
        celsius: f64,
    },
    /// Words.
    Text {
        /// The words.
        text: String,
    },
}

const PRODUCTS: [&str; 8] = [
    "anvil", "bellows", "chisel", "file", "hammer", "rasp", "tongs", "vice",
];
const WORDS: [&str; 8] = [
    "mill", "stream", "wheel", "stone", "grain", "water", "flour", "sack",
];

impl Generator {
    /// Record `number` of `thread`; `size` is the length of a text in bytes.
    #[must_use]
    pub fn item(self, thread: u32, number: u64, size: usize) -> Item {
        let mut random = Random::new(thread, number);
        let body = match self {
            Self::Orders => Body::Order {
                customer: 1 + random.below(1000),
                product: random.pick(&PRODUCTS).to_owned(),
                quantity: 1 + random.below(9),
                price_cents: 100 + random.below(99_900),
            },
            Self::Readings => Body::Reading {
                sensor: 1 + random.below(100),
                celsius: f64::from(1500 + random.below(7000)) / 100.0,
            },
            Self::Text => Body::Text {
                text: random.text(size),
            },
        };
        Item {
            thread,
            number,
            body,
        }
    }
}

impl Item {
    /// The key of the record in its topic: unique in a run, so that records spread over the partitions.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}-{}", self.thread, self.number)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), seeded by thread and number.
struct Random(u64);

impl Random {
    fn new(thread: u32, number: u64) -> Self {
        Self((u64::from(thread) << 40) ^ number)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `bound` - 1, by multiplication: the bias over 2^32 does not matter here.
    fn below(&mut self, bound: u32) -> u32 {
        let high = self.next() >> 32;
        u32::try_from((high * u64::from(bound)) >> 32).unwrap_or(0)
    }

    fn pick(&mut self, of: &[&'static str; 8]) -> &'static str {
        let at = usize::try_from(self.below(8)).unwrap_or(0);
        of.get(at).copied().unwrap_or_default()
    }

    fn text(&mut self, size: usize) -> String {
        let mut text = String::with_capacity(size + 8);
        while text.len() < size {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(self.pick(&WORDS));
        }
        text.truncate(size);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thread_and_number_give_the_same_record() {
        assert_eq!(
            Generator::Orders.item(3, 7, 0),
            Generator::Orders.item(3, 7, 0)
        );
        assert_ne!(
            Generator::Orders.item(3, 7, 0).body,
            Generator::Orders.item(4, 7, 0).body
        );
        assert_ne!(
            Generator::Orders.item(3, 7, 0).body,
            Generator::Orders.item(3, 8, 0).body
        );
    }

    #[test]
    fn the_json_is_flat_and_names_its_kind() {
        let item = Item {
            thread: 1,
            number: 2,
            body: Body::Reading {
                sensor: 9,
                celsius: 21.5,
            },
        };
        let json = serde_json::to_string(&item).unwrap();
        assert_eq!(
            json,
            r#"{"thread":1,"number":2,"kind":"reading","sensor":9,"celsius":21.5}"#
        );
        assert_eq!(serde_json::from_str::<Item>(&json).unwrap(), item);
    }

    #[test]
    fn a_text_has_exactly_the_size_asked_for() {
        for size in [0, 1, 100, 4096] {
            let Body::Text { text } = Generator::Text.item(0, 1, size).body else {
                panic!("not a text")
            };
            assert_eq!(text.len(), size);
        }
    }

    #[test]
    fn generated_values_stay_in_their_documented_ranges() {
        for number in 1..=1000 {
            let Body::Order {
                customer,
                quantity,
                price_cents,
                ..
            } = Generator::Orders.item(0, number, 0).body
            else {
                panic!("not an order")
            };
            assert!(
                (1..=1000).contains(&customer)
                    && (1..=9).contains(&quantity)
                    && (100..100_000).contains(&price_cents)
            );
            let Body::Reading { sensor, celsius } = Generator::Readings.item(0, number, 0).body
            else {
                panic!("not a reading")
            };
            assert!((1..=100).contains(&sensor) && (15.0..85.0).contains(&celsius));
        }
    }
}
