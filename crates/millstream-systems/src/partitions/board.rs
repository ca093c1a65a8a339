//! What the consuming processes have told: who reads which partition, and how many records each partition gave.
//!
//! Reports are totals, not differences: one that is lost or comes twice changes nothing. A partition that moves from
//! one process to another keeps what each of them has counted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use millstream::Moment;
use serde::{Deserialize, Serialize};

/// A process that has not reported for this long is unresponsive. It reports several times a second.
pub(super) const SILENT: Duration = Duration::from_secs(3);

/// What a process says now and then, one JSON object a line on its standard output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The partitions it reads now.
    pub reads: Vec<i32>,
    /// Records it has read of each partition since it started.
    pub records: BTreeMap<i32, u64>,
    /// Whether it has its share and can read it.
    pub ready: bool,
}

/// One process and what it does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// Its number, from 0.
    pub process: u32,
    /// Its process id.
    pub pid: u32,
    /// Whether it runs.
    pub state: State,
    /// The partitions it reads; none of them: it idles.
    pub reads: Vec<i32>,
    /// Records it has read of each partition.
    pub records: BTreeMap<i32, u64>,
    /// Records per second between the last two reports; at the end, over all its time.
    pub records_per_second: f64,
    #[serde(skip)]
    started: Moment,
    #[serde(skip)]
    reported: Option<Moment>,
    #[serde(skip)]
    ready: bool,
}

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It runs.
    Running,
    /// It has not reported for a while: it is frozen, or the machine is overloaded.
    Unresponsive,
    /// It ended because it was asked to.
    Ended,
    /// It ended without being asked, or not well.
    Died,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Unresponsive => "unresponsive",
            Self::Ended => "ended",
            Self::Died => "died",
        }
    }
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
    pub fn started(&mut self, pid: u32, reads: Vec<i32>, now: Moment) {
        let process = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        self.processes.push(Process {
            process,
            pid,
            state: State::Running,
            reads,
            records: BTreeMap::new(),
            records_per_second: 0.0,
            started: now,
            reported: None,
            ready: false,
        });
    }

    /// Process `number` has reported; `true` when it reads other partitions than before, or did not respond.
    pub fn reported(&mut self, number: usize, report: Report, now: Moment) -> bool {
        let Some(process) = self.processes.get_mut(number) else {
            return false;
        };
        let before = process.total();
        let is_back = process.state == State::Unresponsive;
        let moved = process.reads != report.reads || is_back;
        if is_back {
            process.state = State::Running;
        }
        process.reads = report.reads;
        process.records = report.records;
        let elapsed = process
            .reported
            .map_or(Duration::ZERO, |then| now.since(then));
        process.records_per_second = per_second(process.total().saturating_sub(before), elapsed);
        process.reported = Some(now);
        process.ready = report.ready;
        moved
    }

    /// The processes that have become unresponsive.
    pub fn silent(&mut self, now: Moment) -> Vec<usize> {
        let mut silent = Vec::new();
        for (number, process) in self.processes.iter_mut().enumerate() {
            let last = process.reported.unwrap_or(process.started);
            if process.state == State::Running && now.since(last) >= SILENT {
                process.state = State::Unresponsive;
                silent.push(number);
            }
        }
        silent
    }

    /// Process `number` has ended, as it was asked to or not.
    pub fn ended(&mut self, number: usize, well: bool) {
        if let Some(process) = self.processes.get_mut(number) {
            process.state = if well { State::Ended } else { State::Died };
            let last = process.reported.unwrap_or(process.started);
            process.records_per_second = per_second(process.total(), last.since(process.started));
        }
    }

    /// Whether all processes run and have reported that they can read.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.processes
            .iter()
            .all(|process| process.state == State::Running && process.ready)
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
            "{:>7}  {:>8}  {:<12}  {:>9}  {:>9}  {}\n",
            "PROCESS", "PID", "STATE", "RECORDS", "RECORDS/S", "PARTITION:RECORDS"
        );
        for process in &self.processes {
            let (number, pid, state) = (process.process, process.pid, process.state.word());
            let (total, rate) = (process.total(), process.records_per_second);
            // Writing into a String cannot fail.
            _ = writeln!(
                text,
                "{number:>7}  {pid:>8}  {state:<12}  {total:>9}  {rate:>9.0}  {}",
                shares(process)
            );
        }
        _ = writeln!(
            text,
            "{:>7}  {:>8}  {:<12}  {:>9}",
            "all",
            "",
            "",
            self.total()
        );
        text
    }
}

fn per_second(records: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        records as f64 / seconds
    } else {
        0.0
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
            ready: true,
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment::at(Duration::from_secs(seconds))
    }

    #[test]
    fn the_table_shows_who_reads_what_and_who_idles() {
        let mut board = Board::default();
        board.started(71, vec![0, 1], at(0));
        board.started(72, vec![], at(0));
        assert_eq!(board.duty(0), "reads partitions 0, 1");
        assert_eq!(
            board.duty(1),
            "idles: there are fewer partitions than processes"
        );
        board.reported(0, report(&[0, 1], &[(0, 5)]), at(1));
        board.reported(0, report(&[0, 1], &[(0, 26), (1, 10)]), at(3));
        board.ended(1, false);
        let expected = "PROCESS       PID  STATE           RECORDS  RECORDS/S  PARTITION:RECORDS\n      \
                  0        71  running              36         16  0:26 1:10\n      \
                  1        72  died                  0          0  idle\n    \
                  all                                 36\n";
        assert_eq!(board.table(), expected);
        assert_eq!(board.partitions(), BTreeMap::from([(0, 26), (1, 10)]));
        board.ended(0, true);
        assert_eq!(board.processes()[0].records_per_second, 12.0);
    }

    #[test]
    fn a_partition_that_moved_keeps_its_count_in_brackets() {
        let mut board = Board::default();
        board.started(71, vec![], at(0));
        board.started(72, vec![], at(0));
        assert!(board.reported(0, report(&[0, 1], &[(0, 3), (1, 4)]), at(1)));
        assert!(board.reported(0, report(&[0], &[(0, 3), (1, 4)]), at(2)));
        assert!(!board.reported(0, report(&[0], &[(0, 9), (1, 4)]), at(3)));
        board.reported(1, report(&[1], &[(1, 2)]), at(3));
        assert_eq!(board.total(), 15);
        assert_eq!(board.partitions(), BTreeMap::from([(0, 9), (1, 6)]));
        assert!(board.table().contains("0:9 (1:4)\n"), "{}", board.table());
    }

    #[test]
    fn a_process_that_does_not_report_is_unresponsive_until_it_does() {
        let mut board = Board::default();
        board.started(71, vec![0], at(0));
        board.started(72, vec![1], at(0));
        board.reported(1, report(&[1], &[]), at(2));
        assert_eq!(board.silent(at(2)), Vec::<usize>::new());
        assert_eq!(board.silent(at(3)), [0]);
        assert_eq!(board.silent(at(4)), Vec::<usize>::new());
        assert_eq!(board.processes()[0].state, State::Unresponsive);
        assert!(!board.is_reading());
        assert!(board.reported(0, report(&[0], &[]), at(4)));
        assert!(!board.reported(1, report(&[1], &[]), at(4)));
        assert!(board.is_reading());
        assert_eq!(board.silent(at(6)), Vec::<usize>::new());
        board.ended(0, true);
        assert_eq!(board.silent(at(7)), [1]);
    }

    /// A process that waits for its partitions reports as well.
    #[test]
    fn a_process_that_cannot_read_yet_does_not_count_as_reading() {
        let mut board = Board::default();
        board.started(71, vec![0], at(0));
        let waiting = Report {
            ready: false,
            ..report(&[0], &[])
        };
        board.reported(0, waiting.clone(), at(1));
        assert!(!board.is_reading());
        board.reported(0, report(&[0], &[]), at(2));
        assert!(board.is_reading());
        board.reported(0, waiting, at(3));
        assert!(!board.is_reading());
    }

    #[test]
    fn a_report_is_one_line_of_json() {
        let json = serde_json::to_string(&report(&[0, 2], &[(0, 7)])).unwrap();
        assert_eq!(json, r#"{"reads":[0,2],"records":{"0":7},"ready":true}"#);
        assert_eq!(
            serde_json::from_str::<Report>(&json).unwrap(),
            report(&[0, 2], &[(0, 7)])
        );
    }
}
