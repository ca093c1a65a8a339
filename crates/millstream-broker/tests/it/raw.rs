//! A tiny client that speaks the bare protocol: one connection, one request at a time, every version.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use uuid::Uuid;

use crate::support::{Broker, eventually};

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    correlation_id: i32,
    /// The broker lives as long as someone talks to it.
    _broker: Option<Arc<Broker>>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Client {
        Client::keeping(address, None)
    }

    pub(crate) fn keeping(address: &str, broker: Option<Arc<Broker>>) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Client {
            stream,
            correlation_id: 0,
            _broker: broker,
        }
    }

    /// Sends a request and waits for its response.
    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version)
    }

    /// Sends a request without waiting.
    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation_id += 1;
        let frame = frame(version, self.correlation_id, request);
        self.write(&frame);
    }

    /// Waits for the response to the request sent last.
    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self
            .receive_frame()
            .expect("the connection was closed instead of an answer");
        let header =
            ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert_eq!(frame.remaining(), 0, "bytes after the response");
        response
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        // A broker that has closed the connection already is found by the next read.
        self.stream.write_all(bytes).ok();
    }

    /// The next frame without its length; `None` when the connection was closed.
    pub(crate) fn receive_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        if !self.fill(&mut length) {
            return None;
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.fill(&mut frame).then(|| Bytes::from(frame))
    }

    /// Takes the length of a frame and nothing of what follows.
    pub(crate) fn receive_length(&mut self) {
        assert!(self.fill(&mut [0; 4]), "the connection was closed");
    }

    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read_exact(bytes) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("failed to read: {error}"),
        }
    }

    /// Whether the other side has closed this connection; waits for it.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.receive_frame().is_none()
    }

    /// Waits until the other side has closed this connection, without taking what it has sent.
    pub(crate) fn wait_until_cut_off(&mut self) {
        let request = frame(9, 1, &MetadataRequest::default());
        eventually("the connection is closed", || {
            self.stream.write_all(&request).is_err().then_some(())
        });
    }

    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Uuid {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(30_000);
        let response = self.call(7, &request);
        assert_eq!(
            response.topics[0].error_code, 0,
            "{:?}",
            response.topics[0].error_message
        );
        let id = response.topics[0].topic_id;
        // Kafka's broker needs a moment until it knows of the topic, and another one until it leads the partitions.
        eventually("a leader of every partition", || {
            let mut request = fetch_request(name, 0, 0);
            let part = request.topics[0].partitions[0].clone();
            let all = (0..partitions).map(|index| part.clone().with_partition(index));
            request.topics[0].partitions = all.collect();
            let response = self.call(12, &request);
            let led = response.responses[0]
                .partitions
                .iter()
                .all(|part| part.error_code == 0);
            led.then_some(())
        });
        id
    }

    /// Produces one batch to one partition with version 9 and all acknowledgements.
    pub(crate) fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> PartitionProduceResponse {
        let request = produce_request(topic, partition, records);
        // A broker that has just been given a partition may not lead it yet, as every client knows.
        eventually("a leader", || {
            let response = self.call(9, &request).responses[0].partition_responses[0].clone();
            (response.error_code != ResponseError::NotLeaderOrFollower.code()).then_some(response)
        })
    }

    /// Produces values with the given timestamps, as one batch; returns its first offset.
    pub(crate) fn produce_at(
        &mut self,
        topic: &str,
        partition: i32,
        values: &[(&str, i64)],
    ) -> i64 {
        let produced = self.produce(topic, partition, batch(values));
        assert_eq!(produced.error_code, 0, "{:?}", produced.error_message);
        produced.base_offset
    }

    /// Fetches from one partition with version 12; does not wait for records.
    pub(crate) fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let response = self.call(12, &fetch_request(topic, partition, offset));
        assert_eq!(response.error_code, 0);
        response.responses[0].partitions[0].clone()
    }

    /// The values of all records from `offset` that one fetch gives.
    pub(crate) fn values(&mut self, topic: &str, partition: i32, offset: i64) -> Vec<String> {
        values(&self.fetch(topic, partition, offset))
    }

    pub(crate) fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        self.list_offset_with(9, topic, partition, timestamp)
    }

    pub(crate) fn list_offset_with(
        &mut self,
        version: i16,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        self.call(version, &request).topics[0].partitions[0].clone()
    }
}

/// A request with its length and header.
pub(crate) fn frame<R: Request>(version: i16, correlation_id: i32, request: &R) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(text("raw-test")));
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    header
        .encode(&mut frame, R::header_version(version))
        .unwrap();
    request.encode(&mut frame, version).unwrap();
    let length = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn produce_request(topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

pub(crate) fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// One record as a producer makes it; sequences only count up, or the encoder would make several batches.
pub(crate) fn record(offset: i64, value: &str, timestamp: i64) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: i32::try_from(offset).unwrap() - 1,
        timestamp,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    }
}

/// A batch of values with timestamps.
pub(crate) fn batch(values: &[(&str, i64)]) -> Bytes {
    let records: Vec<Record> = (0..)
        .zip(values)
        .map(|(offset, (value, timestamp))| record(offset, value, *timestamp))
        .collect();
    encode(&records, Compression::None)
}

/// The batch of an idempotent producer.
pub(crate) fn sequenced(
    values: &[&str],
    producer_id: i64,
    producer_epoch: i16,
    first: i32,
) -> Bytes {
    let records: Vec<Record> = (0..)
        .zip(values)
        .map(|(offset, value)| Record {
            producer_id,
            producer_epoch,
            sequence: first + i32::try_from(offset).unwrap(),
            ..record(offset, value, now_ms())
        })
        .collect();
    encode(&records, Compression::None)
}

pub(crate) fn encode(records: &[Record], compression: Compression) -> Bytes {
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(
        &mut bytes,
        records,
        &RecordEncodeOptions {
            version: 2,
            compression,
        },
    )
    .unwrap();
    bytes.freeze()
}

/// All records of a fetched partition; a last batch that was cut off by a limit is left out, as clients do.
pub(crate) fn records(data: &PartitionData) -> Vec<Record> {
    let bytes = data.records.clone().unwrap_or_default();
    let mut end = 0;
    while let Some(length) = bytes.get(end + 8..end + 12) {
        let next =
            end + 12 + usize::try_from(i32::from_be_bytes(*length.first_chunk().unwrap())).unwrap();
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    let sets = RecordBatchDecoder::decode_all(&mut bytes.slice(..end)).unwrap();
    sets.into_iter().flat_map(|set| set.records).collect()
}

pub(crate) fn values(data: &PartitionData) -> Vec<String> {
    let value = |record: Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    records(data).into_iter().map(value).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "records near the broker's own time"
)]
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
