//! DescribeClientQuotas: the quotas of the entities that a filter fits.
//!
//! A filter has a component for each part of an entity: a name, the default, or any. With `strict` an entity has no other part.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use crate::broker::Broker;
use crate::security::quotas::{Entity, Name, Values};

/// How a component fits.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DescribeClientQuotasRequest,
    _version: i16,
) -> DescribeClientQuotasResponse {
    let response = DescribeClientQuotasResponse::default();
    let known = |part: &&ComponentData| {
        let kind = part.entity_type.as_str();
        (kind == "user" || kind == "client-id" || kind == "ip")
            && (EXACT..=ANY).contains(&part.match_type)
    };
    if request.components.iter().filter(known).count() != request.components.len() {
        let text = StrBytes::from_static_str("Unexpected entity type or match type");
        return response
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_error_message(Some(text))
            .with_entries(None);
    }
    let all = broker.quotas.all();
    let fitting = all.iter().filter(|(entity, _)| fits(&request, entity));
    let entries = fitting.map(|(entity, values)| describe(entity, values));
    response.with_entries(Some(entries.collect()))
}

fn fits(request: &DescribeClientQuotasRequest, entity: &Entity) -> bool {
    let parts = [("user", &entity.user), ("client-id", &entity.client_id)];
    let asked = |kind: &str| {
        let mut components = request.components.iter();
        components.any(|of| of.entity_type.as_str() == kind)
    };
    let fits = |component: &ComponentData| {
        let kind = component.entity_type.as_str();
        let part = parts.iter().find(|(name, _)| *name == kind);
        match part.and_then(|(_, part)| part.as_ref()) {
            None => false,
            Some(_) if component.match_type == ANY => true,
            Some(Name::Default) => component.match_type == DEFAULT,
            Some(Name::Named(name)) => {
                component.match_type == EXACT && component._match.as_deref() == Some(name)
            }
        }
    };
    let strict = |(kind, part): &(&str, &Option<Name>)| part.is_none() || asked(kind);
    request.components.iter().all(fits) && (!request.strict || parts.iter().all(strict))
}

fn describe(entity: &Entity, values: &Values) -> EntryData {
    let parts = [("user", &entity.user), ("client-id", &entity.client_id)];
    let parts = parts.into_iter().filter_map(|(kind, part)| {
        let name = match part.as_ref()? {
            Name::Default => None,
            Name::Named(name) => Some(StrBytes::from_string(name.clone())),
        };
        let part = EntityData::default().with_entity_type(StrBytes::from_static_str(kind));
        Some(part.with_entity_name(name))
    });
    let values = values.iter().map(|(key, value)| {
        ValueData::default()
            .with_key(StrBytes::from_string(key.clone()))
            .with_value(*value)
    });
    EntryData::default()
        .with_entity(parts.collect())
        .with_values(values.collect())
}
