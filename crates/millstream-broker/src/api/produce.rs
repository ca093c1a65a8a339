//! Produce: appends batches to partitions.
//!
//! Requests are decoded here instead of by the generated code: they are the large ones, and their lengths must be checked
//! before anything is allocated. Records are not copied. Topics are named until version 12 and identified since 13.
//! With `acks=0` there is no answer, and a failure closes the connection; with 1 and -1 the answer means the same on one machine: the records
//! have reached the file, or with fsync the disk. Records of a transaction are taken while its coordinator knows it to be open; since version 12
//! their partition takes part in it by that (KIP-890).

use std::collections::VecDeque;

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

use super::{Answer, Client, amended, encode, guard, throttle, unverified_as_known};
use crate::broker::Broker;
use crate::frame::{Broken, Header};
use crate::log::{self, AppendError, Appended, HEADER_SIZE, Partition};
use crate::security::{Use, Verdict};
use crate::topics::Topic;
use crate::transactions::{Generation, Producer, Scope};

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
    let length = body.len();
    let mut request = Reader {
        rest: body,
        flexible: header.version >= 9,
        empty: 0,
    }
    .request(header.version)?;
    let answered = request.acks != 0;
    let mut response = match guard(broker, client, &mut request, header.version) {
        Verdict::Refuse(response) => response,
        Verdict::Serve(amend) => {
            let response = handle(broker, client, request, header.version);
            amended(response.await, amend)
        }
    };
    let (wait, throttle_time_ms) = throttle(broker, client, Use::Produce, length);
    if answered {
        response.throttle_time_ms = throttle_time_ms;
        let answer = encode(header, &response)?;
        return Ok(Some(Answer { wait, ..answer }));
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
        None if wait.is_zero() => Ok(None),
        // Nothing is sent, but the next request waits.
        None => Ok(Some(Answer {
            parts: VecDeque::new(),
            _room: Vec::new(),
            wait,
        })),
    }
}

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: ProduceRequest,
    version: i16,
) -> ProduceResponse {
    let refusal = refuse_all(&request);
    let sender = Sender {
        broker,
        transactional_id: request.transactional_id.clone(),
        generation: match version {
            ..12 => Generation::First,
            _ => Generation::Second,
        },
        version,
    };
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
            .map(|data| append(&sender, place, data))
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
    let topics = request.topic_data.iter();
    let mut batches = topics
        .flat_map(|topic| &topic.partition_data)
        .filter_map(|data| data.records.as_deref());
    if !(-1..=1).contains(&request.acks) {
        Some(ResponseError::InvalidRequiredAcks)
    } else if request.transactional_id.is_none() && batches.any(is_transactional) {
        // As in Kafka: nobody may write in the name of nobody.
        Some(ResponseError::TransactionalIdAuthorizationFailed)
    } else {
        None
    }
}

fn is_transactional(batch: &[u8]) -> bool {
    log::Header::parse(batch).is_some_and(|header| header.magic == 2 && header.is_transactional())
}

/// Who sends the records of a request in which transaction.
struct Sender<'a> {
    broker: &'a Broker,
    transactional_id: Option<TransactionalId>,
    generation: Generation,
    version: i16,
}

impl Sender<'_> {
    /// Appends a batch. What begins a transaction in its partition is asked of the coordinator, again as long as others end there
    /// in between.
    fn store(
        &self,
        topic: &Topic,
        index: i32,
        partition: &Partition,
        records: Bytes,
    ) -> Result<Appended, Refused> {
        let now_ms = self.broker.now_ms();
        let batch = partition.check(records, now_ms)?;
        let mut stored = partition.store(&batch, None, now_ms);
        while let Err(AppendError::Unverified { producer_id, epoch }) = stored {
            let markers = partition.markers();
            let id = self.transactional_id.as_ref();
            let id = id.ok_or(Refused::new(ResponseError::InvalidTxnState))?;
            let by = Producer {
                id: producer_id,
                epoch,
            };
            let scope = Scope::partition(&topic.name, index);
            let transactions = &self.broker.transactions;
            transactions
                .admit(id, by, self.generation, scope)
                .map_err(|code| Refused::new(unverified_as_known(code, self.version >= 11)))?;
            stored = partition.store(&batch, Some(markers), now_ms);
        }
        self.broker.topics.limit_producers();
        Ok(stored?)
    }
}

/// Why records were not appended.
struct Refused {
    code: ResponseError,
    message: Option<String>,
}

impl Refused {
    fn new(code: ResponseError) -> Refused {
        Refused {
            code,
            message: None,
        }
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Refused {
        Refused {
            code: error.code(),
            message: Some(error.to_string()),
        }
    }
}

fn append(
    sender: &Sender<'_>,
    place: Result<&Topic, ResponseError>,
    data: PartitionProduceData,
) -> PartitionProduceResponse {
    let index = data.index;
    let response = PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1);
    let stored = place.map_err(Refused::new).and_then(|topic| {
        let partition = topic.partition(index);
        let partition = partition.ok_or(Refused::new(ResponseError::UnknownTopicOrPartition))?;
        let records = data.records.filter(|records| !records.is_empty());
        let records = records.ok_or(Refused {
            code: ResponseError::InvalidRecord,
            message: Some("no record batch".to_owned()),
        })?;
        sender.store(topic, index, &partition, records)
    });
    match stored {
        Ok(appended) => response
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.log_append_time)
            .with_log_start_offset(if sender.version >= 5 {
                appended.log_start_offset
            } else {
                -1
            }),
        Err(Refused { code, message }) => {
            let message = message.filter(|_| sender.version >= 8);
            response
                .with_error_code(code.code())
                .with_error_message(message.map(StrBytes::from_string))
        }
    }
}

/// Most topics and partitions of one request that come without records: each costs more to answer than to send.
const MOST_EMPTY: usize = 10_000;

/// Reads a request's body without trusting a length in it.
struct Reader {
    rest: Bytes,
    flexible: bool,
    empty: usize,
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
        let partitions = self.count()?;
        if partitions <= 0 {
            self.note_empty()?;
        }
        for _ in 0..partitions {
            let index = self.rest.try_get_i32()?;
            let length = if self.flexible {
                self.varint()? - 1
            } else {
                i64::from(self.rest.try_get_i32()?)
            };
            let records = self.bytes(length)?;
            if records
                .as_ref()
                .is_none_or(|records| records.len() < HEADER_SIZE)
            {
                self.note_empty()?;
            }
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

    fn note_empty(&mut self) -> Result<(), Broken> {
        self.empty += 1;
        match self.empty {
            ..=MOST_EMPTY => Ok(()),
            _ => Err(Broken::Decode {
                reason: format!("more than {MOST_EMPTY} topics and partitions without records"),
            }),
        }
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
