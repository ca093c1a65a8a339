//! Heartbeats while the application works: a thread that does nothing else.
//!
//! A client acts only while it is called, and a handler may take longer than a session. Without this thread the session would have to be as long as the
//! slowest handler, and a crash would go unnoticed for as long. So the thread heartbeats, on a connection of its own, when the client has not acted for an interval; and
//! it stops when the client has not acted for `max.poll.interval.ms`: then others take the partitions (the rule of KIP-62). It never decides anything:
//! a refused heartbeat is left to the client, which learns the same from its own.
//!
//! NOTE: while the group rebalances nobody heartbeats. A rebalance that ends while a handler works is noticed after it; if that takes
//! longer than a session, the partitions are lost.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::HeartbeatRequest;

use super::membership::Membership;
use crate::clock::{Clock, Time};
use crate::cluster::Cluster;
use crate::config::Resolved;
use crate::connection::network::Network;
use crate::connection::tls::Tls;
use crate::error::Error;
use crate::exchange::{Lane, Node, Outgoing, Owner, Target, Ticket};
use crate::wire::api::{Call, Reply};

/// The only node of the thread's own cluster: the coordinator, as a bootstrap address.
const COORDINATOR: Node = -1;

/// What is sent, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Beat {
    pub(crate) address: String,
    pub(crate) request: HeartbeatRequest,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing is sent without it.
    beat: Option<Beat>,
    /// When the client acted last.
    seen: Time,
    /// When the thread sent last.
    sent: Time,
    /// When the coordinator last confirmed this beat.
    heard: Option<Time>,
    ended: bool,
}

/// What the thread does next.
#[derive(Debug, PartialEq)]
enum Due {
    Now,
    In(Duration),
    /// Not before the client acts again.
    Never,
}

impl State {
    fn due(&self, now: Time, rules: &Rules) -> Due {
        if self.beat.is_none() || now >= self.seen + rules.max_poll {
            return Due::Never;
        }
        let at = self.seen.max(self.sent) + rules.interval;
        match at.saturating_sub(now) {
            Duration::ZERO => Due::Now,
            wait => Due::In(wait),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    interval: Duration,
    max_poll: Duration,
    /// For how long an answer is waited for.
    patience: Duration,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The client's hold on the thread, which ends with it.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    shared: Arc<Shared>,
    max_poll: Duration,
}

impl Heartbeats {
    pub(crate) fn start(config: &Resolved, tls: Option<Tls>, clock: Clock) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let rules = Rules {
            interval: config.group.heartbeat_interval,
            max_poll: config.group.rebalance_timeout,
            patience: config.group.session_timeout / 3,
        };
        let max_poll = rules.max_poll;
        let (config, theirs) = (config.clone(), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("heartbeats".to_owned())
            .spawn(move || run(&theirs, clock, (&config, tls.as_ref()), rules))
            .map_err(|source| Error::Thread { source })?;
        Ok(Self { shared, max_poll })
    }

    /// The client acts: it says what is to be sent while it does not, and learns what was confirmed.
    pub(crate) fn acted(&self, membership: &mut Membership, cluster: &mut Cluster, now: Time) {
        let mut state = self.shared.lock();
        if let Some(heard) = state.heard {
            membership.confirmed(heard);
        }
        let idle = state.beat.is_none() || now >= state.seen + self.max_poll;
        state.seen = now;
        let beat = membership.beat(cluster);
        if state.beat != beat {
            state.beat = beat;
            state.heard = None;
        }
        // Otherwise the thread wakes by itself, in time.
        if idle && state.beat.is_some() {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Heartbeats {
    /// The thread is not waited for: an answer may be under way to it.
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next beat when it is due; `None` when the client is gone.
    fn next(&self, clock: Clock, rules: &Rules) -> Option<Beat> {
        let mut state = self.lock();
        while !state.ended {
            let now = clock.now();
            state = match state.due(now, rules) {
                Due::Now => {
                    state.sent = now;
                    return state.beat.clone();
                }
                Due::In(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Due::Never => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        None
    }
}

fn run(shared: &Shared, clock: Clock, how: (&Resolved, Option<&Tls>), rules: Rules) {
    let mut line: Option<Line> = None;
    while let Some(beat) = shared.next(clock, &rules) {
        if line
            .as_ref()
            .is_none_or(|line| line.address != beat.address)
        {
            line = Line::new(how, &beat.address);
        }
        let sent = clock.now();
        let confirmed = line
            .as_mut()
            .is_some_and(|line| line.ask(&beat, clock, rules.patience));
        let mut state = shared.lock();
        if confirmed && state.beat.as_ref() == Some(&beat) {
            state.heard = Some(sent);
        }
    }
}

/// A connection to the coordinator.
struct Line {
    address: String,
    network: Network,
    cluster: Cluster,
    numbers: u64,
}

impl Line {
    fn new((config, tls): (&Resolved, Option<&Tls>), address: &str) -> Option<Self> {
        let mut config = config.clone();
        config.bootstrap = vec![address.to_owned()];
        let network = Network::sharing(&config, tls.cloned());
        let network = network.inspect_err(|error| tracing::warn!(%error, "no heartbeats"));
        Some(Self {
            address: address.to_owned(),
            network: network.ok()?,
            cluster: Cluster::new(config),
            numbers: 0,
        })
    }

    /// Whether the coordinator still counts this member.
    fn ask(&mut self, beat: &Beat, clock: Clock, patience: Duration) -> bool {
        self.numbers += 1;
        let ticket = Ticket {
            owner: Owner::Membership,
            number: self.numbers,
        };
        let mut out = vec![Outgoing {
            ticket,
            target: Target::Node(COORDINATOR),
            lane: Lane::Group,
            call: Call::Heartbeat(beat.request.clone()),
            patience,
        }];
        self.network.submit(&mut out, &self.cluster, clock.now());
        let mut answers = Vec::new();
        while answers.is_empty() {
            if let Err(error) = self.network.wait(|| clock.now(), patience, &mut answers) {
                tracing::warn!(%error, "no heartbeats");
                return false;
            }
        }
        answers.into_iter().any(|(of, answer)| match answer {
            Ok(Reply::Heartbeat(reply)) if of == ticket => matches!(
                ResponseError::try_from_code(reply.error_code),
                None | Some(ResponseError::RebalanceInProgress)
            ),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Config};

    #[test]
    fn the_thread_beats_when_the_client_is_silent_and_stops_when_it_is_silent_for_too_long() {
        let seconds = Duration::from_secs;
        let rules = Rules {
            interval: seconds(3),
            max_poll: seconds(60),
            patience: seconds(15),
        };
        let mut state = State::default();
        assert_eq!(state.due(seconds(1), &rules), Due::Never);
        state.beat = Some(Beat {
            address: "broker:1".to_owned(),
            request: HeartbeatRequest::default(),
        });
        state.seen = seconds(10);
        assert_eq!(state.due(seconds(11), &rules), Due::In(seconds(2)));
        assert_eq!(state.due(seconds(13), &rules), Due::Now);
        state.sent = seconds(13);
        assert_eq!(state.due(seconds(14), &rules), Due::In(seconds(2)));
        assert_eq!(state.due(seconds(70), &rules), Due::Never);
    }

    #[test]
    fn a_member_whose_client_does_not_act_is_confirmed_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let broker = millstream_broker::Config::ephemeral(folder.path());
        let server = millstream_broker::Server::start(broker).unwrap();
        let config = Config::new(&server.address().to_string()).unwrap();
        let config = config.set("heartbeat.interval.ms", "20").unwrap();
        let mut client = Client::new(&config).unwrap();
        let topic = client.topic("no-such-topic");
        client.join("group", None, &[topic]).unwrap();
        let is_assigned = |client: &Client| {
            let heartbeats = client.heartbeats().unwrap();
            heartbeats.shared.lock().beat.is_some()
        };
        for turn in 0.. {
            if is_assigned(&client) {
                break;
            }
            assert!(turn < 5000, "the member was never assigned anything");
            client.poll(Duration::from_millis(5)).unwrap();
        }
        let silent = client.heartbeats().unwrap();
        for turn in 0.. {
            if silent.shared.lock().heard.is_some() {
                break;
            }
            assert!(turn < 5000, "the thread was never heard");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        drop(client);
        server.stop().unwrap();
    }
}
