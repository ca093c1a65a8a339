//! DescribeCluster, DescribeLogDirs, DescribeProducers and DescribeTopicPartitions.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use kafka_protocol::messages::describe_log_dirs_request::{
    DescribableLogDirTopic, DescribeLogDirsRequest,
};
use kafka_protocol::messages::describe_producers_request::{self, DescribeProducersRequest};
use kafka_protocol::messages::describe_topic_partitions_request::{
    self, Cursor, DescribeTopicPartitionsRequest,
};
use kafka_protocol::messages::{InitProducerIdRequest, ProducerId};

use crate::cluster::{Cluster, unique};
use crate::raw::{sequenced, topic_name};

#[test]
fn the_cluster_is_one_broker() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let mut ids = std::collections::HashSet::new();
    for version in 0..=2 {
        let response = client.call(version, &DescribeClusterRequest::default());
        assert_eq!(
            (response.error_code, response.brokers.len()),
            (0, 1),
            "version {version}"
        );
        let broker = &response.brokers[0];
        assert_eq!(
            format!("{}:{}", broker.host, broker.port),
            cluster.address,
            "version {version}"
        );
        ids.insert(response.cluster_id);
    }
    assert_eq!(ids.len(), 1);
    let controllers = client.call(1, &DescribeClusterRequest::default().with_endpoint_type(2));
    assert_eq!(
        controllers.error_code,
        ResponseError::MismatchedEndpointType.code()
    );
}

#[test]
fn log_dirs_tell_the_size_of_each_partition() {
    let (mut client, name) = Cluster::start().with_topic("sizes", 2);
    client.produce_at(&name, 1, &[(&"x".repeat(1000), 1)]);
    for version in 1..=4 {
        let wanted = DescribableLogDirTopic::default()
            .with_topic(topic_name(&name))
            .with_partitions(vec![0, 1]);
        let response = client.call(
            version,
            &DescribeLogDirsRequest::default().with_topics(Some(vec![wanted])),
        );
        assert_eq!(
            (response.error_code, response.results.len()),
            (0, 1),
            "version {version}"
        );
        let topic = &response.results[0].topics[0];
        let mut sizes: Vec<(i32, i64)> = topic
            .partitions
            .iter()
            .map(|part| (part.partition_index, part.partition_size))
            .collect();
        sizes.sort_unstable();
        assert_eq!(sizes[0], (0, 0), "version {version}");
        assert!(
            (1000..1200).contains(&sizes[1].1),
            "version {version}: {sizes:?}"
        );
        if version >= 4 {
            let (total, usable) = (
                response.results[0].total_bytes,
                response.results[0].usable_bytes,
            );
            assert!(0 < usable && usable <= total, "{usable} of {total}");
        }
    }
    let all = client.call(4, &DescribeLogDirsRequest::default().with_topics(None));
    assert!(
        all.results[0]
            .topics
            .iter()
            .any(|topic| topic.name == topic_name(&name))
    );
}

#[test]
fn producers_are_known_by_their_last_batch() {
    let (mut client, name) = Cluster::start().with_topic("producers", 1);
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    let id = client.call(2, &request).producer_id;
    assert_eq!(
        client
            .produce(&name, 0, sequenced(&["a", "b", "c"], id.0, 0, 0))
            .error_code,
        0
    );
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(topic_name(&name))
        .with_partition_indexes(vec![0, 9]);
    let response = client.call(
        0,
        &DescribeProducersRequest::default().with_topics(vec![topic]),
    );
    let find = |index: i32| {
        response.topics[0]
            .partitions
            .iter()
            .find(|part| part.partition_index == index)
            .unwrap()
    };
    let producers = &find(0).active_producers;
    assert_eq!(producers.len(), 1);
    assert_eq!(
        (producers[0].producer_id, producers[0].producer_epoch),
        (ProducerId(id.0), 0)
    );
    assert_eq!(
        (
            producers[0].last_sequence,
            producers[0].current_txn_start_offset
        ),
        (2, -1)
    );
    assert_eq!(
        find(9).error_code,
        ResponseError::UnknownTopicOrPartition.code()
    );
}

#[test]
fn topics_are_described_page_by_page() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let prefix = unique("paged");
    let names: Vec<String> = (0..3).map(|number| format!("{prefix}-{number}")).collect();
    for name in &names {
        client.create_topic(name, 3, &[]);
    }
    let topic = |name: &String| {
        describe_topic_partitions_request::TopicRequest::default().with_name(topic_name(name))
    };
    let mut cursor: Option<Cursor> = None;
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(names.iter().map(topic).collect())
            .with_response_partition_limit(4)
            .with_cursor(cursor);
        let response = client.call(0, &request);
        pages += 1;
        for topic in &response.topics {
            let name = topic.name.clone().unwrap().to_string();
            seen.extend(
                topic
                    .partitions
                    .iter()
                    .map(|part| (name.clone(), part.partition_index)),
            );
        }
        match response.next_cursor {
            Some(next) => {
                cursor = Some(
                    Cursor::default()
                        .with_topic_name(next.topic_name)
                        .with_partition_index(next.partition_index),
                );
            }
            None => break,
        }
    }
    let all: Vec<(String, i32)> = names
        .iter()
        .flat_map(|name| (0..3).map(move |index| (name.clone(), index)))
        .collect();
    assert_eq!((seen, pages), (all, 3));
    let unknown = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![topic(&unique("none"))])
        .with_response_partition_limit(10);
    assert_eq!(
        client.call(0, &unknown).topics[0].error_code,
        ResponseError::UnknownTopicOrPartition.code()
    );
}
