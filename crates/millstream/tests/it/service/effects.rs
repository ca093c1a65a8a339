//! What a handler emits arrives as it was emitted, whichever way it takes into the client.

use millstream::codec::{Nullable, Raw};
use millstream::reader::{Polled, Reader, Until};
use millstream::{Context, Headers, OwnedRecord, Partition, Record, Service, Timestamp, Topic};

use super::running::{Running, group, quick};
use crate::support::{PATIENCE, cluster, eventually, numbers, write};

type Bytes = Option<Vec<u8>>;

static EFFECTS: Topic<Bytes, Bytes> = Topic::new("effects", &Nullable(Raw), &Nullable(Raw));

fn bytes(text: &str) -> Bytes {
    Some(text.as_bytes().to_vec())
}

/// What an effect carries besides key and value.
#[derive(Default)]
struct Besides {
    headers: Headers,
    timestamp: Option<Timestamp>,
    partition: Option<Partition>,
}

/// What the handler emits for record `number`.
fn effect(number: u64) -> (Bytes, Bytes, Besides) {
    let none = Besides::default();
    match number {
        0 => (bytes("key"), bytes("value"), none),
        1 => (None, bytes(""), none),
        2 => (bytes(""), None, none),
        3 => {
            let headers = Headers::new().with("a", "1").with("a", "");
            (
                bytes("key"),
                bytes("with headers"),
                Besides { headers, ..none },
            )
        }
        4 => {
            let timestamp = Some(Timestamp::from_millis(1_000_000_000_000));
            (
                bytes("key"),
                bytes("with a time"),
                Besides { timestamp, ..none },
            )
        }
        _ => {
            let partition = Some(Partition(0));
            (
                bytes("key"),
                bytes("to a partition"),
                Besides { partition, ..none },
            )
        }
    }
}

fn on_topic(topic: &Topic<Bytes, Bytes>) -> Vec<OwnedRecord<Bytes, Bytes>> {
    let plan = Reader::of(topic).until(Until::End);
    let mut reader = plan.open(&cluster()).unwrap();
    let mut records = Vec::new();
    loop {
        match reader.poll(PATIENCE).unwrap() {
            Polled::Record(record) => records.push(record),
            Polled::Nothing => {}
            Polled::Undecodable(bad) => panic!("{bad}"),
            Polled::End => return records,
        }
    }
}

/// Plain effects take another way than those with headers or a time of their own: both keep every byte, null and empty
/// apart, and the order of one partition.
#[test]
fn effects_arrive_as_they_were_emitted_and_in_order() {
    const COUNT: u64 = 6;
    let from = numbers(1);
    // Of one partition, and fresh: only the name is taken.
    let to = EFFECTS.clone().named(numbers(1).name());
    let target = to.clone();
    let on_number = move |(): &mut (), record: Record<String, u64>, context: &mut Context| {
        let (key, value, besides) = effect(record.value);
        if record.value < 3 {
            return context.emit(&target, &key, &value);
        }
        let mut draft = context
            .record(&target, &key, &value)
            .headers(&besides.headers);
        if let Some(timestamp) = besides.timestamp {
            draft = draft.timestamp(timestamp);
        }
        if let Some(partition) = besides.partition {
            draft = draft.partition(partition);
        }
        draft.emit()
    };
    write(&from, 0, 0..COUNT);
    let service = Service::new(group(), || ()).input(&from, on_number);
    let running = Running::start(quick(service.output(&to)));
    eventually("every effect is there", || {
        on_topic(&to).len() as u64 == COUNT
    });
    running.stop().unwrap();
    for (record, number) in on_topic(&to).into_iter().zip(0..) {
        let (key, value, besides) = effect(number);
        assert_eq!(*record.headers(), besides.headers, "{number}");
        let time = besides.timestamp.unwrap_or(record.timestamp);
        assert_eq!(
            (record.key, record.value, record.timestamp),
            (key, value, time),
            "{number}"
        );
        assert!(record.timestamp.is_known(), "{number}");
    }
}
