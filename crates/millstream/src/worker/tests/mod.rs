//! A worker on a scripted log: every event, report and refusal at the moment a test chooses.
//!
//! The simulation shows that nothing is lost in any order of things; these tests show what exactly is done in one.

mod batches;
mod delivery;
mod failures;
mod group;
mod handler_requests;
mod refused;
mod start;
mod watchdog;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::retry::OwnedRecord;
use super::{Progress, Worker};
use crate::clock::{Clock, Moment};
use crate::codec::{NoKey, Text};
use crate::context::Context;
use crate::error::{Class, Error, Outcome, ProcessError};
use crate::log::{Begin, Event, Log, Outgoing, SendError, Token};
use crate::record::{Headers, Record, Timestamp};
use crate::service::Service;
use crate::topic::{NextOffset, Offset, Partition, Topic, TopicPartition};

pub(super) static IN: Topic<(), String> = Topic::new("in", &NoKey, &Text);
pub(super) static OUT: Topic<(), String> = Topic::new("out", &NoKey, &Text);

/// A clock that a test moves.
#[derive(Default)]
pub(super) struct ManualClock(Mutex<Duration>);

impl ManualClock {
    pub(super) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment::at(*self.0.lock().unwrap())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }
}

#[derive(Default)]
struct Part {
    records: Vec<OwnedRecord>,
    next: usize,
    paused: bool,
    admitted: bool,
}

/// What was sent, and with which token.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) topic: String,
    pub(super) value: String,
    pub(super) headers: Headers,
    pub(super) token: Token,
}

/// What a test tells the log to refuse, by topic and value.
type Refuses = Box<dyn Fn(&str, &str) -> Option<SendError>>;

/// The scripted log; a test holds a second handle.
#[derive(Clone, Default)]
pub(super) struct Script(Rc<State>);

pub(super) struct State {
    parts: RefCell<BTreeMap<TopicPartition, Part>>,
    events: RefCell<VecDeque<Event<OwnedRecord>>>,
    sent: RefCell<Vec<Sent>>,
    reports: RefCell<VecDeque<(Token, Result<(), Error>)>>,
    /// How many reports were given.
    told: Cell<usize>,
    /// Whether what is sent is acknowledged at once.
    acks: Cell<bool>,
    refuses: RefCell<Option<Refuses>>,
    /// Every call that changes something outside, in order.
    calls: RefCell<Vec<String>>,
    admit_fails: Cell<u32>,
    /// How many commits fail, and how.
    commit_fails: Cell<(u32, Class)>,
    /// Partitions that give nothing, and that have no leader.
    frozen: RefCell<Vec<TopicPartition>>,
    leaderless: RefCell<Vec<TopicPartition>>,
    broken: RefCell<Option<Error>>,
    /// What an admission answers.
    begin: Cell<Begin>,
    /// Partition counts by topic, 1 where nothing is said.
    counts: RefCell<BTreeMap<String, i32>>,
}

pub(super) fn part(number: i32) -> TopicPartition {
    TopicPartition::new("in", Partition(number))
}

/// An error of the cluster.
pub(super) fn kafka(class: Class) -> Error {
    Error::Kafka {
        action: "deliver a record".to_owned(),
        reason: "broker said no".to_owned(),
        class,
        outcome: Outcome::NotApplied,
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            parts: RefCell::default(),
            events: RefCell::default(),
            sent: RefCell::default(),
            reports: RefCell::default(),
            told: Cell::default(),
            acks: Cell::default(),
            refuses: RefCell::default(),
            calls: RefCell::default(),
            admit_fails: Cell::default(),
            commit_fails: Cell::new((0, Class::Retriable)),
            frozen: RefCell::default(),
            leaderless: RefCell::default(),
            broken: RefCell::default(),
            begin: Cell::new(Begin::Chosen(NextOffset::new(0))),
            counts: RefCell::default(),
        }
    }
}

impl Script {
    pub(super) fn new() -> Self {
        let script = Self::default();
        script.0.acks.set(true);
        script
    }

    /// Adds records to a partition of `in`.
    pub(super) fn write(&self, number: i32, values: &[&str]) {
        self.write_bytes(
            number,
            &values
                .iter()
                .map(|value| value.as_bytes())
                .collect::<Vec<_>>(),
        );
    }

    pub(super) fn write_bytes(&self, number: i32, values: &[&[u8]]) {
        let mut parts = self.0.parts.borrow_mut();
        let part = parts.entry(part(number)).or_default();
        for value in values {
            part.records.push(OwnedRecord {
                topic: "in".into(),
                partition: Partition(number),
                offset: Offset::new(part.records.len() as i64),
                key: Some(b"key".to_vec()),
                value: Some(value.to_vec()),
                headers: Headers::new().with("own", "header"),
                timestamp: Timestamp::from_millis(1_000),
            });
        }
    }

    /// The topic of a partition is deleted, and made again with these records.
    pub(super) fn make_anew(&self, number: i32, values: &[&str]) {
        self.each(&[part(number)], |part| {
            part.records.clear();
            part.next = 0;
        });
        self.write(number, values);
    }

    pub(super) fn event(&self, event: Event<OwnedRecord>) {
        self.0.events.borrow_mut().push_back(event);
    }

    pub(super) fn assign(&self, numbers: impl IntoIterator<Item = i32>) {
        self.event(Event::Assigned(numbers.into_iter().map(part).collect()));
    }

    pub(super) fn acknowledge_at_once(&self, acks: bool) {
        self.0.acks.set(acks);
    }

    /// The next sends are answered by `refuses`.
    pub(super) fn refuse(&self, refuses: impl Fn(&str, &str) -> Option<SendError> + 'static) {
        *self.0.refuses.borrow_mut() = Some(Box::new(refuses));
    }

    pub(super) fn take_all(&self) {
        *self.0.refuses.borrow_mut() = None;
    }

    pub(super) fn commits_fail(&self, times: u32) {
        self.0.commit_fails.set((times, Class::Retriable));
    }

    pub(super) fn commits_fail_with(&self, class: Class) {
        self.0.commit_fails.set((u32::MAX, class));
    }

    /// A partition gives no records although it has some.
    pub(super) fn freeze(&self, number: i32) {
        self.0.frozen.borrow_mut().push(part(number));
    }

    /// A partition has no leader: whoever asks about it, and about others with it, is told nothing.
    pub(super) fn lose_leader(&self, number: i32) {
        self.0.leaderless.borrow_mut().push(part(number));
    }

    /// It has one again.
    pub(super) fn find_leader(&self, number: i32) {
        self.0
            .leaderless
            .borrow_mut()
            .retain(|lost| *lost != part(number));
    }

    pub(super) fn admissions_fail(&self, times: u32) {
        self.0.admit_fails.set(times);
    }

    /// What an admission answers from now on.
    pub(super) fn begin(&self, begin: Begin) {
        self.0.begin.set(begin);
    }

    pub(super) fn partition_counts<const N: usize>(&self, counts: [(&str, i32); N]) {
        let counts = counts.map(|(topic, count)| (topic.to_owned(), count));
        self.0.counts.borrow_mut().extend(counts);
    }

    /// The next poll fails for good.
    pub(super) fn breaks(&self, error: Error) {
        *self.0.broken.borrow_mut() = Some(error);
    }

    pub(super) fn report(&self, token: Token, result: Result<(), Error>) {
        self.0.reports.borrow_mut().push_back((token, result));
    }

    /// What was sent to a topic so far.
    pub(super) fn sent(&self, topic: &str) -> Vec<Sent> {
        let sent = self.0.sent.borrow();
        sent.iter()
            .filter(|sent| sent.topic == topic)
            .cloned()
            .collect()
    }

    /// What was sent to any topic so far, in order.
    pub(super) fn all_sent(&self) -> Vec<Sent> {
        self.0.sent.borrow().clone()
    }

    pub(super) fn values(&self, topic: &str) -> Vec<String> {
        self.sent(topic)
            .into_iter()
            .map(|sent| sent.value)
            .collect()
    }

    /// The calls since the last look.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.calls.borrow_mut())
    }

    fn call(&self, call: String) {
        self.0.calls.borrow_mut().push(call);
    }

    fn each(&self, partitions: &[TopicPartition], change: impl Fn(&mut Part)) {
        let mut parts = self.0.parts.borrow_mut();
        for partition in partitions {
            change(parts.entry(partition.clone()).or_default());
        }
    }

    /// Where reading begins, as far as there is a leader to say it.
    fn begins(&self, partitions: &[TopicPartition]) -> Vec<(TopicPartition, Begin)> {
        let leaderless = self.0.leaderless.borrow();
        let begins = partitions.iter().map(|part| {
            let begin = match leaderless.contains(part) {
                true => Begin::Unknown,
                false => self.0.begin.get(),
            };
            (part.clone(), begin)
        });
        begins.collect()
    }
}

fn names(partitions: &[TopicPartition]) -> String {
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    names.join(" ")
}

fn offsets(offsets: &[(TopicPartition, NextOffset)]) -> String {
    let offsets: Vec<String> = offsets
        .iter()
        .map(|(part, offset)| format!("{part}={offset}"))
        .collect();
    offsets.join(" ")
}

impl Log for Script {
    type Message<'a> = OwnedRecord;

    fn poll(&self, _wait: Duration) -> Result<Event<OwnedRecord>, Error> {
        if let Some(error) = self.0.broken.borrow_mut().take() {
            return Err(error);
        }
        if let Some(event) = self.0.events.borrow_mut().pop_front() {
            return Ok(event);
        }
        let mut parts = self.0.parts.borrow_mut();
        let frozen = self.0.frozen.borrow();
        let flowing = parts.iter_mut().filter(|(name, _)| !frozen.contains(name));
        for (_, part) in flowing.filter(|(_, part)| part.admitted && !part.paused) {
            if let Some(record) = part.records.get(part.next) {
                part.next += 1;
                return Ok(Event::Record(record.clone()));
            }
        }
        Ok(Event::Idle)
    }

    fn admit(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        if let Some(left) = self.0.admit_fails.get().checked_sub(1) {
            self.0.admit_fails.set(left);
            return Err(kafka(Class::Retriable));
        }
        self.each(partitions, |part| part.admitted = true);
        self.call(format!("admit {}", names(partitions)));
        Ok(self.begins(partitions))
    }

    fn begin_again(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        self.call(format!("begin again {}", names(partitions)));
        Ok(self.begins(partitions))
    }

    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.each(partitions, |part| part.admitted = false);
        self.call(format!("release {}", names(partitions)));
        Ok(())
    }

    fn send(&self, record: Outgoing<'_>, token: Token) -> Result<(), SendError> {
        let value =
            String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap_or_default();
        if let Some(refuses) = &*self.0.refuses.borrow()
            && let Some(refusal) = refuses(record.topic, &value)
        {
            return Err(refusal);
        }
        let headers = record.headers.cloned().unwrap_or_default();
        let topic = record.topic.to_owned();
        self.0.sent.borrow_mut().push(Sent {
            topic,
            value,
            headers,
            token,
        });
        if self.0.acks.get() {
            self.report(token, Ok(()));
        }
        Ok(())
    }

    fn reports(&self, _wait: Duration, each: &mut dyn FnMut(Token, Result<(), Error>)) {
        let reports = std::mem::take(&mut *self.0.reports.borrow_mut());
        self.0.told.set(self.0.told.get() + reports.len());
        for (token, result) in reports {
            each(token, result);
        }
    }

    fn in_flight_bytes(&self) -> usize {
        self.0.sent.borrow().len().saturating_sub(self.0.told.get())
    }

    fn commit(&self, positions: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.call(format!("commit {}", offsets(positions)));
        Ok(())
    }

    fn commit_now(&self, positions: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.call(format!("commit now {}", offsets(positions)));
        let (times, class) = self.0.commit_fails.get();
        if let Some(left) = times.checked_sub(1) {
            self.0.commit_fails.set((left, class));
            return Err(kafka(class));
        }
        Ok(())
    }

    fn pause(&self, partitions: &[TopicPartition]) {
        self.each(partitions, |part| part.paused = true);
        self.call(format!("pause {}", names(partitions)));
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        let mut parts = self.0.parts.borrow_mut();
        // What is not paused stays as it is, and is no call that changes anything.
        let resumed = partitions.iter().filter(|partition| {
            let part = parts.entry((*partition).clone()).or_default();
            std::mem::take(&mut part.paused)
        });
        let resumed: Vec<_> = resumed.cloned().collect();
        if !resumed.is_empty() {
            self.call(format!("resume {}", names(&resumed)));
        }
    }

    fn seek(&self, partition: &TopicPartition, offset: NextOffset) -> Result<(), Error> {
        let next = usize::try_from(offset.get()).unwrap();
        self.each(std::slice::from_ref(partition), |part| part.next = next);
        self.call(format!("seek {partition}={offset}"));
        Ok(())
    }

    fn end_offset(&self, partition: &TopicPartition) -> Option<NextOffset> {
        let parts = self.0.parts.borrow();
        let part = parts.get(partition).filter(|part| !part.paused)?;
        Some(NextOffset::new(i64::try_from(part.records.len()).ok()?))
    }

    fn partition_count(&self, topic: &str) -> Result<i32, Error> {
        let counts = self.0.counts.borrow();
        Ok(counts.get(topic).copied().unwrap_or(1))
    }

    fn unread(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, NextOffset)>, Error> {
        let leaderless = self.0.leaderless.borrow();
        if partitions.iter().any(|asked| leaderless.contains(asked)) {
            return Err(kafka(Class::Retriable));
        }
        let parts = self.0.parts.borrow();
        let unread = partitions.iter().filter_map(|partition| {
            let part = parts.get(partition)?;
            let end = NextOffset::new(i64::try_from(part.records.len()).ok()?);
            (part.next < part.records.len()).then(|| (partition.clone(), end))
        });
        Ok(unread.collect())
    }
}

/// A worker, its log and its clock.
pub(super) struct Bench<S> {
    pub(super) worker: Worker<S, Script>,
    pub(super) log: Script,
    pub(super) clock: Arc<ManualClock>,
}

impl<S: 'static> Bench<S> {
    pub(super) fn new(service: Service<S>) -> Self {
        Self::with_clock(service, Arc::default())
    }

    /// As [`new`](Self::new), on a clock that a handler moves.
    pub(super) fn with_clock(service: Service<S>, clock: Arc<ManualClock>) -> Self {
        let log = Script::new();
        let definition = Arc::new(service.into_definition().unwrap());
        let of_worker: Arc<dyn Clock + Send + Sync> = clock.clone();
        let worker = Worker::new(definition, log.clone(), of_worker, 0);
        Self { worker, log, clock }
    }

    /// Steps until nothing is left to do at this time.
    pub(super) fn settle(&mut self) {
        for _ in 0..1_000 {
            if self.worker.step(Duration::ZERO).unwrap() != Progress::Busy {
                return;
            }
        }
        panic!("the worker does not come to rest");
    }

    /// Steps until the worker has ended in order.
    pub(super) fn settle_to_the_end(&mut self) {
        for _ in 0..1_000 {
            if self.step() == Progress::Stopped {
                return;
            }
        }
        panic!("the worker does not end");
    }

    /// One step, which may leave things to do.
    pub(super) fn step(&mut self) -> Progress {
        self.worker.step(Duration::ZERO).unwrap()
    }

    /// Lets time pass, then settles.
    pub(super) fn after(&mut self, time: Duration) {
        self.clock.advance(time);
        self.settle();
    }

    /// Steps until the worker has ended with an error; answers its text.
    pub(super) fn failed(&mut self) -> String {
        self.error().to_string()
    }

    /// As [`failed`](Self::failed), the error itself.
    pub(super) fn error(&mut self) -> Error {
        for _ in 0..1_000 {
            if let Err(error) = self.worker.step(Duration::ZERO) {
                return error;
            }
        }
        panic!("the worker does not fail");
    }
}

/// Copies `in` to `out`; refuses `bad`, panics at `panic`, refuses `flaky` at the first attempt.
pub(super) fn copy(
    (): &mut (),
    record: Record<(), String>,
    context: &mut Context,
) -> Result<(), ProcessError> {
    match record.value.as_str() {
        "bad" => Err(ProcessError::new("a bad record")),
        "hopeless" => Err(ProcessError::new("a hopeless record").permanent()),
        "flaky" if context.attempt() == 1 => Err(ProcessError::new("not yet")),
        "panic" => panic!("a handler's panic"),
        _ => context.emit(&OUT, &(), &record.value),
    }
}

pub(super) fn copier() -> Service<()> {
    Service::new("copier", || ()).input(&IN, copy).output(&OUT)
}

/// Something that is already there when a test begins.
pub(super) const SECOND: Duration = Duration::from_secs(1);
