//! Fetches when the room of all answers is gone.

use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;

use super::*;
use crate::config::Config;
use crate::log::testing::encode_with;
use crate::topics::config::Overrides;

const NOW: i64 = 100_000;
const LARGE: usize = 300_000;

/// A broker with a topic of one batch that is larger than what a fetch may always have.
fn filled(data: &std::path::Path) -> Broker {
    let broker = Broker::open(Config::ephemeral(data)).unwrap();
    let topic = broker.topics.create("large", 1, Overrides::new()).unwrap();
    let partition = topic.partition(0).unwrap();
    let batch = encode_with(&[NOW], LARGE, Compression::None, None, false);
    let batch = partition.check(batch, NOW).unwrap();
    partition.store(&batch, None, NOW).unwrap();
    broker
}

fn wanted() -> [Wanted; 1] {
    [Wanted {
        topic: Topic::Name(TopicName(StrBytes::from_static_str("large"))),
        partition: 0,
        from: 0,
        leader_epoch: -1,
        max_bytes: 1 << 20,
    }]
}

fn begin(broker: &Broker) -> Reads {
    let mut reads = Reads::new(broker, None, &wanted(), 8 << 20, Isolation::Uncommitted);
    reads.read_grown(broker);
    reads
}

#[tokio::test]
async fn of_many_fetches_without_room_one_has_a_large_batch_and_the_others_follow() {
    let data = tempfile::tempdir().unwrap();
    let broker = filled(data.path());
    let all = broker.fetch_room.take(usize::MAX).await.unwrap();
    let first = begin(&broker);
    assert!(first.total() > LARGE);
    let mut others: Vec<Reads> = (0..5).map(|_| begin(&broker)).collect();
    for other in &others {
        assert_eq!((other.total(), other.complete(1)), (0, false));
    }
    let mut held = first.respond(&wanted()).1;
    for other in &mut others {
        let wait = Duration::from_secs(600);
        tokio::join!(other.wait(&broker, 1, wait), async {
            tokio::task::yield_now().await;
            held.clear();
        });
        assert!(other.total() > LARGE);
        held = other.turn.take().into_iter().collect();
    }
    drop(all);
}

#[tokio::test]
async fn a_large_batch_takes_all_of_its_room() {
    let data = tempfile::tempdir().unwrap();
    let broker = filled(data.path());
    let before = broker.fetch_room.left();
    // Less than four times the batch is left, so that its first read is too small.
    let taken = broker.fetch_room.take(before - 2 * LARGE).await.unwrap();
    let reads = begin(&broker);
    let size = reads.total();
    assert!(size > LARGE);
    assert_eq!(broker.fetch_room.left(), 2 * LARGE - size);
    drop((reads, taken));
    assert_eq!(broker.fetch_room.left(), before);
}
