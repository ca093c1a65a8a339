//! ACLs that are read. The rules are made without this client, which makes none.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::{ApiKey, CreateAclsRequest, RequestHeader};
use kafka_protocol::protocol::{Encodable as _, StrBytes};
use millstream_broker::{Config as BrokerConfig, Server};
use millstream_client::Config;
use millstream_client::admin::{
    Acl, AclFilter, AclOperation, AclPattern, AclPermission, AclResource, Admin,
};

use super::admin;
use crate::support::Broker;

/// Alice may read the topics that begin with `pay`, and nobody may write `payments`.
fn rules() -> CreateAclsRequest {
    let text = StrBytes::from_static_str;
    let read = AclCreation::default()
        .with_resource_type(2)
        .with_resource_name(text("pay"))
        .with_resource_pattern_type(4)
        .with_principal(text("User:alice"))
        .with_host(text("*"))
        .with_operation(3)
        .with_permission_type(3);
    let write = read
        .clone()
        .with_resource_name(text("payments"))
        .with_resource_pattern_type(3)
        .with_principal(text("User:*"))
        .with_operation(4)
        .with_permission_type(2);
    CreateAclsRequest::default().with_creations(vec![read, write])
}

fn make_rules(address: &str) {
    let mut frame = vec![0; 4];
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::CreateAcls as i16)
        .with_request_api_version(2);
    header.encode(&mut frame, 2).unwrap();
    rules().encode(&mut frame, 2).unwrap();
    let length = u32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(&frame).unwrap();
    // That something is answered is enough: the test reads what came of it.
    socket.read_exact(&mut [0; 8]).unwrap();
}

fn acls(admin: &mut Admin, filter: &AclFilter) -> Vec<Acl> {
    admin.acls(filter).unwrap()
}

#[test]
fn rules_are_read_by_what_they_guard_and_by_whom_they_concern() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::ephemeral(folder.path());
    config.super_users = vec!["ANONYMOUS".to_owned()];
    let server = Server::start(config).unwrap();
    let address = server.address().to_string();
    make_rules(&address);
    let mut admin = Admin::new(&Config::new(&address).unwrap()).unwrap();
    let all = acls(&mut admin, &AclFilter::default());
    let [prefixed, literal] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(
        (prefixed.resource, &*prefixed.name),
        (AclResource::Topic, "pay")
    );
    assert_eq!(prefixed.pattern, AclPattern::Prefixed);
    assert_eq!((&*prefixed.principal, &*prefixed.host), ("User:alice", "*"));
    assert_eq!(prefixed.operation, AclOperation::Read);
    assert_eq!(prefixed.permission, AclPermission::Allow);
    assert_eq!(
        (&*literal.name, literal.pattern),
        ("payments", AclPattern::Literal)
    );
    assert_eq!(literal.permission, AclPermission::Deny);

    let named = AclFilter {
        name: Some("payments".to_owned()),
        ..AclFilter::default()
    };
    assert_eq!(acls(&mut admin, &named), all);
    let exactly = AclFilter {
        pattern: Some(AclPattern::Literal),
        ..named
    };
    assert_eq!(acls(&mut admin, &exactly), all[1..]);
    let of_alice = AclFilter {
        principal: Some("User:alice".to_owned()),
        ..AclFilter::default()
    };
    assert_eq!(acls(&mut admin, &of_alice), all[..1]);
    let of_groups = AclFilter {
        resource: Some(AclResource::Group),
        ..AclFilter::default()
    };
    assert_eq!(acls(&mut admin, &of_groups), []);
    server.stop().unwrap();
}

#[test]
fn a_cluster_without_an_authorizer_says_so() {
    let broker = Broker::start();
    let error = admin(&broker).acls(&AclFilter::default()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("failed to read the ACLs: ")
            && error.ends_with(
                "(SecurityDisabled); the brokers have no authorizer; set one to have ACLs"
            ),
        "{error}"
    );
}
