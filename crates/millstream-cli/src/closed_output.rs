//! Notices that whoever reads our standard output has gone, without writing to it.
//!
//! A program that waits for something to write would otherwise find out with the next line, and a `tail | head` on a quiet
//! topic would never end. The kernel reports the closed end of a pipe or a socket, and a terminal that hung up, as an event
//! of its own; for a file there is none.

use std::io;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

/// Calls `gone` once when nobody reads our standard output any longer.
pub(crate) fn on_closed(gone: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let wait = move || {
        let out = io::stdout();
        let closed = PollFlags::ERR | PollFlags::HUP;
        loop {
            // No event is asked for: errors and hang-ups are always reported.
            let mut fds = [PollFd::new(&out, PollFlags::empty())];
            match poll(&mut fds, None) {
                Ok(_) if fds.iter().any(|fd| fd.revents().intersects(closed)) => return gone(),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::debug!(%error, "failed to watch standard output");
                    return;
                }
            }
        }
    };
    thread::Builder::new()
        .name("output".to_owned())
        .spawn(wait)
        .map(drop)
}
