//! The broker under test, and topics that no other test uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millstream::admin::Admin;
use millstream::codec::{Json, Text};
use millstream::{Clock as _, Cluster, Emitter, Partition, SystemClock, Topic, TopicSpec};
use millstream_broker::{Config, Server};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The address of the broker under test.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the tests' configuration is read"
)]
pub(crate) fn brokers() -> String {
    std::env::var("KAFKA").unwrap_or_else(|_| embedded())
}

/// One embedded broker for all tests of this process.
fn embedded() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let config = Config::ephemeral(folder());
        Server::start(config).unwrap()
    });
    server.address().to_string()
}

/// The folder of this process, beside the build. Nobody drops what a `static` owns, so those of earlier runs are removed here.
fn folder() -> PathBuf {
    let shelf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("brokers");
    let earlier = fs::read_dir(&shelf).into_iter().flatten().flatten();
    for folder in earlier.filter(|_| Path::new("/proc/self").exists()) {
        if !Path::new("/proc").join(folder.file_name()).exists() {
            fs::remove_dir_all(folder.path()).unwrap();
        }
    }
    let own = shelf.join(std::process::id().to_string());
    fs::create_dir_all(&own).unwrap();
    own
}

pub(crate) fn cluster() -> Cluster {
    brokers().parse().unwrap()
}

pub(crate) fn admin() -> Admin {
    Admin::new(&cluster()).unwrap().patience(PATIENCE)
}

/// A name that no other test and no earlier run uses.
pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{count}", std::process::id())
}

pub(crate) static NUMBERS: Topic<String, u64> = Topic::new("numbers", &Text, &Json);

/// A fresh topic of numbers.
pub(crate) fn numbers(partitions: i32) -> Topic<String, u64> {
    let topic = NUMBERS.clone().named(unique("numbers"));
    admin()
        .create(&TopicSpec {
            partitions: Some(partitions),
            ..TopicSpec::named(topic.name())
        })
        .unwrap();
    topic
}

/// Writes these numbers to one partition and waits until they are there.
pub(crate) fn write(
    topic: &Topic<String, u64>,
    partition: i32,
    numbers: impl IntoIterator<Item = u64>,
) {
    let emitter = Emitter::new(&cluster()).unwrap();
    for number in numbers {
        let key = format!("key-{number}");
        emitter
            .record(topic, &key, &number)
            .partition(Partition(partition))
            .send()
            .unwrap();
    }
    emitter.flush(PATIENCE).unwrap();
}

/// Waits for a condition on the cluster, which need not hold at once.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(PATIENCE);
    while !holds() {
        assert!(clock.now() < deadline, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
