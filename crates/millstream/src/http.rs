//! One small HTTP listener on a thread of its own: `/livez`, `/readyz` and `/metrics`.
//!
//! `/livez` says that this thread turns and asks nobody else: a probe that depended on the broker would restart
//! every service when the broker is away for a moment. `/readyz` is 503 until there are parts and each has said that it is
//! ready, and 503 first of all once draining began. Outsiders cost little: connections are capped, headers have to
//! arrive in time, bodies are never read, and answers hold no topic names and no configuration.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use crate::error::Error;

/// Connections served at one time; further ones are closed at once.
const CONNECTIONS: usize = 64;
/// A client that has not sent its whole header by then is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// The longest life of one connection, so that one that never reads ends too.
const CONNECTION_LIFE: Duration = Duration::from_secs(120);
/// How often samples of histograms are folded while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// What Prometheus 3 requires.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Whether a program is ready, put together from its parts.
///
/// ```
/// use millstream::http::Health;
///
/// let health = Health::new();
/// let worker = health.part("worker");
/// assert_eq!(health.missing(), ["worker"]);
/// worker.set_ready(true);
/// assert!(health.is_ready());
/// health.drain();
/// assert!(!health.is_ready());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<HealthState>);

#[derive(Debug, Default)]
struct HealthState {
    draining: AtomicBool,
    parts: Mutex<Vec<Part>>,
}

/// The readiness of one part of a [`Health`]; not ready at first.
#[derive(Debug, Clone)]
pub struct Part {
    name: Arc<str>,
    ready: Arc<AtomicBool>,
    /// Why it is not ready, if it says so.
    reason: Arc<Mutex<Option<String>>>,
}

impl Part {
    /// Sets whether this part is ready now.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Says why this part is not ready, for the body of `/readyz`.
    pub(crate) fn set_reason(&self, reason: Option<String>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// The name, and the reason if there is one.
    fn described(&self) -> String {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        let name = &self.name;
        reason
            .as_ref()
            .map_or_else(|| name.to_string(), |reason| format!("{name} ({reason})"))
    }
}

impl Health {
    /// The health of a program that has no parts yet: not ready before the first one is there and says so.
    #[must_use]
    pub fn new() -> Health {
        Health::default()
    }

    /// Adds a part, not ready at first. `/readyz` names it while it is not ready.
    #[must_use]
    pub fn part(&self, name: &str) -> Part {
        let part = Part {
            name: name.into(),
            ready: Arc::default(),
            reason: Arc::default(),
        };
        self.parts().push(part.clone());
        part
    }

    /// Takes a part away: what it stands for has ended in order.
    pub(crate) fn remove(&self, part: &Part) {
        let is_other = |other: &Part| !Arc::ptr_eq(&other.ready, &part.ready);
        self.parts().retain(is_other);
    }

    /// Marks the program as about to end: it is not ready from now on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether there are parts, all of them are ready, and the program does not drain.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let has_begun = !self.parts().is_empty();
        has_begun && !self.is_draining() && self.missing().is_empty()
    }

    /// Whether the program is going to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// The names of the parts that are not ready, each with its reason if it has said one.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let parts = self.parts();
        let missing = parts
            .iter()
            .filter(|part| !part.ready.load(Ordering::Acquire));
        missing.map(Part::described).collect()
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, Vec<Part>> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the text of `/metrics` comes from.
pub trait Exposition: Send + Sync + 'static {
    /// All metrics in Prometheus' text format.
    fn render(&self) -> String;

    /// Called every few seconds, so that what is collected between two scrapes stays bounded.
    fn upkeep(&self) {}
}

impl<F: Fn() -> String + Send + Sync + 'static> Exposition for F {
    fn render(&self) -> String {
        self()
    }
}

impl Exposition for metrics_exporter_prometheus::PrometheusHandle {
    fn render(&self) -> String {
        crate::metrics::without_gone(metrics_exporter_prometheus::PrometheusHandle::render(self))
    }

    fn upkeep(&self) {
        self.run_upkeep();
    }
}

/// A listener that serves until it is dropped.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Opens `address` (port 0 for any free one) and serves it on a thread of its own.
    ///
    /// # Errors
    /// The address is in use or not allowed.
    pub fn open(
        address: SocketAddr,
        health: Health,
        metrics: impl Exposition,
    ) -> Result<Listener, Error> {
        let fail = |source| Error::Listen { address, source };
        let listener = StdListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(fail)?;
        let (stop, stopped) = oneshot::channel();
        let state = Arc::new(State {
            health,
            metrics: Box::new(metrics),
        });
        let thread = std::thread::Builder::new()
            .name("millstream-http".to_owned())
            .spawn(move || runtime.block_on(serve(listener, state, stopped)))
            .map_err(fail)?;
        Ok(Listener {
            address: bound,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The bound address, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was already reported by the thread; there is nobody to pass it on to.
            let _ = thread.join();
        }
    }
}

struct State {
    health: Health,
    metrics: Box<dyn Exposition>,
}

async fn serve(listener: StdListener, state: Arc<State>, mut stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "http listener failed"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = upkeep.tick() => state.metrics.upkeep(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                        let state = Arc::clone(&state);
                        tokio::spawn(async move {
                            connection(stream, state).await;
                            drop(place);
                        });
                    }
                }
                // Out of file descriptors, most likely: yield to whoever may give some back, and go on.
                Err(error) => {
                    tracing::warn!(%error, "http connection not accepted");
                    tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>()).await.ok();
                }
            },
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let answering = service_fn(move |request: Request<Incoming>| {
        let response = answer(&state, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), answering);
    // A client's mistake ends its own connection; hyper has answered it where an answer makes sense.
    let _ = tokio::time::timeout(CONNECTION_LIFE, serving).await;
}

fn answer(state: &State, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let known = matches!(path, "/livez" | "/readyz" | "/metrics");
    if !known {
        return text(StatusCode::NOT_FOUND, PLAIN, "not found\n".to_owned());
    }
    if method != Method::GET && method != Method::HEAD {
        let mut refused = text(
            StatusCode::METHOD_NOT_ALLOWED,
            PLAIN,
            "method not allowed\n".to_owned(),
        );
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/livez" => text(StatusCode::OK, PLAIN, "alive\n".to_owned()),
        "/metrics" => text(StatusCode::OK, EXPOSITION, state.metrics.render()),
        _ => readiness(&state.health),
    }
}

fn readiness(health: &Health) -> Response<Full<Bytes>> {
    if health.is_draining() {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            PLAIN,
            "draining\n".to_owned(),
        );
    }
    if health.is_ready() {
        return text(StatusCode::OK, PLAIN, "ready\n".to_owned());
    }
    let missing = health.missing();
    let reason = if missing.is_empty() {
        "nothing has started yet".to_owned()
    } else {
        missing.join(", ")
    };
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        PLAIN,
        format!("not ready: {reason}\n"),
    )
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::{CONNECTIONS, Health, Listener};

    fn open(health: &Health) -> Listener {
        Listener::open(([127, 0, 0, 1], 0).into(), health.clone(), || {
            "calls_total 1\n".to_owned()
        })
        .unwrap()
    }

    fn exchange(listener: &Listener, request: &str) -> String {
        let mut stream = TcpStream::connect(listener.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Status and body.
    fn get(listener: &Listener, path: &str) -> (String, String) {
        let answer = exchange(
            listener,
            &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn said(status: &str, body: &str) -> (String, String) {
        (format!("HTTP/1.1 {status}"), body.to_owned())
    }

    #[test]
    fn readiness_follows_the_parts_and_draining_comes_first() {
        let health = Health::new();
        let listener = open(&health);
        let unavailable = "503 Service Unavailable";
        assert_eq!(
            get(&listener, "/readyz"),
            said(unavailable, "not ready: nothing has started yet\n")
        );
        let (first, second) = (health.part("worker-0"), health.part("worker-1"));
        assert_eq!(
            get(&listener, "/readyz"),
            said(unavailable, "not ready: worker-0, worker-1\n")
        );
        first.set_ready(true);
        second.set_reason(Some("a partition is halted".to_owned()));
        assert_eq!(
            get(&listener, "/readyz"),
            said(unavailable, "not ready: worker-1 (a partition is halted)\n")
        );
        second.set_reason(None);
        assert_eq!(
            get(&listener, "/readyz"),
            said(unavailable, "not ready: worker-1\n")
        );
        second.set_ready(true);
        assert_eq!(get(&listener, "/readyz"), said("200 OK", "ready\n"));
        health.drain();
        assert_eq!(get(&listener, "/readyz"), said(unavailable, "draining\n"));
        assert_eq!(get(&listener, "/livez"), said("200 OK", "alive\n"));
    }

    #[test]
    fn unknown_paths_and_methods_are_refused() {
        let listener = open(&Health::new());
        for path in ["/", "/livez/", "/metrics/../etc", "/%2e%2e/passwd"] {
            assert_eq!(
                get(&listener, path),
                said("404 Not Found", "not found\n"),
                "{path}"
            );
        }
        let answer = exchange(
            &listener,
            "POST /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        );
        assert!(
            answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
        let answer = exchange(
            &listener,
            "HEAD /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        );
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
    }

    #[test]
    fn garbage_and_oversized_headers_end_their_own_connection_only() {
        let listener = open(&Health::new());
        assert!(
            exchange(&listener, "\0\0\0 nonsense\r\n\r\n")
                .starts_with("HTTP/1.1 400 Bad Request\r\n")
        );
        let mut stream = TcpStream::connect(listener.address()).unwrap();
        let endless = format!("GET /livez HTTP/1.1\r\nx: {}", "y".repeat(1 << 20));
        // The server closes in the middle of it.
        let _ = stream.write_all(endless.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(get(&listener, "/livez"), said("200 OK", "alive\n"));
    }

    #[test]
    fn a_header_that_does_not_come_to_an_end_ends_its_connection() {
        let listener = open(&Health::new());
        let mut slow = TcpStream::connect(listener.address()).unwrap();
        slow.write_all(b"GET /livez HTTP/1.1\r\nx: y").unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
            "{answer}"
        );
        assert_eq!(get(&listener, "/livez"), said("200 OK", "alive\n"));
    }

    #[test]
    fn connections_over_the_cap_are_closed_and_the_rest_served() {
        let listener = open(&Health::new());
        let mut idle: Vec<TcpStream> = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(listener.address()).unwrap();
            // An answered request proves that the connection has taken its place.
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
                .unwrap();
            stream.read_exact(&mut [0; 8]).unwrap();
            idle.push(stream);
        }
        let mut over = TcpStream::connect(listener.address()).unwrap();
        let mut answer = Vec::new();
        assert_eq!(over.read_to_end(&mut answer).unwrap_or(0), 0);
        let first = idle.first_mut().unwrap();
        first
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        first.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\ncalls_total 1\n"), "{answer}");
    }

    #[test]
    fn metrics_are_prometheus_text_with_classic_histograms() {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&[0.5, 1.0])
            .unwrap()
            .build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("wait_seconds").record(0.7)
        });
        let listener = Listener::open(([127, 0, 0, 1], 0).into(), Health::new(), handle).unwrap();
        let answer = exchange(
            &listener,
            "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        );
        assert!(
            answer.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("wait_seconds_bucket{le=\"1\"} 1\n"),
            "{answer}"
        );
    }

    #[test]
    fn an_address_in_use_is_named() {
        let listener = open(&Health::new());
        let address = listener.address();
        let error = Listener::open(address, Health::new(), String::new).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("failed to listen on `{address}`")
        );
    }

    #[test]
    fn dropping_the_listener_frees_its_port() {
        let listener = open(&Health::new());
        let address = listener.address();
        drop(listener);
        assert_eq!(
            TcpStream::connect(address)
                .map_err(|e| e.kind())
                .map(|_| ()),
            Err(std::io::ErrorKind::ConnectionRefused)
        );
    }
}
