//! The broker under test, topics of a test's own, and clients with which the tests compare.

use std::fmt::Display;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{CreateTopicsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use millstream_broker::{Config as BrokerConfig, Server};
use millstream_client::wire::api::{Call, Reply};
use millstream_client::wire::frame::{FrameReader, Progress};
use millstream_client::{Client, Config, Error, Event};
use rdkafka::ClientConfig;
use tempfile::TempDir;

/// How long a condition may take to come true before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A broker to test on: an embedded one, ended with the value, or the Kafka that the environment names.
pub(crate) struct Broker {
    address: String,
    embedded: Option<(Server, TempDir)>,
}

impl Broker {
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment says which broker the suite runs on"
    )]
    pub(crate) fn start() -> Broker {
        if let Ok(address) = std::env::var("KAFKA") {
            return Broker {
                address,
                embedded: None,
            };
        }
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(BrokerConfig::ephemeral(folder.path())).unwrap();
        Broker {
            address: server.address().to_string(),
            embedded: Some((server, folder)),
        }
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(&self.address).unwrap()
    }

    pub(crate) fn client(&self, properties: &[(&str, &str)]) -> Client {
        let config = properties
            .iter()
            .fold(self.config(), |config, (name, value)| {
                config.set(name, value).unwrap()
            });
        Client::new(&config).unwrap()
    }

    /// A topic that no other test uses.
    pub(crate) fn topic(&self, partitions: i32) -> String {
        topic_at(&self.address, partitions)
    }

    /// The foreign client's configuration.
    pub(crate) fn rdkafka(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((server, _folder)) = self.embedded.take() {
            let stopped = server.stop();
            if !std::thread::panicking() {
                stopped.unwrap();
            }
        }
    }
}

/// As [`Broker::topic`], on the broker at this address.
pub(crate) fn topic_at(address: &str, partitions: i32) -> String {
    let name = fresh("topic");
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.clone())))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    let reply = call(address, &Call::CreateTopics(request));
    let Reply::CreateTopics(reply) = reply else {
        panic!("an answer to another request: {reply:?}");
    };
    assert_eq!(reply.topics[0].error_code, 0, "{:?}", reply.topics[0]);
    name
}

/// One request to the first broker on a connection of its own, with the newest version of this client.
fn call(address: &str, call: &Call) -> Reply {
    let (first, _) = address.split_once(',').unwrap_or((address, ""));
    let mut socket = TcpStream::connect(first).unwrap();
    let (_, version) = call.api().versions();
    let mut bytes = Vec::new();
    call.encode(version, 1, "test", &mut bytes).unwrap();
    socket.write_all(&bytes).unwrap();
    match FrameReader::new(1 << 20).read(&mut socket).unwrap() {
        Progress::Frame(frame) => call.api().decode(version, &frame).unwrap(),
        progress => panic!("no answer: {progress:?}"),
    }
}

/// A name that no other test and no earlier run has used: the broker may be an old one.
pub(crate) fn fresh(word: impl Display) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    format!("{word}-{process}-{count}-{:08x}", fastrand::u32(..))
}

/// Polls until `seen` has what it waits for; fails with what that was.
#[expect(
    clippy::disallowed_methods,
    reason = "the deadline of a test is on the clock of the machine"
)]
pub(crate) fn until<T>(
    client: &mut Client,
    what: &str,
    mut seen: impl FnMut(&mut Client, Option<Event>) -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        let event = client.poll(Duration::from_millis(50)).unwrap();
        if let Some(value) = seen(client, event) {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "never happened: {what}");
    }
}

/// Sends what is open and waits until all of it is delivered.
pub(crate) fn deliver(client: &mut Client) {
    client.flush();
    let mut failed: Vec<Error> = Vec::new();
    until(client, "everything delivered", |client, event| {
        if let Some(Event::Delivered(delivery)) = event {
            failed.extend(delivery.result.err());
        }
        client.is_delivered().then_some(())
    });
    assert_eq!(
        failed.iter().map(Error::to_string).collect::<Vec<_>>(),
        Vec::<String>::new()
    );
}
