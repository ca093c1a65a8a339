//! Records that fail, on a broker.

use std::time::Duration;

use millstream::codec::{Json, Raw, Text};
use millstream::reader::{Polled, Reader, Until};
use millstream::{
    Context, Emitter, NextOffset, OnError, Partition, ProcessError, Record, Service, Start, Topic,
    TopicPartition, dead_letter,
};

use super::delivery::{copy, narrow};
use super::running::{Running, group, lag, numbers_on, quick, wait_for_numbers};
use crate::support::{PATIENCE, admin, cluster, eventually, numbers, unique, write};

/// All records of a topic, as bytes.
fn bytes_on(topic: &str) -> Vec<Record<'static, Vec<u8>, Vec<u8>>> {
    let topic: Topic<Vec<u8>, Vec<u8>> = Topic::new("x", &Raw, &Raw).named(topic);
    let mut reader = Reader::of(&topic)
        .until(Until::End)
        .open(&cluster())
        .unwrap();
    let mut records = Vec::new();
    loop {
        match reader.poll(PATIENCE).unwrap() {
            Polled::Record(record) => records.push(record),
            Polled::Nothing => {}
            Polled::End => return records,
            Polled::Undecodable(bad) => panic!("{bad}"),
        }
    }
}

// fault 28
#[test]
fn a_poison_record_is_dead_lettered_with_its_bytes_and_origin_and_the_rest_goes_on() {
    let (from, to) = (numbers(1), numbers(1));
    let name = group();
    write(&from, 0, [1]);
    let raw: Topic<String, Vec<u8>> = Topic::new("x", &Text, &Raw).named(from.name());
    let emitter = Emitter::new(&cluster()).unwrap();
    emitter
        .send(&raw, &"poison".to_owned(), &b"{not a number".to_vec())
        .unwrap();
    emitter.flush(PATIENCE).unwrap();
    write(&from, 0, [2]);

    let service = copy(&name, &from, &to).on_error(OnError::retry(1).then_dead_letter());
    let running = Running::start(service);
    assert_eq!(wait_for_numbers(&to, 2), [1, 2]);
    let summary = running.stop().unwrap();
    assert_eq!(
        (summary.read, summary.failed, summary.dead_lettered),
        (3, 1, 1)
    );

    let dead = bytes_on(&format!("{}.dlq", from.name()));
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (&*dead[0].key, &*dead[0].value),
        (b"poison".as_slice(), b"{not a number".as_slice())
    );
    let told = |header| {
        String::from_utf8(dead[0].headers().get(header).unwrap_or_default().to_vec()).unwrap()
    };
    assert_eq!(told(dead_letter::REASON), "decode");
    assert_eq!(
        told(dead_letter::ERROR),
        "value: failed to decode json at line 1 column 1: invalid type: map, expected u64"
    );
    assert_eq!(told(dead_letter::SERVICE), name);
    assert_eq!(told(dead_letter::TOPIC), from.name());
    assert_eq!(
        (told(dead_letter::PARTITION), told(dead_letter::OFFSET)),
        ("0".to_owned(), "1".to_owned())
    );
    assert_eq!(told(dead_letter::ATTEMPTS), "1");
}

// fault 30
#[test]
fn a_record_too_large_for_its_topic_is_dead_lettered_and_the_rest_goes_on() {
    let from = narrow(1_000_000);
    let to = narrow(2_000);
    let emitter = Emitter::new(&cluster()).unwrap();
    for size in [10, 10_000, 11] {
        emitter
            .send(&from, &"k".to_owned(), &"x".repeat(size))
            .unwrap();
    }
    emitter.flush(PATIENCE).unwrap();
    let target = to.clone();
    let on_text = move |(): &mut (), record: Record<String, String>, context: &mut Context| {
        context.emit(&target, &record.key, &record.value)
    };
    let service = Service::new(group(), || ())
        .input(&from, on_text)
        .output(&to);
    let running = Running::start(quick(service).on_error(OnError::dead_letter()));
    let sizes = |topic: &str| -> Vec<usize> {
        let mut sizes: Vec<usize> = bytes_on(topic)
            .iter()
            .map(|record| record.value.len())
            .collect();
        sizes.dedup();
        sizes
    };
    let dead_letters = format!("{}.dlq", from.name());
    eventually("the large record is dead-lettered", || {
        admin().topic(&dead_letters).is_ok() && sizes(&dead_letters) == [10_000]
    });
    eventually("the records around the large one are copied", || {
        sizes(to.name()).ends_with(&[11])
    });
    let summary = running.stop().unwrap();
    assert_eq!((summary.failed, summary.dead_lettered), (1, 1));
    let dead = bytes_on(&format!("{}.dlq", from.name()));
    assert_eq!(
        dead.iter()
            .map(|record| record.value.len())
            .collect::<Vec<_>>(),
        [10_000]
    );
    assert_eq!(
        dead[0].headers().get(dead_letter::REASON),
        Some(b"refused".as_slice())
    );
}

// fault 30
#[test]
fn a_dead_letter_is_as_large_as_its_input_carries() {
    const SIZE: usize = 3_000_000;
    let from = narrow(4_000_000);
    let large = cluster().property("message.max.bytes", "4000000").unwrap();
    // Made before by somebody who left it as small as brokers do.
    let dead_letters = format!("{}.dlq", from.name());
    let spec = millstream::TopicSpec {
        partitions: Some(1),
        ..millstream::TopicSpec::named(&dead_letters)
    };
    admin().create(&spec).unwrap();
    let emitter = Emitter::new(&large).unwrap();
    for size in [SIZE, 10] {
        let value = "x".repeat(size);
        emitter.send(&from, "k", &value).unwrap();
    }
    emitter.flush(PATIENCE).unwrap();
    let name = group();
    let on_text = |(): &mut (), record: Record<String, String>, _: &mut Context| {
        if record.value.len() == SIZE {
            return Err(ProcessError::new("too much"));
        }
        Ok(())
    };
    let service = quick(Service::new(&*name, || ()).input(&from, on_text));
    let running = Running::start(service.on_error(OnError::dead_letter()));
    eventually("both records are committed", || {
        admin().group(&name).is_ok() && lag(&name) == [Some(0)]
    });
    assert_eq!(running.stop().unwrap().dead_lettered, 1);
    let dead = bytes_on(&dead_letters);
    let sizes: Vec<usize> = dead.iter().map(|record| record.value.len()).collect();
    assert_eq!(sizes, [SIZE]);
}

// fault 30
/// A topic's limit is of what travels: a record of a compressed batch may be many times as large.
#[test]
fn a_dead_letter_of_a_compressed_record_is_as_large_as_the_record() {
    const SIZE: usize = 3_000_000;
    let from = narrow(10_000);
    let compressed = [
        ("compression.type", "gzip"),
        ("message.max.bytes", "10000000"),
    ];
    let emitter = Emitter::new(&cluster().properties(compressed).unwrap()).unwrap();
    emitter.send(&from, "k", &"x".repeat(SIZE)).unwrap();
    emitter.flush(PATIENCE).unwrap();
    let name = group();
    let on_text = |(): &mut (), _: Record<String, String>, _: &mut Context| {
        Err(ProcessError::new("too much"))
    };
    let service = quick(Service::new(&*name, || ()).input(&from, on_text));
    let running = Running::start(service.on_error(OnError::dead_letter().dead_letter_limit(1.0)));
    eventually("the record is committed", || {
        admin().group(&name).is_ok() && lag(&name) == [Some(0)]
    });
    assert_eq!(running.stop().unwrap().dead_lettered, 1);
    let dead = bytes_on(&format!("{}.dlq", from.name()));
    let sizes: Vec<usize> = dead.iter().map(|record| record.value.len()).collect();
    assert_eq!(sizes, [SIZE]);
}

// fault 6
#[test]
fn a_panic_in_a_handler_is_contained() {
    let (from, to) = (numbers(1), numbers(1));
    let target = to.clone();
    let panics = move |(): &mut (), record: Record<String, u64>, context: &mut Context| {
        assert_ne!(record.value, 2, "two is not to be had");
        context.emit(&target, &record.key, &record.value)
    };
    write(&from, 0, [1, 2, 3]);
    let service = quick(
        Service::new(group(), || ())
            .input(&from, panics)
            .output(&to),
    );
    let policy = OnError::retry(1).backoff(Duration::from_millis(10), Duration::from_millis(10));
    let running = Running::start(service.on_error(policy.then_dead_letter()));
    assert_eq!(wait_for_numbers(&to, 2), [1, 3]);
    let summary = running.stop().unwrap();
    assert_eq!((summary.failed, summary.dead_lettered), (2, 1));
}

// fault 22
#[test]
fn records_that_retention_took_are_counted_as_lost() {
    let (from, to) = (numbers(1), numbers(1));
    let name = group();
    write(&from, 0, 0..10);
    let running = Running::start(copy(&name, &from, &to));
    wait_for_numbers(&to, 10);
    running.stop().unwrap();
    write(&from, 0, 10..20);
    let before = TopicPartition::new(from.name(), Partition(0));
    admin()
        .delete_records(&[(before, NextOffset::new(17))])
        .unwrap();

    let service = copy(&name, &from, &to).start_from(Start::Fail);
    let error = Running::start(service).ended().unwrap_err().to_string();
    let topic = from.name();
    assert_eq!(
        error,
        format!("service `{name}` cannot read {topic}[0] from offset 10: the cluster has 17 to 20")
    );

    let running = Running::start(copy(&name, &from, &to));
    assert_eq!(wait_for_numbers(&to, 13)[10..], [17, 18, 19]);
    assert_eq!(running.stop().unwrap().lost, 7);
}

// fault 21
#[test]
fn a_topic_that_is_deleted_and_made_anew_is_read_again() {
    let (from, to) = (numbers(2), numbers(1));
    let quick_refresh = cluster()
        .property("topic.metadata.refresh.interval.ms", "500")
        .unwrap();
    let service = copy(&group(), &from, &to);
    let running = Running::on(quick_refresh, service);
    write(&from, 0, [1]);
    wait_for_numbers(&to, 1);
    admin().delete(from.name()).unwrap();
    eventually("the topic is gone", || admin().topic(from.name()).is_err());
    let spec = millstream::TopicSpec {
        partitions: Some(1),
        ..millstream::TopicSpec::named(from.name())
    };
    eventually("the topic is made anew", || admin().create(&spec).is_ok());
    write(&from, 0, [2, 3, 4]);
    eventually("the new records are copied", || {
        numbers_on(&to).contains(&4)
    });
    running.stop().unwrap();
}

#[test]
fn a_group_without_a_position_starts_at_the_end_when_told_so() {
    let (from, to) = (numbers(1), numbers(1));
    write(&from, 0, 0..10);
    let running = Running::start(copy(&group(), &from, &to).start_from(Start::Latest));
    let mut next = 10;
    eventually("a record written after the start is copied", || {
        write(&from, 0, [next]);
        next += 1;
        !numbers_on(&to).is_empty()
    });
    assert!(numbers_on(&to).iter().all(|number| *number >= 10));
    running.stop().unwrap();
}

#[test]
fn a_flood_of_poison_stops_the_service_and_commits_nothing_beyond() {
    let from: Topic<String, Vec<u8>> = Topic::new("x", &Text, &Raw).named(unique("poison"));
    let numbers: Topic<String, u64> = Topic::new("x", &Text, &Json).named(from.name());
    let emitter = Emitter::new(&cluster()).unwrap();
    admin()
        .create(&millstream::TopicSpec {
            partitions: Some(1),
            ..numbers.spec()
        })
        .unwrap();
    for _ in 0..50 {
        emitter
            .send(&from, &"k".to_owned(), &b"poison".to_vec())
            .unwrap();
    }
    emitter.flush(PATIENCE).unwrap();
    let nothing = |(): &mut (), _: Record<String, u64>, _: &mut Context| Ok(());
    let name = group();
    let service = quick(Service::new(&*name, || ()).input(&numbers, nothing))
        .on_error(OnError::dead_letter());
    let error = Running::start(service).ended().unwrap_err().to_string();
    assert!(
        error.contains("11 of the last 11 records could not be processed"),
        "{error}"
    );
    assert_eq!(bytes_on(&format!("{}.dlq", from.name())).len(), 10);
    assert_eq!(lag(&name), [Some(40)]);
}
