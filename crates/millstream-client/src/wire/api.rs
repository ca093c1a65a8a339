//! The requests that this client sends, the versions of each that it speaks, and the way from bytes to responses.
//!
//! One table. But for the login's handshake and OffsetDelete only flexible versions are spoken: every cluster since Apache Kafka 3.7 has them, and in them each length is a variable-length integer,
//! so that `Guarded` can compare it with the bytes that are left before the generated decoders reserve memory for it. Topics go by name, not
//! by id, which bounds the versions of Fetch and Metadata from above; those of Produce and of transactions end before KIP-890, in which brokers add
//! partitions to transactions by themselves.

use bytes::{Buf, BufMut as _, Bytes, TryGetError};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, ApiVersionsRequest, ApiVersionsResponse,
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, CreatePartitionsRequest,
    CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteGroupsRequest,
    DeleteGroupsResponse, DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, DescribeAclsRequest, DescribeAclsResponse, DescribeClusterRequest,
    DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, DescribeProducersRequest,
    DescribeProducersResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    EndTxnRequest, EndTxnResponse, FetchRequest, FindCoordinatorRequest, FindCoordinatorResponse,
    HeartbeatRequest, HeartbeatResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, InitProducerIdRequest, InitProducerIdResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, ListOffsetsRequest, ListOffsetsResponse, ListTransactionsRequest,
    ListTransactionsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
    ProduceResponse, RequestHeader, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse, SyncGroupRequest, SyncGroupResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::buf::{ByteBuf, NotEnoughBytesError};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::Malformed;
use super::cursor::Cursor;
use super::fetched::Fetched;
use crate::Error;

macro_rules! apis {
    ($($name:ident $min:literal..=$max:literal ($request:ident => $response:ty, $decode:ident)),* $(,)?) => {
        /// A request.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum Call {
            $(#[doc = concat!("The API ", stringify!($name), ".")] $name($request)),*
        }

        /// A response.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum Reply {
            $(#[doc = concat!("The API ", stringify!($name), ".")] $name($response)),*
        }

        /// One API, without its request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Api {
            $(#[doc = concat!("The API ", stringify!($name), ".")] $name),*
        }

        impl Api {
            /// All of them.
            pub const ALL: &[Api] = &[$(Api::$name),*];

            /// Its name, as in Kafka's protocol guide.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// Its number on the wire.
            pub fn key(self) -> i16 {
                match self { $(Self::$name => $request::KEY),* }
            }

            /// The oldest and the newest version that this client speaks.
            pub fn versions(self) -> (i16, i16) {
                match self { $(Self::$name => ($min, $max)),* }
            }

            /// Decodes the response to a request of this API, correlation id and header included.
            pub fn decode(self, version: i16, frame: &Bytes) -> Result<Reply, Malformed> {
                match self {
                    $(Self::$name => $decode(frame, version).map(Reply::$name)),*
                }
            }
        }

        impl Call {
            /// Which API it belongs to.
            pub fn api(&self) -> Api {
                match self { $(Self::$name(_) => Api::$name),* }
            }

            /// Appends it to `out` as a frame.
            pub fn encode(&self, version: i16, correlation_id: i32, client_id: &str, out: &mut Vec<u8>) -> Result<(), Error> {
                match self {
                    $(Self::$name(request) => frame(request, version, (correlation_id, client_id), out)),*
                }
            }
        }
    };
}

apis! {
    Produce 9..=11 (ProduceRequest => ProduceResponse, generated),
    Fetch 12..=12 (FetchRequest => Fetched, fetched),
    ListOffsets 6..=8 (ListOffsetsRequest => ListOffsetsResponse, generated),
    Metadata 9..=12 (MetadataRequest => MetadataResponse, generated),
    OffsetCommit 8..=9 (OffsetCommitRequest => OffsetCommitResponse, generated),
    OffsetFetch 8..=9 (OffsetFetchRequest => OffsetFetchResponse, generated),
    FindCoordinator 4..=5 (FindCoordinatorRequest => FindCoordinatorResponse, generated),
    JoinGroup 6..=9 (JoinGroupRequest => JoinGroupResponse, generated),
    Heartbeat 4..=4 (HeartbeatRequest => HeartbeatResponse, generated),
    LeaveGroup 4..=5 (LeaveGroupRequest => LeaveGroupResponse, generated),
    SyncGroup 4..=5 (SyncGroupRequest => SyncGroupResponse, generated),
    SaslHandshake 1..=1 (SaslHandshakeRequest => SaslHandshakeResponse, handshake),
    SaslAuthenticate 2..=2 (SaslAuthenticateRequest => SaslAuthenticateResponse, generated),
    ApiVersions 3..=3 (ApiVersionsRequest => ApiVersionsResponse, generated),
    CreateTopics 5..=7 (CreateTopicsRequest => CreateTopicsResponse, generated),
    InitProducerId 2..=4 (InitProducerIdRequest => InitProducerIdResponse, generated),
    AddPartitionsToTxn 3..=3 (AddPartitionsToTxnRequest => AddPartitionsToTxnResponse, generated),
    AddOffsetsToTxn 3..=4 (AddOffsetsToTxnRequest => AddOffsetsToTxnResponse, generated),
    EndTxn 3..=4 (EndTxnRequest => EndTxnResponse, generated),
    TxnOffsetCommit 3..=4 (TxnOffsetCommitRequest => TxnOffsetCommitResponse, generated),
    OffsetForLeaderEpoch 4..=4 (OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse, generated),
    DescribeGroups 5..=6 (DescribeGroupsRequest => DescribeGroupsResponse, generated),
    ListGroups 4..=5 (ListGroupsRequest => ListGroupsResponse, generated),
    DeleteTopics 6..=6 (DeleteTopicsRequest => DeleteTopicsResponse, generated),
    DeleteRecords 2..=2 (DeleteRecordsRequest => DeleteRecordsResponse, generated),
    DescribeAcls 2..=3 (DescribeAclsRequest => DescribeAclsResponse, generated),
    DescribeConfigs 4..=4 (DescribeConfigsRequest => DescribeConfigsResponse, generated),
    CreatePartitions 2..=3 (CreatePartitionsRequest => CreatePartitionsResponse, generated),
    DeleteGroups 2..=2 (DeleteGroupsRequest => DeleteGroupsResponse, generated),
    IncrementalAlterConfigs 1..=1 (IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse, generated),
    OffsetDelete 0..=0 (OffsetDeleteRequest => OffsetDeleteResponse, offset_delete),
    DescribeCluster 0..=2 (DescribeClusterRequest => DescribeClusterResponse, generated),
    DescribeProducers 0..=0 (DescribeProducersRequest => DescribeProducersResponse, generated),
    DescribeTransactions 0..=0 (DescribeTransactionsRequest => DescribeTransactionsResponse, generated),
    ListTransactions 0..=2 (ListTransactionsRequest => ListTransactionsResponse, generated),
    ConsumerGroupDescribe 0..=1 (ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse, generated),
}

fn frame<R: Request>(
    request: &R,
    version: i16,
    (correlation_id, client_id): (i32, &str),
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let failed = |reason: String| Error::Encode {
        api: R::KEY,
        reason,
    };
    let start = out.len();
    out.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let encoded = header
        .encode(out, R::header_version(version))
        .and_then(|()| request.encode(out, version));
    let length = i32::try_from(out.len() - start - 4);
    match (encoded, length) {
        (Ok(()), Ok(length)) => {
            if let Some(place) = out
                .get_mut(start..)
                .and_then(|frame| frame.first_chunk_mut())
            {
                *place = length.to_be_bytes();
            }
            Ok(())
        }
        (Err(error), _) => {
            out.truncate(start);
            Err(failed(error.to_string()))
        }
        (_, Err(_)) => {
            out.truncate(start);
            Err(failed("the request is larger than 2 GiB".to_owned()))
        }
    }
}

fn generated<R: Decodable + HeaderVersion>(frame: &Bytes, version: i16) -> Result<R, Malformed> {
    let mut guarded = Guarded {
        bytes: frame.clone(),
        varint: 0,
        shift: 0,
    };
    guarded.try_get_i32().map_err(|_| Malformed::Short)?;
    if R::header_version(version) >= 1 {
        skip_tags(&mut guarded)?;
    }
    let response = R::decode(&mut guarded, version).map_err(|_| Malformed::Response)?;
    match guarded.bytes.len() {
        0 => Ok(response),
        count => Err(Malformed::Trailing { count }),
    }
}

fn skip_tags(guarded: &mut Guarded) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(&guarded.bytes);
    cursor.tags(|_, _| Ok(()))?;
    let read = guarded.bytes.len() - cursor.left();
    guarded.bytes.advance(read);
    Ok(())
}

/// Not flexible: its number of mechanisms is compared with the bytes that are left before it is decoded.
fn handshake(frame: &Bytes, version: i16) -> Result<SaslHandshakeResponse, Malformed> {
    const LEAST_TEXT: usize = 2;
    let mut cursor = Cursor::new(frame);
    let (_correlation, _code) = (cursor.i32()?, cursor.i16()?);
    elements(&mut cursor, LEAST_TEXT)?;
    generated(frame, version)
}

/// Not flexible: its numbers of topics and partitions are compared with the bytes that are left before it is decoded.
fn offset_delete(frame: &Bytes, version: i16) -> Result<OffsetDeleteResponse, Malformed> {
    const LEAST_TOPIC: usize = 6;
    const PARTITION: usize = 6;
    let mut cursor = Cursor::new(frame);
    let (_correlation, _code, _throttle) = (cursor.i32()?, cursor.i16()?, cursor.i32()?);
    for _ in 0..elements(&mut cursor, LEAST_TOPIC)? {
        let length = i64::from(cursor.i16()?);
        let length = cursor.length(length)?;
        cursor.take(length)?;
        let partitions = elements(&mut cursor, PARTITION)?;
        cursor.take(partitions * PARTITION)?;
    }
    generated(frame, version)
}

/// The length of an array of 32 bits, whose elements have at least so many bytes.
fn elements(cursor: &mut Cursor<'_>, least: usize) -> Result<usize, Malformed> {
    let count = cursor.i32()?;
    let most = cursor.left() / least;
    let fits = usize::try_from(count).ok().filter(|count| *count <= most);
    fits.ok_or(Malformed::Length {
        length: i64::from(count),
        available: most,
    })
}

fn fetched(frame: &Bytes, _version: i16) -> Result<Fetched, Malformed> {
    Fetched::decode(frame)
}

/// A frame that gives out no length above what is left of it.
///
/// The generated decoders reserve memory for as many elements as an array's length claims. In flexible versions each length is a variable-length
/// integer without a sign, read byte by byte through `try_get_u8`; other values of one byte are complete integers to this check,
/// and small. A hostile byte can only make the check stricter: it then begins in the middle of a larger number.
struct Guarded {
    bytes: Bytes,
    varint: u64,
    shift: u32,
}

/// Numbers of tagged fields stand where lengths stand and may exceed a short rest.
const SLACK: u64 = 32;

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.varint = 0;
        self.shift = 0;
        self.bytes.advance(count);
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        self.varint |= u64::from(byte & 0x7f) << self.shift.min(56);
        let rest = u64::try_from(self.bytes.remaining()).unwrap_or(u64::MAX);
        if self.varint > rest.saturating_add(SLACK) {
            return Err(TryGetError {
                requested: usize::MAX,
                available: self.bytes.remaining(),
            });
        }
        if byte < 0x80 {
            self.varint = 0;
            self.shift = 0;
        } else {
            self.shift += 7;
        }
        Ok(byte)
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.varint = 0;
        self.shift = 0;
        self.bytes.split_to(size)
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        if self.bytes.remaining() < size {
            return Err(NotEnoughBytesError);
        }
        Ok(self.get_bytes(size))
    }
}

#[cfg(test)]
mod tests;
