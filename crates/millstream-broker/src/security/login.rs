//! SASL on one connection: which requests come before a login, and the login itself.
//!
//! ```text
//! Start --SaslHandshake--> Chosen --SaslAuthenticate--> (Proving -->) Done --SaslHandshake--> Chosen ...
//! ```
//!
//! Where logins hold for a time only (`connections_max_reauth`, KIP-368), the answer says for how long, and a client logs in again on the same
//! connection, as the same user by the same mechanism. One that does not is cut off with its next request.
//!
//! A client asks for the versions, names a mechanism and proves itself, in this order; every other request closes the connection, as in
//! Kafka. So does a login that failed: it is answered after a while, so that passwords cannot be tried quickly.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::scram::{Exchange, First, Mechanism};
use super::{Principal, Users};
use crate::api::{self, Answer};
use crate::broker::Broker;
use crate::clock;
use crate::frame::{Broken, Header, decode_body};
use crate::listener::Endpoint;

const PLAIN: &str = "PLAIN";

/// The login of one connection.
pub(crate) struct Login {
    stage: Stage,
    /// How long a login holds.
    lifetime: Option<Duration>,
    /// Who has logged in.
    session: Option<Session>,
}

/// What a login has led to.
struct Session {
    user: String,
    mechanism: &'static str,
    ends: Option<Instant>,
}

/// How far a connection has come.
enum Stage {
    /// Nobody has to log in, or it is done.
    Done,
    /// Nothing has come but questions for versions.
    Start,
    Chosen(Chosen),
    Proving(Box<Exchange>),
}

/// A mechanism that a client has named.
#[derive(Clone, Copy)]
enum Chosen {
    Plain,
    Scram(Mechanism),
}

impl Chosen {
    fn name(self) -> &'static str {
        match self {
            Chosen::Plain => PLAIN,
            Chosen::Scram(mechanism) => mechanism.name(),
        }
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It is answered by its API.
    Open,
    /// It is part of the login.
    Login,
    /// Its connection is closed: it comes before the login.
    Closed,
    /// Its connection is closed: the login does not hold any longer.
    Expired,
}

/// What a step of a login leads to.
pub(crate) struct Step {
    pub(crate) answer: Answer,
    /// Who has logged in.
    pub(crate) principal: Option<Principal>,
    /// Why the connection is to be closed after the answer.
    pub(crate) failed: Option<String>,
}

impl Login {
    /// The login of a new connection, which holds for `lifetime`, or for ever when that is zero.
    pub(crate) fn of(endpoint: &Endpoint, lifetime: Duration) -> Login {
        Login {
            stage: match endpoint.sasl {
                true => Stage::Start,
                false => Stage::Done,
            },
            lifetime: (!lifetime.is_zero()).then_some(lifetime),
            session: None,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Whether a request of this API may come now.
    pub(crate) fn gate(&self, key: i16, now: Instant) -> Gate {
        let api = ApiKey::try_from(key);
        let ends = self.session.as_ref().and_then(|session| session.ends);
        match (&self.stage, api) {
            (_, Ok(ApiKey::SaslHandshake | ApiKey::SaslAuthenticate)) => Gate::Login,
            (Stage::Done, _) if ends.is_some_and(|ends| ends <= now) => Gate::Expired,
            (Stage::Done, _) | (Stage::Start, Ok(ApiKey::ApiVersions)) => Gate::Open,
            _ => Gate::Closed,
        }
    }

    /// Answers a request that is part of the login.
    pub(crate) async fn step(
        &mut self,
        broker: &Broker,
        endpoint: &Endpoint,
        header: &Header,
        body: Bytes,
    ) -> Result<Step, Broken> {
        let step = match ApiKey::try_from(header.key) {
            Ok(ApiKey::SaslHandshake) if header.version == 1 => {
                self.choose(endpoint, header, &decode_body(body, header.version)?)?
            }
            Ok(ApiKey::SaslAuthenticate) if header.version <= 2 => {
                self.prove(&broker.users, header, &decode_body(body, header.version)?)?
            }
            _ => {
                return Err(Broken::UnknownVersion {
                    key: header.key,
                    version: header.version,
                });
            }
        };
        if step.failed.is_some() {
            clock::sleep(broker.config.failed_login_delay).await;
        }
        Ok(step)
    }

    fn choose(
        &mut self,
        endpoint: &Endpoint,
        header: &Header,
        request: &SaslHandshakeRequest,
    ) -> Result<Step, Broken> {
        let offered = mechanisms(endpoint);
        let names = offered
            .iter()
            .map(|of| StrBytes::from_static_str(of.name()));
        let response = SaslHandshakeResponse::default().with_mechanisms(names.collect());
        let wanted = request.mechanism.as_str();
        let chosen = offered.into_iter().find(|of| of.name() == wanted);
        let again = self.is_done() && self.lifetime.is_some() && self.session.is_some();
        let before = self.session.as_ref().map(|session| session.mechanism);
        let (code, failed) = match (&self.stage, chosen) {
            (Stage::Done, Some(chosen)) if again && before != Some(chosen.name()) => (
                ResponseError::IllegalSaslState.code(),
                Some("another mechanism than before".to_owned()),
            ),
            (Stage::Done, Some(chosen)) if again => {
                self.stage = Stage::Chosen(chosen);
                (0, None)
            }
            (Stage::Start, Some(chosen)) => {
                self.stage = Stage::Chosen(chosen);
                (0, None)
            }
            (Stage::Start, None) => (
                ResponseError::UnsupportedSaslMechanism.code(),
                Some(format!(
                    "mechanism `{}` is not offered",
                    wanted.escape_debug()
                )),
            ),
            (Stage::Done, _) => (ResponseError::IllegalSaslState.code(), None),
            _ => (
                ResponseError::IllegalSaslState.code(),
                Some("a second handshake".to_owned()),
            ),
        };
        Ok(Step {
            answer: api::encode(header, &response.with_error_code(code))?,
            principal: None,
            failed,
        })
    }

    fn prove(
        &mut self,
        users: &Users,
        header: &Header,
        request: &SaslAuthenticateRequest,
    ) -> Result<Step, Broken> {
        let message = &request.auth_bytes;
        let response = SaslAuthenticateResponse::default();
        let done = self.is_done();
        let (mechanism, proved) = match std::mem::replace(&mut self.stage, Stage::Start) {
            stage @ (Stage::Done | Stage::Start) => {
                self.stage = stage;
                let text = "SaslAuthenticate request received after successful authentication";
                let response = response
                    .with_error_code(ResponseError::IllegalSaslState.code())
                    .with_error_message(Some(StrBytes::from_static_str(text)));
                return Ok(Step {
                    answer: api::encode(header, &response)?,
                    principal: None,
                    failed: (!done).then(|| "a login before its handshake".to_owned()),
                });
            }
            Stage::Chosen(Chosen::Plain) => (PLAIN, plain(users, message)),
            Stage::Chosen(Chosen::Scram(mechanism)) => {
                let Some(first) = First::parse(message) else {
                    return failed(header, mechanism.name(), None);
                };
                let credential = users.credential(&first.user, mechanism);
                let exchange = Box::new(Exchange::new(mechanism, first, credential));
                let challenge = Bytes::from(exchange.challenge.clone());
                self.stage = Stage::Proving(exchange);
                return Ok(Step {
                    answer: api::encode(header, &response.with_auth_bytes(challenge))?,
                    principal: None,
                    failed: None,
                });
            }
            Stage::Proving(exchange) => {
                let (mechanism, user) = (exchange.mechanism(), exchange.user().to_owned());
                (mechanism.name(), exchange.finish(message).ok_or(Some(user)))
            }
        };
        match proved {
            Ok((user, _)) if self.session.as_ref().is_some_and(|one| one.user != user) => {
                failed(header, mechanism, Some(&user))
            }
            Ok((user, last)) => {
                self.stage = Stage::Done;
                self.session = Some(Session {
                    user: user.clone(),
                    mechanism,
                    ends: self.lifetime.map(|lifetime| Instant::now() + lifetime),
                });
                let lifetime = self.lifetime.filter(|_| header.version >= 1);
                let lifetime = lifetime.unwrap_or_default().as_millis();
                let response = response
                    .with_auth_bytes(Bytes::from(last))
                    .with_session_lifetime_ms(i64::try_from(lifetime).unwrap_or(i64::MAX));
                Ok(Step {
                    answer: api::encode(header, &response)?,
                    principal: Some(Principal::user(&user)),
                    failed: None,
                })
            }
            Err(user) => failed(header, mechanism, user.as_deref()),
        }
    }
}

/// The answer to a login that failed; the log says of whom, the client learns nothing.
fn failed(header: &Header, mechanism: &str, user: Option<&str>) -> Result<Step, Broken> {
    let text = format!(
        "Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
    );
    let response = SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::SaslAuthenticationFailed.code())
        .with_error_message(Some(StrBytes::from_string(text)));
    let of = user.map_or_else(String::new, |user| {
        format!(" of user `{}`", user.escape_debug())
    });
    Ok(Step {
        answer: api::encode(header, &response)?,
        principal: None,
        failed: Some(format!("wrong credentials{of} by {mechanism}")),
    })
}

/// `[identity] NUL user NUL password`: the user and the empty answer, or the user who failed.
fn plain(users: &Users, message: &[u8]) -> Result<(String, String), Option<String>> {
    let message = std::str::from_utf8(message).map_err(|_| None)?;
    let mut fields = message.splitn(3, '\0');
    let (Some(identity), Some(user), Some(password)) =
        (fields.next(), fields.next(), fields.next())
    else {
        return Err(None);
    };
    let same = identity.is_empty() || identity == user;
    let known = tokio::task::block_in_place(|| users.check_password(user, password));
    match same && known && !user.is_empty() {
        true => Ok((user.to_owned(), String::new())),
        false => Err(Some(user.to_owned())),
    }
}

/// What a listener offers: PLAIN shows the password to the network, so it needs TLS or a network that ends in this machine.
fn mechanisms(endpoint: &Endpoint) -> Vec<Chosen> {
    let scram = Mechanism::ALL.into_iter().rev().map(Chosen::Scram);
    let plain = endpoint.keeps_secrets.then_some(Chosen::Plain);
    scram.chain(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_has_ended_opens_nothing_but_another_login() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let login = Login {
            stage: Stage::Done,
            lifetime: Some(seconds(60)),
            session: Some(Session {
                user: "alice".to_owned(),
                mechanism: PLAIN,
                ends: Some(now + seconds(60)),
            }),
        };
        let metadata = ApiKey::Metadata as i16;
        assert_eq!(login.gate(metadata, now + seconds(59)), Gate::Open);
        assert_eq!(login.gate(metadata, now + seconds(60)), Gate::Expired);
        let again = ApiKey::SaslHandshake as i16;
        assert_eq!(login.gate(again, now + seconds(60)), Gate::Login);
    }
}
