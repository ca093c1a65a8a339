//! InitProducerId: an id for an idempotent producer, never given out twice in the life of the data folder.
//!
//! Transactions are not served yet. A transactional id is refused with an error that every client takes as final;
//! "not available" would be retried for ever.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProducerId;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    match allocate(broker, &request, version) {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        Err(code) => InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

fn allocate(
    broker: &Broker,
    request: &InitProducerIdRequest,
    version: i16,
) -> Result<i64, ResponseError> {
    if version >= 3 && (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
        return Err(ResponseError::InvalidRequest);
    }
    match &request.transactional_id {
        Some(id) if id.is_empty() => Err(ResponseError::InvalidRequest),
        Some(_) => Err(ResponseError::TransactionalIdAuthorizationFailed),
        None => tokio::task::block_in_place(|| broker.producer_ids.allocate()).map_err(|error| {
            tracing::error!(%error, "failed to give out a producer id");
            ResponseError::KafkaStorageError
        }),
    }
}
