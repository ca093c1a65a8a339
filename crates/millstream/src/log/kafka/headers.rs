//! Headers between this library and librdkafka.
//!
//! Order, repeated names and null values are kept in both directions; a record without headers costs nothing. Names are
//! text here and bytes on the cluster, and the client panics at a name that is no text: such a header, written by
//! somebody else, must not end whoever reads it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{
    BorrowedMessage, Header as ClientHeader, Headers as ClientHeaders, Message as _, OwnedHeaders,
};

use crate::log::memory;
use crate::record::{Header, Headers};

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

/// What a record in the client's hands counts against a bound on memory; see [`Outgoing::memory`](crate::log::Outgoing::memory).
pub(crate) fn memory_of(message: &BorrowedMessage<'_>) -> usize {
    let headers = message.headers().into_iter().flat_map(ClientHeaders::iter);
    let headers = headers.map(|header| (header.key.len(), header.value.map_or(0, <[u8]>::len)));
    memory(message.key_len(), message.payload_len(), headers)
}

/// From a record that was read.
pub(crate) fn from_client(headers: Option<&impl ClientHeaders>) -> Headers {
    let mut all = Headers::new();
    let Some(headers) = headers else { return all };
    for index in 0..headers.count() {
        match catch_unwind(AssertUnwindSafe(|| headers.try_get(index))) {
            Ok(Some(header)) => all.push(header.key, header.value.map(<[u8]>::to_vec)),
            Ok(None) => {}
            Err(_) => all.push(Header::UNREADABLE, None),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use rdkafka::message::{Header as ClientHeader, Headers as ClientHeaders};

    use super::{from_client, to_client};
    use crate::record::Headers;

    /// Headers of which the second has a name that is not UTF-8, as rdkafka meets it.
    struct Hostile;

    impl ClientHeaders for Hostile {
        fn count(&self) -> usize {
            3
        }

        fn try_get(&self, index: usize) -> Option<ClientHeader<'_, &[u8]>> {
            assert!(index != 1, "invalid utf-8 in a header's name");
            let key = if index == 0 { "first" } else { "last" };
            Some(ClientHeader {
                key,
                value: Some(b"value"),
            })
        }
    }

    #[test]
    fn a_name_that_is_no_text_harms_no_other_header() {
        let mut expected = Headers::new().with("first", "value");
        expected.push("\u{fffd}", None);
        assert_eq!(from_client(Some(&Hostile)), expected.with("last", "value"));
    }

    #[test]
    fn order_repetition_null_and_empty_survive_the_way_out_and_back() {
        let mut headers = Headers::new().with("a", "1").with("b", "").with("a", "2");
        headers.push("c", None);
        let sent = to_client(&headers).unwrap();
        assert_eq!(from_client(Some(sent.as_borrowed())), headers);
    }
}
