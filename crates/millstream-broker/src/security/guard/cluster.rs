//! What requests on the broker as a whole need: configs, log folders, users, ACLs, quotas.
//!
//! Configs of topics and groups need the permission for these; everything else stands for the cluster as one resource.

use kafka_protocol::messages::alter_client_quotas_response;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Altered;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, CreateAclsRequest,
    CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
    DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::{Guard, Guarded, NO_CLUSTER, NO_GROUP, NO_TOPIC, Verdict, take, text};
use crate::security::rules::{Operation, Resource};

const TOPIC: i8 = 2;
const GROUP: i8 = 32;

impl Guard<'_> {
    fn denies_cluster(&self, operation: Operation) -> bool {
        self.access.denies(operation, Resource::CLUSTER)
    }

    /// The code for an operation on configs of a resource, if it is denied.
    fn denies_config(&self, operation: Operation, kind: i8, name: &str) -> Option<i16> {
        let (resource, code) = match kind {
            TOPIC => (Resource::topic(name), NO_TOPIC),
            GROUP => (Resource::group(name), NO_GROUP),
            _ => (Resource::CLUSTER, NO_CLUSTER),
        };
        self.access.denies(operation, resource).then_some(code)
    }
}

impl Guarded for DescribeConfigsRequest {
    type Response = DescribeConfigsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeConfigsResponse> {
        let denies = |kind, name: &str| at.denies_config(Operation::DescribeConfigs, kind, name);
        let mut refused = Vec::new();
        take(&mut self.resources, |wanted| {
            let code = denies(wanted.resource_type, &wanted.resource_name);
            refused.extend(code.map(|code| {
                DescribeConfigsResult::default()
                    .with_resource_type(wanted.resource_type)
                    .with_resource_name(wanted.resource_name.clone())
                    .with_error_code(code)
                    .with_error_message(text(code))
            }));
            code.is_some()
        });
        Verdict::amend(move |response: &mut DescribeConfigsResponse| {
            response.results.extend(refused)
        })
    }
}

impl Guarded for AlterConfigsRequest {
    type Response = AlterConfigsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<AlterConfigsResponse> {
        let denies = |kind, name: &str| at.denies_config(Operation::AlterConfigs, kind, name);
        let mut refused = Vec::new();
        take(&mut self.resources, |wanted| {
            let code = denies(wanted.resource_type, &wanted.resource_name);
            refused.extend(code.map(|code| {
                AlterConfigsResourceResponse::default()
                    .with_resource_type(wanted.resource_type)
                    .with_resource_name(wanted.resource_name.clone())
                    .with_error_code(code)
                    .with_error_message(text(code))
            }));
            code.is_some()
        });
        Verdict::amend(move |response: &mut AlterConfigsResponse| {
            response.responses.extend(refused)
        })
    }
}

impl Guarded for IncrementalAlterConfigsRequest {
    type Response = IncrementalAlterConfigsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<IncrementalAlterConfigsResponse> {
        let denies = |kind, name: &str| at.denies_config(Operation::AlterConfigs, kind, name);
        let mut refused = Vec::new();
        take(&mut self.resources, |wanted| {
            let code = denies(wanted.resource_type, &wanted.resource_name);
            refused.extend(code.map(|code| {
                Altered::default()
                    .with_resource_type(wanted.resource_type)
                    .with_resource_name(wanted.resource_name.clone())
                    .with_error_code(code)
                    .with_error_message(text(code))
            }));
            code.is_some()
        });
        Verdict::amend(move |response: &mut IncrementalAlterConfigsResponse| {
            response.responses.extend(refused)
        })
    }
}

impl Guarded for DescribeLogDirsRequest {
    type Response = DescribeLogDirsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeLogDirsResponse> {
        let denied = at.denies_cluster(Operation::Describe);
        let response = DescribeLogDirsResponse::default();
        Verdict::all(denied.then(|| match at.version {
            ..3 => response,
            _ => response.with_error_code(NO_CLUSTER),
        }))
    }
}

impl Guarded for DescribeClusterRequest {
    type Response = DescribeClusterResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeClusterResponse> {
        let access = at.access.clone();
        Verdict::amend(move |response: &mut DescribeClusterResponse| {
            if response.cluster_authorized_operations != i32::MIN {
                response.cluster_authorized_operations = access.operations(Resource::CLUSTER);
            }
        })
    }
}

impl Guarded for DescribeUserScramCredentialsRequest {
    type Response = DescribeUserScramCredentialsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeUserScramCredentialsResponse> {
        let denied = at.denies_cluster(Operation::Describe);
        Verdict::all(denied.then(|| {
            DescribeUserScramCredentialsResponse::default()
                .with_error_code(NO_CLUSTER)
                .with_error_message(text(NO_CLUSTER))
        }))
    }
}

impl Guarded for AlterUserScramCredentialsRequest {
    type Response = AlterUserScramCredentialsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<AlterUserScramCredentialsResponse> {
        if !at.denies_cluster(Operation::Alter) {
            return Verdict::SERVE;
        }
        let deletions = self.deletions.iter().map(|of| &of.name);
        let names = deletions.chain(self.upsertions.iter().map(|of| &of.name));
        let results = names.map(|name| {
            AlterUserScramCredentialsResult::default()
                .with_user(name.clone())
                .with_error_code(NO_CLUSTER)
                .with_error_message(text(NO_CLUSTER))
        });
        let response = AlterUserScramCredentialsResponse::default();
        Verdict::Refuse(response.with_results(results.collect()))
    }
}

impl Guarded for DescribeClientQuotasRequest {
    type Response = DescribeClientQuotasResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeClientQuotasResponse> {
        let denied = at.denies_cluster(Operation::DescribeConfigs);
        Verdict::all(denied.then(|| {
            DescribeClientQuotasResponse::default()
                .with_error_code(NO_CLUSTER)
                .with_error_message(text(NO_CLUSTER))
                .with_entries(None)
        }))
    }
}

impl Guarded for AlterClientQuotasRequest {
    type Response = AlterClientQuotasResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<AlterClientQuotasResponse> {
        if !at.denies_cluster(Operation::AlterConfigs) {
            return Verdict::SERVE;
        }
        let entries = self.entries.iter().map(|entry| {
            let entity = entry.entity.iter().map(|part| {
                alter_client_quotas_response::EntityData::default()
                    .with_entity_type(part.entity_type.clone())
                    .with_entity_name(part.entity_name.clone())
            });
            alter_client_quotas_response::EntryData::default()
                .with_entity(entity.collect())
                .with_error_code(NO_CLUSTER)
                .with_error_message(text(NO_CLUSTER))
        });
        let response = AlterClientQuotasResponse::default();
        Verdict::Refuse(response.with_entries(entries.collect()))
    }
}

impl Guarded for CreateAclsRequest {
    type Response = CreateAclsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<CreateAclsResponse> {
        let refused = AclCreationResult::default()
            .with_error_code(NO_CLUSTER)
            .with_error_message(text(NO_CLUSTER));
        let response =
            || CreateAclsResponse::default().with_results(vec![refused; self.creations.len()]);
        Verdict::all(at.denies_cluster(Operation::Alter).then(response))
    }
}

impl Guarded for DescribeAclsRequest {
    type Response = DescribeAclsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeAclsResponse> {
        let denied = at.denies_cluster(Operation::Describe);
        Verdict::all(denied.then(|| {
            DescribeAclsResponse::default()
                .with_error_code(NO_CLUSTER)
                .with_error_message(text(NO_CLUSTER))
        }))
    }
}

impl Guarded for DeleteAclsRequest {
    type Response = DeleteAclsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DeleteAclsResponse> {
        let refused = DeleteAclsFilterResult::default()
            .with_error_code(NO_CLUSTER)
            .with_error_message(text(NO_CLUSTER));
        let response =
            || DeleteAclsResponse::default().with_filter_results(vec![refused; self.filters.len()]);
        Verdict::all(at.denies_cluster(Operation::Alter).then(response))
    }
}
