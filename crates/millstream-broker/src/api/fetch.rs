//! Fetch: reads batches of many partitions, waiting for `min_bytes` up to `max_wait`.
//!
//! A request names what it wants, or continues a session (`sessions`) and names only what changes; either way the result is a list of
//! partitions, which `reads` reads. A fetch that finds too little registers one waiter at its partitions, looks again, and sleeps; an
//! append wakes exactly the fetches that wait for its partition, and only partitions that have grown are read again. What is read takes
//! its share of `max_fetch_bytes_in_flight` before it is read and keeps it until the answer is sent; the less is left, the less is read,
//! so that consumers that stopped reading block nobody.

mod reads;
mod sessions;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::fetch_response::{
    FetchResponse, FetchableTopicResponse, PartitionData,
};

use super::{Answer, Client, throttle};
use crate::broker::{Broker, Taken};
use crate::frame::{Broken, Header, decode_body};
use crate::log::Isolation;
use crate::security::{Access, Use};
use reads::Reads;
use sessions::Begun;
pub(crate) use sessions::Sessions;
use sessions::{Topic, Wanted};

/// Longest wait for records; a client that asks for more is answered with nothing in between. A client that has gone
/// away meanwhile is only found out by answering it.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

pub(super) async fn answer(
    broker: &Broker,
    client: &Client,
    header: &Header,
    body: Bytes,
) -> Result<Answer, Broken> {
    if !(4..=18).contains(&header.version) {
        return Err(Broken::UnknownVersion {
            key: header.key,
            version: header.version,
        });
    }
    let request: FetchRequest = decode_body(body, header.version)?;
    // A session outlives the permissions that it began with: each fetch is judged by those of now.
    let access = broker.acls.access(&client.principal, client.host);
    let (mut response, room) = handle(broker, access.as_ref(), &request, header.version)
        .await
        .unwrap_or_else(|code| {
            (
                FetchResponse::default().with_error_code(code.code()),
                Vec::new(),
            )
        });
    let partitions = response.responses.iter().flat_map(|of| &of.partitions);
    let records = partitions.filter_map(|of| of.records.as_ref());
    let bytes = records.map(Bytes::len).sum();
    let (wait, throttle_time_ms) = throttle(broker, client, Use::Fetch, bytes);
    response.throttle_time_ms = throttle_time_ms;
    let parts = wire::encode(header, response)?;
    Ok(Answer {
        parts,
        _room: room,
        wait,
    })
}

async fn handle(
    broker: &Broker,
    access: Option<&Access>,
    request: &FetchRequest,
    version: i16,
) -> Result<(FetchResponse, Vec<Taken>), ResponseError> {
    let sessions = &broker.fetch_sessions;
    let begun = sessions.begin(request, version, broker.now_ms())?;
    let wanted = match &begun {
        Begun::Whole { .. } => sessions::wanted(request, version).collect(),
        Begun::Continued(session) => session.wanted(),
    };
    let (read, room) = read(broker, access, request, &wanted).await;
    let (session_id, told) = match begun {
        Begun::Whole { keep } => {
            let id = match keep {
                true => sessions.keep(&wanted, &read, version, broker.now_ms()),
                false => 0,
            };
            (id, wanted.into_iter().zip(read).collect())
        }
        Begun::Continued(session) => (session.id, session.news(wanted, read)?),
    };
    let response = FetchResponse::default()
        .with_session_id(session_id)
        .with_responses(by_topic(told));
    Ok((response, room))
}

/// Reads `wanted`, waiting as long as the request allows.
async fn read(
    broker: &Broker,
    access: Option<&Access>,
    request: &FetchRequest,
    wanted: &[Wanted],
) -> (Vec<PartitionData>, Vec<Taken>) {
    let wait =
        Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(LONGEST_WAIT);
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0);
    let isolation = Isolation::of(request.isolation_level);
    let mut reads = Reads::new(broker, access, wanted, max_bytes, isolation);
    // More than may be given can never be there.
    let min_bytes = usize::try_from(request.min_bytes)
        .unwrap_or(0)
        .min(reads.max_bytes);
    reads.read_grown(broker);
    if !reads.complete(min_bytes) && !wait.is_zero() {
        reads.wait(broker, min_bytes, wait).await;
    }
    reads.respond(wanted)
}

/// Answers in their order, with neighbours of one topic together.
fn by_topic(told: Vec<(Wanted, PartitionData)>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    let mut last = None;
    for (wanted, data) in told {
        if last.as_ref() != Some(&wanted.topic) {
            let topic = FetchableTopicResponse::default();
            topics.push(match &wanted.topic {
                Topic::Name(name) => topic.with_topic(name.clone()),
                Topic::Id(id) => topic.with_topic_id(*id),
            });
            last = Some(wanted.topic);
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(data);
        }
    }
    topics
}
