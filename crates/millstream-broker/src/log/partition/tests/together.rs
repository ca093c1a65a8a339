//! Retention, DeleteRecords and compaction on one partition at the same time, with kills between any two of their steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use super::compaction::{compact, compacted, keyed, seal};
use super::*;
use crate::failpoint::die_after;
use crate::log::Pass;

/// What was appended: offset, key, value.
type Appended = BTreeMap<i64, (String, Option<String>)>;

fn both() -> Place {
    Place::new(LogConfig {
        segment_bytes: 600,
        delete: true,
        retention_ms: 1000,
        retention_bytes: 2500,
        ..compacted()
    })
}

/// The offsets that readers see, from the start of the log on.
fn visible(log: &Partition) -> BTreeSet<i64> {
    let start = log.start_offset();
    offsets(log, start)
        .into_iter()
        .filter(|one| *one >= start)
        .collect()
}

/// What must hold of a log, whatever was done to it and by whom.
#[derive(Default)]
struct Story {
    appended: Appended,
    start: i64,
    /// What was seen last; what is not in here, and was appended before, never comes back.
    seen: BTreeSet<i64>,
    end: i64,
}

impl Story {
    fn append(&mut self, log: &Partition, random: &mut fastrand::Rng, now_ms: i64) {
        let key = format!("key {}", random.u8(..6));
        let value = (random.u8(..5) > 0).then(|| format!("value {}", self.end));
        let batch = keyed(&[(&key, value.as_deref())], Compression::None);
        let base = log.append(batch, now_ms).unwrap().base_offset;
        assert_eq!(base, self.end);
        self.appended.insert(base, (key, value));
        self.seen.insert(base);
        self.end = base + 1;
    }

    fn check(&mut self, log: &Partition, context: &str) {
        let start = log.start_offset();
        assert!(
            start >= self.start,
            "{context}: {start} after {}",
            self.start
        );
        assert_eq!(log.end_offset(), self.end, "{context}");
        let now = visible(log);
        let back: Vec<_> = now.difference(&self.seen).collect();
        assert!(back.is_empty(), "{context}: {back:?} came back");
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for (offset, (key, _)) in self.appended.range(start..) {
            newest.insert(key, *offset);
        }
        for (key, offset) in newest {
            let tombstone = self.appended[&offset].1.is_none();
            assert!(
                tombstone || now.contains(&offset),
                "{context}: {key} at {offset} is gone"
            );
        }
        for segment in log.segments() {
            let exists = segment.path().exists();
            assert!(
                exists || segment.shape().size == 0,
                "{context}: {}",
                segment.base
            );
        }
        (self.start, self.seen) = (start, now);
    }
}

/// One thing that makes records go away.
fn remove(log: &Partition, random: &mut fastrand::Rng, now_ms: i64) -> Result<(), String> {
    match random.u8(..4) {
        0 => {
            let (start, end) = (log.start_offset(), log.end_offset());
            let before = random.i64(start..=end.min(start + 8));
            let done = log.delete_records(before);
            done.map(|_| ()).map_err(|error| error.to_string())
        }
        1 => {
            let later = now_ms + random.i64(0..1500);
            let done = log.retain(later);
            done.map(|_| ()).map_err(|error| error.to_string())
        }
        2 => {
            seal(log);
            Ok(())
        }
        _ => Ok(()),
    }
}

#[test]
fn whoever_wins_no_record_comes_back_and_the_start_never_goes_back() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let place = both();
        let mut log = place.open();
        let mut story = Story::default();
        let mut now_ms = NOW;
        for step in 0..60 {
            now_ms += random.i64(0..100);
            for _ in 0..random.u8(..6) {
                story.append(&log, &mut random, now_ms);
            }
            die_after(random.bool().then(|| random.usize(..60)));
            let mut done = remove(&log, &mut random, now_ms);
            if done.is_ok() {
                // Others come between any two segments of the pass.
                let others = std::cell::RefCell::new((&mut random, Ok(())));
                let stopping = || {
                    let (random, done) = &mut *others.borrow_mut();
                    if done.is_ok() {
                        *done = remove(&log, random, now_ms);
                    }
                    done.is_err()
                };
                let pass = Pass {
                    now_ms,
                    most_keys: 1000,
                    stopping: &stopping,
                };
                let compacted = log.compact(pass).map_err(|error| error.to_string());
                let (_, between) = others.into_inner();
                done = between.and(compacted.map(|_| ()));
            }
            die_after(None);
            if done.is_err() || random.u8(..8) == 0 {
                drop(log);
                log = place.open();
            }
            story.check(&log, &format!("seed {seed}, step {step}"));
        }
    }
}

#[test]
fn a_segment_that_compaction_has_replaced_meanwhile_needs_no_sync() {
    let place = both();
    let log = place.open();
    let mut story = Story::default();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..20 {
        story.append(&log, &mut random, NOW);
    }
    let before = log.segments();
    compact(&log);
    assert!(!before[0].path().exists());
    log.sync(&before[..before.len() - 1]).unwrap();
    story.check(&log, "after the sync");
}

/// Ends the other threads, also when this one fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn threads_that_remove_and_compact_at_once_leave_what_one_after_the_other_would() {
    for seed in 0..6 {
        let place = both();
        let log = place.open();
        let over = AtomicBool::new(false);
        let mut story = Story::default();
        let going = || !over.load(Ordering::Acquire);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while going() {
                    let pass = Pass {
                        now_ms: NOW,
                        most_keys: 50,
                        stopping: &|| false,
                    };
                    log.compact(pass).unwrap();
                }
            });
            for thread in 0..2 {
                let (log, going) = (&log, &going);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(100 * seed + thread);
                    while going() {
                        remove(log, &mut random, NOW).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                let mut start = 0;
                while going() {
                    let now = log.start_offset();
                    assert!(now >= start, "{now} after {start}");
                    start = now;
                    match log.fetch(start, 5000, true) {
                        Ok(fetched) => drop(headers(&fetched.records)),
                        Err(ReadError::OutOfRange { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            let _over = Over(&over);
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..400 {
                story.append(&log, &mut random, NOW);
            }
        });
        story.check(&log, &format!("seed {seed}"));
        drop(log);
        story.check(&place.open(), &format!("seed {seed}, opened again"));
    }
}
