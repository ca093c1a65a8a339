//! Offsets of partitions, and deleting what is before one.

use millstream_client::Outbound;
use millstream_client::admin::{Admin, At, TopicPartition};

use super::{admin, only, refusal};
use crate::support::{Broker, deliver, fresh};

/// A topic whose partition 1 has ten records, a second apart.
fn filled(broker: &Broker) -> String {
    let name = broker.topic(3);
    let mut client = broker.client(&[]);
    let topic = client.topic(&name);
    for number in 0..10 {
        let record = Outbound {
            partition: Some(1),
            value: Some(b"value"),
            timestamp: Some(1_700_000_000_000 + 1000 * number),
            ..Outbound::default()
        };
        client.send(topic, &record).unwrap();
    }
    deliver(&mut client);
    name
}

fn offset(admin: &mut Admin, place: &TopicPartition, at: At) -> Option<i64> {
    let found = only(admin.offsets(std::slice::from_ref(place), at)).unwrap();
    found.map(|found| found.offset)
}

#[test]
fn partitions_are_asked_where_they_begin_and_end_and_where_a_time_is() {
    let broker = Broker::start();
    let name = filled(&broker);
    let mut admin = admin(&broker);
    let all: Vec<_> = (0..3)
        .map(|number| TopicPartition::new(&name, number))
        .collect();
    let ends = admin.offsets(&all, At::End).unwrap();
    let ends = ends.into_values().map(|end| end.unwrap().unwrap().offset);
    assert_eq!(ends.collect::<Vec<_>>(), [0, 10, 0]);
    let place = &all[1];
    assert_eq!(offset(&mut admin, place, At::Start), Some(0));
    assert_eq!(offset(&mut admin, place, At::LastStable), Some(10));
    let third = 1_700_000_002_500;
    let found = only(admin.offsets(std::slice::from_ref(place), At::Time(third)));
    let found = found.unwrap().unwrap();
    assert_eq!(
        (found.offset, found.timestamp),
        (3, Some(1_700_000_003_000))
    );
    let found = only(admin.offsets(std::slice::from_ref(place), At::NewestTime));
    let found = found.unwrap().unwrap();
    assert_eq!(
        (found.offset, found.timestamp),
        (9, Some(1_700_000_009_000))
    );
    assert_eq!(offset(&mut admin, place, At::Time(1_800_000_000_000)), None);
}

#[test]
fn records_before_an_offset_are_deleted_and_a_wrong_offset_does_not_hide_another_partition() {
    let broker = Broker::start();
    let name = filled(&broker);
    let mut admin = admin(&broker);
    let (empty, place) = (TopicPartition::new(&name, 0), TopicPartition::new(&name, 1));
    let deleted = admin.delete_records(&[(place.clone(), 4), (empty.clone(), 4)]);
    let deleted = deleted.unwrap();
    assert_eq!(*deleted[&place].as_ref().unwrap(), 4);
    assert_eq!(
        deleted[&empty].as_ref().unwrap_err().to_string(),
        format!(
            "failed to delete the records of `{name}` partition 0 before offset 4: OffsetOutOfRange; use an offset between the start and the end of the partition"
        )
    );
    assert_eq!(offset(&mut admin, &place, At::Start), Some(4));
    assert_eq!(offset(&mut admin, &place, At::End), Some(10));
}

#[test]
fn partitions_and_values_that_are_not_there_are_named() {
    let broker = Broker::start();
    let name = filled(&broker);
    let mut admin = admin(&broker);
    let missing = fresh("missing");
    let asked = [
        TopicPartition::new(&name, 1),
        TopicPartition::new(&name, 3),
        TopicPartition::new(&missing, 0),
    ];
    let answers = admin.offsets(&asked, At::End).unwrap();
    assert_eq!(answers[&asked[0]].as_ref().unwrap().unwrap().offset, 10);
    for place in &asked[1..] {
        let error = answers[place].as_ref().unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "failed to find an offset of {place}: UnknownTopicOrPartition; there is no such topic or partition; list the topics for those that there are"
            )
        );
    }
    let place = &asked[0];
    let error = admin.offsets(&asked, At::Time(-5)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the time -5 is before 1970; use milliseconds since then"
    );
    let error = admin.delete_records(&[(place.clone(), -1)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the offset -1 of {place} is negative; use one from 0 on")
    );
    let error = admin.delete_records(&[(place.clone(), 1), (place.clone(), 2)]);
    assert_eq!(
        error.unwrap_err().to_string(),
        format!("{place} is named twice in one call; name it once")
    );
    let gone = refusal(admin.delete_records(&[(asked[2].clone(), 1)]));
    assert!(gone.contains("UnknownTopicOrPartition"), "{gone}");
}
