//! What the driver does with sockets that are slow, gone, or looked at late.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread::JoinHandle;

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, HeartbeatRequest, HeartbeatResponse, MetadataResponse,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;
use crate::config::Config;
use crate::exchange::{Owner, Step};
use crate::wire::api::{Api, Call, Reply};

const SECOND: Time = Duration::from_secs(1);

fn request(number: u64, node: Node) -> Outgoing {
    Outgoing {
        ticket: Ticket {
            owner: Owner::Membership,
            number,
        },
        target: Target::Node(node),
        lane: Lane::Group,
        call: Call::Heartbeat(HeartbeatRequest::default()),
        patience: SECOND,
    }
}

/// A cluster whose node 1 is at this port.
fn node_at(cluster: &mut Cluster, port: u16, now: Time) {
    cluster.stale(now);
    let mut out = Vec::new();
    cluster.step(&mut Step { now, out: &mut out });
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(1))
        .with_host(StrBytes::from_static_str("127.0.0.1"))
        .with_port(i32::from(port));
    let reply = MetadataResponse::default().with_brokers(vec![broker]);
    let number = out.pop().unwrap().ticket.number;
    cluster.answer(number, Ok(Reply::Metadata(reply)), now);
}

/// A port where nobody listens.
fn refused() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn what_waits_for_a_broker_that_comes_back_elsewhere_is_answered() {
    let config = Config::default().resolve();
    let mut cluster = Cluster::new(config.clone());
    let mut network = Network::new(&config).unwrap();
    node_at(&mut cluster, refused(), Time::ZERO);
    let mut answers = Vec::new();
    network.submit(&mut vec![request(1, 1)], &cluster, Time::ZERO);
    while answers.is_empty() {
        network.wait(|| Time::ZERO, SECOND, &mut answers).unwrap();
    }
    // This one waits until the connection is tried again, which the clock here never allows.
    network.submit(&mut vec![request(2, 1)], &cluster, Time::ZERO);
    node_at(&mut cluster, refused(), SECOND * 400);
    network.submit(&mut vec![request(3, 1)], &cluster, Time::ZERO);
    while answers.len() < 3 {
        let before = answers.len();
        network.wait(|| Time::ZERO, SECOND, &mut answers).unwrap();
        assert!(
            answers.len() > before,
            "request 2 never comes back: {answers:?}"
        );
    }
    let numbers: Vec<_> = answers.iter().map(|(ticket, _)| ticket.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

/// One connection of a broker that answers when the test says so. It reports each request that it has read, and each answer that it has written.
fn scripted(listener: TcpListener) -> (mpsc::Sender<()>, mpsc::Receiver<()>, JoinHandle<()>) {
    let (go, may_answer) = mpsc::channel::<()>();
    let (done, happened) = mpsc::channel();
    let served = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut receive = || {
            let mut length = [0; 4];
            socket.read_exact(&mut length).unwrap();
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
            let mut frame = vec![0; length];
            socket.read_exact(&mut frame).unwrap();
            let mut send = socket.try_clone().unwrap();
            move |tagged: bool, body: &[u8]| {
                let mut answer = frame[4..8].to_vec();
                if tagged {
                    answer.push(0);
                }
                answer.extend_from_slice(body);
                let length = u32::try_from(answer.len()).unwrap();
                send.write_all(&length.to_be_bytes()).unwrap();
                send.write_all(&answer).unwrap();
            }
        };
        let keys = Api::ALL.iter().map(|api| {
            let (_, max) = api.versions();
            let key = ApiVersion::default().with_api_key(api.key());
            key.with_max_version(max)
        });
        let versions = ApiVersionsResponse::default().with_api_keys(keys.collect());
        let mut body = Vec::new();
        versions.encode(&mut body, 3).unwrap();
        receive()(false, &body);
        let mut answer = receive();
        done.send(()).unwrap();
        may_answer.recv().unwrap();
        let mut body = Vec::new();
        HeartbeatResponse::default().encode(&mut body, 4).unwrap();
        answer(true, &body);
        done.send(()).unwrap();
        // The connection stays until the test has read from it.
        let _ = may_answer.recv();
    });
    (go, happened, served)
}

/// A broker that has read a request and waits for the test, and the client's side of it.
struct Asked {
    go: mpsc::Sender<()>,
    happened: mpsc::Receiver<()>,
    served: JoinHandle<()>,
    cluster: Cluster,
    network: Network,
    answers: Vec<(Ticket, Answer)>,
}

fn asked() -> Asked {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (go, happened, served) = scripted(listener);
    let config = Config::default().resolve();
    let mut cluster = Cluster::new(config.clone());
    let mut network = Network::new(&config).unwrap();
    node_at(&mut cluster, port, Time::ZERO);
    let mut answers = Vec::new();
    network.submit(&mut vec![request(1, 1)], &cluster, Time::ZERO);
    while happened.try_recv().is_err() {
        let pause = Duration::from_millis(20);
        network.wait(|| Time::ZERO, pause, &mut answers).unwrap();
    }
    Asked {
        go,
        happened,
        served,
        cluster,
        network,
        answers,
    }
}

#[test]
fn an_answer_that_has_arrived_counts_however_late_the_caller_looks() {
    let Asked {
        go,
        happened,
        served,
        cluster,
        mut network,
        mut answers,
    } = asked();
    go.send(()).unwrap();
    happened.recv().unwrap();
    // The handler took an hour; by now the answer lies in the socket.
    let later = SECOND * 3600;
    network.submit(&mut vec![request(2, 1)], &cluster, later);
    network
        .wait(|| later, Duration::ZERO, &mut answers)
        .unwrap();
    drop(go);
    served.join().unwrap();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let (ticket, answer) = answers.remove(0);
    assert_eq!(ticket.number, 1);
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn what_is_given_up_says_whether_it_was_sent_and_is_not_sent_later() {
    let Asked {
        go,
        happened,
        served,
        cluster,
        mut network,
        mut answers,
    } = asked();
    // The broker has read it and will not answer.
    network.hang_up(Time::ZERO, &mut answers);
    let (_, answer) = answers.pop().unwrap();
    assert!(matches!(answer, Err(Loss::Unknown)), "{answer:?}");
    // This one waits until the connection is tried again.
    network.submit(&mut vec![request(2, 1)], &cluster, Time::ZERO);
    network.hang_up(Time::ZERO, &mut answers);
    let (_, answer) = answers.pop().unwrap();
    assert!(matches!(answer, Err(Loss::NotSent)), "{answer:?}");
    assert!(
        network
            .links
            .iter()
            .all(|link| link.machine.waiting.is_empty())
    );
    drop(go);
    drop(happened);
    // Its broker finds that nobody waits for an answer any more.
    drop(served.join());
}

/// A socket that takes some bytes and is full, each time.
struct Slow(usize);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_socket_that_is_never_quite_done_keeps_no_bytes_that_it_has_taken() {
    let (mut output, mut written) = (vec![0; 1500], 0);
    for _ in 0..1000 {
        output.extend_from_slice(&[0; 1000]);
        write_some(&mut output, &mut written, &mut Slow(1000)).unwrap();
        assert_eq!(output.len() - written, 1500);
    }
    assert!(output.capacity() < 20_000, "{} bytes", output.capacity());
}
