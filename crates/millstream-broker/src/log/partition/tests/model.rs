//! Random histories against a simple model: a list of (offset, checksum) and the start of the log.
//!
//! Each step appends, reads, deletes, retains, stops cleanly, dies, or dies with a torn write; after each of the last
//! three the log is opened again. The seed of a failing history is in its message.

use super::*;

struct Model {
    start: i64,
    /// Base offset, next offset and checksum of each batch.
    batches: Vec<(i64, i64, u32)>,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.1)
    }

    fn check(&self, log: &Partition, seed: u64) {
        assert_eq!(
            (log.start_offset(), log.end_offset()),
            (self.start, self.end()),
            "seed {seed}"
        );
        let mut from = self.start;
        let mut expected = self.batches.iter().filter(|batch| batch.1 > self.start);
        while from < self.end() {
            for header in headers(&log.fetch(from, 3000, true).unwrap().records) {
                let found = (header.base_offset, header.last_offset() + 1, header.crc);
                assert_eq!(Some(&found), expected.next(), "seed {seed}");
                from = found.1;
            }
        }
        assert_eq!(expected.next(), None, "seed {seed}");
    }
}

fn history(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let place = Place::new(LogConfig {
        segment_bytes: random.u32(2000..8000),
        index_interval_bytes: random.u32(0..1000),
        fsync: random.u8(0..8) == 0,
        ..LogConfig::default()
    });
    let mut log = place.open();
    let mut model = Model {
        start: 0,
        batches: Vec::new(),
    };
    for _ in 0..120 {
        match random.u8(0..20) {
            0..=11 => {
                let sent = batch(random.usize(1..6), random.usize(1..200));
                let header = Header::parse(&sent).unwrap();
                let base = log.append(sent, NOW).unwrap().base_offset;
                assert_eq!(base, model.end(), "seed {seed}");
                model
                    .batches
                    .push((base, base + i64::from(header.count), header.crc));
            }
            12..=13 => {
                let from = random.i64(model.start..=model.end());
                let holding = model
                    .batches
                    .iter()
                    .find(|batch| batch.1 > from)
                    .map(|batch| batch.0);
                let found = headers(
                    &log.fetch(from, random.usize(0..3000), true)
                        .unwrap()
                        .records,
                );
                assert_eq!(
                    found.first().map(|header| header.base_offset),
                    holding,
                    "seed {seed}"
                );
            }
            14 => {
                model.start = random.i64(model.start..=model.end());
                assert_eq!(
                    log.delete_records(model.start).unwrap(),
                    model.start,
                    "seed {seed}"
                );
            }
            15 => {
                log.retain(NOW).unwrap();
            }
            16 => {
                log.close().unwrap();
                log = place.open();
            }
            17 => {
                drop(log);
                log = place.open();
            }
            _ => {
                drop(log);
                let torn = batch(1, random.usize(1..3000));
                let base = *place.bases().last().unwrap_or(&0);
                let mut bytes = fs::read(place.log(base)).unwrap_or_default();
                bytes.extend_from_slice(&torn[..random.usize(0..torn.len())]);
                fs::write(place.log(base), bytes).unwrap();
                log = place.open();
            }
        }
        model.check(&log, seed);
    }
}

#[test]
fn random_histories_are_those_of_the_model() {
    for seed in 0..40 {
        history(seed);
    }
}
