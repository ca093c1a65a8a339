//! The record of the copy benchmarks: a 100-byte JSON value with an 8-byte key out of 10,000.
//!
//! One Rust type for every peer written in Rust; `streams/src/Copy.java` has its twin. `sent` is when the
//! record was meant to be sent, in microseconds of the run's clock, so that a reader at the far end can tell how
//! long it took without a table of what was sent when.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How many keys there are.
const KEYS: u64 = 10_000;
/// Added to `id`, so that all have as many digits.
const FIRST_ID: u64 = 10_000_000;
/// Added to `sent` for the same reason.
const FIRST_SENT: u64 = 1_000_000_000_000_000;

/// One reading of one sensor.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct Reading {
    /// The number of the record.
    pub(crate) id: u64,
    /// Which sensor.
    pub(crate) sensor: String,
    /// When it was meant to be sent, in microseconds.
    pub(crate) sent: u64,
    /// What it read.
    pub(crate) value: f64,
    /// In which unit.
    pub(crate) unit: String,
    /// What the sensor says of itself.
    pub(crate) state: String,
}

/// Writes the records of a run into buffers that it keeps.
#[derive(Default)]
pub(crate) struct Writer {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Writer {
    /// Key and value of record `number`, meant to be sent at `sent`.
    pub(crate) fn write(&mut self, number: u64, sent: Duration) -> Result<(&[u8], &[u8])> {
        self.key.clear();
        self.value.clear();
        let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS;
        write!(self.key, "key-{key:04}")?;
        let sent = FIRST_SENT + u64::try_from(sent.as_micros())?;
        write!(
            self.value,
            r#"{{"id":{},"sensor":"pump-{key:04}","sent":{sent},"value":{}.573,"unit":"um","state":"ok"}}"#,
            FIRST_ID + number,
            10 + number % 90,
        )?;
        Ok((&self.key, &self.value))
    }
}

/// When the record with these bytes was meant to be sent.
pub(crate) fn sent_at(value: &[u8]) -> Result<Duration> {
    let reading: Reading = serde_json::from_slice(value).context("not a reading")?;
    Ok(Duration::from_micros(
        reading.sent.saturating_sub(FIRST_SENT),
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Reading, Writer, sent_at};

    #[test]
    fn values_have_100_bytes_and_a_copy_has_the_same_bytes() {
        let mut writer = Writer::default();
        for number in [0, 7, 99_999, 7_999_999] {
            let sent = Duration::from_micros(number * 3);
            let (key, value) = writer.write(number, sent).unwrap();
            assert_eq!(key.len(), 8);
            assert_eq!(value.len(), 100);
            let reading: Reading = serde_json::from_slice(value).unwrap();
            assert_eq!(serde_json::to_vec(&reading).unwrap(), value);
            assert_eq!(sent_at(value).unwrap(), sent);
        }
    }
}
