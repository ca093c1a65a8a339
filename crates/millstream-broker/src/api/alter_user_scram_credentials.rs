//! AlterUserScramCredentials: gives users a password for a mechanism, or takes it away.
//!
//! Clients send a salt and the salted password, never the password. Users of one request succeed or fail one by one; connections that
//! are open go on.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use crate::broker::Broker;
use crate::security::{Change, Credential, Mechanism, check_new};
use crate::topics::Refused;

/// What is asked for one user and mechanism; `None` deletes the credential.
struct Wanted {
    mechanism: Result<Mechanism, Refused>,
    credential: Result<Option<Credential>, Refused>,
}

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: AlterUserScramCredentialsRequest,
    _version: i16,
) -> AlterUserScramCredentialsResponse {
    let mut order: Vec<StrBytes> = Vec::new();
    let mut wanted: HashMap<StrBytes, Vec<Wanted>> = HashMap::new();
    let mut note = |user: StrBytes, change: Wanted| {
        if !wanted.contains_key(&user) {
            order.push(user.clone());
        }
        wanted.entry(user).or_default().push(change);
    };
    for one in request.deletions {
        note(
            one.name,
            Wanted {
                mechanism: mechanism(one.mechanism),
                credential: Ok(None),
            },
        );
    }
    for one in request.upsertions {
        let mechanism = mechanism(one.mechanism);
        let credential = match &mechanism {
            Ok(of) => check_new(*of, &one.salt, &one.salted_password, one.iterations).map(Some),
            Err(_) => Ok(None),
        };
        let change = Wanted {
            mechanism,
            credential,
        };
        note(one.name, change);
    }
    let mut results = Vec::with_capacity(order.len());
    for user in order {
        let changes = wanted.remove(&user).unwrap_or_default();
        let done = tokio::task::block_in_place(|| change(broker, &user, changes));
        let result = AlterUserScramCredentialsResult::default().with_user(user);
        results.push(match done {
            Ok(()) => result,
            Err(refused) => result
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        });
    }
    AlterUserScramCredentialsResponse::default().with_results(results)
}

fn mechanism(code: i8) -> Result<Mechanism, Refused> {
    Mechanism::of_code(code).ok_or_else(|| {
        Refused::new(
            ResponseError::UnsupportedSaslMechanism,
            "Unknown SCRAM mechanism",
        )
    })
}

/// Makes all changes of one user; nothing is changed when one of them is not possible.
fn change(broker: &Broker, user: &StrBytes, changes: Vec<Wanted>) -> Result<(), Refused> {
    if user.is_empty() {
        return Err(Refused::new(
            ResponseError::UnacceptableCredential,
            "Username must not be empty",
        ));
    }
    let mut ready = Vec::with_capacity(changes.len());
    for Wanted {
        mechanism,
        credential,
    } in changes
    {
        let mechanism = mechanism?;
        if ready.iter().any(|(other, _)| *other == mechanism) {
            return Err(Refused::new(
                ResponseError::DuplicateResource,
                "A user credential cannot be altered twice in the same request",
            ));
        }
        ready.push((mechanism, credential?));
    }
    for (mechanism, credential) in ready {
        broker.users.change(Change {
            user,
            mechanism,
            credential,
        })?;
    }
    Ok(())
}
