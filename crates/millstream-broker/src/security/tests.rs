//! Users, ACLs and quotas over kills between any two steps of a change.
//!
//! Each is one file that is replaced whole (`snapshot`): what a kill leaves is what was before or what should be, readable by nobody else
//! where that matters, and it can be changed again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use super::quotas::{Entity, Name};
use super::rules::{Operation, Pattern, Permission, ResourceType, Rule};
use super::*;
use crate::failpoint::die_after;
use crate::topics::Refused;

/// A process dies at each step of the second change, and another one opens the folder: it finds what was before or what should be, and goes
/// on from there.
fn die_everywhere<T, S: Debug + PartialEq>(
    file: &str,
    open: impl Fn(&Path) -> T,
    change: impl Fn(&T, usize) -> Result<(), Refused>,
    shown: impl Fn(&T) -> S,
) {
    for step in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        change(&first, 1).unwrap();
        let before = shown(&first);
        die_after(Some(step));
        let done = change(&first, 2);
        die_after(None);
        drop(first);
        let temporary = folder.path().join(format!("{file}.tmp"));
        if temporary.exists() {
            // A write that was cut off.
            let bytes = fs::read(&temporary).unwrap();
            fs::write(&temporary, &bytes[..bytes.len() / 2]).unwrap();
        }
        let second = open(folder.path());
        let found = shown(&second);
        // What was acknowledged is there.
        if done.is_ok() || found != before {
            change(&second, 2).ok();
            assert_eq!(shown(&second), found, "{file}, step {step}");
        }
        change(&second, 3).unwrap();
        let after = shown(&second);
        assert_ne!(after, found, "{file}, step {step}");
        assert_eq!(shown(&open(folder.path())), after, "{file}, step {step}");
        assert!(!temporary.exists(), "{file}, step {step}");
        if done.is_ok() {
            assert_ne!(found, before, "{file}");
            assert!(step >= 3, "{file} has {step} steps");
            return;
        }
    }
}

#[test]
fn a_kill_between_any_two_steps_leaves_the_old_users_or_the_new_ones() {
    let open = |folder: &Path| {
        let users = Users::open(folder, &[]).unwrap();
        for name in ["users.json", "users.json.tmp"] {
            if let Ok(metadata) = fs::metadata(folder.join(name)) {
                let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
                assert_eq!(mode & 0o777, 0o600, "{name}");
            }
        }
        users
    };
    let change = |users: &Users, number: usize| {
        users.change(Change {
            user: &format!("user {number}"),
            mechanism: Mechanism::Sha256,
            credential: Some(Credential::new(Mechanism::Sha256, "secret")),
        })
    };
    die_everywhere("users.json", open, change, Users::describe);
}

#[test]
fn a_kill_between_any_two_steps_leaves_the_old_acls_or_the_new_ones() {
    let open = |folder: &Path| Acls::open(folder, &["root".to_owned()]).unwrap();
    let change = |acls: &Acls, number: usize| {
        acls.add(&[Rule {
            resource: ResourceType::Topic,
            pattern: Pattern::Literal,
            name: format!("topic {number}"),
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        }])
    };
    die_everywhere("acls.json", open, change, |acls| acls.rules().to_vec());
}

#[test]
fn a_kill_between_any_two_steps_leaves_the_old_quotas_or_the_new_ones() {
    let open = |folder: &Path| Quotas::open(folder).unwrap();
    let change = |quotas: &Quotas, number: usize| {
        let entity = Entity {
            user: Some(Name::Named(format!("user {number}"))),
            client_id: None,
        };
        let values = BTreeMap::from([("producer_byte_rate".to_owned(), Some(1000.0))]);
        quotas.change(&entity, &values)
    };
    die_everywhere("quotas.json", open, change, |quotas| {
        quotas.all().as_ref().clone()
    });
}
