//! One connection: reads a frame, has it answered, writes the answer, and only then reads on.
//!
//! Answers leave in the order of the requests, as the protocol demands, and one connection never holds more than one
//! request and one answer. A broken frame, a peer that is silent in the middle of a frame or takes nothing of its
//! answer, and a connection without requests for long are ended here; other connections never notice. A request whose
//! peer is gone is given up when it has not been answered soon after.
//!
//! A large frame takes its share of the memory of all requests as its bytes come, so that one that is announced and does not come holds
//! nothing. When there is none left, one frame at a time may go on without: of many that have a part each, all are read in the end.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use crate::api::{self, Answer, Client, Handling};
use crate::broker::{Broker, Taken};
use crate::clock;
use crate::faults::Fault;
use crate::frame::{self, Broken};
use crate::listener::Endpoint;
use crate::security::{Gate, Login, Principal};
use crate::stream::Stream;

/// What a connection without a request keeps for the next one.
const IDLE_BUFFER: usize = 512;
/// A larger buffer is given back when no request follows within [`LINGER`].
const LARGE_BUFFER: usize = 16 << 10;
const LINGER: Duration = Duration::from_secs(1);
/// A frame up to this size takes no share: a heartbeat never waits for records.
const SMALL_FRAME: usize = LARGE_BUFFER;
/// The first share of a larger one; each further share doubles what it has.
const FIRST_SHARE: usize = 64 << 10;
/// Bytes for which a peer is given one more step of patience.
const PATIENCE_BYTES: usize = 64 << 10;
/// Parts of an answer that one system call is given.
const PARTS_AT_ONCE: usize = 64;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the peer closed it")]
    Closed,
    #[error("no request for too long")]
    Idle,
    #[error("the peer stalled")]
    Stalled,
    #[error("the broker stops")]
    Stopping,
    #[error("a fault that was asked for")]
    Planned,
    #[error("TLS handshake failed: {0}")]
    Handshake(String),
    #[error("login failed: {0}")]
    Login(String),
    #[error("a request before the login")]
    Early,
    #[error("the login has ended, and the client has not logged in again")]
    Expired,
    #[error("broken frame: {0}")]
    Broken(#[from] Broken),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A frame with its share of the memory that requests may take.
struct Request {
    frame: Bytes,
    share: Share,
}

/// What a frame may take of the memory of all requests.
#[derive(Default)]
struct Share {
    bytes: usize,
    room: Option<Taken>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Makes room for as much again as there is, at most for all of a frame of `length`.
    async fn grow(&mut self, broker: &Broker, length: usize) {
        let more = self.bytes.max(FIRST_SHARE).min(length - self.bytes);
        if self.overdraft.is_none() {
            let overdraft = Arc::clone(&broker.request_overdraft).acquire_owned();
            tokio::select! {
                biased;
                room = broker.request_room.take(more) => match (&mut self.room, room) {
                    (Some(all), Some(room)) => all.merge(room),
                    (_, room) => self.room = room,
                },
                overdraft = overdraft => self.overdraft = overdraft.ok(),
            }
        }
        self.bytes += more;
    }
}

/// How long a peer may be silent in the middle of a frame, and how long all of the frame may take: longer, the more of it has come or gone.
struct Patience {
    step: Duration,
    end: Instant,
    moved: usize,
}

impl Patience {
    fn new(step: Duration) -> Patience {
        Patience {
            step,
            end: Instant::now() + step * 4,
            moved: 0,
        }
    }

    /// Bytes came or went: a slow link is given the time that it needs, one that is held up on purpose is not.
    fn progress(&mut self, bytes: usize) {
        self.moved += bytes;
        while self.moved >= PATIENCE_BYTES {
            self.moved -= PATIENCE_BYTES;
            self.end += self.step;
        }
    }

    /// Until when the next bytes must have come or gone.
    fn next(&self) -> Instant {
        self.end.min(Instant::now() + self.step)
    }
}

/// One accepted connection.
pub(crate) struct Connection {
    stream: Stream,
    login: Login,
    broker: Arc<Broker>,
    client: Client,
    buffer: BytesMut,
    /// The largest frame that `buffer` has held: what it may keep allocated.
    held: usize,
}

impl Connection {
    /// Makes a connection of what was accepted, encrypted if its listener is.
    pub(crate) async fn open(
        stream: TcpStream,
        host: IpAddr,
        endpoint: Arc<Endpoint>,
        broker: Arc<Broker>,
    ) -> Result<Connection, Ended> {
        let (stream, principal) = match &endpoint.tls {
            None => (Stream::Plain(stream), Principal::anonymous()),
            Some(tls) => {
                let handshake = tls.accept(stream, broker.config.io_timeout);
                let shaken = tokio::select! {
                    shaken = handshake => shaken,
                    () = broker.stopping.wait() => return Err(Ended::Stopping),
                };
                shaken.map_err(Ended::Handshake)?
            }
        };
        Ok(Connection {
            stream,
            login: Login::of(&endpoint, broker.config.connections_max_reauth),
            broker,
            client: Client {
                id: None,
                host,
                endpoint,
                principal,
                handling: Handling::default(),
            },
            buffer: BytesMut::new(),
            held: 0,
        })
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn run(mut self) -> Ended {
        loop {
            match self.serve_one().await {
                Ok(()) => {}
                Err(ended) => return ended,
            }
        }
    }

    async fn serve_one(&mut self) -> Result<(), Ended> {
        let stopping = self.broker.stopping.clone();
        let length = tokio::select! {
            biased;
            length = self.read_length() => length?,
            () = stopping.wait() => return Err(Ended::Stopping),
        };
        let Request { mut frame, share } = self.read_frame(length).await?;
        self.broker
            .metrics
            .received_bytes
            .increment(u64::try_from(length).unwrap_or(0));
        let header = frame::Header::decode(&mut frame)?;
        self.know_client(header.client_id.as_ref());
        match self.login.gate(header.key, Instant::now()) {
            Gate::Open => {}
            Gate::Login => return self.log_in(&header, frame).await,
            Gate::Closed => return Err(Ended::Early),
            Gate::Expired => return Err(Ended::Expired),
        }
        // Only records are large while they are served, and only appending them never waits for others: a fetch or a
        // join that kept its share while it sleeps could keep everyone from producing.
        let _share = Some(share).filter(|_| header.key == ApiKey::Produce as i16);
        let fault = self.broker.faults.of(&header);
        if fault == Fault::Close {
            return Err(Ended::Planned);
        }
        let answer = {
            let mut answering = pin!(self.answer(&header, frame, fault));
            tokio::select! {
                biased;
                answer = &mut answering => answer?,
                // A join may wait for minutes: nobody will read the answer, or only one that comes soon.
                () = closed(self.stream.tcp()) => timeout(self.broker.config.io_timeout, answering)
                    .await
                    .map_err(|_| Ended::Closed)??,
            }
        };
        drop(_share);
        match answer {
            _ if fault == Fault::Lost => Err(Ended::Planned),
            Some(answer) => {
                let wait = answer.wait;
                self.write(answer).await?;
                self.wait(wait).await
            }
            None => Ok(()),
        }
    }

    /// Reads nothing for a while: a quota is used up.
    async fn wait(&self, time: Duration) -> Result<(), Ended> {
        if time.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = clock::sleep(time) => Ok(()),
            () = closed(self.stream.tcp()) => Err(Ended::Closed),
            () = self.broker.stopping.wait() => Err(Ended::Stopping),
        }
    }

    async fn log_in(&mut self, header: &frame::Header, body: Bytes) -> Result<(), Ended> {
        let endpoint = Arc::clone(&self.client.endpoint);
        let step = self.login.step(&self.broker, &endpoint, header, body);
        let step = step.await?;
        if let Some(principal) = step.principal {
            self.client.principal = principal;
        }
        self.write(step.answer).await?;
        match step.failed {
            Some(reason) => Err(Ended::Login(reason)),
            None => Ok(()),
        }
    }

    async fn answer(
        &self,
        header: &frame::Header,
        body: Bytes,
        fault: Fault,
    ) -> Result<Option<Answer>, Broken> {
        if let Fault::Delayed(delay) = fault {
            self.hold(delay).await;
        }
        let answer = api::answer(&self.broker, &self.client, header, body).await;
        if let Fault::Late(delay) = fault {
            self.hold(delay).await;
        }
        answer
    }

    /// Waits for a fault that was asked for, at most until the broker stops.
    async fn hold(&self, delay: Duration) {
        tokio::select! {
            () = clock::sleep(delay) => {}
            () = self.broker.stopping.wait() => {}
        }
    }

    /// Waits for a frame's length and the API key after it, which stays in the buffer.
    async fn read_length(&mut self) -> Result<usize, Ended> {
        if self.buffer.is_empty() && self.held > LARGE_BUFFER {
            match timeout(LINGER, self.stream.readable()).await {
                Ok(readable) => readable?,
                Err(_) => {
                    self.buffer = BytesMut::new();
                    self.held = 0;
                }
            }
        }
        // Who has not logged in keeps no place for long.
        let idle = match self.login.is_done() {
            true => self.broker.config.connections_max_idle,
            false => self.broker.config.io_timeout,
        };
        while self.buffer.len() < 6 {
            let patience = if self.buffer.is_empty() {
                idle
            } else {
                self.broker.config.io_timeout
            };
            if self.buffer.is_empty() {
                // No memory before there is something to read: most connections are idle most of the time.
                timeout(patience, self.stream.readable())
                    .await
                    .map_err(|_| Ended::Idle)??;
            }
            self.buffer.reserve(IDLE_BUFFER);
            let read = timeout(patience, self.stream.read_buf(&mut self.buffer)).await;
            if read.map_err(|_| Ended::Stalled)?? == 0 {
                return Err(Ended::Closed);
            }
            if let Some(length) = self.buffer.first_chunk() {
                // One that no request can have is not waited for.
                let produce = ApiKey::Produce as i16;
                let length = i64::from(i32::from_be_bytes(*length));
                frame::check_length(length, produce, self.broker.config.max_frame_bytes)?;
            }
        }
        let length = i64::from(self.buffer.get_i32());
        let key = self
            .buffer
            .first_chunk()
            .map_or(-1, |key| i16::from_be_bytes(*key));
        Ok(frame::check_length(
            length,
            key,
            self.broker.config.max_frame_bytes,
        )?)
    }

    async fn read_frame(&mut self, length: usize) -> Result<Request, Ended> {
        let mut patience = Patience::new(self.broker.config.io_timeout);
        let mut share = Share::default();
        self.held = self.held.max(length);
        if length <= SMALL_FRAME {
            share.bytes = length;
            self.buffer
                .reserve(length.saturating_sub(self.buffer.len()));
        }
        while self.buffer.len() < length {
            let wanted = share.bytes.saturating_sub(self.buffer.len());
            if wanted == 0 {
                share.grow(&self.broker, length).await;
                // What was waited for is not the peer's fault.
                patience = Patience::new(self.broker.config.io_timeout);
                continue;
            }
            self.buffer.reserve(wanted);
            let mut stream = (&mut self.stream).take(wanted as u64);
            let read = timeout_at(patience.next(), stream.read_buf(&mut self.buffer)).await;
            match read.map_err(|_| Ended::Stalled)?? {
                0 => return Err(Ended::Closed),
                read => patience.progress(read),
            }
        }
        Ok(Request {
            frame: self.buffer.split_to(length).freeze(),
            share,
        })
    }

    /// Keeps the client id as a copy: a slice would hold the whole frame in memory.
    fn know_client(&mut self, id: Option<&StrBytes>) {
        if self.client.id.as_ref() != id {
            self.client.id = id.map(|id| StrBytes::from_string(id.as_str().to_owned()));
        }
    }

    async fn write(&mut self, mut answer: Answer) -> Result<(), Ended> {
        let mut patience = Patience::new(self.broker.config.io_timeout);
        let mut sent = 0;
        while !answer.parts.is_empty() {
            let written = {
                let parts = answer.parts.iter().take(PARTS_AT_ONCE);
                let slices: Vec<IoSlice<'_>> = parts.map(|part| IoSlice::new(part)).collect();
                timeout_at(patience.next(), self.stream.write_vectored(&slices))
                    .await
                    .map_err(|_| Ended::Stalled)??
            };
            if written == 0 {
                return Err(Ended::Closed);
            }
            sent += written;
            patience.progress(written);
            forget_written(&mut answer.parts, written);
        }
        timeout_at(patience.next(), self.stream.flush())
            .await
            .map_err(|_| Ended::Stalled)??;
        self.broker
            .metrics
            .sent_bytes
            .increment(u64::try_from(sent).unwrap_or(0));
        Ok(())
    }
}

/// Completes when the peer will send no more, whether or not all that it sent has been read.
///
/// Tokio counts "closed for reading" to the priority interest, which unlike the plain one does not complete for a
/// request that lies ready.
async fn closed(stream: &TcpStream) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if stream.ready(Interest::PRIORITY).await.is_ok() {
        return;
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = stream;
    std::future::pending::<()>().await;
}

fn forget_written(parts: &mut std::collections::VecDeque<Bytes>, mut written: usize) {
    while let Some(part) = parts.front_mut() {
        if part.len() > written {
            part.advance(written);
            return;
        }
        written -= part.len();
        parts.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_link_is_given_time_as_long_as_it_moves() {
        let step = Duration::from_secs(30);
        let mut patience = Patience::new(step);
        let start = patience.end - step * 4;
        patience.progress(PATIENCE_BYTES - 1);
        assert_eq!(patience.end, start + step * 4);
        patience.progress(1);
        assert_eq!(patience.end, start + step * 5);
        // 16 MiB, the largest answer, at 2.2 KB a second.
        patience.progress(16 << 20);
        assert_eq!(patience.end, start + step * 261);
    }
}
