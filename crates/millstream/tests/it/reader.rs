//! The reader: from every kind of beginning to every kind of end.

use millstream::codec::{Json, Kind, Raw, Text};
use millstream::merged::{MergedReader, Next};
use millstream::reader::{Plan, Polled, Reader, Since, Until};
use millstream::{
    Cluster, Emitter, Error, NextOffset, Partition, Timestamp, Topic, TopicPartition,
};

use crate::support::{NUMBERS, PATIENCE, admin, cluster, eventually, numbers, unique, write};

/// Reads to the end: partition and value of each record.
fn read(plan: Plan<String, u64>) -> Vec<(i32, u64)> {
    let reader = plan.open(&cluster()).unwrap();
    let records = reader.map(Result::unwrap);
    let mut all: Vec<_> = records
        .map(|record| (record.position.partition.0, record.value))
        .collect();
    all.sort_by_key(|(partition, _)| *partition);
    all
}

fn of_partition(partition: i32, values: std::ops::Range<u64>) -> Vec<(i32, u64)> {
    values.map(|value| (partition, value)).collect()
}

#[test]
fn a_bounded_reader_reads_all_partitions_to_their_end() {
    let topic = numbers(3);
    write(&topic, 0, 0..10);
    write(&topic, 2, 100..105);
    let all = read(Reader::of(&topic).until(Until::End));
    assert_eq!(
        all,
        [of_partition(0, 0..10), of_partition(2, 100..105)].concat()
    );
}

#[test]
fn an_empty_topic_is_at_its_end_at_once() {
    let topic = numbers(2);
    let mut reader = Reader::of(&topic)
        .until(Until::End)
        .open(&cluster())
        .unwrap();
    assert!(reader.is_done());
    assert!(matches!(reader.poll(PATIENCE), Ok(Polled::End)));
}

#[test]
fn reading_begins_at_an_offset_the_last_few_or_the_end() {
    let topic = numbers(1);
    write(&topic, 0, 0..10);
    let from_four = Since::Offset(NextOffset::new(4));
    assert_eq!(
        read(Reader::of(&topic).since(from_four).until(Until::End)),
        of_partition(0, 4..10)
    );
    assert_eq!(
        read(Reader::of(&topic).since(Since::Last(3)).until(Until::End)),
        of_partition(0, 7..10)
    );
    assert_eq!(
        read(Reader::of(&topic).since(Since::Last(99)).until(Until::End)),
        of_partition(0, 0..10)
    );
    assert_eq!(
        read(Reader::of(&topic).since(Since::End).until(Until::End)),
        vec![]
    );
    let to_four = Until::Offset(NextOffset::new(4));
    assert_eq!(
        read(Reader::of(&topic).until(to_four)),
        of_partition(0, 0..4)
    );
}

#[test]
fn reading_begins_and_ends_at_a_time() {
    let topic = numbers(1);
    let emitter = Emitter::new(&cluster()).unwrap();
    let base = 1_700_000_000_000;
    for number in 0..10_u32 {
        let time = Timestamp::from_millis(base + 1_000 * i64::from(number));
        emitter
            .record(&topic, "", &u64::from(number))
            .timestamp(time)
            .send()
            .unwrap();
    }
    emitter.flush(PATIENCE).unwrap();
    let at = |seconds: i64| Timestamp::from_millis(base + 1_000 * seconds);
    let since = |seconds| Since::Time(at(seconds));
    assert_eq!(
        read(Reader::of(&topic).since(since(7)).until(Until::End)),
        of_partition(0, 7..10)
    );
    assert_eq!(
        read(Reader::of(&topic).since(since(99)).until(Until::End)),
        vec![]
    );
    assert_eq!(
        read(Reader::of(&topic).since(since(2)).until(Until::Time(at(5)))),
        of_partition(0, 2..5)
    );
}

#[test]
fn only_the_chosen_partitions_are_read() {
    let topic = numbers(3);
    for partition in 0..3 {
        write(&topic, partition, 0..5);
    }
    let chosen = [Partition(2), Partition(1)];
    let all = read(Reader::of(&topic).partitions(chosen).until(Until::End));
    assert_eq!(all, [of_partition(1, 0..5), of_partition(2, 0..5)].concat());
    let error = Reader::of(&topic)
        .partitions([Partition(3)])
        .open(&cluster())
        .unwrap_err();
    let said = format!(
        "topic `{}` is not valid: it has no partition 3, only 0 to 2",
        topic.name()
    );
    assert_eq!(error.to_string(), said);
}

#[test]
fn an_unbounded_reader_sees_what_is_written_later() {
    let topic = numbers(1);
    write(&topic, 0, 0..3);
    let mut reader = Reader::of(&topic)
        .since(Since::End)
        .open(&cluster())
        .unwrap();
    write(&topic, 0, 3..5);
    let mut values = vec![];
    while values.len() < 2 {
        match reader.poll(PATIENCE).unwrap() {
            Polled::Record(record) => values.push(record.value),
            Polled::Nothing => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(values, [3, 4]);
    assert_eq!(
        reader.positions().collect::<Vec<_>>(),
        [(Partition(0), NextOffset::new(5))]
    );
}

#[test]
fn a_record_that_cannot_be_decoded_is_given_with_its_bytes_and_reading_goes_on() {
    static LINES: Topic<String, Vec<u8>> = Topic::new("lines", &Text, &Raw);
    static VALUES: Topic<String, u64> = Topic::new("lines", &Text, &Json);
    let name = numbers(1).name().to_owned();
    let emitter = Emitter::new(&cluster()).unwrap();
    let lines = LINES.clone().named(name.clone());
    for line in [b"1".as_slice(), b"{\"a\":", b"", b"2"] {
        emitter
            .send(&lines, &"k".to_owned(), &line.to_vec())
            .unwrap();
    }
    emitter.flush(PATIENCE).unwrap();

    let mut reader = Reader::of(&VALUES.clone().named(name.clone()))
        .until(Until::End)
        .open(&cluster())
        .unwrap();
    let (mut good, mut bad) = (vec![], vec![]);
    loop {
        match reader.poll(PATIENCE).unwrap() {
            Polled::Record(record) => good.push(record.value),
            Polled::Undecodable(undecodable) => bad.push(*undecodable),
            Polled::Nothing => {}
            Polled::End => break,
        }
    }
    assert_eq!(good, [1, 2]);
    let [first, second] = bad.as_slice() else {
        panic!("{bad:?}")
    };
    assert_eq!(
        first.to_string(),
        format!(
            "the value of {name}[0]@1 cannot be decoded: failed to decode json at line 1 column 1: invalid type: map, \
             expected u64"
        )
    );
    assert_eq!(
        (first.error.kind(), second.error.kind()),
        (Kind::Type, Kind::Truncated)
    );
    assert_eq!(first.value.as_deref(), Some(b"{\"a\":".as_slice()));
    assert_eq!(
        (second.key.as_deref(), second.value.as_deref()),
        (Some(b"k".as_slice()), Some(b"".as_slice()))
    );
}

#[test]
fn as_an_iterator_a_reader_goes_on_after_what_it_cannot_decode() {
    static TEXTS: Topic<String, Vec<u8>> = Topic::new("numbers", &Text, &Raw);
    let topic = numbers(1);
    let emitter = Emitter::new(&cluster()).unwrap();
    let bytes = TEXTS.clone().named(topic.name());
    for value in ["1", "two", "3"] {
        emitter.send(&bytes, "k", value.as_bytes()).unwrap();
    }
    emitter.flush(PATIENCE).unwrap();
    let reader = Reader::of(&topic).until(Until::End);
    let read = reader.open(&cluster()).unwrap().map(|record| match record {
        Ok(record) => record.value.to_string(),
        Err(Error::Undecodable(bad)) => String::from_utf8(bad.value.unwrap()).unwrap(),
        Err(error) => panic!("{error}"),
    });
    assert_eq!(read.collect::<Vec<_>>(), ["1", "two", "3"]);
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let topic = NUMBERS.clone().named(unique("nowhere"));
    let error = Reader::of(&topic).open(&cluster()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("topic `{}` does not exist", topic.name())
    );

    let topic = numbers(1);
    write(&topic, 0, 0..3);
    let far = Since::Offset(NextOffset::new(4));
    let error = Reader::of(&topic).since(far).open(&cluster()).unwrap_err();
    let said = format!(
        "cannot read {}[0] from offset 4: the cluster has 0 to 3",
        topic.name()
    );
    assert_eq!(error.to_string(), said);
}

/// A cluster whose topics are looked at often, and a topic that gets its third partition while `opened` exists.
fn grown<R>(opened: impl FnOnce(&Cluster, &Topic<String, u64>) -> R) -> R {
    let topic = numbers(1);
    write(&topic, 0, 0..2);
    let cluster = cluster()
        .property("topic.metadata.refresh.interval.ms", "500")
        .unwrap();
    let reader = opened(&cluster, &topic);
    admin().raise_partitions(topic.name(), 3).unwrap();
    eventually("the topic has its new partitions", || {
        let topic = admin().topic(topic.name());
        topic.is_ok_and(|topic| topic.partitions.len() == 3)
    });
    write(&topic, 2, 2..4);
    reader
}

#[test]
fn an_unbounded_reader_reads_partitions_that_are_added() {
    let mut reader = grown(|cluster, topic| {
        let plan = Reader::of(topic).since(Since::End);
        plan.open(cluster).unwrap()
    });
    let values: Vec<u64> = reader
        .by_ref()
        .take(2)
        .map(|record| record.unwrap().value)
        .collect();
    assert_eq!(values, [2, 3]);
    let positions = [(0, 2), (1, 0), (2, 2)];
    let positions = positions.map(|(number, next)| (Partition(number), NextOffset::new(next)));
    assert_eq!(reader.positions().collect::<Vec<_>>(), positions);
}

#[test]
fn a_bounded_reader_keeps_to_the_partitions_it_began_with() {
    let reader = grown(|cluster, topic| {
        let plan = Reader::of(topic).until(Until::End);
        plan.open(cluster).unwrap()
    });
    let values: Vec<u64> = reader.map(|record| record.unwrap().value).collect();
    assert_eq!(values, [0, 1]);
}

#[test]
fn a_merged_reader_without_an_end_reads_partitions_that_are_added() {
    let mut reader = grown(|cluster, topic| {
        let plan = MergedReader::of([topic.name()]);
        plan.open(cluster).unwrap()
    });
    let mut values = Vec::new();
    while values.len() < 4 {
        if let Next::Record(record) = reader.poll(PATIENCE).unwrap() {
            values.push(String::from_utf8(record.value.unwrap()).unwrap());
        }
    }
    assert_eq!(values, ["0", "1", "2", "3"]);
}

/// More records than are kept whole, and more of them than one look takes: the looks end in between, and the last are found.
#[test]
fn the_last_records_are_found_also_when_they_are_too_large_to_be_kept() {
    let topic = Topic::new("bytes", &Text, &Raw).named(unique("bytes"));
    let spec = millstream::TopicSpec {
        partitions: Some(2),
        ..millstream::TopicSpec::named(topic.name())
    };
    admin().create(&spec).unwrap();
    let emitter = Emitter::new(&cluster()).unwrap();
    for number in 0..2_000_i64 {
        let value = vec![0; 10_000];
        let record = emitter.record(&topic, &number.to_string(), &value);
        let time = Timestamp::from_millis(1_000_000 + number);
        let partition = Partition(i32::from(number % 3 == 0));
        record.timestamp(time).partition(partition).send().unwrap();
    }
    emitter.flush(PATIENCE).unwrap();
    let plan = MergedReader::of([topic.name()]).since(Since::Last(1_500));
    let mut reader = plan.until(Until::End).open(&cluster()).unwrap();
    let (mut keys, mut looks) = (Vec::new(), 0);
    loop {
        match reader.poll(PATIENCE).unwrap() {
            Next::Record(record) => keys.push(String::from_utf8(record.key.unwrap()).unwrap()),
            Next::Nothing => looks += usize::from(keys.is_empty()),
            Next::End => break,
        }
    }
    let expected: Vec<String> = (500..2_000).map(|number: u64| number.to_string()).collect();
    assert_eq!(keys, expected);
    assert!(looks >= 1, "a caller can do something else in between");
}

/// The reader waits for a client that has not fetched far ahead; what it would read next is gone.
#[test]
fn a_position_that_retention_has_overtaken_is_named() {
    let topic = numbers(1);
    for number in 0..50 {
        write(&topic, 0, [number]);
    }
    let cluster = cluster()
        .property("queued.min.messages", "1")
        .and_then(|cluster| cluster.property("max.partition.fetch.bytes", "1"))
        .unwrap();
    let mut reader = Reader::of(&topic).open(&cluster).unwrap();
    let first = reader.next().unwrap().unwrap();
    assert_eq!(first.value, 0);
    let partition = TopicPartition::new(topic.name(), Partition(0));
    let before = [(partition.clone(), NextOffset::new(49))];
    admin().delete_records(&before).unwrap();
    let error = reader.find_map(Result::err).unwrap();
    let Error::InvalidPosition {
        partition: named,
        wanted,
        start,
        end,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((named, start.get(), end.get()), (partition, 49, 50));
    assert!((1..49).contains(&wanted.get()), "{wanted}");
}
