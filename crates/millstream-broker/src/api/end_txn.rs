//! EndTxn: a producer commits or aborts its transaction.
//!
//! The answer leaves when the decision is in the journal and every participant was notified, so that who reads or begins again after it
//! finds the transaction ended. Since version 5 the producer goes on with the epoch in the answer (KIP-890).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};

use super::{Client, fenced_as_known};
use crate::broker::Broker;
use crate::log::Outcome;
use crate::transactions::{Ending, Generation, Producer};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: EndTxnRequest,
    version: i16,
) -> EndTxnResponse {
    let response = EndTxnResponse::default();
    match tokio::task::block_in_place(|| end(broker, &request, version)) {
        Ok(producer) if version >= 5 => response
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch),
        Ok(_) => response,
        Err(code) => response.with_error_code(fenced_as_known(code, version >= 2).code()),
    }
}

fn end(broker: &Broker, request: &EndTxnRequest, version: i16) -> Result<Producer, ResponseError> {
    if request.transactional_id.is_empty() {
        return Err(ResponseError::InvalidRequest);
    }
    let by = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let outcome = match request.committed {
        true => Outcome::Commit,
        false => Outcome::Abort,
    };
    let ending = Ending {
        by,
        outcome,
        generation: match version {
            ..5 => Generation::First,
            _ => Generation::Second,
        },
    };
    broker.transactions.end(
        &request.transactional_id,
        ending,
        &|| broker.fresh_producer_id(),
        &broker.everyone(),
    )
}
