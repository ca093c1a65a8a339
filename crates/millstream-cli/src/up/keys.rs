//! Keys while `up` runs in a terminal: one key is one order, without Enter.
//!
//! The terminal gives each key at once and does not echo it; Ctrl-C stays a signal. It is read only while something
//! waits there and only in the foreground: a process in the background that reads its terminal is stopped. A shell
//! that brings us back may have set the terminal its own way, so the setting is looked at before each read.
//!
//! The terminal is put back when the keyboard is dropped, and by `Restore` when the process ends at once.

use std::io::IsTerminal;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Chooses the service above.
    Up,
    /// Chooses the service below.
    Down,
    /// Restarts the chosen service.
    Restart,
    /// Stops the chosen service, or starts it.
    StopOrStart,
    /// Changes whose lines are shown.
    Lines,
    /// Shows or hides the help.
    Help,
    /// Stops everything.
    Quit,
}

/// The help, a line for each key; narrow enough for any terminal.
pub(crate) const HELP: [&str; 6] = [
    "up, down  choose a service (or k, j)",
    "r         restart it",
    "s         stop it, or start it again",
    "l         lines: all, its own, none",
    "q         stop everything",
    "?         hide this help",
];

/// The terminal at standard input, as it was before we changed it.
#[derive(Debug, Clone)]
pub(crate) struct Restore(Arc<Termios>);

impl Restore {
    /// Sets the terminal as it was.
    pub(crate) fn restore(&self) {
        if in_foreground() {
            _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
        }
    }
}

/// The keyboard of the terminal at standard input.
#[derive(Debug)]
pub(crate) struct Keyboard {
    before: Restore,
    ours: Termios,
}

impl Keyboard {
    /// The keyboard, if standard input and standard error are a terminal.
    pub(crate) fn open() -> Option<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut ours = before.clone();
        ours.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
        ours.special_codes[SpecialCodeIndex::VMIN] = 0;
        ours.special_codes[SpecialCodeIndex::VTIME] = 0;
        // Ctrl-\ would end the process and leave the terminal as it is now.
        ours.special_codes[SpecialCodeIndex::VQUIT] = 0;
        let keyboard = Self {
            before: Restore(Arc::new(before)),
            ours,
        };
        keyboard.set();
        Some(keyboard)
    }

    /// What puts the terminal back.
    pub(crate) fn restore(&self) -> Restore {
        self.before.clone()
    }

    /// The keys that were pressed since the last time; never waits.
    pub(crate) fn pressed(&self) -> Vec<Key> {
        if !in_foreground() {
            return Vec::new();
        }
        self.set();
        let stdin = std::io::stdin();
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if poll(&mut waiting, Some(&now)) != Ok(1) {
            return Vec::new();
        }
        let mut bytes = [0; 64];
        let read = rustix::io::read(&stdin, &mut bytes).unwrap_or(0);
        keys(bytes.get(..read).unwrap_or_default())
    }

    fn set(&self) {
        let same = |now: &Termios| now.local_modes == self.ours.local_modes;
        if in_foreground() && !tcgetattr(std::io::stdin()).is_ok_and(|now| same(&now)) {
            _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.ours);
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.before.restore();
    }
}

/// Whether the terminal is ours to read; one that does not control us has no background.
fn in_foreground() -> bool {
    tcgetpgrp(std::io::stdin()).map_or(true, |foreground| foreground == getpgrp())
}

/// The keys in what a terminal sent; others mean nothing.
fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    loop {
        let (key, left) = match rest {
            [] => return keys,
            [0x1b, b'[' | b'O', b'A', left @ ..] => (Some(Key::Up), left),
            [0x1b, b'[' | b'O', b'B', left @ ..] => (Some(Key::Down), left),
            [0x1b, b'[' | b'O', _, left @ ..] => (None, left),
            [b'k', left @ ..] => (Some(Key::Up), left),
            [b'j', left @ ..] => (Some(Key::Down), left),
            [b'r', left @ ..] => (Some(Key::Restart), left),
            [b's', left @ ..] => (Some(Key::StopOrStart), left),
            [b'l', left @ ..] => (Some(Key::Lines), left),
            [b'?' | b'h', left @ ..] => (Some(Key::Help), left),
            [b'q', left @ ..] => (Some(Key::Quit), left),
            [_, left @ ..] => (None, left),
        };
        keys.extend(key);
        rest = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_and_letters_are_keys_and_other_sequences_are_not() {
        assert_eq!(
            keys(b"\x1b[A\x1bOBj\x1b[Cr?\x00q"),
            [
                Key::Up,
                Key::Down,
                Key::Down,
                Key::Restart,
                Key::Help,
                Key::Quit
            ]
        );
    }

    #[test]
    fn the_help_fits_the_narrowest_terminal() {
        assert!(HELP.iter().all(|line| line.len() <= 40));
    }
}
