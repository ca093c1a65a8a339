//! Topics that come, grow, change and go while others use them.

use std::sync::atomic::{AtomicBool, Ordering};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::{FetchRequest, MetadataRequest};

use crate::cluster::Cluster;
use crate::raw::{batch, fetch_request, topic_name};

/// Tells the other threads to end, also when its own one panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn topics_are_deleted_and_made_again_under_producers_and_consumers() {
    let cluster = Cluster::embedded(|_| {});
    let name = "churned";
    cluster.connect().create_topic(name, 1, &[]);
    let gone = [
        ResponseError::UnknownTopicOrPartition.code(),
        ResponseError::OffsetOutOfRange.code(),
    ];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            let mut admin = cluster.connect();
            for _ in 0..30 {
                let state = DeleteTopicState::default().with_name(Some(topic_name(name)));
                let delete = DeleteTopicsRequest::default()
                    .with_topics(vec![state])
                    .with_timeout_ms(1000);
                assert_eq!(admin.call(6, &delete).responses[0].error_code, 0);
                admin.create_topic(name, 1, &[]);
                let grow = CreatePartitionsTopic::default()
                    .with_name(topic_name(name))
                    .with_count(3);
                let grow = CreatePartitionsRequest::default()
                    .with_topics(vec![grow.with_assignments(None)]);
                assert_eq!(admin.call(3, &grow).results[0].error_code, 0);
            }
        });
        let (done, cluster) = (&done, &cluster);
        for _ in 0..2 {
            scope.spawn(move || {
                let mut producer = cluster.connect();
                while !done.load(Ordering::Relaxed) {
                    let code = producer
                        .produce(name, 0, batch(&[("value", 1000)]))
                        .error_code;
                    assert!(code == 0 || gone.contains(&code), "produce: {code}");
                }
            });
            scope.spawn(move || {
                let mut consumer = cluster.connect();
                let mut offset = 0;
                while !done.load(Ordering::Relaxed) {
                    consumer.send(12, &fetch_request(name, 0, offset).with_max_wait_ms(20));
                    let data =
                        consumer.receive::<FetchRequest>(12).responses[0].partitions[0].clone();
                    assert!(
                        data.error_code == 0 || gone.contains(&data.error_code),
                        "fetch: {}",
                        data.error_code
                    );
                    offset = if data.error_code == 0 {
                        data.high_watermark
                    } else {
                        0
                    };
                }
            });
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
