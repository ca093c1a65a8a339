//! A service on a thread of its own, and what it left on its output.

use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream::reader::{Polled, Reader, Until};
use millstream::{Cluster, Error, Service, Shutdown, Summary, Topic};

use crate::support::{PATIENCE, cluster, eventually, unique};

/// A service that runs until it is stopped; dropped, it is stopped and waited for.
pub(crate) struct Running {
    shutdown: Shutdown,
    result: Receiver<Result<Summary, Error>>,
}

impl Running {
    pub(crate) fn start<S: 'static>(service: Service<S>) -> Self {
        Self::on(cluster(), service)
    }

    pub(crate) fn on<S: 'static>(cluster: Cluster, service: Service<S>) -> Self {
        let shutdown = Shutdown::new();
        let (sender, result) = channel();
        let heeded = shutdown.clone();
        std::thread::spawn(move || {
            let _ = sender.send(service.run(&cluster, heeded));
        });
        Self { shutdown, result }
    }

    /// As [`on`](Self::on), and what the service's own thread logs until it has started its workers.
    pub(crate) fn logged<S: 'static>(cluster: Cluster, service: Service<S>) -> (Self, Lines) {
        let lines = Lines::default();
        let written = lines.clone();
        let shutdown = Shutdown::new();
        let (sender, result) = channel();
        let heeded = shutdown.clone();
        std::thread::spawn(move || {
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || written.clone());
            tracing::subscriber::with_default(subscriber.finish(), || {
                let _ = sender.send(service.run(&cluster, heeded));
            });
        });
        (Self { shutdown, result }, lines)
    }

    /// Stops it and waits for its end.
    pub(crate) fn stop(self) -> Result<Summary, Error> {
        self.shutdown.request();
        self.ended()
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(self) -> Result<Summary, Error> {
        self.result
            .recv_timeout(PATIENCE)
            .expect("the service ends")
    }
}

/// A service's settings as tests want them: quick to join, quick to commit.
pub(crate) fn quick<S: 'static>(service: Service<S>) -> Service<S> {
    service
        .session_timeout(Duration::from_secs(6))
        .commit_every(Duration::from_millis(100))
        .drain_within(Duration::from_secs(20))
}

/// A name for a service and its group.
pub(crate) fn group() -> String {
    unique("service")
}

/// All numbers on a topic by now, partition by partition, in order.
pub(crate) fn numbers_on(topic: &Topic<String, u64>) -> Vec<u64> {
    let mut reader = Reader::of(topic)
        .until(Until::End)
        .open(&cluster())
        .unwrap();
    let mut numbers = Vec::new();
    loop {
        match reader.poll(PATIENCE).unwrap() {
            Polled::Record(record) => numbers.push(record.value),
            Polled::Nothing => {}
            Polled::End => return numbers,
            Polled::Undecodable(bad) => panic!("{bad}"),
        }
    }
}

/// Waits until a topic has at least `count` records and answers them all.
pub(crate) fn wait_for_numbers(topic: &Topic<String, u64>, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    eventually(
        &format!("{count} records are on `{}`", topic.name()),
        || {
            numbers = numbers_on(topic);
            numbers.len() >= count
        },
    );
    numbers
}

/// How far a group is behind in each of its partitions.
pub(crate) fn lag(group: &str) -> Vec<Option<u64>> {
    let offsets = crate::support::admin().group(group).unwrap().offsets;
    offsets
        .iter()
        .map(millstream::admin::GroupOffset::lag)
        .collect()
}

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Whether a line has all of these words.
    pub(crate) fn tell(&self, words: &[&str]) -> bool {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
