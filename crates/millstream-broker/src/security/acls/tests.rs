use std::net::Ipv4Addr;

use super::*;

fn rule(pattern: Pattern, name: &str, operation: Operation, permission: Permission) -> Rule {
    Rule {
        resource: ResourceType::Topic,
        pattern,
        name: name.to_owned(),
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation,
        permission,
    }
}

fn access(rules: Vec<Rule>) -> Access {
    Access {
        all: false,
        rules: Arc::new(rules),
        principal: "User:alice".to_owned(),
        host: "127.0.0.1".to_owned(),
    }
}

fn allowed(rules: Vec<Rule>, operation: Operation, topic: &str) -> bool {
    access(rules).allows(operation, Resource::topic(topic))
}

#[test]
fn what_no_rule_allows_is_denied() {
    use Operation::{Describe, Read, Write};
    let read = || rule(Pattern::Literal, "a", Read, Permission::Allow);
    assert!(allowed(vec![read()], Read, "a"));
    assert!(allowed(vec![read()], Describe, "a"), "reading implies it");
    assert!(!allowed(vec![read()], Write, "a"));
    assert!(!allowed(vec![read()], Read, "ab"));
    assert!(!allowed(vec![], Read, "a"));
    let group = Resource::group("a");
    assert!(access(vec![read()]).denies(Read, group));
}

#[test]
fn patterns_cover_one_name_all_names_or_those_that_begin_so() {
    use Operation::{All, Read};
    let of = |pattern, name| vec![rule(pattern, name, All, Permission::Allow)];
    assert!(allowed(of(Pattern::Literal, "*"), Read, "any"));
    assert!(allowed(of(Pattern::Prefixed, "app-"), Read, "app-1"));
    assert!(!allowed(of(Pattern::Prefixed, "app-"), Read, "ap"));
    assert!(!allowed(of(Pattern::Prefixed, "*"), Read, "any"));
}

#[test]
fn a_rule_that_denies_wins_and_denies_no_more_than_it_says() {
    use Operation::{All, Describe, Read};
    let everything = || rule(Pattern::Literal, "*", All, Permission::Allow);
    let denied = |operation| rule(Pattern::Prefixed, "secret", operation, Permission::Deny);
    assert!(!allowed(vec![everything(), denied(Read)], Read, "secret-1"));
    assert!(allowed(
        vec![everything(), denied(Read)],
        Describe,
        "secret-1"
    ));
    assert!(!allowed(
        vec![denied(All), everything()],
        Describe,
        "secret-1"
    ));
    assert!(allowed(vec![denied(All), everything()], Read, "open"));
}

#[test]
fn rules_mean_a_principal_and_a_host() {
    use Operation::Read;
    let of = |principal: &str, host: &str| {
        vec![Rule {
            principal: principal.to_owned(),
            host: host.to_owned(),
            ..rule(Pattern::Literal, "a", Read, Permission::Allow)
        }]
    };
    assert!(allowed(of("User:*", "*"), Read, "a"));
    assert!(allowed(of("User:alice", "127.0.0.1"), Read, "a"));
    assert!(!allowed(of("User:bob", "*"), Read, "a"));
    assert!(!allowed(of("User:alice", "10.0.0.1"), Read, "a"));
}

#[test]
fn something_may_be_written_if_not_all_that_is_allowed_is_denied() {
    use Operation::Write;
    let of = |pattern, name, permission| rule(pattern, name, Write, permission);
    let any = |rules| access(rules).allows_on_any(Write, ResourceType::Topic);
    let (allow, deny) = (Permission::Allow, Permission::Deny);
    assert!(!any(vec![]));
    assert!(any(vec![of(Pattern::Literal, "a", allow)]));
    for denial in [
        of(Pattern::Literal, "a", deny),
        of(Pattern::Literal, "*", deny),
        of(Pattern::Prefixed, "a", deny),
    ] {
        assert!(!any(vec![of(Pattern::Literal, "a", allow), denial]));
    }
    let elsewhere = of(Pattern::Literal, "b", deny);
    assert!(any(vec![of(Pattern::Prefixed, "a", allow), elsewhere]));
}

#[test]
fn allowed_operations_are_the_bits_of_the_protocol() {
    let none = access(vec![]);
    assert_eq!(none.operations(Resource::topic("a")), 0);
    let read = rule(Pattern::Literal, "a", Operation::Read, Permission::Allow);
    let bits = access(vec![read]).operations(Resource::topic("a"));
    assert_eq!(bits, (1 << 3) | (1 << 8));
    let all = Access { all: true, ..none };
    assert_eq!(all.operations(Resource::topic("a")), 3576);
    assert_eq!(all.operations(Resource::group("a")), 3400);
    assert_eq!(all.operations(Resource::CLUSTER), 8096);
}

#[test]
fn rules_are_there_after_a_restart_but_not_without_a_super_user() {
    let folder = tempfile::tempdir().unwrap();
    let root = ["root".to_owned()];
    let acls = Acls::open(folder.path(), &root).unwrap();
    let read = rule(Pattern::Literal, "a", Operation::Read, Permission::Allow);
    acls.add(&[read.clone(), read.clone()]).unwrap();
    let again = Acls::open(folder.path(), &root).unwrap();
    assert_eq!(*again.rules(), std::slice::from_ref(&read));
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let super_user = again.access(&Principal::user("root"), host).unwrap();
    assert!(super_user.allows(Operation::Alter, Resource::CLUSTER));
    assert_eq!(
        Acls::open(folder.path(), &[]).unwrap_err().to_string(),
        format!(
            "`{}` has ACLs, but no super user is configured, so that everybody could do everything",
            folder.path().join("acls.json").display()
        )
    );
    again.remove(&[read]).unwrap();
    let off = Acls::open(folder.path(), &[]).unwrap();
    assert!(off.access(&Principal::anonymous(), host).is_none());
}
