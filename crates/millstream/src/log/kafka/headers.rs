//! Headers between this library and librdkafka.
//!
//! Order, repeated names and null values are kept in both directions; a record without headers costs nothing.

use rdkafka::message::{BorrowedHeaders, Header as ClientHeader, Headers as _, OwnedHeaders};

use crate::record::Headers;

/// For sending; `None` when there are none, so that nothing is allocated.
pub(crate) fn to_client(headers: &Headers) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let owned = OwnedHeaders::new_with_capacity(headers.len());
    Some(headers.iter().fold(owned, |owned, header| {
        owned.insert(ClientHeader {
            key: &header.name,
            value: header.value.as_deref(),
        })
    }))
}

/// From a record that was read.
pub(crate) fn from_client(headers: Option<&BorrowedHeaders>) -> Headers {
    let mut all = Headers::new();
    for header in headers.into_iter().flat_map(BorrowedHeaders::iter) {
        all.push(header.key, header.value.map(<[u8]>::to_vec));
    }
    all
}
