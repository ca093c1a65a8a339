//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once.
//!
//! A thread of its own waits for them, so that the second one works whatever the rest of the process is stuck in.

use std::io;
use std::process;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `stop` at the first signal; the second calls `leave` and ends the process with 128 + its number, as a shell
/// would report it.
pub(crate) fn on_stop(
    stop: impl FnOnce() + Send + 'static,
    leave: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let mut stop = Some(stop);
    let wait = move || {
        for signal in signals.forever() {
            match stop.take() {
                Some(stop) => stop(),
                None => {
                    leave();
                    process::exit(128 + signal)
                }
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
}
