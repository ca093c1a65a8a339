//! A terminal for the binary: a pseudo-terminal, and an emulator that knows what a person would see.
//!
//! The program has it as standard input, output and error, and as the terminal that controls its session.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::world::eventually;

/// A program in a terminal.
pub(crate) struct Terminal {
    child: Child,
    controller: File,
    seen: Arc<Mutex<Seen>>,
}

/// What the program has drawn.
struct Seen {
    emulator: vt100::Parser,
    /// The largest number of status blocks that were visible at any moment.
    most_blocks: usize,
}

impl Terminal {
    /// Starts `command` in a terminal of this size.
    pub(crate) fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        tcsetwinsize(&controller, size(columns, rows)).unwrap();
        let terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let side = || Stdio::from(terminal.try_clone().unwrap());
        command.stdin(side()).stdout(side()).stderr(side());
        let child = command.spawn().unwrap();
        drop((command, terminal));
        let seen = Arc::new(Mutex::new(Seen {
            emulator: vt100::Parser::new(cells(rows), cells(columns), 0),
            most_blocks: 0,
        }));
        let controller = File::from(controller);
        let (mut output, shown) = (controller.try_clone().unwrap(), Arc::clone(&seen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal that no process has open any longer is an error to read.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let mut seen = shown.lock().unwrap();
                seen.emulator.process(&bytes[..read]);
                let blocks = seen
                    .emulator
                    .screen()
                    .contents()
                    .matches("SERVICE ")
                    .count();
                seen.most_blocks = seen.most_blocks.max(blocks);
            }
        });
        Self {
            child,
            controller,
            seen,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// What a person would see.
    pub(crate) fn text(&self) -> String {
        self.seen.lock().unwrap().emulator.screen().contents()
    }

    /// The largest number of status blocks that were visible at any moment.
    pub(crate) fn most_blocks(&self) -> usize {
        self.seen.lock().unwrap().most_blocks
    }

    /// Waits until the screen satisfies `condition`; the screen.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        let came = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || {
                text = self.text();
                condition(&text)
            });
        }));
        assert!(
            came.is_ok(),
            "never came: {what}; the screen:\n{}",
            self.text()
        );
        text
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) {
        (&self.controller).write_all(keys.as_bytes()).unwrap();
    }

    /// Makes the terminal larger or smaller.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let mut seen = self.seen.lock().unwrap();
        seen.emulator
            .screen_mut()
            .set_size(cells(rows), cells(columns));
        tcsetwinsize(&self.controller, size(columns, rows)).unwrap();
    }

    /// Whether the terminal gives whole lines and echoes, as a shell expects.
    pub(crate) fn is_ordinary(&self) -> bool {
        let modes = tcgetattr(&self.controller).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut ended = None;
        let child = &mut self.child;
        eventually("the program ends", || {
            ended = child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}
