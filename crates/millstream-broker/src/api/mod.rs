//! The table of APIs: key, versions, handler; and the way from a request's bytes to its answer's.
//!
//! Versions are those of Apache Kafka 4.1 as far as the `kafka-protocol` crate carries them. Each API is one file with one
//! function, `handle`, from the decoded request to the response; five have a way of their own, and stand here by name: ApiVersions (always
//! answered), Produce (large, and perhaps without answer), Fetch (records are not copied), and the two of the login, which are `security`'s.
//!
//! A response must not set a field that its version does not have: encoding would fail and the connection with it.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_client_quotas;
mod alter_configs;
mod alter_user_scram_credentials;
mod api_versions;
mod consumer_group_describe;
pub(crate) mod consumer_group_heartbeat;
mod create_acls;
mod create_partitions;
mod create_topics;
mod delete_acls;
pub(crate) mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
pub(crate) mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod end_txn;
mod fetch;
mod find_coordinator;
mod handling;
pub(crate) mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
pub(crate) mod join_group;
mod leave_group;
pub(crate) mod list_groups;
mod list_offsets;
mod list_transactions;
mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
pub(crate) mod sync_group;
mod txn_offset_commit;

pub(crate) use fetch::Sessions as FetchSessions;
pub(crate) use handling::Handling;

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterClientQuotasRequest,
    AlterConfigsRequest, AlterUserScramCredentialsRequest, ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest, CreateAclsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteAclsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeAclsRequest, DescribeClientQuotasRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, DescribeTransactionsRequest,
    DescribeUserScramCredentialsRequest, EndTxnRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, ListOffsetsRequest, ListTransactionsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    SyncGroupRequest, TxnOffsetCommitRequest,
};
use kafka_protocol::messages::{ApiKey, BrokerId, GroupId};
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::broker::Broker;
use crate::clock::Stopwatch;
use crate::frame::{Broken, Header, decode_body};
use crate::listener::Endpoint;
use crate::security::{Guard, Guarded, Principal, Use, Verdict};
use crate::topics::Refused;

/// Who sent a request.
#[derive(Debug)]
pub(crate) struct Client {
    /// What the client calls itself.
    pub(crate) id: Option<StrBytes>,
    /// Where it connected from.
    pub(crate) host: IpAddr,
    /// Where it connected to.
    pub(crate) endpoint: Arc<Endpoint>,
    /// Who it is.
    pub(crate) principal: Principal,
    /// What its request takes.
    pub(crate) handling: Handling,
}

impl Client {
    /// User and client id, as quotas know them.
    fn names(&self) -> (&str, &str) {
        let id = self.id.as_ref().map_or("", |id| id.as_str());
        (self.principal.name(), id)
    }

    /// Its address as Java prints one that was not looked up.
    pub(crate) fn java_host(&self) -> String {
        format!("/{}", self.host)
    }
}

/// The leader epoch of every partition for ever: there is one broker, so that leadership never moves.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// Everything that may be done to a topic, as bits: what is not allowed is taken out by `security`.
pub(crate) const TOPIC_OPERATIONS: i32 = 3576;

/// Everything that may be done to a cluster, as bits.
pub(crate) const CLUSTER_OPERATIONS: i32 = 8096;

/// Everything that may be done to a group, as bits.
const GROUP_OPERATIONS: i32 = 3400;

/// Compares the leader epoch that a client knows with ours; -1 stands for "does not know".
pub(crate) fn check_leader_epoch(known: i32) -> Result<(), ResponseError> {
    match known {
        -1 | LEADER_EPOCH => Ok(()),
        newer if newer > LEADER_EPOCH => Err(ResponseError::UnknownLeaderEpoch),
        _ => Err(ResponseError::FencedLeaderEpoch),
    }
}

/// The group that a request is about, which must have a name.
fn named(id: &GroupId) -> Result<&GroupId, ResponseError> {
    match id.is_empty() {
        true => Err(ResponseError::InvalidGroupId),
        false => Ok(id),
    }
}

/// A fenced producer, in the words of a version of a request that may not know that code yet.
fn fenced_as_known(code: ResponseError, knows_fenced: bool) -> ResponseError {
    match code {
        ResponseError::ProducerFenced if !knows_fenced => ResponseError::InvalidProducerEpoch,
        code => code,
    }
}

/// Why records or offsets are no part of a transaction, as those who sent them expect it. Versions that do not know that a transaction
/// may just have to be aborted take it as an invalid one.
fn unverified_as_known(code: ResponseError, knows_abortable: bool) -> ResponseError {
    match code {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        ResponseError::TransactionAbortable if !knows_abortable => ResponseError::InvalidTxnState,
        code => code,
    }
}

/// A manual assignment can name this broker only, once.
fn check_replicas(broker: &Broker, replicas: &[BrokerId]) -> Result<(), Refused> {
    let refused = |text: String| Err(Refused::new(ResponseError::InvalidReplicaAssignment, text));
    let this = broker.config.node_id;
    match replicas {
        [one] if one.0 == this => Ok(()),
        [] => refused("The manual partition assignment includes an empty replica list.".to_owned()),
        _ => match replicas.iter().find(|id| id.0 != this) {
            Some(other) => refused(format!(
                "The manual partition assignment includes broker {}, but no such broker is registered.",
                other.0
            )),
            None => refused(format!(
                "The manual partition assignment includes the broker {this} more than once."
            )),
        },
    }
}

/// One API that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) key: ApiKey,
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Served {
    const fn new(key: ApiKey, name: &'static str, min: i16, max: i16) -> Served {
        Served {
            key,
            name,
            min,
            max,
        }
    }
}

/// An answer as it goes out: its frame in parts, and the room it takes in memory until then.
pub(crate) struct Answer {
    pub(crate) parts: VecDeque<Bytes>,
    pub(crate) _room: Vec<crate::broker::Taken>,
    /// How long the next request of the connection waits, for a quota is used up.
    pub(crate) wait: Duration,
}

macro_rules! apis {
    ($($key:ident $min:literal..=$max:literal => $module:ident($request:ty)),* $(,)?) => {
        /// Every API but ApiVersions, Produce and Fetch, in the order of their keys.
        const REGULAR: &[Served] = &[$(Served::new(ApiKey::$key, stringify!($key), $min, $max)),*];

        async fn regular(
            broker: &Broker,
            client: &Client,
            header: &Header,
            body: Bytes,
        ) -> Result<Answer, Broken> {
            let version = header.version;
            match ApiKey::try_from(header.key) {
                $(Ok(ApiKey::$key) if ($min..=$max).contains(&version) => {
                    let mut request: $request = decode_body(body, version)?;
                    let mut response = match guard(broker, client, &mut request, version) {
                        Verdict::Refuse(response) => response,
                        Verdict::Serve(amend) => {
                            let response = $module::handle(broker, client, request, version);
                            amended(response.await, amend)
                        }
                    };
                    // What the API itself asks for, and the quota of all requests.
                    let wait = response.throttle_time_ms.max(millis(request_wait(broker, client)));
                    response.throttle_time_ms = wait;
                    let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
                    encode(header, &response).map(|answer| Answer { wait, ..answer })
                })*
                Ok(_) => Err(Broken::UnknownVersion { key: header.key, version }),
                Err(()) => Err(Broken::UnknownApi { key: header.key }),
            }
        }
    };
}

apis! {
    ListOffsets 1..=10 => list_offsets(ListOffsetsRequest),
    Metadata 0..=13 => metadata(MetadataRequest),
    CreateTopics 2..=7 => create_topics(CreateTopicsRequest),
    DeleteTopics 1..=6 => delete_topics(DeleteTopicsRequest),
    DeleteRecords 0..=2 => delete_records(DeleteRecordsRequest),
    InitProducerId 0..=5 => init_producer_id(InitProducerIdRequest),
    OffsetCommit 2..=9 => offset_commit(OffsetCommitRequest),
    OffsetFetch 1..=9 => offset_fetch(OffsetFetchRequest),
    FindCoordinator 0..=6 => find_coordinator(FindCoordinatorRequest),
    JoinGroup 0..=9 => join_group(JoinGroupRequest),
    Heartbeat 0..=4 => heartbeat(HeartbeatRequest),
    LeaveGroup 0..=5 => leave_group(LeaveGroupRequest),
    SyncGroup 0..=5 => sync_group(SyncGroupRequest),
    DescribeGroups 0..=6 => describe_groups(DescribeGroupsRequest),
    ListGroups 0..=5 => list_groups(ListGroupsRequest),
    AddPartitionsToTxn 0..=5 => add_partitions_to_txn(AddPartitionsToTxnRequest),
    AddOffsetsToTxn 0..=4 => add_offsets_to_txn(AddOffsetsToTxnRequest),
    EndTxn 0..=5 => end_txn(EndTxnRequest),
    TxnOffsetCommit 0..=5 => txn_offset_commit(TxnOffsetCommitRequest),
    OffsetForLeaderEpoch 2..=4 => offset_for_leader_epoch(OffsetForLeaderEpochRequest),
    DescribeConfigs 1..=4 => describe_configs(DescribeConfigsRequest),
    AlterConfigs 0..=2 => alter_configs(AlterConfigsRequest),
    DescribeLogDirs 1..=4 => describe_log_dirs(DescribeLogDirsRequest),
    DeleteGroups 0..=2 => delete_groups(DeleteGroupsRequest),
    CreatePartitions 0..=3 => create_partitions(CreatePartitionsRequest),
    IncrementalAlterConfigs 0..=1 => incremental_alter_configs(IncrementalAlterConfigsRequest),
    OffsetDelete 0..=0 => offset_delete(OffsetDeleteRequest),
    DescribeAcls 1..=3 => describe_acls(DescribeAclsRequest),
    CreateAcls 1..=3 => create_acls(CreateAclsRequest),
    DeleteAcls 1..=3 => delete_acls(DeleteAclsRequest),
    DescribeClientQuotas 0..=1 => describe_client_quotas(DescribeClientQuotasRequest),
    AlterClientQuotas 0..=1 => alter_client_quotas(AlterClientQuotasRequest),
    DescribeUserScramCredentials 0..=0 => describe_user_scram_credentials(DescribeUserScramCredentialsRequest),
    AlterUserScramCredentials 0..=0 => alter_user_scram_credentials(AlterUserScramCredentialsRequest),
    DescribeCluster 0..=2 => describe_cluster(DescribeClusterRequest),
    DescribeProducers 0..=0 => describe_producers(DescribeProducersRequest),
    DescribeTransactions 0..=0 => describe_transactions(DescribeTransactionsRequest),
    ListTransactions 0..=2 => list_transactions(ListTransactionsRequest),
    ConsumerGroupHeartbeat 0..=1 => consumer_group_heartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe 0..=1 => consumer_group_describe(ConsumerGroupDescribeRequest),
    DescribeTopicPartitions 0..=0 => describe_topic_partitions(DescribeTopicPartitionsRequest),
}

/// Takes out of a request what its sender may not do.
fn guard<R: Guarded>(
    broker: &Broker,
    client: &Client,
    request: &mut R,
    version: i16,
) -> Verdict<R::Response> {
    match broker.acls.access(&client.principal, client.host) {
        None => Verdict::Serve(None),
        Some(access) => request.guard(&Guard {
            broker,
            access: &access,
            version,
        }),
    }
}

/// Counts the bytes of a client; returns how long it has to wait, also as the protocol says it.
fn throttle(broker: &Broker, client: &Client, used: Use, bytes: usize) -> (Duration, i32) {
    let (user, id) = client.names();
    #[expect(clippy::cast_precision_loss, reason = "a quota is a rate")]
    let wait = broker.quotas.take(used, user, id, bytes as f64);
    let wait = wait.max(request_wait(broker, client));
    (wait, millis(wait))
}

/// Counts the time that a request has taken; returns how long its client has to wait.
fn request_wait(broker: &Broker, client: &Client) -> Duration {
    let (user, id) = client.names();
    let percent = client.handling.time().as_secs_f64() * 100.0;
    broker.quotas.take(Use::Request, user, id, percent)
}

/// Counts partitions that are made or removed. Returns how long the client has to wait, as an error if they may not be now; clients of
/// older versions do not know that, and only wait.
fn mutate(broker: &Broker, client: &Client, partitions: usize, strict: bool) -> Result<i32, i32> {
    let (user, id) = client.names();
    let mutated = broker.quotas.mutate(user, id, partitions, strict);
    mutated.map(millis).map_err(millis)
}

fn mutation_refused() -> Refused {
    Refused::new(
        ResponseError::ThrottlingQuotaExceeded,
        "The throttling quota has been exceeded.",
    )
}

/// As the protocol has it.
fn millis(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
}

/// A response with what was taken out of its request.
fn amended<R>(mut response: R, amend: Option<impl FnOnce(&mut R)>) -> R {
    if let Some(amend) = amend {
        amend(&mut response);
    }
    response
}

/// The APIs and versions that are advertised, in the order of their keys.
///
/// Produce is advertised from 0, though served from 3, as Kafka 4 does: librdkafka before 2.11 takes a higher
/// minimum as a sign that the broker knows no compression (KAFKA-18659). SaslHandshake is advertised from 0, though served from 1: old
/// clients take a higher minimum as a sign that there are no logins.
pub(crate) fn table() -> impl Iterator<Item = Served> {
    const OWN_WAY: [Served; 5] = [
        Served::new(ApiKey::Produce, "Produce", 0, 13),
        Served::new(ApiKey::Fetch, "Fetch", 4, 18),
        Served::new(ApiKey::SaslHandshake, "SaslHandshake", 0, 1),
        Served::new(ApiKey::ApiVersions, "ApiVersions", 0, 4),
        Served::new(ApiKey::SaslAuthenticate, "SaslAuthenticate", 0, 2),
    ];
    let mut all: Vec<Served> = OWN_WAY.iter().chain(REGULAR).copied().collect();
    all.sort_by_key(|served| served.key as i16);
    all.into_iter()
}

/// Answers one request; `None` where the protocol wants no answer. What is broken costs the connection.
pub(crate) async fn answer(
    broker: &Broker,
    client: &Client,
    header: &Header,
    body: Bytes,
) -> Result<Option<Answer>, Broken> {
    let watch = Stopwatch::start();
    let answer = client.handling.measure(async {
        match ApiKey::try_from(header.key) {
            Ok(ApiKey::ApiVersions) => api_versions::answer(header, body).map(Some),
            Ok(ApiKey::Produce) => produce::answer(broker, client, header, body).await,
            Ok(ApiKey::Fetch) => fetch::answer(broker, client, header, body).await.map(Some),
            _ => regular(broker, client, header, body).await.map(Some),
        }
    });
    let answer = answer.await?;
    broker.metrics.answered(header.key, watch.seconds());
    Ok(answer)
}

/// Leaves out what was there before, by `key`: what is asked for many times in one request is answered once, so that a small request
/// cannot ask for an answer of any size.
fn once<T, K: Hash + Eq>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> impl Iterator<Item = T> {
    let mut seen = HashSet::new();
    items.into_iter().filter(move |item| seen.insert(key(item)))
}

/// Puts a response behind its length and header.
pub(crate) fn encode<R: Encodable>(header: &Header, response: &R) -> Result<Answer, Broken> {
    let mut frame = start(header);
    response
        .encode(&mut frame, header.version)
        .map_err(|error| Broken::Encode {
            reason: error.to_string(),
        })?;
    finish(frame)
}

/// A frame with room for its length, and the response header.
fn start(header: &Header) -> BytesMut {
    let mut frame = BytesMut::with_capacity(256);
    frame.put_i32(0);
    frame.put_i32(header.correlation_id);
    let flexible = ApiKey::try_from(header.key)
        .is_ok_and(|api| api.response_header_version(header.version) >= 1);
    if flexible {
        frame.put_u8(0);
    }
    frame
}

/// Fills in the length of a frame in one part.
fn finish(mut frame: BytesMut) -> Result<Answer, Broken> {
    fill_length(&mut frame, 0)?;
    Ok(Answer {
        parts: VecDeque::from([frame.freeze()]),
        _room: Vec::new(),
        wait: Duration::ZERO,
    })
}

/// Writes the length of a frame, of which `more` bytes follow in other parts, to its start.
fn fill_length(frame: &mut BytesMut, more: usize) -> Result<(), Broken> {
    let length = i32::try_from(frame.len() + more - 4).map_err(|_| Broken::Encode {
        reason: "answer above 2 GiB".to_owned(),
    })?;
    if let Some(place) = frame.first_chunk_mut() {
        *place = length.to_be_bytes();
    }
    Ok(())
}
