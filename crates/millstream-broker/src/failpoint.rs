//! Where tests let a process die: between any two steps that change the data folder.
//!
//! A step that fails because of a fault is cleaned up after; one at which a process dies is not, and what it leaves is what the next start
//! finds. So whoever cleans up asks [`is_kill`] first. Outside of tests nothing ever dies here.

use crate::error::Error;

/// A step is done.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests fail here")]
pub(crate) fn reached() -> Result<(), Error> {
    Ok(())
}

/// Whether the process has died.
#[cfg(not(test))]
pub(crate) fn is_kill(_: &Error) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static LEFT: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}

/// The process of this thread dies at the step after so many, and at every later one.
#[cfg(test)]
pub(crate) fn die_after(steps: Option<usize>) {
    LEFT.set(steps);
}

/// A step is done.
#[cfg(test)]
pub(crate) fn reached() -> Result<(), Error> {
    match LEFT.get() {
        Some(0) => Err(Error::File {
            verb: "die",
            path: std::path::PathBuf::new(),
            source: std::io::Error::other("a test's"),
        }),
        left => {
            LEFT.set(left.map(|left| left - 1));
            Ok(())
        }
    }
}

/// Whether the process has died.
#[cfg(test)]
pub(crate) fn is_kill(error: &Error) -> bool {
    matches!(error, Error::File { verb: "die", .. })
}
