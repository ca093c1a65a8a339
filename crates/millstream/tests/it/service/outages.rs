//! Brokers that are away, come back, or answer with errors.
//!
//! librdkafka's mock cluster is the broker here: it can be switched off and told to answer with errors.

use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::Duration;

use millstream::admin::Admin;
use millstream::http::Health;
use millstream::reader::{Polled, Reader, Until};
use millstream::{
    Clock as _, Cluster, Context, Emitter, Error, OnError, Partition, Record, Service, Shutdown,
    Start, SystemClock, Topic,
};
use millstream_broker::{Config, Listener, Server};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, TopicPartitionList};

use super::delivery::copy;
use super::running::{Running, group};
use crate::support::{NUMBERS, PATIENCE, eventually, unique};

type Mock = MockCluster<'static, DefaultProducerContext>;
type Numbers = Topic<String, u64>;

/// A cluster of one broker that can be switched off.
struct Outage {
    mock: Mock,
    cluster: Cluster,
    emitter: Emitter,
}

impl Outage {
    fn new() -> Self {
        Self::with_brokers(1)
    }

    fn with_brokers(brokers: i32) -> Self {
        let mock = MockCluster::new(brokers).unwrap();
        let cluster = Cluster::new(mock.bootstrap_servers());
        let emitter = Emitter::new(&cluster).unwrap();
        Self {
            mock,
            cluster,
            emitter,
        }
    }

    fn topic(&self, what: &str) -> Numbers {
        self.topic_of(what, 1)
    }

    fn topic_of(&self, what: &str, partitions: i32) -> Numbers {
        let topic = NUMBERS.clone().named(unique(what));
        self.mock.create_topic(topic.name(), partitions, 1).unwrap();
        topic
    }

    /// A topic of two partitions with a leader each, and an output and a group that need only the first of them.
    fn two_leaders(&self) -> (Numbers, Numbers, String) {
        let (from, to, name) = (self.topic_of("from", 2), self.topic("to"), group());
        for (topic, partition, broker) in [(&from, 0, 1), (&from, 1, 2), (&to, 0, 1)] {
            let lead = self
                .mock
                .partition_leader(topic.name(), partition, Some(broker));
            lead.unwrap();
        }
        let coordinator = MockCoordinator::Group(name.clone());
        self.mock.coordinator(coordinator, 1).unwrap();
        (from, to, name)
    }

    fn write(&self, topic: &Numbers, numbers: std::ops::Range<u64>) {
        self.write_to(topic, Partition(0), numbers);
    }

    fn write_to(&self, topic: &Numbers, partition: Partition, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let key = number.to_string();
            self.emitter
                .record(topic, &key, &number)
                .partition(partition)
                .send()
                .unwrap();
        }
        self.emitter.flush(PATIENCE).unwrap();
    }

    fn numbers_on(&self, topic: &Numbers) -> Vec<u64> {
        let mut reader = Reader::of(topic)
            .until(Until::End)
            .open(&self.cluster)
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

    /// Waits until all of the first `count` numbers are on a topic; how many records there are.
    fn wait_for(&self, topic: &Numbers, count: u64) -> usize {
        let mut found = Vec::new();
        eventually(&format!("the first {count} numbers are there"), || {
            found = self.numbers_on(topic);
            (0..count).all(|number| found.contains(&number))
        });
        found.len()
    }

    /// What a group has committed for the one partition of a topic.
    fn committed(&self, group: &str, topic: &Numbers) -> Option<i64> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .set("group.id", group);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(topic.name(), 0);
        let list = consumer.committed_offsets(list, PATIENCE).ok()?;
        list.elements().first()?.offset().to_raw()
    }

    fn off(&self) {
        self.mock.broker_down(1).unwrap();
    }

    fn on(&self) {
        self.mock.broker_up(1).unwrap();
    }
}

/// A pause of the test itself, while something outside is to go on.
fn pass(time: Duration) {
    let clock = SystemClock::new();
    let end = clock.now().plus(time);
    while clock.now() < end {
        std::thread::park_timeout(end.since(clock.now()));
    }
}

// fault 11
#[test]
fn a_broker_that_was_away_gets_everything_once_it_is_back() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    // Far less room than the records need: while the broker is away the service stands still, its memory with it.
    let service = copy(&group(), &from, &to).max_bytes_in_flight(10_000);
    outage.write(&from, 0..5_000);
    let running = Running::on(outage.cluster.clone(), service);
    eventually("the first records are copied", || {
        !outage.numbers_on(&to).is_empty()
    });
    outage.off();
    pass(Duration::from_secs(3));
    outage.on();
    assert_eq!(
        outage.wait_for(&to, 5_000),
        5_000,
        "none is lost and none is doubled"
    );
    running.stop().unwrap();
}

// fault 13
#[test]
fn readiness_follows_the_broker() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    let health = Health::new();
    let service = copy(&group(), &from, &to).health(&health);
    outage.write(&from, 0..1);
    let running = Running::on(outage.cluster.clone(), service);
    outage.wait_for(&to, 1);
    eventually("the service is ready", || health.is_ready());
    outage.off();
    eventually("the service is not ready without a broker", || {
        !health.is_ready()
    });
    outage.on();
    eventually("the service is ready again", || health.is_ready());
    running.stop().unwrap();
    assert!(!health.is_ready());
}

/// One program, two services that are stopped apart: what is left is ready, also when the first runs again.
#[test]
fn a_service_that_has_ended_does_not_keep_another_one_from_being_ready() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    let health = Health::new();
    let start = || {
        let service = copy(&group(), &from, &to).health(&health);
        Running::on(outage.cluster.clone(), service)
    };
    let (first, second) = (start(), start());
    eventually("both are ready", || health.is_ready());
    first.stop().unwrap();
    eventually("the other one is ready", || health.is_ready());
    let first = start();
    eventually("both are ready again", || health.is_ready());
    first.stop().unwrap();
    second.stop().unwrap();
    assert_eq!(health.missing(), Vec::<String>::new());
    assert!(!health.is_ready());
}

// fault 12
#[test]
fn records_the_client_gave_up_on_are_sent_again() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    outage.write(&from, 0..100);
    let impatient = outage
        .cluster
        .clone()
        .property("message.timeout.ms", "1000")
        .unwrap();
    let seen = channel();
    let (sender, target) = (seen.0, to.clone());
    let on_number = move |(): &mut (), record: Record<String, u64>, context: &mut Context| {
        let _ = sender.send(record.value);
        context.emit(&target, &record.key, &record.value)
    };
    let service = Service::new(group(), || ())
        .input(&from, on_number)
        .output(&to);
    let errors = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 1_000];
    outage.mock.request_errors(RDKafkaApiKey::Produce, &errors);
    let running = Running::on(impatient, service);
    let mut times = 0;
    while times < 2 {
        let number = seen.1.recv_timeout(PATIENCE).unwrap();
        times += usize::from(number == 0);
    }
    outage.mock.clear_request_errors(RDKafkaApiKey::Produce);
    outage.wait_for(&to, 100);
    running.stop().unwrap();
}

/// A service whose producer is answered with this error for ever; the text of the error it ends with, and the copies there are.
fn ended_by(code: RDKafkaRespErr) -> (String, Vec<u64>) {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    outage.write(&from, 0..10);
    let dead = NUMBERS.clone().named(format!("{}.dlq", from.name()));
    outage.mock.create_topic(dead.name(), 1, 1).unwrap();
    outage
        .mock
        .request_errors(RDKafkaApiKey::Produce, &[code; 1_000]);
    let service = copy(&group(), &from, &to).on_error(OnError::dead_letter());
    let error = Running::on(outage.cluster.clone(), service)
        .ended()
        .unwrap_err()
        .to_string();
    outage.mock.clear_request_errors(RDKafkaApiKey::Produce);
    assert!(outage.numbers_on(&dead).is_empty(), "no record is to blame");
    (error.replace(to.name(), "to"), outage.numbers_on(&to))
}

#[test]
fn a_service_without_permission_to_write_ends_with_that_error() {
    let (error, copied) = ended_by(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(
        error,
        "failed to deliver a record to topic `to`: topic authorization failed"
    );
    assert_eq!(copied, Vec::<u64>::new());
}

// fault 17
#[test]
fn commits_the_coordinator_refuses_are_tried_again() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    let name = group();
    let errors = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 2];
    outage
        .mock
        .request_errors(RDKafkaApiKey::OffsetCommit, &errors);
    outage.write(&from, 0..100);
    // The client looks for another coordinator for seconds at each refusal; the member must not be given up meanwhile.
    let patient = copy(&name, &from, &to).session_timeout(Duration::from_secs(45));
    let running = Running::on(outage.cluster.clone(), patient);
    outage.wait_for(&to, 100);
    eventually("the position is committed all the same", || {
        outage.committed(&name, &from) == Some(100)
    });
    running.stop().unwrap();
}

// fault 5
#[test]
fn a_stop_while_the_broker_is_away_ends_at_its_deadline() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    outage.write(&from, 0..100);
    let name = group();
    let service = copy(&name, &from, &to).drain_within(Duration::from_secs(1));
    let running = Running::on(
        outage.cluster.clone(),
        service.commit_every(Duration::from_secs(60)),
    );
    outage.wait_for(&to, 100);
    outage.off();
    let clock = SystemClock::new();
    let stopping = clock.now();
    match running.stop() {
        // Whichever comes first on a busy machine: the worker that gives up its commit, or the deadline.
        Err(Error::LastCommit { service, .. } | Error::Stuck { service, .. }) => {
            assert_eq!(service, name);
        }
        other => panic!("the commit cannot have got through: {other:?}"),
    }
    assert!(
        clock.now().since(stopping) >= Duration::from_secs(1),
        "the drain has its budget"
    );
}

// fault 5
/// The usual case: a commit has been handed on, and the coordinator is gone before it has answered.
#[test]
fn a_stop_with_a_commit_that_is_not_answered_is_no_success() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    let errors = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 100_000];
    outage
        .mock
        .request_errors(RDKafkaApiKey::OffsetCommit, &errors);
    outage.write(&from, 0..100);
    let name = group();
    let service = copy(&name, &from, &to)
        .commit_every(Duration::from_millis(50))
        .drain_within(Duration::from_secs(1));
    let running = Running::on(outage.cluster.clone(), service);
    outage.wait_for(&to, 100);
    let error = running.stop().unwrap_err().to_string();
    // Refused to the last: a client that is still being closed may commit after the service has ended.
    assert_eq!(outage.committed(&name, &from), Some(-1001), "{error}");
}

// fault 13
/// READ on the input is withdrawn: the client says so once for each partition and then nothing more.
#[test]
fn a_service_without_permission_to_read_ends_with_that_error() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    let errors = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 100_000];
    outage.mock.request_errors(RDKafkaApiKey::Fetch, &errors);
    let name = group();
    let error = Running::on(outage.cluster.clone(), copy(&name, &from, &to))
        .ended()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("failed to read as group `{name}`: topic authorization failed")
    );
}

/// A new group, and one broker of two is down: what the other leads is read.
#[test]
fn a_partition_without_a_leader_does_not_keep_the_others_from_being_read() {
    let outage = Outage::with_brokers(2);
    let (from, to, name) = outage.two_leaders();
    outage.write(&from, 0..10);
    outage.mock.partition_leader(from.name(), 1, None).unwrap();
    let running = Running::on(outage.cluster.clone(), copy(&name, &from, &to));
    outage.wait_for(&to, 10);
    running.stop().unwrap();
}

/// The same from the end; when the leader is back, its partition is read from the end that it has then.
#[test]
fn a_partition_without_a_leader_keeps_a_group_that_starts_at_the_end_from_no_other() {
    let outage = Outage::with_brokers(2);
    let (from, to, name) = outage.two_leaders();
    outage.mock.partition_leader(from.name(), 1, None).unwrap();
    let service = copy(&name, &from, &to).start_from(Start::Latest);
    let running = Running::on(outage.cluster.clone(), service);
    eventually("the start is committed", || {
        outage.committed(&name, &from) == Some(0)
    });
    outage.write(&from, 0..10);
    outage.wait_for(&to, 10);
    outage
        .mock
        .partition_leader(from.name(), 1, Some(2))
        .unwrap();
    let mut next = 10;
    eventually("the other partition is read", || {
        outage.write_to(&from, Partition(1), next..next + 1);
        next += 1;
        outage.numbers_on(&to).iter().any(|number| *number >= 10)
    });
    running.stop().unwrap();
}

// fault 13
#[test]
fn a_broker_that_is_not_there_yet_is_waited_for() {
    let reserved = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let cluster = Cluster::new(address.to_string());
    let (from, to) = (
        NUMBERS.clone().named("from").partitions(1),
        NUMBERS.clone().named("to"),
    );
    let (running, lines) = Running::logged(cluster.clone(), copy("early", &from, &to));
    let brokers = format!("brokers=\"{address}\"");
    eventually("the wait is told", || {
        lines.tell(&["waiting for the cluster", "service=early", &brokers])
    });
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.listeners = vec![Listener::at(address)];
    let server = Server::start(config).unwrap();
    let emitter = Emitter::new(&cluster).unwrap();
    emitter.send(&from, "k", &7).unwrap();
    eventually("the record is copied", || {
        let reader = Reader::of(&to).until(Until::End).open(&cluster);
        reader.is_ok_and(|mut reader| {
            matches!(reader.poll(PATIENCE), Ok(Polled::Record(record)) if record.value == 7)
        })
    });
    running.stop().unwrap();
    server.stop().unwrap();
}

// fault 14
#[test]
fn a_broker_that_advertises_a_wrong_address_is_named_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    let listener = Listener::at(([127, 0, 0, 1], 0));
    config.listeners = vec![listener.advertised("no-such-host.invalid", 4711)];
    let server = Server::start(config).unwrap();
    let cluster = Cluster::new(server.address().to_string());
    let (from, to) = (
        NUMBERS.clone().named("from").partitions(1),
        NUMBERS.clone().named("to"),
    );
    let (running, lines) = Running::logged(cluster, copy("misled", &from, &to));
    eventually("the advertised address is told", || {
        lines.tell(&[
            "waiting for the cluster",
            "service=misled",
            "it advertises no-such-host.invalid:4711",
        ])
    });
    assert_eq!(running.stop().unwrap().read, 0);
    server.stop().unwrap();
}

// fault 19
#[test]
fn a_handler_slower_than_the_poll_interval_loses_its_partition_to_another_member() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    let name = group();
    let hasty = outage
        .cluster
        .clone()
        .property("max.poll.interval.ms", "6000")
        .unwrap();
    let (blocked, (called, calls)) = (Shutdown::new(), channel());
    // The first call of the first member returns only when another member has handled the same record.
    let service = |member: &'static str| {
        let (target, blocked, called) = (to.clone(), blocked.clone(), called.clone());
        let on_number = move |(): &mut (), record: Record<String, u64>, context: &mut Context| {
            let _ = called.send((member, record.value));
            if member == "second" {
                blocked.request();
            } else if record.value == 0 {
                blocked.wait(PATIENCE);
            }
            context.emit(&target, &record.key, &record.value)
        };
        let service = Service::new(&*name, || ())
            .input(&from, on_number)
            .output(&to);
        service.session_timeout(Duration::from_secs(6))
    };
    let first = Running::on(hasty.clone(), service("first"));
    outage.write(&from, 0..10);
    assert_eq!(calls.recv_timeout(PATIENCE), Ok(("first", 0)));
    let second = Running::on(hasty, service("second"));
    assert_eq!(calls.recv_timeout(PATIENCE), Ok(("second", 0)));
    outage.wait_for(&to, 10);
    first.stop().unwrap();
    second.stop().unwrap();
}

/// A handler that blocks, and what its service says of it.
#[test]
fn a_handler_that_does_not_return_is_reported_while_it_runs_and_blamed_for_the_stop() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    let release = Shutdown::new();
    let held = release.clone();
    let on_number = move |(): &mut (), _: Record<String, u64>, _: &mut Context| {
        held.wait(PATIENCE * 4);
        Ok(())
    };
    let (name, health) = (group(), Health::new());
    let service = Service::new(&*name, || ())
        .input(&from, on_number)
        .output(&to)
        .health(&health)
        .drain_within(Duration::from_millis(200));
    let (running, lines) = Running::logged(outage.cluster.clone(), service);
    outage.write(&from, 0..1);
    eventually("the handler is reported", || {
        lines.tell(&[
            "handler has not returned",
            &format!("topic={}", from.name()),
            "partition=0",
            "offset=0",
            "running_ms=",
        ])
    });
    let missing = format!(
        "{name} (the handler of {}[0]@0 has not returned)",
        from.name()
    );
    eventually("the service is not ready", || {
        health.missing() == [missing.clone()]
    });
    match running.stop() {
        Err(Error::StuckHandler { service, call, .. }) => {
            let expected = format!("the handler of {}[0]@0", from.name());
            assert_eq!((service, call), (name, expected));
        }
        other => panic!("the handler has not returned: {other:?}"),
    }
    release.request();
}

// fault 22
/// The cluster is slow to say where the partition starts and ends: the service waits for it instead of standing still.
#[test]
fn a_service_told_to_fail_does_so_when_the_cluster_is_slow_to_give_its_offsets() {
    let outage = Outage::new();
    let (from, to) = (outage.topic("from"), outage.topic("to"));
    outage.write(&from, 0..10);
    let name = group();
    let errors = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE; 20];
    outage
        .mock
        .request_errors(RDKafkaApiKey::ListOffsets, &errors);
    let service = copy(&name, &from, &to).start_from(Start::Fail);
    let error = Running::on(outage.cluster.clone(), service)
        .ended()
        .unwrap_err()
        .to_string();
    let from = from.name();
    assert_eq!(
        error,
        format!("service `{name}` cannot read {from}[0] from offset none: the cluster has 0 to 10")
    );
}

// fault 22
/// A partition that was only just made has a leader that does not know it yet.
#[test]
fn a_reader_waits_for_the_leader_of_a_new_partition() {
    let outage = Outage::new();
    let topic = outage.topic("new");
    outage.write(&topic, 0..3);
    let errors = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 5];
    outage
        .mock
        .request_errors(RDKafkaApiKey::ListOffsets, &errors);
    assert_eq!(outage.numbers_on(&topic), [0, 1, 2]);
}

/// The partition to blame is named, also among others.
#[test]
fn a_partition_whose_leader_does_not_answer_is_named() {
    let outage = Outage::with_brokers(2);
    let (from, _, _) = outage.two_leaders();
    outage.mock.partition_leader(from.name(), 1, None).unwrap();
    let admin = Admin::new(&outage.cluster).unwrap();
    let error = admin.patience(Duration::from_secs(1)).ranges(from.name());
    let error = error.unwrap_err().to_string();
    let name = from.name();
    assert!(
        error.starts_with(&format!("failed to ask for the start of {name}[1]: ")),
        "{error}"
    );
}

#[test]
fn an_emitter_says_whether_the_cluster_is_connected() {
    let outage = Outage::new();
    let emitter = Emitter::new(&outage.cluster).unwrap();
    eventually("it is connected", || emitter.connected() == Some(true));
    outage.off();
    eventually("it is not", || emitter.connected() == Some(false));
    outage.on();
    eventually("it is again", || emitter.connected() == Some(true));
}
