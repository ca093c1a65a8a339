//! DescribeUserScramCredentials: which users have a password for which mechanism; never the password, nor what is kept of it.
//!
//! A request without names asks for all users, those of the broker's configuration too.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DescribeUserScramCredentialsRequest,
    _version: i16,
) -> DescribeUserScramCredentialsResponse {
    let mut users = broker.users.describe();
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for user in request.users.unwrap_or_default() {
        *wanted.entry(user.name.as_str().to_owned()).or_default() += 1;
    }
    if wanted.is_empty() {
        wanted = users.keys().map(|name| (name.clone(), 1)).collect();
    }
    let results = wanted.into_iter().map(|(name, times)| {
        let refuse = |code: ResponseError, text: String| {
            DescribeUserScramCredentialsResult::default()
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_string(text)))
        };
        let result = match users.remove(&name) {
            _ if times > 1 => refuse(
                ResponseError::DuplicateResource,
                format!("Cannot describe SCRAM credentials for the same user twice in a single request: {name}"),
            ),
            None => refuse(
                ResponseError::ResourceNotFound,
                format!("Attempt to describe a user credential that does not exist: {name}"),
            ),
            Some(credentials) => {
                let info = |(mechanism, iterations)| {
                    CredentialInfo::default()
                        .with_mechanism(mechanism as i8)
                        .with_iterations(iterations)
                };
                DescribeUserScramCredentialsResult::default()
                    .with_credential_infos(credentials.into_iter().map(info).collect())
            }
        };
        result.with_user(StrBytes::from_string(name))
    });
    let results = results.collect();
    DescribeUserScramCredentialsResponse::default().with_results(results)
}
