//! The control socket of a running `up`, `up.sock` in its data folder: one JSON request a connection, one JSON reply.
//!
//! Only the user who runs `up` may connect. A socket that nobody answers was left by an `up` that was killed: for a
//! client nothing runs there, and the next `up` takes its place. A path in a socket's address may have 107 bytes, so
//! the folder is opened and the socket addressed through it, however deep the folder lies.

use std::fs::{File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::child::Event;
use super::status::Status;

const NAME: &str = "up.sock";
/// No request is longer.
const LONGEST: u64 = 64 * 1024;
/// A client that has not sent its request by then is closed.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// The reply to a stop takes this long at most: it waits for services, which are killed after some seconds.
const STOPPED: Duration = Duration::from_secs(60);
/// Any other reply comes at once, unless `up` is frozen.
const REPLY: Duration = Duration::from_secs(10);

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// How everything is.
    Status,
    /// To stop everything; the reply comes when all has ended.
    Stop,
    /// To do something to services, each one or all instances of one; to none of them if a name is unknown.
    Services {
        /// Their names.
        services: Vec<String>,
        /// What.
        act: Act,
    },
}

/// What can be done to a service.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Act {
    /// Starts it if it does not run.
    Start,
    /// Stops it; `up` goes on.
    Stop,
    /// Stops it and starts it again.
    Restart,
}

/// What `up` replies.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The status; after a stop the closing one.
    Status(Status),
    /// It cannot be done; why.
    Refused(String),
}

/// The socket of this `up`; its file goes with it.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: StdUnixListener,
    file: PathBuf,
}

impl Socket {
    /// Opens the socket in `folder`, which is created if it does not exist.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(NAME);
        let failed = || format!("failed to open the control socket `{}`", file.display());
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to create `{}`", folder.display()))?;
        let opened = File::open(folder).with_context(failed)?;
        let short = through(&opened);
        if StdUnixStream::connect(&short).is_ok() {
            bail!(
                "another `millstream up` uses `{0}`; stop it with `millstream up stop --data {0}`, or name another folder with --data",
                folder.display()
            );
        }
        match std::fs::remove_file(&short) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(failed);
            }
            _ => {}
        }
        let listener = StdUnixListener::bind(&short).with_context(failed)?;
        std::fs::set_permissions(&short, Permissions::from_mode(0o600)).with_context(failed)?;
        listener.set_nonblocking(true).with_context(failed)?;
        Ok(Self { listener, file })
    }

    /// Gives each request to `events`, with the connection that its reply goes to.
    pub(crate) fn serve(&self, events: mpsc::Sender<Event>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(receive(stream, events.clone()))),
                    // Out of file descriptors, most likely: a pause gives whoever has some the time to close them.
                    Err(error) => {
                        tracing::warn!(%error, "control connection not accepted");
                        _ = timeout(PAUSE, std::future::pending::<()>()).await;
                    }
                }
            }
        });
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.file);
    }
}

/// The socket's address through its open folder.
fn through(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()))
}

async fn receive(mut stream: UnixStream, events: mpsc::Sender<Event>) {
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.contains(&b'\n') && (bytes.len() as u64) < LONGEST {
            if stream.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    if !matches!(timeout(PATIENCE, read).await, Ok(Ok(()))) {
        return;
    }
    match serde_json::from_slice(&bytes) {
        Ok(request) => _ = events.send(Event::Asked(request, stream)).await,
        Err(error) => reply(stream, &Reply::Refused(format!("not a request: {error}"))),
    }
}

/// Sends the reply; a client that has gone needs none. It is shorter than what a socket buffers unless there are
/// hundreds of services, so this does not wait for the client.
pub(crate) fn reply(stream: UnixStream, reply: &Reply) {
    let send = || -> io::Result<()> {
        let mut stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        stream.write_all(&line)
    };
    if let Err(error) = send() {
        tracing::debug!(%error, "control connection closed before the reply");
    }
}

/// Asks the `up` that uses `folder`; `None` if there is none.
pub(crate) fn ask(folder: &Path, request: &Request) -> anyhow::Result<Option<Reply>> {
    let patience = match request {
        Request::Stop => STOPPED,
        Request::Status | Request::Services { .. } => REPLY,
    };
    ask_within(patience, folder, request)
}

fn ask_within(
    patience: Duration,
    folder: &Path,
    request: &Request,
) -> anyhow::Result<Option<Reply>> {
    let failed = || {
        format!(
            "failed to ask the `millstream up` in `{}`",
            folder.display()
        )
    };
    let stream =
        match File::open(folder).and_then(|opened| StdUnixStream::connect(through(&opened))) {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(failed),
        };
    stream
        .set_read_timeout(Some(patience))
        .with_context(failed)?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    (&stream).write_all(&line).with_context(failed)?;
    let mut text = String::new();
    BufReader::new(stream.take(u64::from(u32::MAX)))
        .read_line(&mut text)
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => anyhow!(
                "the `millstream up` in `{}` has not replied within {} s: frozen, or overloaded",
                folder.display(),
                patience.as_secs_f64()
            ),
            _ => anyhow!(error).context(failed()),
        })?;
    if text.is_empty() {
        bail!(
            "the `millstream up` in `{}` ended without a reply",
            folder.display()
        );
    }
    Ok(Some(serde_json::from_str(&text).with_context(failed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 3, of `up` itself: the kernel takes the connection, and nobody replies.
    #[test]
    fn an_up_that_does_not_reply_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let _frozen = StdUnixListener::bind(folder.path().join(NAME)).unwrap();
        let patience = Duration::from_millis(10);
        let error = ask_within(patience, folder.path(), &Request::Status).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            format!(
                "the `millstream up` in `{}` has not replied within 0.01 s: frozen, or overloaded",
                folder.path().display()
            )
        );
    }
}
