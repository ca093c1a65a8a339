//! ApiVersions: which APIs and versions are served; the first request of every client.
//!
//! A version that is not known is answered too, with version 0 and UNSUPPORTED_VERSION, so that a newer client can try
//! again with an older one (KIP-511). For the same reason the response header is version 0 always.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use kafka_protocol::protocol::StrBytes;

use super::{Answer, encode, table};
use crate::frame::{Broken, Header, decode_body};

pub(super) fn answer(header: &Header, body: Bytes) -> Result<Answer, Broken> {
    if !(0..=4).contains(&header.version) {
        let header = Header {
            version: 0,
            client_id: None,
            ..*header
        };
        return encode(&header, &response(ResponseError::UnsupportedVersion.code()));
    }
    let request: ApiVersionsRequest = decode_body(body, header.version)?;
    let named = header.version < 3
        || (is_name(&request.client_software_name) && is_name(&request.client_software_version));
    let code = if named {
        0
    } else {
        ResponseError::InvalidRequest.code()
    };
    let response = response(code);
    match (code, header.version) {
        (0, 3..) => encode(header, &with_features(response, header.version)),
        _ => encode(header, &response),
    }
}

/// The features that clients look at, each with its level: with 2 they let partitions announce themselves and take the epoch of each
/// transaction from the broker (KIP-890); with 1 groups of the new protocol can be joined (KIP-848).
const FEATURES: [(&str, i16); 2] = [("group.version", 1), ("transaction.version", 2)];

fn with_features(response: ApiVersionsResponse, version: i16) -> ApiVersionsResponse {
    let supported = FEATURES.map(|(name, level)| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_min_version(0)
            .with_max_version(level)
    });
    // As in Kafka: clients of version 3 cannot read a feature whose lowest level is 0.
    let supported = match version {
        3 => Vec::new(),
        _ => Vec::from(supported),
    };
    let finalized = FEATURES.map(|(name, level)| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_min_version_level(level)
            .with_max_version_level(level)
    });
    response
        .with_supported_features(supported)
        .with_finalized_features_epoch(0)
        .with_finalized_features(Vec::from(finalized))
}

fn response(code: i16) -> ApiVersionsResponse {
    // Whoever asked in a way that is not understood is told how to ask, and no more.
    let told = table().filter(|served| code == 0 || served.key == ApiKey::ApiVersions);
    let apis = if code == ResponseError::InvalidRequest.code() {
        Vec::new()
    } else {
        told.map(api).collect()
    };
    ApiVersionsResponse::default()
        .with_error_code(code)
        .with_api_keys(apis)
}

fn api(served: super::Served) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(served.key as i16)
        .with_min_version(served.min)
        .with_max_version(served.max)
}

/// What Kafka takes as the name or version of a client's software: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_name(text: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    end(bytes.first())
        && end(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}
