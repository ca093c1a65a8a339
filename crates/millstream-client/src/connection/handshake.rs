//! From an open socket to a connection that takes requests: the versions of its APIs, and the login.
//!
//! A login whose time is almost up is repeated in the same way. What was sent before is answered before; what comes meanwhile waits.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiVersionsResponse, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};

use super::login::{self, Login};
use super::{Connection, LEAST_LOGIN, State, Versions};
use crate::Error;
use crate::clock::Time;
use crate::wire::api::{Api, Call, Reply};
use crate::wire::text;

impl Connection {
    /// Takes an answer to one of the connection's own requests.
    pub(super) fn begin(&mut self, reply: Reply, now: Time) -> Result<(), Error> {
        let state = std::mem::replace(&mut self.state, State::Greeting);
        match (reply, state) {
            (Reply::ApiVersions(response), State::Greeting) => {
                let versions = self.versions(&response)?;
                self.log_in(versions, now);
                Ok(())
            }
            (
                Reply::SaslHandshake(response),
                State::LoggingIn {
                    versions,
                    login: None,
                    ..
                },
            ) => self.agreed(&response, versions, now),
            (
                Reply::SaslAuthenticate(response),
                State::LoggingIn {
                    versions,
                    login: Some(login),
                    asked,
                },
            ) => self.authenticated(&response, versions, (login, asked), now),
            _ => Err(self.absurd("an answer to another request")),
        }
    }

    fn versions(&self, response: &ApiVersionsResponse) -> Result<Versions, Error> {
        if let Some(code) = ResponseError::try_from_code(response.error_code) {
            return Err(Error::Broker {
                api: "ApiVersions",
                place: self.address.clone(),
                code,
            });
        }
        let versions = Api::ALL.iter().map(|api| {
            let (min, max) = api.versions();
            let theirs = response
                .api_keys
                .iter()
                .find(|theirs| theirs.api_key == api.key());
            let newest = theirs.and_then(|theirs| {
                let newest = max.min(theirs.max_version);
                (newest >= min.max(theirs.min_version)).then_some(newest)
            });
            (*api, newest)
        });
        Ok(versions.collect())
    }

    /// Asks for the login's mechanism, where there is a login. What was sent before is answered before.
    fn log_in(&mut self, versions: Versions, now: Time) {
        let Some(credentials) = &self.credentials else {
            self.log_in_at(None, versions, now);
            return;
        };
        let mechanism = text(credentials.mechanism.name());
        let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
        self.state = State::LoggingIn {
            versions,
            login: None,
            asked: now,
        };
        self.ask(&Call::SaslHandshake(request), now);
    }

    fn agreed(
        &mut self,
        response: &SaslHandshakeResponse,
        versions: Versions,
        now: Time,
    ) -> Result<(), Error> {
        let Some(credentials) = &self.credentials else {
            return Err(self.absurd("an answer to another request"));
        };
        match ResponseError::try_from_code(response.error_code) {
            None => {}
            Some(ResponseError::UnsupportedSaslMechanism) => {
                let offered: Vec<&str> = response.mechanisms.iter().map(|name| &**name).collect();
                let mechanism = credentials.mechanism.name();
                let offered = login::shown(&offered.join(", "));
                return Err(self.refused(format!(
                    "it does not offer {mechanism}, but {offered}; see `sasl.mechanism`"
                )));
            }
            Some(code) => {
                return Err(self.refused(format!(
                    "{code}; if there are no logins at this port, see `security.protocol`"
                )));
            }
        }
        let (login, first) = login::begin(credentials)?;
        self.say(first, versions, login, now);
        Ok(())
    }

    fn authenticated(
        &mut self,
        response: &SaslAuthenticateResponse,
        versions: Versions,
        (login, asked): (Login, Time),
        now: Time,
    ) -> Result<(), Error> {
        if let Some(code) = ResponseError::try_from_code(response.error_code) {
            let reason = response.error_message.as_deref();
            let reason = reason.map_or_else(|| code.to_string(), login::shown);
            return Err(self.refused(reason));
        }
        let next = login.answer(&response.auth_bytes);
        match next.map_err(|reason| self.refused(reason))? {
            Some((login, bytes)) => self.say(bytes, versions, login, now),
            None => {
                let lifetime = u64::try_from(response.session_lifetime_ms).unwrap_or(0);
                // Before it ends, and not all connections at once (KIP-368).
                let share = lifetime / 100 * fastrand::u64(85..95);
                let share = Time::from_millis(share).max(LEAST_LOGIN);
                let at = (lifetime > 0).then(|| asked + share);
                self.log_in_at(at, versions, now);
            }
        }
        Ok(())
    }

    fn say(&mut self, bytes: Vec<u8>, versions: Versions, login: Login, now: Time) {
        self.state = State::LoggingIn {
            versions,
            login: Some(login),
            asked: now,
        };
        let request = SaslAuthenticateRequest::default().with_auth_bytes(bytes.into());
        self.ask(&Call::SaslAuthenticate(request), now);
    }

    /// Requests may go out; the login is repeated at this time.
    fn log_in_at(&mut self, log_in_at: Option<Time>, versions: Versions, now: Time) {
        self.state = State::Ready {
            versions,
            log_in_at,
        };
        self.flush(now);
    }

    /// Logs in once more when the time of the last login is almost up.
    pub(crate) fn renew(&mut self, now: Time) {
        if let State::Ready {
            versions,
            log_in_at: Some(at),
        } = &mut self.state
            && *at <= now
        {
            let versions = std::mem::take(versions);
            self.log_in(versions, now);
        }
    }

    fn refused(&self, reason: String) -> Error {
        Error::Login {
            broker: self.address.clone(),
            reason,
        }
    }
}
