//! `millstream partitions produce|consume`: the system `partitions` in the foreground.
//!
//! `consume` starts this program again, once for each process; those copies are told apart by a hidden option. What
//! it shows while it runs goes to standard error, the tables at the end to standard output.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Subcommand;
use millstream::{Clock, Moment, SystemClock};
use millstream_systems::partitions::board::Board;
use millstream_systems::partitions::consume::{self, Told};
use millstream_systems::partitions::records::Generator;
use millstream_systems::partitions::{produce, worker};

use crate::Outcome;
use crate::config::{SUPERVISOR_VARIABLE, redrawing_allowed};
use crate::output::{Output, table};
use crate::screen::Screen;
use crate::session::Session;

/// Without a terminal the counts are printed this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Which service.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, Subcommand)]
enum Service {
    /// Sends generated records from several threads. Exit code 1 if one that was sent was not acknowledged
    Produce(Produce),
    /// Reads the records with several processes and shows which process reads which partition
    Consume(Consume),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: millstream partitions produce --threads 8 --messages-per-thread 100000 --generator readings"
)]
struct Produce {
    #[command(flatten)]
    options: produce::Options,
    /// Prints the summary as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  millstream partitions consume --processes 3\n  millstream partitions consume --processes 3 --group"
)]
struct Consume {
    #[command(flatten)]
    options: consume::Options,
    /// Prints the final table as JSON, one object per process
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Runs the service until it is done or asked to stop.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        match self.service {
            Service::Produce(produce) => produce.run(session),
            Service::Consume(consume) if consume.options.worker.is_some() => consume.work(session),
            Service::Consume(consume) => consume.run(session),
        }
    }
}

impl Produce {
    fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        ensure!(
            self.options.size.is_none() || self.options.generator == Generator::Text,
            "--size is for the generator `text`; remove it, or add --generator text"
        );
        let serving = session.serve()?;
        let mut bar = Bar::new();
        let summary = produce::run(
            &self.options,
            &session.cluster,
            &serving.shutdown,
            &serving.health,
            &mut |done, all| bar.show(done, all),
        )?;
        bar.clear();
        let mut output = Output::new(self.json);
        if self.json {
            output.object(&summary)?;
        } else {
            output.line(format_args!(
                "topic {}: {} of {} records acknowledged in {:.2} s, {:.0} records/s, {} failed",
                summary.topic,
                summary.delivered,
                summary.wanted,
                summary.seconds,
                summary.messages_per_second,
                summary.failed
            ))?;
            output
                .bytes(counts("THREAD", (0..).zip(summary.threads.iter().copied())).as_bytes())?;
            output.bytes(
                counts(
                    "PARTITION",
                    summary
                        .partitions
                        .iter()
                        .map(|(&partition, &records)| (partition, records)),
                )
                .as_bytes(),
            )?;
        }
        output.flush()?;
        Ok(if summary.is_delivered() {
            Outcome::Done
        } else {
            Outcome::Negative
        })
    }
}

fn counts(head: &str, rows: impl Iterator<Item = (i32, u64)>) -> String {
    let rows: Vec<[String; 2]> = rows
        .map(|(number, records)| [number.to_string(), records.to_string()])
        .collect();
    table([head, "RECORDS"], &rows)
}

impl Consume {
    /// One of the processes.
    fn work(&self, session: &Session) -> anyhow::Result<Outcome> {
        let serving = session.serve()?;
        worker::run(&self.options, &session.cluster, &serving.shutdown)?;
        Ok(Outcome::Done)
    }

    /// The parent of the processes.
    fn run(&self, session: &Session) -> anyhow::Result<Outcome> {
        let serving = session.serve()?;
        let program = std::env::current_exe().context("failed to find the path of this program")?;
        let mut common = session.common.clone();
        common.http = None;
        let common = common.words();
        let again = || process(&program, &common);
        let mut view = View::new();
        let ended = consume::run(
            &self.options,
            &session.cluster,
            &serving.shutdown,
            &serving.health,
            &again,
            &mut |told| view.show(told),
        )?;
        view.screen.close();
        let mut output = Output::new(self.json);
        if self.json {
            for process in ended.board.processes() {
                output.object(process)?;
            }
        } else {
            output.bytes(ended.board.table().as_bytes())?;
            let partitions: BTreeMap<i32, u64> = ended.board.partitions();
            output.bytes(counts("PARTITION", partitions.into_iter()).as_bytes())?;
        }
        output.flush()?;
        Ok(if ended.failed == 0 {
            Outcome::Done
        } else {
            Outcome::Negative
        })
    }
}

/// The command of one more process of this program; Ctrl-C in the terminal is for its parent alone.
fn process(program: &std::path::Path, common: &[OsString]) -> Command {
    let mut command = Command::new(program);
    command
        .args(["partitions", "consume"])
        .args(common)
        .process_group(0);
    command.env(SUPERVISOR_VARIABLE, std::process::id().to_string());
    command
}

/// The live view on standard error.
struct View {
    screen: Screen,
    clock: SystemClock,
    told: Moment,
    total: u64,
}

impl View {
    fn new() -> Self {
        Self {
            screen: Screen::stderr(),
            clock: SystemClock::new(),
            told: Moment::default(),
            total: 0,
        }
    }

    fn show(&mut self, told: Told<'_>) {
        match told {
            Told::Line(line) => {
                self.screen.line(line);
                self.screen.refresh("");
            }
            Told::Board(board) if self.screen.is_terminal() => {
                self.screen
                    .refresh(&format!("\n{}Ctrl-C to stop\n", board.table()));
            }
            Told::Board(board) => self.now_and_then(board),
        }
    }

    fn now_and_then(&mut self, board: &Board) {
        let now = self.clock.now();
        if now.since(self.told) < LINE_EVERY || board.total() == self.total {
            return;
        }
        (self.told, self.total) = (now, board.total());
        for line in board.table().lines() {
            self.screen.line(line.to_owned());
        }
        self.screen.refresh("");
    }
}

/// A bar on standard error, if that is a terminal.
struct Bar {
    terminal: bool,
}

impl Bar {
    fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal() && redrawing_allowed(),
        }
    }

    fn show(&mut self, done: u64, all: u64) {
        const WIDTH: usize = 40;
        if !self.terminal || all == 0 {
            return;
        }
        let share = u128::from(done) * WIDTH as u128 / u128::from(all);
        let filled = usize::try_from(share).unwrap_or(WIDTH).min(WIDTH);
        let (full, rest) = ("#".repeat(filled), ".".repeat(WIDTH - filled));
        _ = write!(std::io::stderr(), "\r{full}{rest} {done}/{all}\x1b[K");
    }

    fn clear(&mut self) {
        if self.terminal {
            _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
