//! Produce: appends batches to partitions.
//!
//! Requests are decoded here instead of by the generated code: they are the large ones, and their lengths must be checked
//! before anything is allocated. Records are not copied. Topics are named until version 12 and identified since 13.
//! With `acks=0` there is no answer, and a failure closes the connection; with 1 and -1 the answer means the same on one machine: the records
//! have reached the file, or with fsync the disk.

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TransactionalId;
use kafka_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use kafka_protocol::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{Answer, Client, encode};
use crate::broker::Broker;
use crate::frame::{Broken, Header};
use crate::topics::Topic;

pub(super) async fn answer(
    broker: &Broker,
    client: &Client,
    header: &Header,
    body: Bytes,
) -> Result<Option<Answer>, Broken> {
    if !(3..=13).contains(&header.version) {
        return Err(Broken::UnknownVersion {
            key: header.key,
            version: header.version,
        });
    }
    let request = Reader {
        rest: body,
        flexible: header.version >= 9,
    }
    .request(header.version)?;
    let answered = request.acks != 0;
    let response = handle(broker, client, request, header.version).await;
    if answered {
        return encode(header, &response).map(Some);
    }
    let mut partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    match partitions.find(|partition| partition.error_code != 0) {
        // As in Kafka: losing its connection is the only sign that such a client can be given.
        Some(failed) => Err(Broken::Unanswerable {
            code: failed.error_code,
        }),
        None => Ok(None),
    }
}

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: ProduceRequest,
    version: i16,
) -> ProduceResponse {
    let refusal = refuse_all(&request);
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let topic = if version >= 13 {
            broker.topics.by_id(&data.topic_id)
        } else {
            broker.topics.get(&data.name)
        };
        let unknown = if version >= 13 {
            ResponseError::UnknownTopicId
        } else {
            ResponseError::UnknownTopicOrPartition
        };
        let place = refusal.map_or_else(|| topic.as_deref().ok_or(unknown), Err);
        let partitions = data
            .partition_data
            .into_iter()
            .map(|data| append(broker, place, data, version))
            .collect();
        responses.push(
            TopicProduceResponse::default()
                .with_name(data.name)
                .with_topic_id(data.topic_id)
                .with_partition_responses(partitions),
        );
    }
    ProduceResponse::default().with_responses(responses)
}

/// What makes every part of a request impossible.
fn refuse_all(request: &ProduceRequest) -> Option<ResponseError> {
    if !(-1..=1).contains(&request.acks) {
        return Some(ResponseError::InvalidRequiredAcks);
    }
    // Transactions are not served yet: no transactional id was ever given out.
    request
        .transactional_id
        .as_ref()
        .map(|_| ResponseError::TransactionalIdAuthorizationFailed)
}

fn append(
    broker: &Broker,
    place: Result<&Topic, ResponseError>,
    data: PartitionProduceData,
    version: i16,
) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default()
        .with_index(data.index)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1);
    let refused =
        |response: PartitionProduceResponse, code: ResponseError, message: Option<String>| {
            let message = message.filter(|_| version >= 8).map(StrBytes::from_string);
            response
                .with_error_code(code.code())
                .with_error_message(message)
        };
    let topic = match place {
        Ok(topic) => topic,
        Err(code) => return refused(response, code, None),
    };
    let Some(partition) = topic.partition(data.index) else {
        return refused(response, ResponseError::UnknownTopicOrPartition, None);
    };
    let Some(records) = data.records.filter(|records| !records.is_empty()) else {
        return refused(
            response,
            ResponseError::InvalidRecord,
            Some("no record batch".to_owned()),
        );
    };
    let now_ms = broker.now_ms();
    let stored = partition
        .check(records, now_ms)
        .and_then(|batch| partition.store(&batch, None, now_ms));
    match stored {
        Ok(appended) => response
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.log_append_time)
            .with_log_start_offset(if version >= 5 {
                appended.log_start_offset
            } else {
                -1
            }),
        Err(error) => refused(response, error.code(), Some(error.to_string())),
    }
}

/// Reads a request's body without trusting a length in it.
struct Reader {
    rest: Bytes,
    flexible: bool,
}

impl Reader {
    fn request(mut self, version: i16) -> Result<ProduceRequest, Broken> {
        let transactional_id = self.string()?;
        let mut request = ProduceRequest::default();
        request.transactional_id = transactional_id.map(TransactionalId);
        request.acks = self.rest.try_get_i16()?;
        request.timeout_ms = self.rest.try_get_i32()?;
        for _ in 0..self.count()? {
            request.topic_data.push(self.topic(version)?);
        }
        self.skip_tags()?;
        Ok(request)
    }

    fn topic(&mut self, version: i16) -> Result<TopicProduceData, Broken> {
        let mut topic = TopicProduceData::default();
        if version >= 13 {
            topic.topic_id = Uuid::from_u128(self.rest.try_get_u128()?);
        } else {
            topic.name = self.string()?.ok_or(Broken::Short)?.into();
        }
        for _ in 0..self.count()? {
            let index = self.rest.try_get_i32()?;
            let length = if self.flexible {
                self.varint()? - 1
            } else {
                i64::from(self.rest.try_get_i32()?)
            };
            let records = self.bytes(length)?;
            self.skip_tags()?;
            topic.partition_data.push(
                PartitionProduceData::default()
                    .with_index(index)
                    .with_records(records),
            );
        }
        self.skip_tags()?;
        Ok(topic)
    }

    fn count(&mut self) -> Result<i64, Broken> {
        if self.flexible {
            Ok(self.varint()? - 1)
        } else {
            Ok(i64::from(self.rest.try_get_i32()?))
        }
    }

    fn string(&mut self) -> Result<Option<StrBytes>, Broken> {
        let length = if self.flexible {
            self.varint()? - 1
        } else {
            i64::from(self.rest.try_get_i16()?)
        };
        let text = self.bytes(length)?.map(StrBytes::from_utf8).transpose();
        text.map_err(|error| Broken::Decode {
            reason: error.to_string(),
        })
    }

    /// The next bytes; a negative length is null.
    fn bytes(&mut self, length: i64) -> Result<Option<Bytes>, Broken> {
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(Some(self.rest.split_to(length))),
            Ok(_) => Err(Broken::Short),
            Err(_) => Ok(None),
        }
    }

    fn skip_tags(&mut self) -> Result<(), Broken> {
        if self.flexible {
            for _ in 0..self.varint()? {
                self.varint()?;
                let length = self.varint()?;
                self.bytes(length)?;
            }
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<i64, Broken> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = i64::from(self.rest.try_get_u8()?);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Broken::Decode {
            reason: "variable-length integer of more than five bytes".to_owned(),
        })
    }
}
