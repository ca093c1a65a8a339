//! AddOffsetsToTxn: a group takes part in a transaction, before offsets for it are sent.
//!
//! Producers of the second generation (KIP-890) leave it out: TxnOffsetCommit says it for them.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::{Client, fenced_as_known};
use crate::broker::Broker;
use crate::transactions::{Producer, Scope};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let by = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let added = if request.transactional_id.is_empty() {
        Err(ResponseError::InvalidRequest)
    } else {
        let scope = Scope::group(&request.group_id);
        broker
            .transactions
            .add(&request.transactional_id, by, scope)
    };
    let code = added.map_err(|code| fenced_as_known(code, version >= 2));
    AddOffsetsToTxnResponse::default().with_error_code(code.err().map_or(0, |code| code.code()))
}
