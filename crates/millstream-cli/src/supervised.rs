//! The child's side of supervision: a process that `up` or `partitions consume` has started dies with its parent.
//!
//! Two ways, for neither alone covers everything: the kernel signals us when the parent dies (Linux), and our
//! standard input, a socket whose other end the parent holds, ends. A parent that died before we asked for the
//! signal is found out by comparing process ids. Fault 8: no orphan keeps a place in a group.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::config;
use crate::figures::Figures;

/// Ties our life to the parent's, if we have one that supervises us: `stop` is called when it is gone.
pub(crate) fn follow_parent(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let Some(parent) = config::supervisor() else {
        return Ok(());
    };
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if getppid().is_none_or(|now| now.as_raw_nonzero().get() != parent) {
        stop();
        return Ok(());
    }
    let wait = move || {
        // Nothing is ever sent to us: reading ends when the parent has gone, or with an error that means the same.
        let mut nothing = [0; 64];
        while io::stdin()
            .lock()
            .read(&mut nothing)
            .is_ok_and(|read| read > 0)
        {}
        stop();
    };
    thread::Builder::new()
        .name("parent".to_owned())
        .spawn(wait)
        .map(drop)
}

/// Tells the parent where this process serves `/metrics` and `/readyz`.
pub(crate) fn tell_address(address: SocketAddr) -> io::Result<()> {
    tell(&format!("http {address}"))
}

/// Tells the parent how many records this process has handled, and how often it has failed, at its end.
pub(crate) fn tell_figures(figures: &Figures) -> io::Result<()> {
    if let Some(records) = figures.records {
        tell(&format!("records {records}"))?;
    }
    if let Some(failures) = figures.failed {
        tell(&format!("failed {failures}"))?;
    }
    Ok(())
}

fn tell(line: &str) -> io::Result<()> {
    if config::supervisor().is_none() {
        return Ok(());
    }
    let mut socket = io::BufWriter::new(ControlSocket);
    writeln!(socket, "{line}")?;
    socket.flush()
}

/// Our standard input, which a supervisor makes a socket: what is written there the supervisor reads.
struct ControlSocket;

impl Write for ControlSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stdin(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
