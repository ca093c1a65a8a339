//! One connection to a broker: versions, requests in flight, and the order of their answers.
//!
//! A state machine without a socket. The driver tells it what happened (`opened`, `closed`, `frame`) and sends what it has encoded; every
//! request that was handed to it comes back exactly once, as a reply or as a loss.
//!
//! ```text
//! Down --open--> Opening --opened--> Greeting --versions--> Ready <-------------+
//!   ^                                   |                     |  its time is up  |
//!   |                                   +---> LoggingIn <-----+                  |
//!   |                                             +------------------------------+
//!   +------------ closed, refused, or an answer that is late or not its own
//! ```

mod handshake;
mod login;
pub(crate) mod network;
mod scram;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;

use self::login::Login;
use crate::Error;
use crate::clock::{Time, backoff, earlier};
use crate::config::{Credentials, Resolved};
use crate::exchange::{Answer, Loss, Outgoing, Ticket};
use crate::wire::api::{Api, Call};

/// The version of each API that both sides speak, by its place in [`Api::ALL`].
type Versions = Vec<(Api, Option<i16>)>;

#[derive(Debug)]
enum State {
    Down {
        until: Time,
    },
    Opening {
        deadline: Time,
    },
    Greeting,
    LoggingIn {
        versions: Versions,
        /// `None` until the broker has agreed to the mechanism.
        login: Option<Login>,
        /// When the last step was asked for: the broker counts the login's time from then on, or later.
        asked: Time,
    },
    Ready {
        versions: Versions,
        /// The broker closes a connection whose login is older than it allows.
        log_in_at: Option<Time>,
    },
}

#[derive(Debug)]
struct InFlight {
    correlation_id: i32,
    /// `None` for the connection's own greeting and login.
    ticket: Option<Ticket>,
    api: Api,
    version: i16,
    deadline: Time,
}

/// A login is not repeated sooner.
const LEAST_LOGIN: Time = Time::from_secs(1);
/// After a refused login the next one waits for so long: accounts are locked after a few.
const AFTER_REFUSAL: Time = Time::from_secs(10);

/// A connection by which something has just arrived is not given up for so long: the rest of an answer may follow.
const ARRIVING: Time = Time::from_secs(1);

/// One connection.
pub(crate) struct Connection {
    address: String,
    client_id: String,
    credentials: Option<Credentials>,
    patience: Time,
    backoff: Time,
    state: State,
    failures: u32,
    correlation_id: i32,
    waiting: VecDeque<(Outgoing, Time)>,
    in_flight: VecDeque<InFlight>,
    /// Until then it is not given up.
    spared_until: Time,
    /// Bytes for the socket.
    pub(crate) outgoing: Vec<u8>,
    /// What came of requests, for the driver to hand on.
    pub(crate) answers: Vec<(Ticket, Answer)>,
}

impl fmt::Debug for Connection {
    /// Without the bytes under way, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("state", &self.state)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(address: &str, config: &Resolved) -> Self {
        Self {
            address: address.to_owned(),
            client_id: config.client_id.clone(),
            credentials: config.credentials.clone(),
            patience: config.request_timeout,
            backoff: config.retry_backoff,
            state: State::Down { until: Time::ZERO },
            failures: 0,
            correlation_id: 0,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            spared_until: Time::ZERO,
            outgoing: Vec::new(),
            answers: Vec::new(),
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether a connection was given up so recently that it is not tried again yet.
    pub(crate) fn is_resting(&self, now: Time) -> bool {
        matches!(self.state, State::Down { until } if until > now)
    }

    pub(crate) fn is_down(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Whether a socket should be opened now.
    pub(crate) fn wants_to_open(&self, now: Time) -> bool {
        !self.waiting.is_empty() && self.is_down() && !self.is_resting(now)
    }

    /// Takes a request. It goes out as soon as the versions are known.
    pub(crate) fn submit(&mut self, outgoing: Outgoing, now: Time) {
        // A request that follows a login that is too old costs the connection.
        self.renew(now);
        let deadline = now + outgoing.patience;
        self.waiting.push_back((outgoing, deadline));
        self.flush(now);
    }

    /// A socket is being opened.
    pub(crate) fn opening(&mut self, now: Time) {
        self.state = State::Opening {
            deadline: now + self.patience,
        };
    }

    /// The socket is connected.
    pub(crate) fn opened(&mut self, now: Time) {
        self.state = State::Greeting;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("millstream"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        self.ask(&Call::ApiVersions(request), now);
    }

    /// The socket is gone, or could not be opened.
    pub(crate) fn closed(&mut self, now: Time) {
        let until = now + backoff(self.backoff, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Down { until };
        self.spared_until = Time::ZERO;
        self.outgoing.clear();
        for request in std::mem::take(&mut self.in_flight) {
            if let Some(ticket) = request.ticket {
                self.answers.push((ticket, Err(Loss::Unknown)));
            }
        }
        for (request, _) in std::mem::take(&mut self.waiting) {
            self.answers.push((request.ticket, Err(Loss::NotSent)));
        }
    }

    /// As `closed`, after a broker that refuses this client.
    pub(crate) fn turned_away(&mut self, now: Time) {
        self.closed(now);
        self.state = State::Down {
            until: now + AFTER_REFUSAL,
        };
    }

    /// A frame has arrived. After an error the driver closes the socket and says so.
    pub(crate) fn frame(&mut self, frame: &Bytes, now: Time) -> Result<(), Error> {
        let answered = frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
        let Some(request) = self.in_flight.pop_front() else {
            return Err(self.absurd("an answer to no request"));
        };
        let decoded = if answered == Some(request.correlation_id) {
            request.api.decode(request.version, frame)
        } else {
            self.in_flight.push_front(request);
            return Err(self.absurd("an answer to another request"));
        };
        match (decoded, request.ticket) {
            (Ok(reply), Some(ticket)) => {
                self.failures = 0;
                self.answers.push((ticket, Ok(reply)));
                Ok(())
            }
            (Ok(reply), None) => self.begin(reply, now),
            (Err(source), _) => {
                let api = request.api.name();
                self.in_flight.push_front(request);
                Err(Error::Response {
                    broker: self.address.clone(),
                    api,
                    source,
                })
            }
        }
    }

    fn absurd(&self, what: &'static str) -> Error {
        Error::Absurd {
            broker: self.address.clone(),
            what,
        }
    }

    /// Sends one of the connection's own requests. It may stand behind others that take long.
    fn ask(&mut self, call: &Call, now: Time) {
        let (_, version) = call.api().versions();
        let others = self.in_flight.iter().map(|request| request.deadline).max();
        let deadline = others.unwrap_or(now).max(now) + self.patience;
        self.encode(None, call, version, deadline);
    }

    fn flush(&mut self, now: Time) {
        while let State::Ready { versions, .. } = &self.state
            && let Some((request, deadline)) = self.waiting.pop_front()
        {
            // It has waited for the connection as long as it may.
            if deadline <= now {
                self.answers.push((request.ticket, Err(Loss::NotSent)));
                continue;
            }
            let api = request.call.api();
            let version = versions
                .iter()
                .find(|(one, _)| *one == api)
                .and_then(|(_, version)| *version);
            match version {
                Some(version) => {
                    self.encode(Some(request.ticket), &request.call, version, deadline);
                }
                None => {
                    let (min, max) = api.versions();
                    let error = Error::Unsupported {
                        broker: self.address.clone(),
                        api: api.name(),
                        min,
                        max,
                    };
                    self.answers
                        .push((request.ticket, Err(Loss::Impossible(error))));
                }
            }
        }
    }

    fn encode(&mut self, ticket: Option<Ticket>, call: &Call, version: i16, deadline: Time) {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let encoded = call.encode(
            version,
            self.correlation_id,
            &self.client_id,
            &mut self.outgoing,
        );
        match (encoded, ticket) {
            (Ok(()), ticket) => self.in_flight.push_back(InFlight {
                correlation_id: self.correlation_id,
                ticket,
                api: call.api(),
                version,
                deadline,
            }),
            (Err(error), Some(ticket)) => {
                self.answers.push((ticket, Err(Loss::Impossible(error))));
            }
            (Err(_), None) => {}
        }
    }

    /// Bytes have arrived.
    pub(crate) fn heard(&mut self, now: Time) {
        self.spared_until = now + ARRIVING;
    }

    /// The moment at which a request has waited too long, whichever comes first: one behind a join has a deadline of its own.
    fn deadline(&self) -> Option<Time> {
        let deadlines = self.in_flight.iter().map(|request| request.deadline);
        deadlines.min().map(|at| at.max(self.spared_until))
    }

    /// Whether something is overdue, so that the socket must be given up.
    pub(crate) fn is_overdue(&self, now: Time) -> bool {
        match self.state {
            State::Opening { deadline } => deadline <= now,
            _ => self.deadline().is_some_and(|deadline| deadline <= now),
        }
    }

    /// When it must be looked at next.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        let own = match self.state {
            State::Down { until } if !self.waiting.is_empty() => Some(until),
            State::Opening { deadline } => Some(deadline),
            State::Ready { log_in_at, .. } => log_in_at,
            _ => None,
        };
        earlier(own, self.deadline())
    }
}
