//! AlterClientQuotas: sets or removes quotas of users and client ids.
//!
//! Entries of one request succeed or fail one by one. With `validate_only` everything is checked and nothing changed.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::{self, EntityData};
use kafka_protocol::messages::alter_client_quotas_response::{self, EntryData};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use crate::broker::Broker;
use crate::security::quotas::{Entity, Name, check};
use crate::topics::Refused;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: AlterClientQuotasRequest,
    _version: i16,
) -> AlterClientQuotasResponse {
    let validate_only = request.validate_only;
    let entries = request.entries.into_iter().map(|entry| {
        let changed = change(broker, &entry, validate_only);
        let entity = entry.entity.into_iter().map(|part| {
            alter_client_quotas_response::EntityData::default()
                .with_entity_type(part.entity_type)
                .with_entity_name(part.entity_name)
        });
        let answer = EntryData::default().with_entity(entity.collect());
        match changed {
            Ok(()) => answer,
            Err(refused) => answer
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        }
    });
    let entries = entries.collect();
    AlterClientQuotasResponse::default().with_entries(entries)
}

fn change(
    broker: &Broker,
    entry: &alter_client_quotas_request::EntryData,
    validate_only: bool,
) -> Result<(), Refused> {
    let entity = entity(&entry.entity)?;
    let mut values = BTreeMap::new();
    for op in &entry.ops {
        let value = (!op.remove).then_some(op.value);
        check(&op.key, value.unwrap_or(1.0))?;
        values.insert(op.key.as_str().to_owned(), value);
    }
    match validate_only {
        true => Ok(()),
        false => tokio::task::block_in_place(|| broker.quotas.change(&entity, &values)),
    }
}

fn entity(parts: &[EntityData]) -> Result<Entity, Refused> {
    let refuse = |text: String| Err(Refused::new(ResponseError::InvalidRequest, text));
    let mut entity = Entity::default();
    for part in parts {
        let place = match part.entity_type.as_str() {
            "user" => &mut entity.user,
            "client-id" => &mut entity.client_id,
            other => return refuse(format!("Unhandled client quota entity type: {other}")),
        };
        let name = match part.entity_name.as_deref() {
            None => Name::Default,
            Some("") => return refuse(format!("Empty {} not supported", part.entity_type)),
            Some(name) => Name::Named(name.to_owned()),
        };
        if place.replace(name).is_some() {
            return refuse(format!("Duplicate entity type {}", part.entity_type));
        }
    }
    match entity {
        Entity {
            user: None,
            client_id: None,
        } => refuse("Invalid empty client quota entity".to_owned()),
        entity => Ok(entity),
    }
}
