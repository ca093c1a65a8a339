//! Which partition gets the next task, so that every worker has enough to do and none has a queue.
//!
//! Workers do not register. Each outcome says who did it and in which partition it was asked, so the coordinator learns
//! who reads what; a partition nobody has answered from yet counts as a worker of its own. A worker is given two chunks at
//! a time: one to work on, one to follow without a pause. What is not given out stays with its job, so that jobs can take turns
//! and a rebalance moves little.

use super::super::wire::By;

/// What a chunk weighs: a tenth to half a second of work.
pub(super) const CHUNK: u32 = 4;
/// What the first run of a job weighs: nobody knows, but most are small.
pub(super) const RUN: u32 = 1;
/// What a worker has at most.
const DEEP: u32 = 2 * CHUNK;
/// What a partition has at most as long as nobody is known to read it.
const UNKNOWN: u32 = CHUNK;

/// The partitions of tasks, and who reads them.
#[derive(Debug)]
pub(super) struct TaskReaders {
    readers: Vec<Reader>,
    next: usize,
    stride: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Reader {
    worker: Option<u64>,
    load: u32,
    /// Its worker computes another version of the numbers.
    barred: bool,
}

impl TaskReaders {
    pub(super) fn new(partitions: u16) -> Self {
        let count = usize::from(partitions.max(1));
        Self {
            readers: vec![Reader::default(); count],
            next: 0,
            stride: stride(count),
        }
    }

    /// Begins elsewhere than others do, so that the first tasks of many coordinators do not meet in one partition.
    pub(super) fn begin_at(&mut self, number: i32) {
        let number = usize::try_from(number).unwrap_or(0);
        self.next = number.wrapping_mul(self.stride) % self.readers.len();
    }

    /// The partition for a task of this weight; `None` when everybody has enough.
    pub(super) fn give(&mut self, weight: u32) -> Option<i32> {
        let count = self.readers.len();
        let candidates = (0..count).map(|i| (self.next + i * self.stride) % count);
        let (_, chosen) = candidates
            .filter_map(|at| Some((self.room(at)?, at)))
            .min_by_key(|(load, _)| *load)?;
        self.next = (chosen + self.stride) % count;
        let reader = self.readers.get_mut(chosen)?;
        reader.load += weight;
        i32::try_from(chosen).ok()
    }

    /// A task given to `partition` came back, or is no longer waited for.
    pub(super) fn back(&mut self, partition: i32, weight: u32) {
        if let Some(reader) = self.reader(partition) {
            reader.load = reader.load.saturating_sub(weight);
        }
    }

    /// Somebody answered.
    pub(super) fn seen(&mut self, by: By) {
        if let Some(reader) = self.reader(by.partition) {
            if reader.worker != Some(by.worker) {
                reader.barred = false;
            }
            reader.worker = Some(by.worker);
        }
    }

    /// Somebody cannot compute what we ask for. Whether nobody is left who might.
    pub(super) fn bar(&mut self, by: By) -> bool {
        for reader in &mut self.readers {
            reader.barred |= reader.worker == Some(by.worker);
        }
        if let Some(reader) = self.reader(by.partition) {
            reader.worker = Some(by.worker);
            reader.barred = true;
        }
        self.readers.iter().all(|reader| reader.barred)
    }

    /// How many workers are known, at least one.
    pub(super) fn workers(&self) -> u32 {
        let mut known: Vec<u64> = self
            .readers
            .iter()
            .filter_map(|reader| reader.worker)
            .collect();
        known.sort_unstable();
        known.dedup();
        u32::try_from(known.len()).unwrap_or(u32::MAX).max(1)
    }

    /// What the reader of a partition has to do, if it may get more.
    fn room(&self, at: usize) -> Option<u32> {
        let reader = self.readers.get(at)?;
        let (load, most) = match reader.worker {
            None => (reader.load, UNKNOWN),
            Some(worker) => (self.load_of(worker), DEEP),
        };
        (!reader.barred && load < most).then_some(load)
    }

    fn load_of(&self, worker: u64) -> u32 {
        let readers = self
            .readers
            .iter()
            .filter(|reader| reader.worker == Some(worker));
        readers.map(|reader| reader.load).sum()
    }

    fn reader(&mut self, partition: i32) -> Option<&mut Reader> {
        self.readers.get_mut(usize::try_from(partition).ok()?)
    }
}

/// A step through all of `count` places that comes far quickly: neighbours mostly have the same reader.
fn stride(count: usize) -> usize {
    let near = count * 5 / 13;
    (near..=count)
        .find(|step| gcd(*step, count) == 1)
        .unwrap_or(1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(worker: u64, partition: i32) -> By {
        By { worker, partition }
    }

    fn give_all(readers: &mut TaskReaders) -> Vec<i32> {
        std::iter::from_fn(|| readers.give(CHUNK)).collect()
    }

    #[test]
    fn unknown_partitions_get_one_chunk_each() {
        let mut readers = TaskReaders::new(24);
        let mut given = give_all(&mut readers);
        given.sort_unstable();
        assert_eq!(given, (0..24).collect::<Vec<_>>());
    }

    #[test]
    fn every_known_worker_gets_two_chunks_whatever_its_partitions() {
        let mut readers = TaskReaders::new(8);
        for partition in 0..8 {
            readers.seen(by(u64::from(partition >= 6), partition));
        }
        let given = give_all(&mut readers);
        let second = given.iter().filter(|partition| **partition >= 6).count();
        assert_eq!((given.len(), second, readers.workers()), (4, 2, 2));
        readers.back(given[0], CHUNK);
        assert_eq!(give_all(&mut readers).len(), 1);
    }

    #[test]
    fn a_worker_of_another_version_gets_nothing_until_another_takes_its_place() {
        let mut readers = TaskReaders::new(2);
        readers.seen(by(1, 0));
        assert!(!readers.bar(by(1, 0)));
        assert_eq!(give_all(&mut readers), [1]);
        assert!(readers.bar(by(1, 1)));
        readers.back(1, CHUNK);
        assert_eq!(readers.give(RUN), None);
        readers.seen(by(2, 1));
        assert_eq!(readers.give(RUN), Some(1));
    }

    #[test]
    fn the_stride_visits_every_partition() {
        for count in 1..100 {
            let mut seen: Vec<usize> = (0..count).map(|i| i * stride(count) % count).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>(), "{count} partitions");
        }
    }
}
