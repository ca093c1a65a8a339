//! ListTransactions: all transactional ids, by state, producer, duration (since version 1) and pattern (since version 2).
//!
//! A state that does not exist is named in the answer and lets nothing through; a pattern has to match all of an id.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use regex::Regex;

use super::Client;
use crate::broker::Broker;
use crate::transactions::Filter;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: ListTransactionsRequest,
    version: i16,
) -> ListTransactionsResponse {
    let response = ListTransactionsResponse::default();
    let pattern = request
        .transactional_id_pattern
        .filter(|text| !text.is_empty());
    let pattern = match pattern
        .map(|text| Regex::new(&format!("^(?:{text})$")))
        .transpose()
    {
        Ok(pattern) => pattern,
        Err(_) => {
            return response.with_error_code(ResponseError::InvalidRegularExpression.code());
        }
    };
    let filter = Filter {
        states: &request.state_filters,
        producer_ids: &request.producer_id_filters,
        longer_than_ms: match version {
            0 => -1,
            _ => request.duration_filter,
        },
        pattern,
    };
    let response = response.with_unknown_state_filters(filter.unknown_states());
    match broker.transactions.list(&filter) {
        Ok(listed) => response.with_transaction_states(listed),
        Err(code) => response.with_error_code(code.code()),
    }
}
