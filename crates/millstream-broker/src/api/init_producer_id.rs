//! InitProducerId: an id for an idempotent producer, or id and epoch for a transactional one.
//!
//! Without a transactional id the id is new, never given out before in the life of the data folder. With one, the id stays and the
//! epoch grows, so that whoever had the transactional id before is fenced; what that one has left open is aborted before the answer.
//! Since version 3 a producer may name the id and epoch that it has (KIP-360).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProducerId;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::{Client, fenced_as_known};
use crate::broker::Broker;
use crate::transactions::Producer;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    match tokio::task::block_in_place(|| init(broker, &request, version)) {
        Ok(producer) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch),
        Err(code) => InitProducerIdResponse::default()
            .with_error_code(fenced_as_known(code, version >= 4).code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

fn init(
    broker: &Broker,
    request: &InitProducerIdRequest,
    version: i16,
) -> Result<Producer, ResponseError> {
    if version >= 3 && (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
        return Err(ResponseError::InvalidRequest);
    }
    let known = (version >= 3 && request.producer_id.0 != -1).then_some(Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    });
    match &request.transactional_id {
        Some(id) if id.is_empty() => Err(ResponseError::InvalidRequest),
        Some(id) => broker.transactions.init(
            id,
            known,
            request.transaction_timeout_ms,
            &|| broker.fresh_producer_id(),
            &broker.everyone(),
        ),
        None => Ok(Producer {
            id: broker.fresh_producer_id()?,
            epoch: 0,
        }),
    }
}
