//! What a service reports over HTTP: whether it is ready, and its metrics.
//!
//! A request is one HTTP/1.0 exchange over loopback with a deadline and a bound on the response, so that a service
//! that hangs costs a blank in its row and nothing else. What the text means is `figures`' business.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::figures::{self, Figures};

/// A service on this machine that takes longer is busy or stopped.
const DEADLINE: Duration = Duration::from_millis(800);
/// The metrics of one service are some KiB.
const LONGEST_RESPONSE: u64 = 1 << 20;

/// One scrape.
#[derive(Debug)]
pub(crate) struct Scraped {
    /// What the supervisor shows of it.
    pub(crate) figures: Figures,
    /// The whole text of `/metrics`.
    pub(crate) metrics: String,
}

/// Asks the service at `address`; `None` if it does not respond in time.
pub(crate) async fn scrape(address: SocketAddr) -> Option<Scraped> {
    timeout(DEADLINE, async {
        let (ready, _) = get(address, "/readyz").await?;
        let (_, metrics) = get(address, "/metrics").await?;
        let figures = Figures {
            ready,
            ..figures::read(&metrics)
        };
        Some(Scraped { figures, metrics })
    })
    .await
    .ok()
    .flatten()
}

/// Whether the status was 200, and the body.
async fn get(address: SocketAddr, path: &str) -> Option<(bool, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())
        .await
        .ok()?;
    let mut response = String::new();
    stream
        .take(LONGEST_RESPONSE)
        .read_to_string(&mut response)
        .await
        .ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1) == Some("200"), body.to_owned()))
}
