//! The driver: sockets, and nothing that decides.
//!
//! It opens what the connections want opened, moves bytes, and hands answers on. One `mio::Poll` waits for all sockets of one thread. `mio`, because
//! tokio has it in every build of this workspace already, and because readiness leaves the buffers with us: a frame is read into
//! the memory from which its records are lent.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Write};
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::tls::{Stream, Tls};
use super::{Connection, login};
use crate::Error;
use crate::clock::Time;
use crate::cluster::Cluster;
use crate::config::Resolved;
use crate::exchange::{Answer, Lane, Loss, Node, Outgoing, Target, Ticket};
use crate::wire::frame::{FrameReader, Progress};

/// Sockets that are heard of at once.
const EVENTS: usize = 256;
/// The largest frame of a broker that has not taken the login yet: it may be anybody.
const BEFORE_LOGIN_BYTES: usize = 1 << 20;
/// Output that is kept for the next use of a connection.
const KEPT_BYTES: usize = 4 << 20;

#[derive(Debug)]
struct Link {
    machine: Connection,
    stream: Option<Stream>,
    connected: bool,
    reader: FrameReader,
    largest_frame: usize,
    /// Bytes of the output that the socket has taken.
    written: usize,
    /// Whether the broker refused this client the last time.
    refused: bool,
}

/// All connections of one client.
#[derive(Debug)]
pub(crate) struct Network {
    config: Resolved,
    tls: Option<Tls>,
    /// All brokers refuse this client's certificate or login, and the caller has not been told.
    refusal: Option<Error>,
    /// How many brokers the cluster has.
    nodes: usize,
    poll: Poll,
    events: Events,
    links: Vec<Link>,
    places: HashMap<(Node, Lane), usize>,
    answers: Vec<(Ticket, Answer)>,
}

impl Network {
    pub(crate) fn new(config: &Resolved) -> Result<Self, Error> {
        let tls = config.encryption.as_ref().map(Tls::load).transpose()?;
        Self::sharing(config, tls)
    }

    /// As [`new`](Self::new), with what another one has read from the files.
    pub(crate) fn sharing(config: &Resolved, tls: Option<Tls>) -> Result<Self, Error> {
        config.credentials.as_ref().map_or(Ok(()), login::check)?;
        let poll = Poll::new().map_err(|source| Error::Wait { source })?;
        Ok(Self {
            config: config.clone(),
            tls,
            refusal: None,
            nodes: 0,
            poll,
            events: Events::with_capacity(EVENTS),
            links: Vec::new(),
            places: HashMap::new(),
            answers: Vec::new(),
        })
    }

    /// Sends requests on their way.
    pub(crate) fn submit(&mut self, out: &mut Vec<Outgoing>, cluster: &Cluster, now: Time) {
        if out.is_empty() {
            return;
        }
        self.nodes = cluster.nodes().count();
        for request in out.drain(..) {
            let node = match request.target {
                Target::Node(node) => Some(node),
                Target::Any => self.reachable(cluster, request.lane, now),
            };
            match node.and_then(|node| self.link((node, request.lane), cluster, now)) {
                Some(link) => link.machine.submit(request, now),
                None => self.answers.push((request.ticket, Err(Loss::NotSent))),
            }
        }
        self.tend(now);
    }

    /// A broker whose connection stands, else one that was not found closed just now, else any.
    fn reachable(&self, cluster: &Cluster, lane: Lane, now: Time) -> Option<Node> {
        let state = |node: &Node| {
            let place = self.places.get(&(*node, lane));
            place
                .and_then(|place| self.links.get(*place))
                .map(|link| &link.machine)
        };
        let ready = cluster
            .nodes()
            .find(|node| state(node).is_some_and(Connection::is_ready));
        ready
            .or_else(|| {
                let rested = |node: &Node| state(node).is_none_or(|one| !one.is_resting(now));
                let rested: Vec<_> = cluster.nodes().filter(rested).collect();
                fastrand::choice(rested)
            })
            .or_else(|| cluster.nodes().next())
    }

    fn link(
        &mut self,
        (node, lane): (Node, Lane),
        cluster: &Cluster,
        now: Time,
    ) -> Option<&mut Link> {
        let address = cluster.address(node)?;
        let fresh = |config: &Resolved| Link {
            machine: Connection::new(address, config),
            stream: None,
            connected: false,
            reader: FrameReader::new(BEFORE_LOGIN_BYTES.min(config.receive_max_bytes)),
            largest_frame: config.receive_max_bytes,
            written: 0,
            refused: false,
        };
        let place = *self.places.entry((node, lane)).or_insert_with(|| {
            self.links.push(fresh(&self.config));
            self.links.len() - 1
        });
        let link = self.links.get_mut(place)?;
        if link.machine.address() != address && link.stream.is_none() {
            // What waits in it, or has come back and is not collected, is told before it goes.
            link.machine.closed(now);
            self.answers.append(&mut link.machine.answers);
            *link = fresh(&self.config);
        }
        Some(link)
    }

    /// Moves bytes until something has come of a request or the time is over.
    pub(crate) fn wait(
        &mut self,
        now: impl Fn() -> Time,
        timeout: Duration,
        answers: &mut Vec<(Ticket, Answer)>,
    ) -> Result<(), Error> {
        let began = now();
        self.tend(began);
        self.collect();
        let timeout = if self.answers.is_empty() {
            let wake = self
                .links
                .iter()
                .filter_map(|link| link.machine.wake_at())
                .min();
            wake.map_or(timeout, |wake| timeout.min(wake.saturating_sub(began)))
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(Error::Wait { source: error });
            }
            _ => {}
        }
        let now = now();
        for event in &self.events {
            let link = self.links.get_mut(event.token().0);
            if let Some(refusal) = link.and_then(|link| link.ready(now)) {
                self.refusal = Some(refusal);
            }
        }
        // Only once everything that has arrived is read it is known who is late: the caller may have been away for longer than any deadline.
        if self.events.iter().count() < EVENTS {
            self.give_up(now);
        }
        self.tend(now);
        self.collect();
        answers.append(&mut self.answers);
        match self.is_refused() {
            true => self.refusal.take().map_or(Ok(()), Err),
            false => Ok(()),
        }
    }

    /// What TLS needs, as it was read when the client was made.
    pub(crate) fn tls(&self) -> Option<Tls> {
        self.tls.clone()
    }

    /// An error that the caller could not return is returned by the next wait.
    pub(crate) fn postpone(&mut self, error: Error) {
        if matches!(error, Error::Login { .. } | Error::Encryption { .. }) {
            self.refusal = Some(error);
        }
    }

    /// Whether no broker serves this client and every one has refused it: as long as one may, the others are only logged.
    fn is_refused(&mut self) -> bool {
        if self.links.iter().any(|link| link.machine.is_ready()) {
            self.refusal = None;
        }
        if self.refusal.is_none() {
            return false;
        }
        let refused = self.places.iter().filter(|(_, place)| {
            let link = self.links.get(**place);
            link.is_some_and(|link| link.refused)
        });
        let nodes: HashSet<Node> = refused.map(|((node, _), _)| *node).collect();
        nodes.len() >= self.nodes
    }

    /// Closes every connection that owes an answer: what waits in it is not sent later.
    pub(crate) fn hang_up(&mut self, now: Time, answers: &mut Vec<(Ticket, Answer)>) {
        for link in &mut self.links {
            let Connection {
                waiting, in_flight, ..
            } = &link.machine;
            if !(waiting.is_empty() && in_flight.is_empty()) {
                link.close(now);
            }
        }
        self.collect();
        answers.append(&mut self.answers);
    }

    /// Closes connections that were silent for too long.
    fn give_up(&mut self, now: Time) {
        for link in &mut self.links {
            if link.machine.is_overdue(now) {
                let (broker, error) = (link.machine.address(), "no answer in time");
                tracing::warn!(broker, error, "connection given up");
                link.close(now);
            }
        }
    }

    /// Opens and writes what is due.
    fn tend(&mut self, now: Time) {
        for (place, link) in self.links.iter_mut().enumerate() {
            if link.machine.wants_to_open(now) {
                link.machine.opening(now);
                if let Err(error) = link.open(&self.poll, Token(place), self.tls.as_ref()) {
                    let broker = link.machine.address();
                    tracing::warn!(broker, %error, "no connection");
                    link.close(now);
                }
            }
            link.machine.renew(now);
            if !link.machine.outgoing.is_empty() {
                link.write(now);
            }
        }
    }

    fn collect(&mut self) {
        for link in &mut self.links {
            self.answers.append(&mut link.machine.answers);
        }
    }
}

impl Link {
    /// Resolving a name blocks, as in every client that uses the resolver of the system.
    fn open(&mut self, poll: &Poll, token: Token, tls: Option<&Tls>) -> Result<(), Error> {
        let failed = |source| Error::Connect {
            address: self.machine.address().to_owned(),
            source,
        };
        let missing = || std::io::Error::new(ErrorKind::NotFound, "the name has no address");
        let addresses = self.machine.address().to_socket_addrs().map_err(failed)?;
        let address = fastrand::choice(addresses).ok_or_else(|| failed(missing()))?;
        let mut stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, token, interest)
            .map_err(failed)?;
        let invalid = |error| failed(std::io::Error::new(ErrorKind::InvalidInput, error));
        self.stream = Some(Stream::new(stream, tls, self.host()).map_err(invalid)?);
        Ok(())
    }

    /// The address without its port, and an IPv6 one without its brackets.
    fn host(&self) -> &str {
        let address = self.machine.address();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    fn close(&mut self, now: Time) {
        self.stream = None;
        self.connected = false;
        self.written = 0;
        self.reader = FrameReader::new(BEFORE_LOGIN_BYTES.min(self.largest_frame));
        self.machine.closed(now);
    }

    /// The socket can be read or written, is connected, or has failed. An error is one that no repetition mends.
    fn ready(&mut self, now: Time) -> Option<Error> {
        let error = self.advance(now).err()?;
        let error = self.refusal(&error).unwrap_or(error);
        let broker = self.machine.address();
        tracing::warn!(broker, %error, "connection lost");
        self.close(now);
        self.refused = matches!(error, Error::Login { .. } | Error::Encryption { .. });
        if !self.refused {
            return None;
        }
        self.machine.turned_away(now);
        Some(error)
    }

    fn refusal(&self, error: &Error) -> Option<Error> {
        let (Error::Receive { source } | Error::Send { source }) = error else {
            return None;
        };
        Some(Error::Encryption {
            broker: self.machine.address().to_owned(),
            reason: self.stream.as_ref()?.refusal(source)?,
        })
    }

    fn advance(&mut self, now: Time) -> Result<(), Error> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        if !self.connected {
            let socket = stream.socket();
            let failed = socket
                .take_error()
                .map_err(|source| Error::Send { source })?;
            if let Some(source) = failed {
                return Err(Error::Send { source });
            }
            if socket.peer_addr().is_err() {
                return Ok(());
            }
            self.connected = true;
            self.machine.opened(now);
        }
        let before = self.reader.partial();
        loop {
            match self.reader.read(stream)? {
                Progress::Frame(frame) => {
                    self.machine.frame(&frame, now)?;
                    if self.machine.is_ready() {
                        self.refused = false;
                        self.reader.raise_limit(self.largest_frame);
                    }
                }
                Progress::Blocked => {
                    if self.reader.partial() > before {
                        self.machine.heard(now);
                    }
                    break;
                }
                Progress::Closed => {
                    let source = ErrorKind::UnexpectedEof.into();
                    return Err(Error::Receive { source });
                }
            }
        }
        self.write(now);
        Ok(())
    }

    fn write(&mut self, now: Time) {
        let Some(stream) = self.stream.as_mut().filter(|_| self.connected) else {
            return;
        };
        let output = &mut self.machine.outgoing;
        let written = write_some(output, &mut self.written, stream).and_then(|()| stream.flush());
        if let Err(source) = written {
            let (broker, error) = (self.machine.address(), Error::Send { source });
            tracing::warn!(broker, %error, "connection lost");
            self.close(now);
        }
    }
}

/// Writes as much as the socket takes, and keeps only what it has not taken.
fn write_some(
    output: &mut Vec<u8>,
    written: &mut usize,
    socket: &mut impl Write,
) -> std::io::Result<()> {
    while let Some(rest) = output.get(*written..).filter(|rest| !rest.is_empty()) {
        match socket.write(rest) {
            Ok(count) => *written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // A socket that is never quite done would otherwise keep all that was ever written.
                if *written > output.len() / 2 {
                    output.drain(..*written);
                    *written = 0;
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    *written = 0;
    output.clear();
    output.shrink_to(KEPT_BYTES);
    Ok(())
}

#[cfg(test)]
mod tests;
