//! The users who may log in: those of the configuration, and those that AlterUserScramCredentials has stored.
//!
//! Users of the configuration are there from the start and are changed there; they are not written anywhere. The others are in `users.json`
//! of the data folder, which only the owner of the broker may read. A password is kept as what SCRAM needs, for PLAIN too.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kafka_protocol::ResponseError;

use super::scram::{self, Credential, Mechanism};
use crate::current::Current;
use crate::error::Error;
use crate::log::lock;
use crate::snapshot::Kind;
use crate::topics::Refused;

const USERS: Kind = Kind {
    magic: "millstream-users",
    newest: 1,
};

/// A user of the configuration, who may log in by every mechanism.
#[derive(Clone)]
pub struct User {
    name: String,
    password: String,
}

impl User {
    /// A user with this password.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> User {
        User {
            name: name.into(),
            password: password.into(),
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("User").field(&self.name).finish()
    }
}

/// By user and mechanism.
type Credentials = BTreeMap<String, BTreeMap<Mechanism, Credential>>;

/// All users.
pub(crate) struct Users {
    path: PathBuf,
    configured: Credentials,
    stored: Current<Credentials>,
    /// What salts of users that do not exist are made of.
    secret: [u8; 32],
    /// One password at a time is compared: however many log in, others keep the processor.
    comparing: Mutex<()>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").finish_non_exhaustive()
    }
}

/// A credential to store, as it comes from a client.
pub(crate) struct Change<'a> {
    pub(crate) user: &'a str,
    pub(crate) mechanism: Mechanism,
    /// `None` deletes it.
    pub(crate) credential: Option<Credential>,
}

impl Users {
    pub(crate) fn open(folder: &Path, configured: &[User]) -> Result<Users, Error> {
        let path = folder.join("users.json");
        let credentials = |user: &User| {
            Mechanism::ALL
                .map(|mechanism| (mechanism, Credential::new(mechanism, &user.password)))
                .into()
        };
        Ok(Users {
            stored: Current::new(USERS.read(&path)?.unwrap_or_default()),
            path,
            configured: configured
                .iter()
                .map(|user| (user.name.clone(), credentials(user)))
                .collect(),
            secret: scram::random(),
            comparing: Mutex::default(),
        })
    }

    fn find(&self, name: &str, mechanism: Mechanism) -> Option<Credential> {
        if let Some(user) = self.configured.get(name) {
            return user.get(&mechanism).cloned();
        }
        let stored = self.stored.get();
        stored.get(name)?.get(&mechanism).cloned()
    }

    /// What SCRAM needs for a user, also for one who does not exist.
    pub(crate) fn credential(&self, name: &str, mechanism: Mechanism) -> Credential {
        self.find(name, mechanism)
            .unwrap_or_else(|| Credential::decoy(mechanism, &self.secret, name))
    }

    /// Whether this is the user's password.
    pub(crate) fn check_password(&self, name: &str, password: &str) -> bool {
        let found = Mechanism::ALL
            .into_iter()
            .find_map(|mechanism| Some((mechanism, self.find(name, mechanism)?)));
        let known = found.is_some();
        let (mechanism, credential) = found.unwrap_or_else(|| {
            let mechanism = Mechanism::Sha256;
            (mechanism, Credential::decoy(mechanism, &self.secret, name))
        });
        let _turn = lock(&self.comparing);
        credential.is_of(mechanism, password) && known
    }

    /// Each user's mechanisms and iterations.
    pub(crate) fn describe(&self) -> BTreeMap<String, Vec<(Mechanism, i32)>> {
        let stored = self.stored.get();
        let all = stored.iter().chain(&self.configured);
        all.map(|(name, credentials)| {
            let of = |(mechanism, of): (&Mechanism, &Credential)| (*mechanism, of.iterations());
            (name.clone(), credentials.iter().map(of).collect())
        })
        .collect()
    }

    /// Stores or deletes a credential; it holds when this returns, and after a power cut.
    pub(crate) fn change(&self, change: Change<'_>) -> Result<(), Refused> {
        let Change {
            user,
            mechanism,
            credential,
        } = change;
        if self.configured.contains_key(user) {
            return Err(Refused::new(
                ResponseError::UnacceptableCredential,
                "The user is in the configuration of the broker, and can only be changed there.",
            ));
        }
        self.stored.change(|now| {
            let mut changed = now.clone();
            let of_user = changed.entry(user.to_owned()).or_default();
            match credential {
                Some(credential) => {
                    of_user.insert(mechanism, credential);
                }
                None if of_user.remove(&mechanism).is_none() => {
                    return Err(Refused::new(
                        ResponseError::ResourceNotFound,
                        "Attempt to delete a user credential that does not exist",
                    ));
                }
                None => {}
            }
            changed.retain(|_, credentials| !credentials.is_empty());
            USERS.write_private(&self.path, &changed).map_err(|error| {
                tracing::error!(%error, "failed to store the users");
                Refused::new(ResponseError::KafkaStorageError, error.to_string())
            })?;
            Ok(Some(changed))
        })
    }
}

/// A credential as a client has made it, within Kafka's limits.
pub(crate) fn check_new(
    mechanism: Mechanism,
    salt: &[u8],
    salted: &[u8],
    iterations: i32,
) -> Result<Credential, Refused> {
    let refuse = |text| Err(Refused::new(ResponseError::UnacceptableCredential, text));
    if iterations > *scram::ITERATIONS.end() {
        return refuse("Too many iterations");
    }
    if iterations < *scram::ITERATIONS.start() {
        return refuse("Too few iterations");
    }
    if salt.is_empty() || salted.is_empty() {
        return refuse("The salt and the salted password must not be empty");
    }
    let iterations = u32::try_from(iterations).ok().and_then(NonZeroU32::new);
    match iterations {
        Some(iterations) => Ok(Credential::of_salted(
            mechanism,
            salt.to_vec(),
            salted,
            iterations,
        )),
        None => refuse("Too few iterations"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_users_are_there_after_a_restart_and_nobody_else_can_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let users = Users::open(folder.path(), &[]).unwrap();
        let credential = Credential::new(Mechanism::Sha512, "secret");
        let change = |credential| Change {
            user: "alice",
            mechanism: Mechanism::Sha512,
            credential,
        };
        users.change(change(Some(credential))).unwrap();
        let again = Users::open(folder.path(), &[]).unwrap();
        assert!(again.check_password("alice", "secret"));
        assert!(!again.check_password("alice", "other"));
        assert!(!again.check_password("bob", "secret"));
        assert_eq!(
            again.describe(),
            BTreeMap::from([("alice".to_owned(), vec![(Mechanism::Sha512, 4096)])])
        );
        let path = folder.path().join("users.json");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("secret"));
        again.change(change(None)).unwrap();
        let missing = again.change(change(None)).unwrap_err();
        assert_eq!(missing.code, ResponseError::ResourceNotFound);
        let empty = Users::open(folder.path(), &[]).unwrap();
        assert_eq!(empty.describe(), BTreeMap::new());
    }

    #[test]
    fn users_of_the_configuration_are_changed_only_there_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let user = User::new("root", "secret");
        assert_eq!(format!("{user:?}"), r#"User("root")"#);
        let users = Users::open(folder.path(), &[user]).unwrap();
        assert!(users.check_password("root", "secret"));
        let change = Change {
            user: "root",
            mechanism: Mechanism::Sha256,
            credential: None,
        };
        assert_eq!(
            users.change(change).unwrap_err().code,
            ResponseError::UnacceptableCredential
        );
        assert_eq!(format!("{users:?}"), "Users { .. }");
    }
}
