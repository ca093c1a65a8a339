//! What the consuming processes have told: who reads which partition, and how many records each partition gave.
//!
//! Reports are totals, not differences: one that is lost or comes twice changes nothing. A partition that moves from
//! one process to another keeps what each of them has counted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use millstream::Moment;
use serde::{Deserialize, Serialize};

/// What a process says now and then, one JSON object a line on its standard output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The partitions it reads now.
    pub reads: Vec<i32>,
    /// Records it has read of each partition since it started.
    pub records: BTreeMap<i32, u64>,
}

/// One process and what it does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// Its number, from 0.
    pub process: u32,
    /// Its process id; none when it has ended.
    pub pid: Option<u32>,
    /// The partitions it reads; none of them: it idles.
    pub reads: Vec<i32>,
    /// Records it has read of each partition.
    pub records: BTreeMap<i32, u64>,
    /// Records per second between the last two reports.
    pub records_per_second: f64,
    #[serde(skip)]
    reported: Option<Moment>,
}

impl Process {
    /// All records it has read.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.records.values().sum()
    }
}

/// All processes of one run.
#[derive(Debug, Clone, Default)]
pub struct Board {
    processes: Vec<Process>,
}

impl Board {
    /// A process has started.
    pub fn started(&mut self, pid: u32, reads: Vec<i32>) {
        let process = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        let records = BTreeMap::new();
        self.processes.push(Process {
            process,
            pid: Some(pid),
            reads,
            records,
            records_per_second: 0.0,
            reported: None,
        });
    }

    /// Process `number` has reported; `true` when it reads other partitions than before.
    pub fn reported(&mut self, number: usize, report: Report, now: Moment) -> bool {
        let Some(process) = self.processes.get_mut(number) else {
            return false;
        };
        let before = process.total();
        let moved = process.reads != report.reads;
        process.reads = report.reads;
        process.records = report.records;
        let elapsed = process
            .reported
            .map_or(Duration::ZERO, |then| now.since(then))
            .as_secs_f64();
        if elapsed > 0.0 {
            process.records_per_second = process.total().saturating_sub(before) as f64 / elapsed;
        }
        process.reported = Some(now);
        moved
    }

    /// Process `number` has ended.
    pub fn ended(&mut self, number: usize) {
        if let Some(process) = self.processes.get_mut(number) {
            process.pid = None;
            process.records_per_second = 0.0;
        }
    }

    /// The processes in order.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// All records read.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.processes.iter().map(Process::total).sum()
    }

    /// Records of each partition, over all processes.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<i32, u64> {
        let mut all = BTreeMap::new();
        for (partition, records) in self.processes.iter().flat_map(|process| &process.records) {
            *all.entry(*partition).or_default() += records;
        }
        all
    }

    /// In words what process `number` reads: `reads partitions 0, 1`, or `idles`.
    #[must_use]
    pub fn duty(&self, number: usize) -> String {
        match self
            .processes
            .get(number)
            .map(|process| process.reads.as_slice())
        {
            None | Some([]) => "idles: there are fewer partitions than processes".to_owned(),
            Some([one]) => format!("reads partition {one}"),
            Some(some) => format!("reads partitions {}", list(some)),
        }
    }

    /// The table of processes and partitions.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:>7}  {:>8}  {:>9}  {:>9}  {}\n",
            "PROCESS", "PID", "RECORDS", "RECORDS/S", "PARTITION:RECORDS"
        );
        for process in &self.processes {
            let pid = process
                .pid
                .map_or_else(|| "ended".to_owned(), |pid| pid.to_string());
            let (number, total, rate) =
                (process.process, process.total(), process.records_per_second);
            // Writing into a String cannot fail.
            _ = writeln!(
                text,
                "{number:>7}  {pid:>8}  {total:>9}  {rate:>9.0}  {}",
                shares(process)
            );
        }
        _ = writeln!(text, "{:>7}  {:>8}  {:>9}", "all", "", self.total());
        text
    }
}

/// `0:120 1:118`, with a partition that was read earlier but is not any more in brackets; `idle` for none.
fn shares(process: &Process) -> String {
    let mut numbers: Vec<i32> = process
        .reads
        .iter()
        .chain(process.records.keys())
        .copied()
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return "idle".to_owned();
    }
    let share = |number: i32| {
        let records = process.records.get(&number).copied().unwrap_or(0);
        if process.reads.contains(&number) {
            format!("{number}:{records}")
        } else {
            format!("({number}:{records})")
        }
    };
    numbers.into_iter().map(share).collect::<Vec<_>>().join(" ")
}

/// Numbers as `0, 1, 2`.
#[must_use]
pub fn list(numbers: &[i32]) -> String {
    numbers
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(reads: &[i32], records: &[(i32, u64)]) -> Report {
        Report {
            reads: reads.to_vec(),
            records: records.iter().copied().collect(),
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment::at(Duration::from_secs(seconds))
    }

    #[test]
    fn the_table_shows_who_reads_what_and_who_idles() {
        let mut board = Board::default();
        board.started(71, vec![0, 1]);
        board.started(72, vec![]);
        assert_eq!(board.duty(0), "reads partitions 0, 1");
        assert_eq!(
            board.duty(1),
            "idles: there are fewer partitions than processes"
        );
        board.reported(0, report(&[0, 1], &[(0, 5)]), at(1));
        board.reported(0, report(&[0, 1], &[(0, 25), (1, 10)]), at(3));
        board.ended(1);
        let expected = "PROCESS       PID    RECORDS  RECORDS/S  PARTITION:RECORDS\n      \
                  0        71         35         15  0:25 1:10\n      \
                  1     ended          0          0  idle\n    all                   35\n";
        assert_eq!(board.table(), expected);
        assert_eq!(board.partitions(), BTreeMap::from([(0, 25), (1, 10)]));
    }

    #[test]
    fn a_partition_that_moved_keeps_its_count_in_brackets() {
        let mut board = Board::default();
        board.started(71, vec![]);
        board.started(72, vec![]);
        assert!(board.reported(0, report(&[0, 1], &[(0, 3), (1, 4)]), at(1)));
        assert!(board.reported(0, report(&[0], &[(0, 3), (1, 4)]), at(2)));
        assert!(!board.reported(0, report(&[0], &[(0, 9), (1, 4)]), at(3)));
        board.reported(1, report(&[1], &[(1, 2)]), at(3));
        assert_eq!(board.total(), 15);
        assert_eq!(board.partitions(), BTreeMap::from([(0, 9), (1, 6)]));
        assert!(board.table().contains("0:9 (1:4)\n"), "{}", board.table());
    }

    #[test]
    fn a_report_is_one_line_of_json() {
        let json = serde_json::to_string(&report(&[0, 2], &[(0, 7)])).unwrap();
        assert_eq!(json, r#"{"reads":[0,2],"records":{"0":7}}"#);
        assert_eq!(
            serde_json::from_str::<Report>(&json).unwrap(),
            report(&[0, 2], &[(0, 7)])
        );
    }
}
