//! Batches out and back, and bytes that lie. Every random case is seeded and told by its seed.

use bytes::Bytes;

use super::api::{Api, Reply};
use super::batch::{Batch, HEADER_BYTES, Producer};
use super::builder::{Builder, most_bytes};
use super::compression::Compression;
use super::fetched::Fetched;
use super::frame::{FrameReader, Progress};
use super::records::Records;
use super::*;

const LIMIT: usize = 8 << 20;

/// A record as a test owns it.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn some_records(random: &mut fastrand::Rng) -> Vec<Owned> {
    let blob = |random: &mut fastrand::Rng| {
        let most = random.choice([2, 70, 300]).unwrap();
        let size = random.usize(0..most);
        let bytes = std::iter::repeat_with(|| random.u8(b'a'..b'e')).take(size);
        let bytes: Vec<u8> = bytes.collect();
        random.bool().then_some(bytes)
    };
    let count = random.usize(1..40);
    (0..count)
        .map(|_| Owned {
            timestamp: random.i64(0..2_000_000_000_000),
            key: blob(random),
            value: blob(random),
            headers: (0..random.usize(0..3))
                .map(|index| (format!("name-{index}"), blob(random)))
                .collect(),
        })
        .collect()
}

fn build(records: &[Owned], compression: Compression, producer: Producer) -> Bytes {
    let mut builder = Builder::default();
    for (index, record) in records.iter().enumerate() {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let before = builder.size();
        let at = builder.append(record.timestamp, key, value, &headers);
        assert_eq!(usize::try_from(at), Ok(index));
        assert!(builder.size() - before <= most_bytes(key, value, &headers));
    }
    let sealed = builder.seal(compression, producer, false).unwrap();
    sealed.bytes().clone()
}

/// Everything that a reader does with bytes; the records of all batches.
fn read(mut bytes: &[u8]) -> Result<Vec<(i64, Owned)>, Malformed> {
    let mut found = Vec::new();
    let mut plain = Vec::new();
    while let Some(batch) = Batch::split(&mut bytes)? {
        let compression = batch.header.compression()?;
        compression.decompress(batch.body, &mut plain, LIMIT)?;
        for record in Records::new(batch.header, &plain) {
            let record = record?;
            let headers = record.headers.into_iter();
            found.push((
                record.offset,
                Owned {
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: headers
                        .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
                        .collect(),
                },
            ));
        }
    }
    Ok(found)
}

const PRODUCER: Producer = Producer {
    id: 77,
    epoch: 3,
    sequence: 1000,
};

#[test]
fn what_is_built_is_read_again_with_every_codec() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let records = some_records(&mut random);
        let compression = Compression::ALL[random.usize(0..5)];
        let bytes = build(&records, compression, PRODUCER);
        let found = read(&bytes).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let expected: Vec<_> = (0..).zip(records).collect();
        assert_eq!(found, expected, "seed {seed}, {}", compression.name());
    }
}

/// The decoder of another author reads the same, producer and sequence included.
#[test]
fn what_is_built_is_read_by_the_decoder_of_kafka_protocol() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let records = some_records(&mut random);
        let compression = Compression::ALL[random.usize(0..5)];
        let mut bytes = build(&records, compression, PRODUCER);
        let decoded = kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes).unwrap();
        let found: Vec<_> = decoded
            .records
            .iter()
            .map(|record| Owned {
                timestamp: record.timestamp,
                key: record.key.as_deref().map(<[u8]>::to_vec),
                value: record.value.as_deref().map(<[u8]>::to_vec),
                headers: record
                    .headers
                    .iter()
                    .map(|(name, value)| {
                        let value = value.as_deref().map(<[u8]>::to_vec);
                        (name.as_str().to_owned(), value)
                    })
                    .collect(),
            })
            .collect();
        assert_eq!(found, records, "seed {seed}");
        for (index, record) in (0..).zip(&decoded.records) {
            assert_eq!(
                (
                    record.producer_id,
                    record.producer_epoch,
                    record.sequence,
                    record.offset
                ),
                (77, 3, 1000 + index, i64::from(index)),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn a_batch_stamped_again_differs_in_its_producer_only() {
    let mut builder = Builder::default();
    builder.append(5, None, Some(b"value"), &[]);
    let mut sealed = builder.seal(Compression::None, PRODUCER, false).unwrap();
    let before = read(sealed.bytes()).unwrap();
    let again = Producer {
        id: 78,
        epoch: 0,
        sequence: 0,
    };
    sealed.restamp(again);
    let mut bytes: &[u8] = sealed.bytes();
    assert_eq!(read(bytes), Ok(before));
    let batch = Batch::split(&mut bytes).unwrap().unwrap();
    assert_eq!(batch.header.producer, again);
}

#[test]
fn a_batch_that_is_cut_off_is_left_out() {
    let mut random = fastrand::Rng::with_seed(4);
    let records = some_records(&mut random);
    let first = build(&records, Compression::None, PRODUCER);
    let two = [&first[..], &first[..]].concat();
    for cut in first.len()..two.len() {
        let found = read(&two[..cut]).unwrap();
        assert_eq!(found.len(), records.len(), "cut at {cut}");
    }
}

#[test]
fn a_changed_bit_is_found_by_the_checksum() {
    let mut random = fastrand::Rng::with_seed(5);
    let bytes = build(&some_records(&mut random), Compression::None, PRODUCER).to_vec();
    for place in super::batch::CHECKED_FROM..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1 << random.u32(0..8);
        let error = read(&changed).unwrap_err();
        assert!(
            matches!(error, Malformed::Checksum { .. }),
            "{place}: {error}"
        );
    }
}

/// A byte as lengths, counts and damage have them.
fn odd_byte(random: &mut fastrand::Rng) -> u8 {
    let any = random.u8(..);
    random.choice([0, 1, 2, 3, 0x7f, 0x80, 0xff, any]).unwrap()
}

/// Gives damaged bytes a checksum that is true, so that what is behind it is tested too.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= HEADER_BYTES {
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let checksum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
}

/// Reading must end without a panic and within its memory; whether it finds an error depends on the damage.
#[test]
fn damaged_records_with_a_true_checksum_are_an_error_or_other_records() {
    for seed in 0..3000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let compression = Compression::ALL[random.usize(0..5)];
        let mut bytes = build(&some_records(&mut random), compression, PRODUCER).to_vec();
        for _ in 0..random.usize(1..4) {
            let place = random.usize(21..bytes.len());
            bytes[place] = odd_byte(&mut random);
        }
        if random.bool() {
            bytes.truncate(random.usize(HEADER_BYTES..=bytes.len()));
        }
        let count = read(&signed(bytes)).map_or(0, |records| records.len());
        assert!(count <= LIMIT / 7, "seed {seed}");
    }
}

/// A batch of one record whose bytes are given.
fn batch_of(record: &[u8], count: i32) -> Vec<u8> {
    let mut builder = Builder::default();
    builder.append(0, None, None, &[]);
    let sealed = builder.seal(Compression::None, PRODUCER, false).unwrap();
    let mut bytes = sealed.bytes()[..HEADER_BYTES].to_vec();
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(record);
    signed(bytes)
}

#[test]
fn lengths_and_counts_that_lie_are_named() {
    let length = |length, available| Malformed::Length { length, available };
    // length, attributes, timestamp, offset, key, value, headers
    let cases: [(&[u8], i32, Malformed); 9] = [
        (&[100, 0, 0, 0, 1, 1, 0], 1, length(50, 6)),
        (&[1, 0, 0, 0, 1, 1, 0], 1, length(-1, 6)),
        (&[12, 0, 0, 0, 80, 1, 0], 1, length(40, 2)),
        (&[12, 0, 0, 0, 1, 90, 0], 1, length(45, 1)),
        (&[12, 0, 0, 0, 1, 1, 80], 1, length(40, 0)),
        (
            &[14, 0, 0, 0, 1, 1, 0, 9],
            1,
            Malformed::Trailing { count: 1 },
        ),
        (&[12, 0, 0, 0, 1, 1, 0], 2, Malformed::Short),
        (&[12, 0, 0, 0, 1, 1, 0], 0, Malformed::Trailing { count: 7 }),
        (&[12, 0, 0, 2, 1, 1, 0], 1, Malformed::Count { count: 1 }),
    ];
    for (record, count, expected) in cases {
        assert_eq!(read(&batch_of(record, count)), Err(expected), "{record:?}");
    }
    let negative = batch_of(&[12, 0, 0, 0, 1, 1, 0], -1);
    assert_eq!(read(&negative), Err(Malformed::Count { count: -1 }));
    let mut short = batch_of(&[], 0);
    short[8..12].copy_from_slice(&48_i32.to_be_bytes());
    assert_eq!(read(&short), Err(length(48, 49)));
}

#[test]
fn records_that_decompress_to_more_than_the_limit_are_refused() {
    let plain = vec![0; 3 << 20];
    for compression in Compression::ALL {
        let mut packed = Vec::new();
        compression.compress(&plain, &mut packed).unwrap();
        let mut out = Vec::new();
        let limit = (3 << 20) - 1;
        let refused = compression.decompress(&packed, &mut out, limit);
        assert_eq!(
            refused,
            Err(Malformed::TooLarge { limit }),
            "{}",
            compression.name()
        );
        assert!(out.capacity() <= 8 << 20, "{}", compression.name());
        let read = compression.decompress(&packed, &mut out, 3 << 20);
        assert_eq!(
            (read, out == plain),
            (Ok(()), true),
            "{}",
            compression.name()
        );
    }
    // A raw block of snappy that announces 256 MiB in six bytes.
    let lie = [0x80, 0x80, 0x80, 0x80, 0x01, 0];
    let mut out = Vec::new();
    let refused = Compression::Snappy.decompress(&lie, &mut out, 1 << 30);
    assert_eq!(refused, Err(Malformed::TooLarge { limit: 1 << 30 }));
    assert_eq!(out.capacity(), 0);
}

/// A socket that gives its bytes in pieces and then has nothing more.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
    blocked: bool,
}

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, place: &mut [u8]) -> std::io::Result<usize> {
        self.blocked = !self.blocked;
        if self.blocked || self.rest.is_empty() {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let count = place.len().min(self.piece).min(self.rest.len());
        place[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

#[test]
fn frames_come_whole_however_they_arrive() {
    let mut bytes = Vec::new();
    for size in [0_u32, 1, 5000, 3] {
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, usize::try_from(size).unwrap()));
    }
    for piece in [1, 2, 3, 100, 10_000] {
        let (rest, blocked) = (&bytes[..], false);
        let mut source = Pieces {
            rest,
            piece,
            blocked,
        };
        let mut reader = FrameReader::new(5000);
        let mut sizes = Vec::new();
        while sizes.len() < 4 {
            match reader.read(&mut source).unwrap() {
                Progress::Frame(frame) => sizes.push(frame.len()),
                progress => assert_eq!(progress, Progress::Blocked),
            }
        }
        assert_eq!(sizes, [0, 1, 5000, 3], "pieces of {piece}");
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_and_an_announced_one_takes_no_memory() {
    for length in [-1_i32, i32::MIN, 5001, i32::MAX] {
        let bytes = length.to_be_bytes();
        let error = FrameReader::new(5000).read(&mut &bytes[..]).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, format!("length {length} where 5000 bytes are left"));
    }
    let mut reader = FrameReader::new(usize::MAX);
    let bytes = [&i32::MAX.to_be_bytes()[..], &[1, 2, 3]].concat();
    assert_eq!(reader.read(&mut &bytes[..]).unwrap(), Progress::Closed);
    assert!(reader.reserved() <= 1 << 20);
}

/// Responses as brokers send them, with something in their arrays.
fn good_responses() -> Vec<Vec<u8>> {
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::metadata_response::{
        MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
    };
    use kafka_protocol::messages::{FetchResponse, MetadataResponse, OffsetFetchResponse};
    use kafka_protocol::protocol::Encodable;
    fn framed(response: &impl Encodable, version: i16) -> Vec<u8> {
        let mut frame = vec![0, 0, 0, 1, 0];
        response.encode(&mut frame, version).unwrap();
        frame
    }
    let partition = MetadataResponsePartition::default().with_replica_nodes(vec![1.into(); 3]);
    let topic = MetadataResponseTopic::default().with_partitions(vec![partition; 3]);
    let metadata = MetadataResponse::default().with_topics(vec![topic; 2]);
    let data = PartitionData::default().with_records(Some(Bytes::from_static(b"records")));
    let topic = FetchableTopicResponse::default().with_partitions(vec![data; 3]);
    let fetch = FetchResponse::default().with_responses(vec![topic; 2]);
    let offset = OffsetFetchResponsePartitions::default().with_committed_offset(7);
    let topic = OffsetFetchResponseTopics::default().with_partitions(vec![offset; 3]);
    let group = OffsetFetchResponseGroup::default().with_topics(vec![topic; 2]);
    let offsets = OffsetFetchResponse::default().with_groups(vec![group]);
    let good = vec![
        framed(&metadata, 12),
        framed(&fetch, 12),
        framed(&offsets, 9),
    ];
    for (api, version, frame) in [
        (Api::Metadata, 12, &good[0]),
        (Api::Fetch, 12, &good[1]),
        (Api::OffsetFetch, 9, &good[2]),
    ] {
        let decoded = api.decode(version, &Bytes::from(frame.clone()));
        assert_eq!(decoded.map(drop), Ok(()), "{}", api.name());
    }
    good
}

/// Truncated, extended, changed and random responses of every API.
#[test]
fn no_response_panics_whatever_its_bytes_are() {
    let mut seeds: Vec<Vec<u8>> = Api::ALL
        .iter()
        .map(|api| api.key().to_be_bytes().repeat(20))
        .chain([vec![0; 64], vec![0xff; 64], vec![1; 200]])
        .collect();
    // Half of the seeds reach the inner arrays.
    seeds.extend(good_responses().into_iter().cycle().take(seeds.len()));
    for seed in 0..4000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut frame = random.choice(&seeds).unwrap().clone();
        for _ in 0..random.usize(0..20) {
            let place = random.usize(0..frame.len());
            frame[place] = odd_byte(&mut random);
        }
        frame.truncate(random.usize(0..=frame.len()));
        let frame = Bytes::from(frame);
        for api in Api::ALL {
            for version in [api.versions().0, api.versions().1] {
                let decoded = api.decode(version, &frame);
                if frame.len() < 4 {
                    let error = decoded.map(drop).unwrap_err();
                    assert_eq!(error, Malformed::Short, "seed {seed}");
                }
            }
        }
    }
}

#[test]
fn an_array_that_announces_more_elements_than_bytes_is_refused_before_memory_is_reserved() {
    // Correlation id, no tags, throttle time, then 4 billion brokers.
    let metadata = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let refused = Api::Metadata.decode(9, &Bytes::copy_from_slice(&metadata));
    assert_eq!(refused.map(|_| ()), Err(Malformed::Response));
    // Correlation id, no tags, throttle, error, session, then 4 billion topics.
    let fetch = [&[0; 15][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    let refused = Fetched::decode(&Bytes::from(fetch));
    let length = i64::from(u32::MAX) - 1;
    assert_eq!(
        refused,
        Err(Malformed::Length {
            length,
            available: 0
        })
    );
}

#[test]
fn a_fetch_response_is_read_as_kafka_protocol_writes_it() {
    use kafka_protocol::messages::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
    };
    use kafka_protocol::messages::{BrokerId, FetchResponse, ProducerId, TopicName};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    let aborted = AbortedTransaction::default()
        .with_producer_id(ProducerId(9))
        .with_first_offset(11);
    let diverging = EpochEndOffset::default().with_epoch(4).with_end_offset(70);
    let leader = LeaderIdAndEpoch::default()
        .with_leader_id(BrokerId(2))
        .with_leader_epoch(6);
    let data = PartitionData::default()
        .with_partition_index(3)
        .with_error_code(6)
        .with_high_watermark(100)
        .with_last_stable_offset(90)
        .with_log_start_offset(10)
        .with_diverging_epoch(diverging)
        .with_current_leader(leader)
        .with_aborted_transactions(Some(vec![aborted]))
        .with_preferred_read_replica(BrokerId(5))
        .with_records(Some(Bytes::from_static(b"records")));
    let topic = FetchableTopicResponse::default()
        .with_topic(TopicName(StrBytes::from_static_str("topic")))
        .with_partitions(vec![data]);
    let response = FetchResponse::default()
        .with_throttle_time_ms(1)
        .with_session_id(8)
        .with_responses(vec![topic]);
    let mut frame = vec![0, 0, 0, 42, 0];
    response.encode(&mut frame, 12).unwrap();
    let Ok(Reply::Fetch(fetched)) = Api::Fetch.decode(12, &Bytes::from(frame)) else {
        panic!("a fetch response that does not decode");
    };
    let partition = fetched::FetchedPartition {
        topic: "topic".into(),
        partition: 3,
        error: 6,
        high_watermark: 100,
        last_stable: 90,
        log_start: 10,
        diverging: Some((4, 70)),
        leader: Some((2, 6)),
        aborted: vec![(9, 11)],
        preferred_replica: 5,
        records: Bytes::from_static(b"records"),
    };
    let expected = Fetched {
        throttle_ms: 1,
        error: 0,
        session_id: 8,
        partitions: vec![partition],
    };
    assert_eq!(fetched, expected);
}

/// A name of a megabyte for ten thousand partitions would take ten gigabytes if each had its own.
#[test]
fn the_partitions_of_a_fetch_response_share_the_name_of_their_topic() {
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::{FetchResponse, TopicName};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    let frame = |name: String| {
        let partition = |number| PartitionData::default().with_partition_index(number);
        let topic = FetchableTopicResponse::default()
            .with_topic(TopicName(StrBytes::from_string(name)))
            .with_partitions((0..3).map(partition).collect());
        let response = FetchResponse::default().with_responses(vec![topic]);
        let mut frame = vec![0, 0, 0, 42, 0];
        response.encode(&mut frame, 12).unwrap();
        Bytes::from(frame)
    };
    let fetched = Fetched::decode(&frame("t".repeat(249))).unwrap();
    let names: Vec<_> = fetched
        .partitions
        .iter()
        .map(|one| one.topic.as_ptr())
        .collect();
    assert_eq!(names, [names[0]; 3]);
    let long = Fetched::decode(&frame("t".repeat(250)));
    let (length, available) = (250, 249);
    assert_eq!(long, Err(Malformed::Length { length, available }));
}
