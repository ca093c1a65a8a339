//! DescribeTransactions: the state of transactional ids, with the partitions that take part in an open transaction.
//!
//! An id that is not known is answered for itself; the others are described all the same.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use super::{Client, once};
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DescribeTransactionsRequest,
    _version: i16,
) -> DescribeTransactionsResponse {
    let states = once(request.transactional_ids, Clone::clone).map(|id| {
        let described = match id.is_empty() {
            true => Err(ResponseError::InvalidRequest),
            false => broker.transactions.describe(&id),
        };
        described.unwrap_or_else(|code| {
            TransactionState::default()
                .with_transactional_id(id)
                .with_error_code(code.code())
        })
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}
