//! The consumer's parent: starts M processes, gives each its share of the partitions, and keeps the board.
//!
//! A process is this same program with a number; it reports on its standard output, one JSON object a line, and
//! ends when its standard input does. The parent never reads a record itself. When a process dies its partitions
//! are not given to others: who reads what stays as it was shown, and the failure is printed. (With a group, Kafka
//! moves them.)

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::ValueEnum;
use metrics::Counter;
use millstream::admin::Admin;
use millstream::http::{Health, Part};
use millstream::metrics::RECORDS_IN;
use millstream::{Clock, Cluster, Shutdown, SystemClock};
use rustix::process::{Pid, Signal, kill_process};

use super::board::{Board, Report, SILENT, list};
use super::share::share;
use super::topics::{ITEMS, PARTITIONS};
use crate::{Error, arrival, number, readiness};

/// How often the board is shown.
const REFRESH: Duration = Duration::from_millis(200);
/// How often the cluster is asked whether it is there, and for how long.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// Processes that were asked to end are killed after this time; a supervisor kills after 8 s.
const GRACE: Duration = Duration::from_secs(5);

/// Options of the consumer.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Topic. Created with 6 partitions if it does not exist
    #[arg(long, default_value = ITEMS.name())]
    pub topic: String,
    /// Number of reading processes
    #[arg(long, default_value_t = 2, value_name = "NUMBER", value_parser = number::whole(1..=256_u32))]
    pub processes: u32,
    /// Shares the partitions by a consumer group. Default: each process is assigned its partitions
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "partitions-consumers", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub group: Option<String>,
    /// Where reading starts without --group. A group continues at its committed offsets
    #[arg(long, value_enum, default_value_t = Beginning::Earliest, conflicts_with = "group")]
    pub from: Beginning,
    /// Stops when at least this many records are read
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = number::whole(1..=u64::MAX))]
    pub count: Option<u64>,
    /// The number of this process; given by the parent
    #[arg(long, hide = true, value_name = "NUMBER")]
    pub worker: Option<u32>,
    /// The partitions of this process; given by the parent
    #[arg(long, hide = true, value_delimiter = ',', requires = "worker")]
    pub assign: Vec<i32>,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Beginning {
    /// At the first record there is.
    Earliest,
    /// At the end: only what comes from now on.
    Latest,
}

/// What the parent has to show.
#[derive(Debug)]
pub enum Told<'a> {
    /// Something happened, in words.
    Line(String),
    /// The figures have changed, or some time has passed.
    Board(&'a Board),
}

/// How a run ended.
#[derive(Debug)]
pub struct Summary {
    /// The board at the end.
    pub board: Board,
    /// Processes that ended before they were asked to, or not well.
    pub failed: usize,
}

/// Starts the processes and shows what they do until `shutdown`, until `count` records are read, or until all
/// processes have ended. `program` makes the command that starts this program's `partitions consume` again.
///
/// # Errors
/// The cluster refuses the topic, or a process cannot be started.
pub fn run(
    options: &Options,
    cluster: &Cluster,
    shutdown: &Shutdown,
    health: &Health,
    program: &dyn Fn() -> Command,
    show: &mut dyn FnMut(Told<'_>),
) -> Result<Summary, Error> {
    let spec = ITEMS
        .clone()
        .named(options.topic.clone())
        .partitions(PARTITIONS)
        .spec();
    let Some(partitions) = arrival::topic(cluster, &spec, shutdown)? else {
        return Ok(Summary {
            board: Board::default(),
            failed: 0,
        });
    };
    let (sender, events) = channel();
    let (reading, reached) = (health.part("processes"), health.part("cluster"));
    let admin = Admin::new(cluster)?;
    let mut parent = Parent {
        board: Board::default(),
        processes: Vec::new(),
        clock: SystemClock::new(),
        stopping: false,
        failed: 0,
        events,
        show,
    };
    let shares = match options.group {
        Some(_) => vec![Vec::new(); usize::try_from(options.processes).unwrap_or(usize::MAX)],
        None => share(u32::try_from(partitions).unwrap_or(0), options.processes),
    };
    (parent.show)(Told::Line(format!(
        "topic {} has {partitions} partitions, {} processes read it",
        options.topic, options.processes
    )));
    for (number, share) in shares.into_iter().enumerate() {
        parent.start(program(), options, number, share, &sender)?;
    }
    let read = metrics::counter!(RECORDS_IN, "service" => "partitions-consume", "topic" => options.topic.clone());
    // Processes that read by hand do not see whether the broker is there.
    readiness::follow(
        &reached,
        ASK_EVERY,
        || Some(admin.reach(ASK_WITHIN, |_| false).is_ok()),
        || parent.watch(options.count, shutdown, &read, &reading),
    );
    Ok(Summary {
        board: parent.board,
        failed: parent.failed,
    })
}

/// What a process's reader thread has to tell.
enum Event {
    Report(usize, Report),
    Line(usize, String),
    Ended(usize),
}

struct Parent<'a> {
    board: Board,
    processes: Vec<Process>,
    clock: SystemClock,
    stopping: bool,
    failed: usize,
    events: Receiver<Event>,
    show: &'a mut dyn FnMut(Told<'_>),
}

struct Process {
    child: Child,
    /// Closed to ask the process to end.
    input: Option<ChildStdin>,
    ended: bool,
}

impl Parent<'_> {
    fn start(
        &mut self,
        mut command: Command,
        options: &Options,
        number: usize,
        share: Vec<i32>,
        sender: &Sender<Event>,
    ) -> Result<(), Error> {
        let failed = |source| Error::Process { number, source };
        command
            .args(words(options, number, &share))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (input, output, errors) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let errors = listen(number, errors, sender).map_err(failed)?;
        let sender = sender.clone();
        let read = move || {
            let lines = output
                .into_iter()
                .flat_map(|output| BufReader::new(output).lines());
            for line in lines.map_while(Result::ok) {
                if let Ok(report) = serde_json::from_str(&line) {
                    _ = sender.send(Event::Report(number, report));
                }
            }
            // Its last words come before its end.
            _ = errors.join();
            _ = sender.send(Event::Ended(number));
        };
        thread::Builder::new()
            .name(format!("process-{number}"))
            .spawn(read)
            .map_err(failed)?;
        self.board.started(child.id(), share, self.clock.now());
        if options.group.is_none() {
            self.tell(number, &self.board.duty(number));
        }
        self.processes.push(Process {
            child,
            input,
            ended: false,
        });
        Ok(())
    }

    fn watch(&mut self, count: Option<u64>, shutdown: &Shutdown, read: &Counter, reading: &Part) {
        let clock = self.clock;
        let mut kill_at = None;
        while self.processes.iter().any(|process| !process.ended) {
            if !self.stopping
                && (shutdown.is_requested()
                    || count.is_some_and(|count| self.board.total() >= count))
            {
                self.stop();
                kill_at = Some(clock.now().plus(GRACE));
            }
            if kill_at.is_some_and(|at| clock.now() >= at) {
                self.kill();
                kill_at = None;
            }
            match self.events.recv_timeout(REFRESH) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // All of them: a report that waits is none that is missing.
            while let Ok(event) = self.events.try_recv() {
                self.take(event);
            }
            self.report_silent();
            reading.set_ready(!self.stopping && self.board.is_reading());
            read.absolute(self.board.total());
            (self.show)(Told::Board(&self.board));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Report(number, report) => {
                if self.board.reported(number, report, self.clock.now()) {
                    self.tell(number, &self.board.duty(number));
                }
            }
            Event::Line(number, line) => {
                (self.show)(Told::Line(format!("process {number} | {line}")));
            }
            Event::Ended(number) => self.ended(number),
        }
    }

    fn report_silent(&mut self) {
        for number in self.board.silent(self.clock.now()) {
            let seconds = SILENT.as_secs();
            self.tell(
                number,
                &format!("has not responded for {seconds} s: frozen, or overloaded"),
            );
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        for process in self.processes.iter_mut().filter(|process| !process.ended) {
            process.input = None;
            // A frozen one would not see it.
            if let Ok(pid) = i32::try_from(process.child.id())
                && let Some(pid) = Pid::from_raw(pid)
            {
                _ = kill_process(pid, Signal::CONT);
            }
        }
    }

    fn kill(&mut self) {
        for process in self.processes.iter_mut().filter(|process| !process.ended) {
            // It may have ended just now: that is what the kill is for.
            _ = process.child.kill();
        }
    }

    fn ended(&mut self, number: usize) {
        let Some(process) = self.processes.get_mut(number) else {
            return;
        };
        process.ended = true;
        let status = process.child.wait();
        if status
            .as_ref()
            .is_ok_and(|status| is_stop(*status, self.stopping))
        {
            self.board.ended(number, true);
            return;
        }
        self.failed += 1;
        let lost = self
            .board
            .processes()
            .get(number)
            .map(|process| process.reads.clone())
            .unwrap_or_default();
        let status = status.map_or_else(
            |error: io::Error| error.to_string(),
            |status| status.to_string(),
        );
        let consequence = if lost.is_empty() {
            String::new()
        } else {
            format!("; nobody reads its partitions now: {}", list(&lost))
        };
        self.tell(number, &format!("ended with {status}{consequence}"));
        self.board.ended(number, false);
    }

    fn tell(&mut self, number: usize, what: &str) {
        let pid = self
            .board
            .processes()
            .get(number)
            .map_or(0, |process| process.pid);
        (self.show)(Told::Line(format!("process {number} (pid {pid}) {what}")));
    }
}

/// Whether a process that ended with `status` was stopped, and has not failed. SIGINT ends only a process that has hardly
/// begun, before it has a process group of its own: Ctrl-C was for its parent, which stops everything.
fn is_stop(status: ExitStatus, stopping: bool) -> bool {
    const INTERRUPT: i32 = 2;
    (stopping && status.success()) || status.signal() == Some(INTERRUPT)
}

/// Passes on what a process writes on its standard error.
fn listen(
    number: usize,
    errors: Option<ChildStderr>,
    sender: &Sender<Event>,
) -> io::Result<JoinHandle<()>> {
    let sender = sender.clone();
    let read = move || {
        let lines = errors
            .into_iter()
            .flat_map(|errors| BufReader::new(errors).lines());
        for line in lines.map_while(Result::ok) {
            _ = sender.send(Event::Line(number, line));
        }
    };
    thread::Builder::new()
        .name(format!("errors-{number}"))
        .spawn(read)
}

/// The options of process `number`, after the program's own words.
fn words(options: &Options, number: usize, share: &[i32]) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["--topic", &options.topic, "--worker", &number.to_string()]
        .map(OsString::from)
        .into();
    match &options.group {
        Some(group) => words.push(format!("--group={group}").into()),
        None if options.from == Beginning::Latest => {
            words.extend(["--from".into(), "latest".into()])
        }
        None => {}
    }
    if !share.is_empty() {
        let share: Vec<String> = share.iter().map(ToString::to_string).collect();
        words.extend(["--assign".into(), share.join(",").into()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_that_meets_a_process_before_it_has_begun_is_no_failure() {
        let by_signal = ExitStatus::from_raw;
        assert!(is_stop(by_signal(2), false));
        assert!(!is_stop(by_signal(9), true));
        assert!(is_stop(ExitStatus::default(), true));
        assert!(!is_stop(ExitStatus::default(), false));
    }
}
