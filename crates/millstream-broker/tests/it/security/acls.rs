//! ACLs: who may do what, which code stands for a refusal, and what is not shown at all.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;

use millstream_broker::{Config, Listener, User};

use super::{LOOPBACK, Secured};
use crate::raw::{Client, batch, fetch_request, now_ms, produce_request, text, topic_name};

const NO_TOPIC: i16 = 29;
const NO_GROUP: i16 = 30;
const NO_CLUSTER: i16 = 31;
const NO_TRANSACTION: i16 = 53;

pub(super) const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const TRANSACTION: i8 = 5;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const READ: i8 = 3;
const WRITE: i8 = 4;
const CREATE: i8 = 5;
const DELETE: i8 = 6;
pub(super) const DESCRIBE: i8 = 8;
const ALLOW: i8 = 3;
const DENY: i8 = 2;

pub(super) fn configure(config: &mut Config) {
    config.users = vec![User::new("root", "secret"), User::new("alice", "wonder")];
    config.super_users = vec!["root".to_owned()];
    config.listeners = vec![Listener::at(LOOPBACK).sasl()];
}

fn start() -> Secured {
    Secured::start(|config, _| configure(config))
}

fn log_in(secured: &Secured, user: &str, password: &str) -> Client {
    log_in_at(&secured.address(0), user, password)
}

pub(super) fn log_in_at(address: &str, user: &str, password: &str) -> Client {
    let mut client = Client::connect(address);
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    assert_eq!(client.call(1, &handshake).error_code, 0);
    let message = Bytes::from(format!("\0{user}\0{password}"));
    let proof = SaslAuthenticateRequest::default().with_auth_bytes(message);
    assert_eq!(client.call(2, &proof).error_code, 0);
    client
}

fn root(secured: &Secured) -> Client {
    log_in(secured, "root", "secret")
}

fn alice(secured: &Secured) -> Client {
    log_in(secured, "alice", "wonder")
}

fn rule(resource: i8, pattern: i8, name: &str, operation: i8, permission: i8) -> AclCreation {
    AclCreation::default()
        .with_resource_type(resource)
        .with_resource_pattern_type(pattern)
        .with_resource_name(text(name))
        .with_principal(text("User:alice"))
        .with_host(text("*"))
        .with_operation(operation)
        .with_permission_type(permission)
}

fn add(client: &mut Client, rules: Vec<AclCreation>) -> Vec<i16> {
    let request = CreateAclsRequest::default().with_creations(rules);
    let results = client.call(3, &request).results;
    results.iter().map(|result| result.error_code).collect()
}

pub(super) fn allow(client: &mut Client, resource: i8, name: &str, operation: i8) {
    let rule = rule(resource, LITERAL, name, operation, ALLOW);
    assert_eq!(add(client, vec![rule]), [0]);
}

/// The code of each topic of a metadata request, by name; all of them without names.
fn shown(client: &mut Client, named: Option<&[&str]>) -> BTreeMap<String, i16> {
    let topic = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let topics = named.map(|names| names.iter().map(topic).collect());
    let request = MetadataRequest::default()
        .with_topics(topics)
        .with_allow_auto_topic_creation(true);
    let topics = client.call(12, &request).topics.into_iter();
    topics
        .map(|topic| (topic.name.unwrap().to_string(), topic.error_code))
        .collect()
}

fn names(pairs: &[(&str, i16)]) -> BTreeMap<String, i16> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, code)| ((*name).to_owned(), *code))
        .collect()
}

#[test]
fn topics_are_hidden_from_whom_no_rule_allows_them() {
    let secured = start();
    let (mut root, mut alice) = (root(&secured), alice(&secured));
    root.create_topic("open", 1, &[]);
    root.create_topic("hidden", 1, &[]);
    assert_eq!(shown(&mut alice, None), names(&[]));
    allow(&mut root, TOPIC, "open", READ);
    assert_eq!(shown(&mut alice, None), names(&[("open", 0)]));
    assert_eq!(
        shown(&mut alice, Some(&["open", "hidden", "new"])),
        names(&[("open", 0), ("hidden", NO_TOPIC), ("new", NO_TOPIC)])
    );
    // The oldest version asks for all by an empty list: one that becomes empty must not.
    let hidden = MetadataRequestTopic::default().with_name(Some(topic_name("hidden")));
    let oldest = MetadataRequest::default().with_topics(Some(vec![hidden]));
    let oldest = alice.call(0, &oldest).topics;
    assert_eq!((oldest.len(), oldest[0].error_code), (1, NO_TOPIC));
    // Seeing a topic that is not there does not mean that it may be created.
    allow(&mut root, TOPIC, "new", DESCRIBE);
    assert_eq!(
        shown(&mut alice, Some(&["new"])),
        names(&[("new", NO_TOPIC)])
    );
    allow(&mut root, TOPIC, "new", CREATE);
    assert_eq!(shown(&mut alice, Some(&["new"])), names(&[("new", 0)]));
    assert_eq!(
        shown(&mut root, None),
        names(&[("hidden", 0), ("new", 0), ("open", 0)])
    );
    let pages = DescribeTopicPartitionsRequest::default().with_response_partition_limit(10);
    assert_eq!(alice.call(0, &pages).topics.len(), 2);
    let hidden =
        describe_topic_partitions_request::TopicRequest::default().with_name(topic_name("hidden"));
    let page = alice.call(0, &pages.with_topics(vec![hidden]));
    assert_eq!(
        (page.topics.len(), page.topics[0].error_code),
        (1, NO_TOPIC)
    );
}

fn produced(client: &mut Client, topic: &str) -> i16 {
    let request = produce_request(topic, 0, batch(&[("value", now_ms())]));
    client.call(9, &request).responses[0].partition_responses[0].error_code
}

#[test]
fn records_are_written_and_read_by_those_who_may() {
    let secured = start();
    let (mut root, mut alice) = (root(&secured), alice(&secured));
    root.create_topic("a", 1, &[]);
    assert_eq!(produced(&mut alice, "a"), NO_TOPIC);
    allow(&mut root, TOPIC, "a", WRITE);
    assert_eq!(produced(&mut alice, "a"), 0);
    assert_eq!(alice.fetch("a", 0, 0).error_code, NO_TOPIC);
    assert_eq!(alice.list_offset("a", 0, -1).error_code, 0);
    allow(&mut root, TOPIC, "a", READ);
    assert_eq!(alice.values("a", 0, 0), ["value"]);
    // What is denied to someone is denied in spite of all that allows it, at once and also in a session.
    let request = fetch_request("a", 0, 0).with_session_epoch(0);
    let session = alice.call(12, &request).session_id;
    let denial = rule(TOPIC, PREFIXED, "", READ, DENY);
    assert_eq!(add(&mut root, vec![denial]), [42]);
    let denial = rule(TOPIC, LITERAL, "*", READ, DENY);
    assert_eq!(add(&mut root, vec![denial]), [0]);
    assert_eq!(alice.fetch("a", 0, 0).error_code, NO_TOPIC);
    let mut request = fetch_request("a", 0, 0)
        .with_session_id(session)
        .with_session_epoch(1);
    request.topics.clear();
    let response = alice.call(12, &request);
    let partition = &response.responses[0].partitions[0];
    let records = partition.records.clone().unwrap_or_default();
    assert_eq!((partition.error_code, records.len()), (NO_TOPIC, 0));
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("a")]);
    assert_eq!(alice.call(5, &delete).responses[0].error_code, NO_TOPIC);
    allow(&mut root, TOPIC, "a", DELETE);
    assert_eq!(alice.call(5, &delete).responses[0].error_code, 0);
}

#[test]
fn every_kind_of_resource_has_its_own_code() {
    let secured = start();
    let (mut root, mut alice) = (root(&secured), alice(&secured));
    root.create_topic("a", 1, &[]);
    let group = GroupId(text("g"));
    let join = JoinGroupRequest::default().with_group_id(group.clone());
    for version in 0..=9 {
        assert_eq!(alice.call(version, &join).error_code, NO_GROUP);
    }
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name("a"))
        .with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_topics(vec![topic]);
    let committed = |client: &mut Client| {
        let topics = client.call(8, &commit).topics;
        topics[0].partitions[0].error_code
    };
    assert_eq!(committed(&mut alice), NO_GROUP);
    allow(&mut root, GROUP, "g", READ);
    assert_eq!(committed(&mut alice), NO_TOPIC);
    allow(&mut root, TOPIC, "a", READ);
    assert_eq!(committed(&mut alice), 0);
    let find = FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_coordinator_keys(vec![text("t")]);
    let found = alice.call(4, &find).coordinators[0].error_code;
    assert_eq!(found, NO_TRANSACTION);
    let init = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(1000);
    assert_eq!(alice.call(4, &init).error_code, NO_CLUSTER);
    let named = init.clone().with_transactional_id(Some(text("t").into()));
    assert_eq!(alice.call(4, &named).error_code, NO_TRANSACTION);
    allow(&mut root, TOPIC, "a", WRITE);
    assert_eq!(alice.call(4, &init).error_code, 0);
    allow(&mut root, TRANSACTION, "t", WRITE);
    assert_eq!(alice.call(4, &named).error_code, 0);
    let listed = alice.call(4, &ListGroupsRequest::default()).groups;
    assert_eq!(listed.len(), 1);
    let resource = |kind: i8, name: &str| {
        let of = DescribeConfigsResource::default().with_resource_type(kind);
        of.with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    let configs =
        DescribeConfigsRequest::default().with_resources(vec![resource(2, "a"), resource(4, "1")]);
    let results = alice.call(4, &configs).results;
    let codes: Vec<i16> = results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [NO_TOPIC, NO_CLUSTER]);
    let users = DescribeUserScramCredentialsRequest::default();
    assert_eq!(alice.call(0, &users).error_code, NO_CLUSTER);
    let more = rule(TOPIC, LITERAL, "*", READ, ALLOW);
    assert_eq!(add(&mut alice, vec![more]), [NO_CLUSTER]);
}

#[test]
fn authorized_operations_are_those_that_are_allowed() {
    let secured = start();
    let (mut root, mut alice) = (root(&secured), alice(&secured));
    root.create_topic("a", 1, &[]);
    allow(&mut root, TOPIC, "a", READ);
    let bits = |client: &mut Client| {
        let request = MetadataRequest::default()
            .with_topics(None)
            .with_include_topic_authorized_operations(true)
            .with_include_cluster_authorized_operations(true);
        let response = client.call(10, &request);
        (
            response.topics[0].topic_authorized_operations,
            response.cluster_authorized_operations,
        )
    };
    assert_eq!(bits(&mut root), (3576, 8096));
    assert_eq!(bits(&mut alice), ((1 << READ) | (1 << DESCRIBE), 0));
    let cluster =
        DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    assert_eq!(alice.call(1, &cluster).cluster_authorized_operations, 0);
}

#[test]
fn rules_are_kept_shown_and_removed_by_filters() {
    let mut secured = start();
    let mut client = root(&secured);
    let rules = vec![
        rule(TOPIC, LITERAL, "a", READ, ALLOW),
        rule(TOPIC, PREFIXED, "app-", WRITE, ALLOW),
        rule(GROUP, LITERAL, "*", READ, ALLOW),
        rule(TOPIC, LITERAL, "no good", READ, ALLOW),
        rule(99, LITERAL, "a", READ, ALLOW),
    ];
    let invalid = ResponseError::InvalidRequest.code();
    let unnamed = ResponseError::InvalidTopicException.code();
    assert_eq!(add(&mut client, rules), [0, 0, 0, unnamed, invalid]);
    secured.restart(|config, _| configure(config));
    let mut client = root(&secured);
    let described = |client: &mut Client, kind: i8, pattern: i8, name: Option<&str>| {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(kind)
            .with_pattern_type_filter(pattern)
            .with_resource_name_filter(name.map(text))
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(1)
            .with_permission_type(1);
        let resources = client.call(3, &request).resources.into_iter();
        let mut names: Vec<String> = resources.map(|of| of.resource_name.to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(described(&mut client, 1, 1, None), ["*", "a", "app-"]);
    assert_eq!(described(&mut client, TOPIC, 1, None), ["a", "app-"]);
    // The patterns that cover a name.
    assert_eq!(described(&mut client, TOPIC, 2, Some("app-1")), ["app-"]);
    assert_eq!(
        described(&mut client, TOPIC, LITERAL, Some("app-1")),
        [""; 0]
    );
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(TOPIC)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(1)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1);
    let request = DeleteAclsRequest::default().with_filters(vec![filter]);
    let deleted = client.call(3, &request).filter_results;
    assert_eq!(deleted[0].matching_acls.len(), 2);
    assert_eq!(described(&mut client, 1, 1, None), ["*"]);
}

#[test]
fn without_a_super_user_there_are_no_acls() {
    let secured = Secured::start(|_, _| {});
    let mut client = Client::connect(&secured.address(0));
    let disabled = ResponseError::SecurityDisabled.code();
    let new = rule(TOPIC, LITERAL, "a", READ, ALLOW);
    assert_eq!(add(&mut client, vec![new]), [disabled]);
    let all = DescribeAclsRequest::default();
    assert_eq!(client.call(3, &all).error_code, disabled);
}

#[test]
fn a_broker_that_lets_anyone_in_is_not_started_unless_it_is_said_twice() {
    let folder = tempfile::tempdir().unwrap();
    let start = |allow_anyone: bool| {
        let mut config = Config::ephemeral(folder.path());
        let everywhere = Listener::at(([0, 0, 0, 0], 0));
        config.listeners = vec![everywhere.advertised("127.0.0.1", 1)];
        config.allow_anyone = allow_anyone;
        millstream_broker::Server::start(config)
    };
    assert_eq!(
        start(false).unwrap_err().to_string(),
        "listening on `0.0.0.0:0` would let anyone in who reaches it: there are no logins and no client certificates"
    );
    start(true).unwrap().stop().unwrap();
}
