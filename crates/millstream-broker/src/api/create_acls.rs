//! CreateAcls: adds rules of who may do what.
//!
//! Rules of one request are added together, those that are wrong are refused one by one. One that is there already changes nothing.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use crate::broker::Broker;
use crate::security::rules::{Operation, Pattern, Permission, Resource, ResourceType, Rule};
use crate::topics::{Refused, name};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: CreateAclsRequest,
    _version: i16,
) -> CreateAclsResponse {
    let rules: Vec<_> = match broker.acls.are_on() {
        true => request.creations.iter().map(rule).collect(),
        false => request.creations.iter().map(|_| Err(disabled())).collect(),
    };
    let new: Vec<Rule> = rules.iter().flatten().cloned().collect();
    let stored = tokio::task::block_in_place(|| broker.acls.add(&new));
    let results = rules.into_iter().map(|rule| {
        let refused = rule.err().or_else(|| stored.as_ref().err().cloned());
        let result = AclCreationResult::default();
        match refused {
            None => result,
            Some(refused) => result
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        }
    });
    CreateAclsResponse::default().with_results(results.collect())
}

/// ACLs are of no use while everybody may do everything.
pub(super) fn disabled() -> Refused {
    let text = "No Authorizer is configured on the broker: it has no super user.";
    Refused::new(ResponseError::SecurityDisabled, text)
}

fn rule(wanted: &AclCreation) -> Result<Rule, Refused> {
    let invalid = |text: &str| Refused::new(ResponseError::InvalidRequest, text);
    let resource = ResourceType::of_code(wanted.resource_type);
    let resource = resource.ok_or_else(|| invalid("Invalid resourceType"))?;
    let pattern = Pattern::of_code(wanted.resource_pattern_type);
    let pattern = pattern.ok_or_else(|| invalid("Invalid patternType"))?;
    let operation = Operation::of_code(wanted.operation);
    let operation = operation.ok_or_else(|| invalid("Invalid operation"))?;
    let permission = Permission::of_code(wanted.permission_type);
    let permission = permission.ok_or_else(|| invalid("Invalid permissionType"))?;
    let resource_name = wanted.resource_name.as_str();
    match resource {
        _ if resource_name.is_empty() => return Err(invalid("Resource name should not be empty")),
        ResourceType::Cluster if resource_name != Resource::CLUSTER.name => {
            return Err(invalid(
                "The only valid name for the CLUSTER resource is kafka-cluster",
            ));
        }
        ResourceType::Topic if pattern == Pattern::Literal && resource_name != "*" => {
            name::check(&wanted.resource_name)
                .map_err(|text| Refused::new(ResponseError::InvalidTopicException, text))?;
        }
        _ => {}
    }
    match wanted.principal.split_once(':') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {}
        _ => return Err(invalid("Could not parse principal; write User:NAME")),
    }
    if wanted.host.is_empty() {
        return Err(invalid("The host should not be empty"));
    }
    Ok(Rule {
        resource,
        pattern,
        name: resource_name.to_owned(),
        principal: wanted.principal.as_str().to_owned(),
        host: wanted.host.as_str().to_owned(),
        operation,
        permission,
    })
}
