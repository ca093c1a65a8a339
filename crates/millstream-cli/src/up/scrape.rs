//! What a service says of itself over HTTP: whether it is ready, and its counters.
//!
//! A request is one HTTP/1.0 exchange over loopback with a deadline and a bound on the answer, so that a service
//! that hangs costs a blank in its row and nothing else. What the text means is `figures`' business.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::figures::{self, Figures};

/// A service on this machine that takes longer is busy or stopped.
const DEADLINE: Duration = Duration::from_millis(800);
/// An exposition of one service is some KiB.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Asks the service at `address`; `None` when it does not answer.
pub(crate) async fn figures(address: SocketAddr) -> Option<Figures> {
    timeout(DEADLINE, async {
        let (ready, _) = get(address, "/readyz").await?;
        let (_, metrics) = get(address, "/metrics").await?;
        Some(Figures {
            ready,
            ..figures::read(&metrics)
        })
    })
    .await
    .ok()
    .flatten()
}

/// Whether the answer was 200, and its body.
async fn get(address: SocketAddr, path: &str) -> Option<(bool, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())
        .await
        .ok()?;
    let mut answer = String::new();
    stream
        .take(LONGEST_ANSWER)
        .read_to_string(&mut answer)
        .await
        .ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1) == Some("200"), body.to_owned()))
}
