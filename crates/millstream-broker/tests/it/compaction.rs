//! Compaction as clients meet it: of each key, the newest record stays.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::records::{Compression, Record};

use crate::cluster::{Cluster, eventually, unique};
use crate::raw::{Client, batch, encode, now_ms, record, records};

/// A batch of keys with one value.
pub(crate) fn keyed(keys: &[&str], value: &str) -> Bytes {
    let record = |(offset, key): (i64, &&str)| Record {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        ..record(offset, value, now_ms())
    };
    let all: Vec<Record> = (0..).zip(keys).map(record).collect();
    encode(&all, Compression::None)
}

/// Offset, key and value of all records of partition 0.
pub(crate) fn read_all(client: &mut Client, topic: &str) -> Vec<(i64, String, String)> {
    let end = client.list_offset(topic, 0, -1).offset;
    let text = |bytes: Option<Bytes>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let (mut from, mut found) = (0, Vec::new());
    while from < end {
        let fetched = records(&client.fetch(topic, 0, from));
        let Some(last) = fetched.last().map(|record| record.offset) else {
            return found;
        };
        let new = fetched.into_iter().filter(|record| record.offset >= from);
        found.extend(new.map(|record| (record.offset, text(record.key), text(record.value))));
        from = last + 1;
    }
    found
}

const CONFIGS: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("segment.ms", "1"),
];

#[test]
fn the_newest_record_of_each_key_stays_in_its_place() {
    let cluster = Cluster::start_with(|config| {
        config.compaction_check = std::time::Duration::from_millis(10);
    });
    let mut client = cluster.connect();
    let name = unique("compacted");
    client.create_topic(&name, 1, &CONFIGS);
    for value in ["1", "2", "3"] {
        let produced = client.produce(&name, 0, keyed(&["a", "b"], value));
        assert_eq!(produced.error_code, 0);
    }
    let kept = eventually("the records that were replaced are gone", || {
        // Segments are rolled by appends.
        client.produce(&name, 0, keyed(&["tick"], "-"));
        let found = read_all(&mut client, &name);
        let kept = found.into_iter().filter(|record| record.1 != "tick");
        let kept: Vec<_> = kept.collect();
        (kept.len() == 2).then_some(kept)
    });
    let one = |offset, key: &str| (offset, key.to_owned(), "3".to_owned());
    assert_eq!(kept, [one(4, "a"), one(5, "b")]);
    assert_eq!(client.list_offset(&name, 0, -2).offset, 0);
    // Who asks for an offset that is gone gets what follows.
    assert_eq!(records(&client.fetch(&name, 0, 1))[0].offset, 4);
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    let mut client = Cluster::start().connect();
    let name = unique("keys");
    client.create_topic(&name, 1, &CONFIGS);
    let refused = client.produce(&name, 0, batch(&[("no key", now_ms())]));
    assert_eq!(refused.error_code, ResponseError::InvalidRecord.code());
    assert_eq!(client.produce(&name, 0, keyed(&[""], "1")).error_code, 0);
    assert_eq!(read_all(&mut client, &name).len(), 1);
}
