//! DescribeAcls: the rules that a filter fits, by resource.
//!
//! A filter leaves open what it does not name; a pattern may also be asked for by a name that it covers.

use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Client, create_acls};
use crate::broker::Broker;
use crate::security::rules::{Filter, Rule};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DescribeAclsRequest,
    _version: i16,
) -> DescribeAclsResponse {
    let response = DescribeAclsResponse::default();
    if !broker.acls.are_on() {
        let refused = create_acls::disabled();
        return response
            .with_error_code(refused.code.code())
            .with_error_message(Some(StrBytes::from_string(refused.message)));
    }
    let filter = Filter {
        resource: request.resource_type_filter,
        name: request.resource_name_filter.as_deref(),
        pattern: request.pattern_type_filter,
        principal: request.principal_filter.as_deref(),
        host: request.host_filter.as_deref(),
        operation: request.operation,
        permission: request.permission_type,
    };
    let mut resources: Vec<DescribeAclsResource> = Vec::new();
    for rule in broker.acls.rules().iter().filter(|rule| filter.fits(rule)) {
        let same = |of: &&mut DescribeAclsResource| {
            of.resource_type == rule.resource as i8
                && of.pattern_type == rule.pattern as i8
                && of.resource_name.as_str() == rule.name
        };
        match resources.iter_mut().find(same) {
            Some(resource) => resource.acls.push(describe(rule)),
            None => resources.push(
                DescribeAclsResource::default()
                    .with_resource_type(rule.resource as i8)
                    .with_resource_name(StrBytes::from_string(rule.name.clone()))
                    .with_pattern_type(rule.pattern as i8)
                    .with_acls(vec![describe(rule)]),
            ),
        }
    }
    response.with_resources(resources)
}

fn describe(rule: &Rule) -> AclDescription {
    AclDescription::default()
        .with_principal(StrBytes::from_string(rule.principal.clone()))
        .with_host(StrBytes::from_string(rule.host.clone()))
        .with_operation(rule.operation as i8)
        .with_permission_type(rule.permission as i8)
}
