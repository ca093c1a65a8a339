//! Frames that are honest, and frames that lie about their lengths.
//!
//! The lies would make the generated decoders allocate gigabytes, so that a test that passes has not only found an
//! error but found it in time.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, FetchRequest, MetadataRequest, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::{Broken, Header, check_length, decode_body};

fn encoded<T: Encodable>(request: &T, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    request.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

#[test]
fn numbers_larger_than_the_frame_are_no_lengths() {
    let partition = FetchPartition::default().with_partition_max_bytes(i32::MAX);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str("topic")))
        .with_partitions(vec![partition]);
    for version in 4..=12 {
        let request = FetchRequest::default()
            .with_max_wait_ms(i32::MAX)
            .with_max_bytes(i32::MAX)
            .with_topics(vec![topic.clone()]);
        let decoded: FetchRequest = decode_body(encoded(&request, version), version).unwrap();
        assert_eq!(
            (decoded.max_wait_ms, decoded.max_bytes),
            (i32::MAX, i32::MAX),
            "{version}"
        );
        assert_eq!(
            decoded.topics[0].partitions[0].partition_max_bytes,
            i32::MAX,
            "{version}"
        );
    }
}

#[test]
fn requests_of_many_names_are_decoded_whole() {
    let named = |number: usize| {
        let name = StrBytes::from_string(format!("topic-{number}"));
        MetadataRequestTopic::default().with_name(Some(TopicName(name)))
    };
    let request = MetadataRequest::default().with_topics(Some((0..1000).map(named).collect()));
    for version in 0..=13 {
        let decoded: MetadataRequest = decode_body(encoded(&request, version), version).unwrap();
        assert_eq!(
            decoded.topics.map(|topics| topics.len()),
            Some(1000),
            "version {version}"
        );
    }
}

/// How decoding a metadata request ends.
fn outcome(body: &[u8], version: i16) -> &'static str {
    match decode_body::<MetadataRequest>(Bytes::copy_from_slice(body), version) {
        Ok(_) => "decoded",
        Err(Broken::Decode { .. }) => "broken",
        Err(_) => "other",
    }
}

#[test]
fn an_array_longer_than_the_rest_is_broken() {
    // Version 1: a 32-bit length; version 9: a compact one.
    assert_eq!(outcome(&[0x7f, 0xff, 0xff, 0xff], 1), "broken");
    assert_eq!(outcome(&[0x7f, 0xff, 0xff, 0xff, 0, 1, b'x'], 1), "broken");
    assert_eq!(outcome(&[0, 0, 0, 1, 0, 1, b'x'], 1), "decoded");
    assert_eq!(outcome(&[0xff, 0xff, 0xff, 0xff, 0x0f], 9), "broken");
    assert_eq!(outcome(&[0xff, 0xff, 0xff, 0xff, 0xff], 9), "broken");
    assert_eq!(
        outcome(&[0x80, 0x80, 0x80, 0x80, 0x08, 0, 0, 0, 0], 9),
        "broken"
    );
    assert_eq!(outcome(&[2, 2, b'x', 0, 0, 0, 0, 0], 9), "decoded");
}

#[test]
fn a_boolean_hides_no_length_behind_its_high_bit() {
    // Version 12: no topics, two booleans, then a number of tagged fields; the second boolean is 0x80.
    assert_eq!(
        outcome(&[0, 0, 0x80, 0xff, 0xff, 0xff, 0xff, 0x0f], 12),
        "broken"
    );
    assert_eq!(outcome(&[0, 0, 1, 0], 12), "decoded");
}

#[test]
fn a_header_is_taken_off_in_both_encodings() {
    for (version, flexible) in [(8_i16, 1), (12, 2)] {
        let mut frame = BytesMut::new();
        RequestHeader::default()
            .with_request_api_key(ApiKey::Metadata as i16)
            .with_request_api_version(version)
            .with_correlation_id(77)
            .with_client_id(Some(StrBytes::from_static_str("me")))
            .encode(&mut frame, flexible)
            .unwrap();
        frame.put_slice(b"body");
        let mut frame = frame.freeze();
        let header = Header::decode(&mut frame).unwrap();
        assert_eq!(
            (header.key, header.version, header.correlation_id),
            (3, version, 77)
        );
        assert_eq!(header.client_id.as_deref(), Some("me"));
        assert_eq!(frame.as_ref(), b"body");
    }
}

#[test]
fn lengths_are_bounded_by_what_the_api_needs() {
    let (produce, metadata) = (ApiKey::Produce as i16, ApiKey::Metadata as i16);
    assert_eq!(
        check_length(50 << 20, produce, 100 << 20).unwrap(),
        50 << 20
    );
    for (length, key) in [
        (101 << 20, produce),
        (9 << 20, metadata),
        (7, metadata),
        (-1, produce),
    ] {
        let refused = check_length(length, key, 100 << 20).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with(&format!("frame of {length} bytes")),
            "{refused}"
        );
    }
}
