//! The listener: accepts connections, bounds their number, and ends them in order when the broker stops.
//!
//! `serve` runs on whatever runtime it is called on and takes a bound listener and a future that says when to stop;
//! `Server` is the same on threads of its own, for programs and tests that want a broker inside. Requests
//! themselves are `connection`'s.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::broker::Broker;
use crate::clock;
use crate::config::Config;
use crate::connection::{Connection, Ended};
use crate::descriptors;
use crate::error::Error;
use crate::listener::{Bound, Endpoint};
use crate::metrics;
use crate::security::Acceptor;

/// An embedded broker on its own threads; stopped by [`Server::stop`], or in haste when dropped.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<(String, SocketAddr)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Server {
    /// Opens the data folder, listens, and returns when connections are accepted.
    pub fn start(config: Config) -> Result<Server, Error> {
        config.validate()?;
        let listeners: Vec<Bound> = config
            .listeners
            .iter()
            .map(Bound::bind)
            .collect::<Result<_, _>>()?;
        let addresses = listeners
            .iter()
            .map(|bound| (bound.endpoint.name.clone(), bound.address))
            .collect();
        let runtime = runtime(config.threads).map_err(|source| Error::Threads { source })?;
        let broker = Arc::new(Broker::open(config)?);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("millstream-broker".to_owned())
            .spawn(move || {
                runtime.block_on(serve(listeners, broker, async move {
                    stopped.await.ok();
                }))
            })
            .map_err(|source| Error::Threads { source })?;
        Ok(Server {
            addresses,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where the broker listens; its first address when there are several.
    pub fn address(&self) -> SocketAddr {
        let first = self.addresses.first();
        first.map_or(([0, 0, 0, 0], 0).into(), |(_, address)| *address)
    }

    /// Where each listener of the configuration listens, by name.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Stops accepting, finishes requests in progress, flushes, and marks the data folder as closed cleanly. A panic since the start, which
    /// cost one connection then, is an error now.
    pub fn stop(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "broker stopped with an error");
        }
    }
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    // Most of the work is the kernel's and short; more threads than this only take turns waking each other.
    let threads = match threads {
        0 => thread::available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, 4),
        set => set,
    };
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("millstream-broker")
        .enable_all()
        .build()
}

/// Serves `broker` on bound listeners until `shutdown` completes; then drains, flushes and closes the data folder.
///
/// Needs a multi-threaded runtime: work on files blocks its thread, which others must be able to make up for.
pub async fn serve(
    listeners: Vec<Bound>,
    broker: Arc<Broker>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    metrics::describe();
    let mut listening = Listeners::open(listeners)?;
    let mut connections = JoinSet::new();
    let tasks = start_tasks(&broker, listening.endpoints());
    let places = Arc::new(Semaphore::new(broker.config.max_connections));
    let mut panics = Panics::default();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listening.accept() => match accepted {
                Ok(accepted) => welcome(&mut connections, &places, &broker, accepted),
                Err(error) if descriptors::is_out(&error) && descriptors::close_idle() => {}
                Err(error) => {
                    // Out of file descriptors, mostly: accepting again at once would spin.
                    tracing::warn!(%error, "failed to accept a connection");
                    clock::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(ended) = connections.join_next() => panics.report(ended),
        }
    }
    drop(listening);
    broker.stopping.begin();
    let drained = timeout(broker.config.drain_within, async {
        while let Some(ended) = connections.join_next().await {
            panics.report(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests still in progress at the end of the drain"
        );
        connections.shutdown().await;
    }
    for (name, task) in tasks {
        if let Err(error) = task.await {
            tracing::error!(task = name, %error, "a task of the broker panicked");
            panics.count += 1;
        }
    }
    tokio::task::block_in_place(|| broker.close())?;
    panics.result()
}

/// A connection that has come in.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    endpoint: Arc<Endpoint>,
}

/// All listeners of a broker, asked in turn so that a busy one does not shut the others out.
struct Listeners {
    all: Vec<(TcpListener, Arc<Endpoint>)>,
    next: usize,
}

impl Listeners {
    fn open(listeners: Vec<Bound>) -> Result<Listeners, Error> {
        let open = |bound: Bound| {
            let address = bound.address;
            TcpListener::from_std(bound.socket)
                .map(|listener| (listener, bound.endpoint))
                .map_err(|source| Error::Listen { address, source })
        };
        let all = listeners.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Listeners { all, next: 0 })
    }

    fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let all = self.all.iter();
        all.map(|(_, endpoint)| Arc::clone(endpoint)).collect()
    }

    async fn accept(&mut self) -> std::io::Result<Accepted> {
        std::future::poll_fn(|context| {
            for turn in 0..self.all.len() {
                let place = (self.next + turn) % self.all.len();
                let Some((listener, endpoint)) = self.all.get(place) else {
                    continue;
                };
                if let Poll::Ready(accepted) = listener.poll_accept(context) {
                    self.next = place + 1;
                    let endpoint = Arc::clone(endpoint);
                    return Poll::Ready(accepted.map(|(stream, peer)| Accepted {
                        stream,
                        peer,
                        endpoint,
                    }));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// What goes on beside the requests, by name, until the broker stops.
fn start_tasks(
    broker: &Arc<Broker>,
    endpoints: Vec<Arc<Endpoint>>,
) -> [(&'static str, task::JoinHandle<()>); 6] {
    let groups = tokio::spawn({
        let broker = Arc::clone(broker);
        async move { broker.groups.run(broker.stopping.wait()).await }
    });
    let groups_journal = tokio::spawn({
        let broker = Arc::clone(broker);
        async move { broker.groups.store(broker.stopping.wait()).await }
    });
    let transactions = tokio::spawn({
        let broker = Arc::clone(broker);
        async move {
            let tick = || broker.transactions.tick(&broker.everyone());
            broker.transactions.run(tick, broker.stopping.wait()).await;
        }
    });
    // As in Kafka, old records are not the first thing to go after a start: an operator may still change a limit.
    let check = broker.config.retention_check;
    let first = check.min(Duration::from_secs(30));
    let retention = tokio::spawn(now_and_then(Arc::clone(broker), first, check, |broker| {
        broker.apply_retention();
    }));
    let check = broker.config.compaction_check;
    let compaction = tokio::spawn(now_and_then(Arc::clone(broker), check, check, |broker| {
        broker.compact();
    }));
    let check = broker.config.certificates_check;
    let refresh = move |_: &Broker| {
        let encrypted = endpoints.iter().filter_map(|of| of.tls.as_ref());
        encrypted.for_each(Acceptor::refresh);
    };
    let certificates = tokio::spawn(now_and_then(Arc::clone(broker), check, check, refresh));
    [
        ("certificates", certificates),
        ("groups", groups),
        ("groups-journal", groups_journal),
        ("transactions", transactions),
        ("retention", retention),
        ("compaction", compaction),
    ]
}

/// Does some work now and then, until the broker stops.
async fn now_and_then(
    broker: Arc<Broker>,
    first: Duration,
    period: Duration,
    work: impl Fn(&Broker),
) {
    let mut ticks = interval_at(Instant::now() + first, period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopping = broker.stopping.clone();
    let mut stopping = std::pin::pin!(stopping.wait());
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = ticks.tick() => tokio::task::block_in_place(|| work(&broker)),
        }
    }
}

fn welcome(
    connections: &mut JoinSet<(SocketAddr, Ended)>,
    places: &Arc<Semaphore>,
    broker: &Arc<Broker>,
    accepted: Accepted,
) {
    let Accepted {
        stream,
        peer,
        endpoint,
    } = accepted;
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        ::metrics::counter!(metrics::CONNECTIONS_REFUSED).increment(1);
        tracing::warn!(%peer, "too many connections, refused");
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "failed to set TCP_NODELAY");
    }
    let opening = Connection::open(stream, peer.ip(), endpoint, Arc::clone(broker));
    connections.spawn(attend(opening, peer, place));
}

async fn attend(
    opening: impl Future<Output = Result<Connection, Ended>>,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
) -> (SocketAddr, Ended) {
    ::metrics::gauge!(metrics::CONNECTIONS).increment(1.0);
    let ended = match opening.await {
        Ok(connection) => connection.run().await,
        Err(ended) => ended,
    };
    ::metrics::gauge!(metrics::CONNECTIONS).decrement(1.0);
    (peer, ended)
}

/// Panics since the start: stopping the broker returns them as an error.
#[derive(Debug, Default)]
struct Panics {
    count: usize,
}

impl Panics {
    fn report(&mut self, ended: Result<(SocketAddr, Ended), tokio::task::JoinError>) {
        match ended {
            Ok((peer, Ended::Broken(broken))) => {
                ::metrics::counter!(metrics::BROKEN_FRAMES).increment(1);
                tracing::warn!(%peer, error = %broken, "connection closed");
            }
            Ok((peer, ended @ (Ended::Handshake(_) | Ended::Login(_) | Ended::Early))) => {
                ::metrics::counter!(metrics::FAILED_LOGINS).increment(1);
                tracing::warn!(%peer, error = %ended, "connection closed");
            }
            Ok((peer, ended)) => tracing::debug!(%peer, reason = %ended, "connection closed"),
            Err(error) => {
                tracing::error!(%error, "a request panicked, its connection is closed");
                self.count += usize::from(error.is_panic());
            }
        }
    }

    fn result(&self) -> Result<(), Error> {
        match self.count {
            0 => Ok(()),
            count => Err(Error::Panicked { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_panicked_is_told_by_the_stop() {
        let mut panics = Panics::default();
        panics.report(Ok((SocketAddr::from(([127, 0, 0, 1], 1)), Ended::Closed)));
        panics.result().unwrap();
        let panicked = tokio::spawn(async { panic!("planted") }).await;
        panics.report(panicked.map(|()| unreachable!()));
        assert_eq!(
            panics.result().unwrap_err().to_string(),
            "the broker panicked 1 times while it ran, its log says where"
        );
    }
}
