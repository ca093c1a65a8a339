//! Topics that come, grow, change and go while others use them.

use std::sync::atomic::{AtomicBool, Ordering};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};

use crate::cluster::Cluster;
use crate::raw::{batch, fetch_request, topic_name};

/// Tells the other threads to end, also when its own one panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const NAME: &str = "churned";

/// What a client may be told while a topic is deleted and made again.
fn is_fine(code: i16) -> bool {
    let gone = [
        ResponseError::UnknownTopicOrPartition.code(),
        ResponseError::OffsetOutOfRange.code(),
    ];
    code == 0 || gone.contains(&code)
}

fn delete_and_make_again(cluster: &Cluster) {
    let mut admin = cluster.connect();
    for _ in 0..30 {
        let state = DeleteTopicState::default().with_name(Some(topic_name(NAME)));
        let delete = DeleteTopicsRequest::default().with_topics(vec![state]);
        assert_eq!(admin.call(6, &delete).responses[0].error_code, 0);
        admin.create_topic(NAME, 1, &[]);
        let topic = CreatePartitionsTopic::default().with_name(topic_name(NAME));
        let topic = topic.with_count(3).with_assignments(None);
        let grow = CreatePartitionsRequest::default().with_topics(vec![topic]);
        assert_eq!(admin.call(3, &grow).results[0].error_code, 0);
    }
}

fn produce_until(done: &AtomicBool, cluster: &Cluster) {
    let mut producer = cluster.connect();
    while !done.load(Ordering::Relaxed) {
        let code = producer
            .produce(NAME, 0, batch(&[("value", 1000)]))
            .error_code;
        assert!(is_fine(code), "produce: {code}");
    }
}

fn consume_until(done: &AtomicBool, cluster: &Cluster) {
    let mut consumer = cluster.connect();
    let mut offset = 0;
    while !done.load(Ordering::Relaxed) {
        let response = consumer.call(12, &fetch_request(NAME, 0, offset).with_max_wait_ms(20));
        let data = &response.responses[0].partitions[0];
        assert!(is_fine(data.error_code), "fetch: {}", data.error_code);
        offset = if data.error_code == 0 {
            data.high_watermark
        } else {
            0
        };
    }
}

#[test]
fn topics_are_deleted_and_made_again_under_producers_and_consumers() {
    let cluster = Cluster::embedded(|_| {});
    cluster.connect().create_topic(NAME, 1, &[]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            delete_and_make_again(&cluster);
        });
        for _ in 0..2 {
            scope.spawn(|| produce_until(&done, &cluster));
            scope.spawn(|| consume_until(&done, &cluster));
        }
    });
    let metadata = cluster
        .connect()
        .call(12, &MetadataRequest::default().with_topics(None));
    assert_eq!(
        (metadata.topics.len(), metadata.topics[0].partitions.len()),
        (1, 3)
    );
}

#[test]
fn many_connections_may_create_the_same_topic_at_once() {
    let cluster = Cluster::embedded(|_| {});
    let ids: Vec<_> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
                    let topic =
                        MetadataRequestTopic::default().with_name(Some(topic_name("shared")));
                    let request = MetadataRequest::default()
                        .with_topics(Some(vec![topic]))
                        .with_allow_auto_topic_creation(true);
                    let topic = cluster.connect().call(12, &request).topics[0].clone();
                    assert_eq!(topic.error_code, 0);
                    topic.topic_id
                })
            })
            .collect();
        makers
            .into_iter()
            .map(|maker| maker.join().unwrap())
            .collect()
    });
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
}
