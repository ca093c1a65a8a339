//! DeleteAcls: removes the rules that filters fit, and shows which they were.
//!
//! Filters are those of DescribeAcls. All rules of one request are removed together.

use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_acls_response::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl,
};
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Client, create_acls};
use crate::broker::Broker;
use crate::security::rules::{Filter, Rule};
use crate::topics::Refused;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DeleteAclsRequest,
    _version: i16,
) -> DeleteAclsResponse {
    let rules = broker.acls.rules();
    let fitting = |filter: &DeleteAclsFilter| {
        let filter = Filter {
            resource: filter.resource_type_filter,
            name: filter.resource_name_filter.as_deref(),
            pattern: filter.pattern_type_filter,
            principal: filter.principal_filter.as_deref(),
            host: filter.host_filter.as_deref(),
            operation: filter.operation,
            permission: filter.permission_type,
        };
        let rules = rules.iter().filter(|rule| filter.fits(rule));
        rules.cloned().collect::<Vec<Rule>>()
    };
    let found: Vec<Vec<Rule>> = request.filters.iter().map(fitting).collect();
    let done = match broker.acls.are_on() {
        true => tokio::task::block_in_place(|| broker.acls.remove(&found.concat())),
        false => Err(create_acls::disabled()),
    };
    let results = found.iter().map(|rules| result(rules, done.as_ref().err()));
    DeleteAclsResponse::default().with_filter_results(results.collect())
}

fn result(rules: &[Rule], refused: Option<&Refused>) -> DeleteAclsFilterResult {
    let result = DeleteAclsFilterResult::default();
    match refused {
        None => result.with_matching_acls(rules.iter().map(describe).collect()),
        Some(refused) => result
            .with_error_code(refused.code.code())
            .with_error_message(Some(StrBytes::from_string(refused.message.clone()))),
    }
}

fn describe(rule: &Rule) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_resource_type(rule.resource as i8)
        .with_resource_name(StrBytes::from_string(rule.name.clone()))
        .with_pattern_type(rule.pattern as i8)
        .with_principal(StrBytes::from_string(rule.principal.clone()))
        .with_host(StrBytes::from_string(rule.host.clone()))
        .with_operation(rule.operation as i8)
        .with_permission_type(rule.permission as i8)
}
