//! The emitter: every record is accounted for.

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use millstream::codec::{Json, NoKey, Nullable, Raw, Text};
use millstream::reader::{Polled, Reader, Until};
use millstream::testing::eventually;
use millstream::{Cluster, Counts, Emitter, Headers, Offset, Outcome, Partition, Timestamp, Topic};

use crate::support::{PATIENCE, cluster, numbers, unique};

#[test]
fn what_was_sent_is_read_with_everything_it_carried() {
    let topic = numbers(2);
    let emitter = Emitter::new(&cluster()).unwrap();
    let headers = Headers::new().with("trace", "abc").with("empty", "");
    let position = emitter
        .record(&topic, "k", &7)
        .partition(Partition(1))
        .timestamp(Timestamp::from_millis(1_700_000_000_123))
        .headers(&headers)
        .send_and_wait()
        .unwrap();
    assert_eq!(position.to_string(), format!("{}[1]@0", topic.name()));

    let mut reader = Reader::of(&topic)
        .until(Until::End)
        .open(&cluster())
        .unwrap();
    let record = loop {
        match reader.poll(PATIENCE).unwrap() {
            Polled::Record(record) => break record,
            Polled::Nothing => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((record.key.as_str(), record.value), ("k", 7));
    assert_eq!(*record.headers(), headers);
    assert_eq!(record.timestamp, Timestamp::from_millis(1_700_000_000_123));
    assert_eq!(record.position, position);
}

#[test]
fn every_record_sent_by_many_threads_is_delivered_in_order_and_counted() {
    let topic = numbers(3);
    let emitter = Emitter::new(&cluster()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (emitter, topic) = (emitter.clone(), &topic);
            scope.spawn(move || {
                for number in 0..2_000 {
                    emitter
                        .record(topic, &format!("{thread}"), &number)
                        .partition(Partition(thread))
                        .send()
                        .unwrap();
                }
            });
        }
    });
    let counts = emitter.close(PATIENCE).unwrap();
    assert_eq!(
        counts,
        Counts {
            accepted: 6_000,
            delivered: 6_000,
            failed: 0
        }
    );

    let mut reader = Reader::of(&topic)
        .until(Until::End)
        .open(&cluster())
        .unwrap();
    let mut read = [vec![], vec![], vec![]];
    loop {
        match reader.poll(PATIENCE).unwrap() {
            Polled::Record(record) => {
                read[usize::try_from(record.position.partition.0).unwrap()].push(record.value);
            }
            Polled::Nothing => {}
            Polled::End => break,
            Polled::Undecodable(bad) => panic!("{bad}"),
        }
    }
    let expected: Vec<u64> = (0..2_000).collect();
    assert_eq!(read, [expected.clone(), expected.clone(), expected]);
}

#[test]
fn a_full_queue_makes_the_sender_wait_and_loses_nothing() {
    let topic = numbers(1);
    let small = cluster()
        .property("queue.buffering.max.messages", "10")
        .unwrap();
    let emitter = Emitter::new(&small).unwrap();
    for number in 0..500 {
        emitter.send(&topic, "", &number).unwrap();
    }
    emitter.flush(PATIENCE).unwrap();
    assert_eq!(
        emitter.counts(),
        Counts {
            accepted: 500,
            delivered: 500,
            failed: 0
        }
    );
}

#[test]
fn a_receipt_tells_the_position_of_its_own_record() {
    let topic = numbers(1);
    let emitter = Emitter::new(&cluster()).unwrap();
    let (told, positions) = mpsc::channel();
    for number in 0..3 {
        let told = told.clone();
        let receipt = move |outcome: Result<millstream::Position, _>| {
            told.send((number, outcome.unwrap().offset)).unwrap();
        };
        emitter
            .record(&topic, "", &number)
            .send_then(receipt)
            .unwrap();
    }
    emitter.flush(PATIENCE).unwrap();
    let positions: Vec<_> = positions.try_iter().collect();
    assert_eq!(
        positions,
        [
            (0, Offset::new(0)),
            (1, Offset::new(1)),
            (2, Offset::new(2))
        ]
    );
}

#[test]
fn keys_and_values_may_be_null_or_raw() {
    static MARKS: Topic<(), Option<String>> = Topic::new("marks", &NoKey, &Nullable(Text));
    static BYTES: Topic<Vec<u8>, Option<Vec<u8>>> = Topic::new("marks", &Raw, &Nullable(Raw));
    let name = numbers(1).name().to_owned();
    let emitter = Emitter::new(&cluster()).unwrap();
    let marks = MARKS.clone().named(name.clone());
    emitter.send(&marks, &(), &None).unwrap();
    emitter.send(&marks, &(), &Some(String::new())).unwrap();
    emitter.flush(PATIENCE).unwrap();

    let mut reader = Reader::of(&BYTES.clone().named(name))
        .until(Until::End)
        .open(&cluster())
        .unwrap();
    let mut read = vec![];
    loop {
        match reader.poll(PATIENCE).unwrap() {
            // The key is null, which `Raw` refuses: the record arrives with its bytes all the same.
            Polled::Undecodable(bad) => read.push((bad.part, bad.key, bad.value)),
            Polled::Record(record) => panic!("{record:?}"),
            Polled::Nothing => {}
            Polled::End => break,
        }
    }
    assert_eq!(read, [("key", None, None), ("key", None, Some(vec![]))]);
}

#[test]
fn a_record_the_codec_refuses_is_not_sent() {
    static RATIOS: Topic<(), f64> = Topic::new("ratios", &NoKey, &Json);
    let emitter = Emitter::new(&cluster()).unwrap();
    let error = emitter.send(&RATIOS, &(), &f64::NAN).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to encode the value of a record for topic `ratios`"
    );
    assert_eq!(emitter.counts(), Counts::default());
}

#[test]
fn an_oversized_record_is_refused_at_once_with_its_size() {
    static BLOBS: Topic<(), Vec<u8>> = Topic::new("blobs", &NoKey, &Raw);
    let emitter = Emitter::new(&cluster()).unwrap();
    let error = emitter.send(&BLOBS, &(), &vec![0; 2_000_000]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to send a record of 2000000 bytes to topic `blobs`: message size too large"
    );
    assert_eq!(error.outcome(), Outcome::NotApplied);
}

#[test]
fn a_record_that_never_fits_into_the_queue_is_refused_at_once_with_size_and_bound() {
    static BLOBS: Topic<(), Vec<u8>> = Topic::new("blobs", &NoKey, &Raw);
    let sizes = [
        ("queue.buffering.max.kbytes", "1024"),
        ("message.max.bytes", "4000000"),
    ];
    let emitter = Emitter::new(&cluster().properties(sizes).unwrap()).unwrap();
    let (told, outcome) = mpsc::channel();
    std::thread::spawn(move || told.send(emitter.send(&BLOBS, &(), &vec![0; 2_000_000])));
    let error = outcome.recv_timeout(PATIENCE).expect("it does not wait");
    assert_eq!(
        error.unwrap_err().to_string(),
        "failed to send a record of 2000000 bytes to topic `blobs`: it is larger than the queue of 1048576 bytes, see \
         `queue.buffering.max.kbytes`"
    );
}

/// An emitter whose one place is taken by a record that nobody will acknowledge.
fn full(timeout_ms: &str) -> (TcpListener, Emitter, Topic<String, u64>) {
    let (listener, cluster) = unreachable();
    let small = [
        ("queue.buffering.max.messages", "1"),
        ("message.timeout.ms", timeout_ms),
    ];
    let emitter = Emitter::new(&cluster.properties(small).unwrap()).unwrap();
    (listener, emitter, numbers_elsewhere())
}

/// The natural way to try again: the receipt of a record that failed sends it once more. Another thread takes the room.
#[test]
fn a_receipt_that_sends_into_a_full_queue_gets_an_error_instead_of_waiting_for_itself() {
    let (_listener, emitter, topic) = full("500");
    let (told, outcomes) = mpsc::channel();
    for number in 0..4 {
        let (emitter, topic, told) = (emitter.clone(), topic.clone(), told.clone());
        std::thread::spawn(move || {
            let again = (emitter.clone(), topic.clone());
            let receipt = move |outcome: Result<_, millstream::Error>| {
                let first = outcome.unwrap_err().is_retriable();
                let waited = again.0.record(&again.1, "", &number).send_and_wait();
                let filled = again.0.send(&again.1, "", &number);
                told.send((
                    first,
                    waited.unwrap_err(),
                    filled,
                    again.0.send(&again.1, "", &9),
                ))
                .unwrap();
            };
            emitter.record(&topic, "", &number).send_then(receipt)
        });
    }
    for _ in 0..4 {
        let (first, waited, _, refused) = outcomes.recv_timeout(PATIENCE).expect("a receipt");
        assert!(first);
        let from = |what: &str| {
            format!(
                "failed to send a record to topic `{}`: {what}",
                topic.name()
            )
        };
        assert_eq!(
            waited.to_string(),
            from(
                "a receipt cannot wait for a delivery, because it runs on the thread that reports them"
            )
        );
        assert_eq!(
            refused.unwrap_err().to_string(),
            from(
                "the queue is full and a receipt cannot wait for room, because it runs on the thread that makes it"
            )
        );
    }
}

#[test]
fn a_receipt_may_own_the_last_handle() {
    let topic = numbers(1);
    let emitter = Emitter::new(&cluster()).unwrap();
    let (told, outcome) = mpsc::channel();
    let (go, held) = mpsc::channel::<()>();
    let last = emitter.clone();
    let receipt = move |_| {
        held.recv().unwrap();
        last.send(&topic, "", &2).unwrap();
        let name = topic.name().to_owned();
        drop(last);
        told.send(name).unwrap();
    };
    let topic = numbers(1);
    emitter.record(&topic, "", &1).send_then(receipt).unwrap();
    drop(emitter);
    go.send(()).unwrap();
    let name = outcome.recv_timeout(PATIENCE).expect("the receipt returns");
    let sent_in_it = crate::support::NUMBERS.clone().named(name);
    crate::support::eventually("the record sent in the receipt is delivered", || {
        let reader = Reader::of(&sent_in_it).until(Until::End).open(&cluster());
        reader.unwrap().count() == 1
    });
}

/// One thread flushes what it sent while another one sends without end.
#[test]
fn a_flush_waits_only_for_what_was_sent_before_it() {
    let topic = numbers(1);
    // There is always something that the other one has sent and that is not acknowledged.
    let slow = cluster().property("linger.ms", "300").unwrap();
    let emitter = Emitter::new(&slow).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                emitter.send(&topic, "", &1).unwrap();
                std::thread::park_timeout(Duration::from_micros(100));
            }
        });
        eventually(PATIENCE, "the other one sends", || {
            emitter.counts().delivered > 0
        });
        emitter.send(&topic, "", &2).unwrap();
        let flushed = emitter.flush(PATIENCE);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        flushed.unwrap();
    });
}

/// An address that nothing listens on, for as long as the listener is kept: it never accepts.
fn unreachable() -> (TcpListener, Cluster) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let cluster = Cluster::new(listener.local_addr().unwrap().to_string());
    (listener, cluster)
}

#[test]
fn without_a_broker_every_record_fails_loudly() {
    let (_listener, cluster) = unreachable();
    let cluster = cluster.property("message.timeout.ms", "500").unwrap();
    let emitter = Emitter::new(&cluster).unwrap();
    let topic = numbers_elsewhere();
    emitter.send(&topic, "", &1).unwrap();
    emitter.send(&topic, "", &2).unwrap();
    let error = emitter.flush(PATIENCE).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "failed to deliver 2 records, 0 more are undecided: failed to deliver a record to topic `{}`: message \
             timed out",
            topic.name()
        )
    );
    assert_eq!(
        emitter.counts(),
        Counts {
            accepted: 2,
            delivered: 0,
            failed: 2
        }
    );
    // What was told is not told again.
    emitter.flush(PATIENCE).unwrap();
    let error = emitter.record(&topic, "", &3).send_and_wait().unwrap_err();
    assert!(error.is_retriable(), "{error}");
}

#[test]
fn a_flush_that_runs_out_of_time_says_how_much_is_undecided() {
    let (_listener, cluster) = unreachable();
    let emitter = Emitter::new(&cluster.property("message.timeout.ms", "2000").unwrap()).unwrap();
    emitter
        .send(&numbers_elsewhere(), &String::new(), &1)
        .unwrap();
    let error = emitter.flush(Duration::from_millis(20)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to deliver 0 records, 1 more are undecided: no answer within 20 ms"
    );
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[test]
fn a_closed_emitter_refuses_further_records() {
    let emitter = Emitter::new(&cluster()).unwrap();
    let other = emitter.clone();
    assert_eq!(emitter.close(PATIENCE).unwrap(), Counts::default());
    let error = other
        .send(&numbers_elsewhere(), &String::new(), &1)
        .unwrap_err();
    assert!(
        error.to_string().ends_with(": the emitter is closed"),
        "{error}"
    );
}

/// A stop has only some seconds: it closes the emitter with the time that is left, and nothing may wait again after that.
#[test]
fn a_closed_emitter_does_not_wait_again_when_it_is_dropped() {
    let (_listener, cluster) = unreachable();
    let cluster = cluster.property("message.timeout.ms", "4000").unwrap();
    loop {
        let emitter = Emitter::new(&cluster).unwrap();
        let last = emitter.clone();
        let (told, outcome) = mpsc::channel();
        emitter
            .record(&numbers_elsewhere(), "", &1)
            .send_then(move |outcome| told.send(outcome).unwrap())
            .unwrap();
        emitter.close(Duration::ZERO).unwrap_err();
        if last.counts().pending() == 0 {
            continue; // The machine stood still for 4 s.
        }
        drop(last);
        let error = outcome.recv().unwrap().unwrap_err();
        assert!(error.to_string().ends_with(": purged in queue"), "{error}");
        return;
    }
}

#[test]
fn a_panicking_receipt_harms_no_other() {
    let topic = numbers(1);
    let emitter = Emitter::new(&cluster()).unwrap();
    emitter
        .record(&topic, "", &1)
        .send_then(|_| panic!("in a receipt"))
        .unwrap();
    emitter.record(&topic, "", &2).send_and_wait().unwrap();
    // A receipt comes before its count; a flush waits for the counts.
    emitter.flush(PATIENCE).unwrap();
    assert_eq!(
        emitter.counts(),
        Counts {
            accepted: 2,
            delivered: 2,
            failed: 0
        }
    );
}

#[test]
fn properties_that_exclude_idempotence_are_taken_without_it() {
    let weak = cluster()
        .properties([("acks", "1"), ("retries", "0")])
        .unwrap();
    Emitter::new(&weak).unwrap();
    let contradiction = weak.property("enable.idempotence", "true").unwrap();
    let error = Emitter::new(&contradiction).unwrap_err();
    assert!(
        error.to_string().starts_with("failed to make a producer: "),
        "{error}"
    );
}

fn numbers_elsewhere() -> Topic<String, u64> {
    crate::support::NUMBERS.clone().named(unique("nowhere"))
}

#[test]
fn what_was_delivered_is_counted_for_prometheus() {
    let recorder = millstream::metrics::recorder().unwrap();
    let topic = numbers(1);
    let emitter = Emitter::new(&cluster()).unwrap();
    emitter.record(&topic, "", &1).send_and_wait().unwrap();
    // Other tests of this process count in the same recorder, so only the presence is sure.
    let is_shown = || {
        let text = recorder.render();
        let shown = text
            .lines()
            .find_map(|line| line.strip_prefix("millstream_emitter_delivered_total "));
        shown.is_some_and(|count| count.parse::<u64>().unwrap() >= 1)
    };
    eventually(PATIENCE, "the delivery is counted", is_shown);
}

#[test]
fn an_error_of_the_client_shows_no_secret() {
    let secrets = [
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "alice-of-wonderland"),
        ("sasl.password", "hunter2-and-more"),
        ("ssl.key.pem", "no key but a secret"),
    ];
    let cluster = Cluster::new("127.0.0.1:1").properties(secrets).unwrap();
    let error = Emitter::new(&cluster).unwrap_err();
    let text = format!("{error} {error:?} {cluster:?}");
    for secret in [
        "alice-of-wonderland",
        "hunter2-and-more",
        "no key but a secret",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(
        error.to_string().starts_with("failed to make a producer: "),
        "{error}"
    );
}
