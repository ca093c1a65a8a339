//! Standard error while something runs: lines, and in a terminal a status block that is drawn below them.
//!
//! In a terminal the block is erased, new lines are written, the block is drawn again, all in one write, so that
//! nothing flickers and the lines scroll away like any others. A flood of lines is cut to what a person can see
//! between two refreshes, and the cut is told. Without a terminal every line is written and nothing is drawn.
//!
//! A standard error that cannot be written is no reason to stop services: errors end here.

use std::collections::VecDeque;
use std::io::{IsTerminal, Stderr, Write};

use crate::config;

/// Lines kept between two refreshes of a terminal.
const KEPT: usize = 200;

/// The lines and the block.
#[derive(Debug)]
pub(crate) struct Screen<W = Stderr> {
    out: W,
    terminal: bool,
    width: fn() -> usize,
    waiting: VecDeque<String>,
    skipped: u64,
    drawn: usize,
}

impl Screen {
    /// Standard error as it is.
    pub(crate) fn stderr() -> Self {
        let out = std::io::stderr();
        let terminal = out.is_terminal() && config::redrawing_allowed();
        Self::new(out, terminal, terminal_width)
    }
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(out: W, terminal: bool, width: fn() -> usize) -> Self {
        Self {
            out,
            terminal,
            width,
            waiting: VecDeque::new(),
            skipped: 0,
            drawn: 0,
        }
    }

    /// Whether a block is drawn.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// One line that stays.
    pub(crate) fn line(&mut self, line: String) {
        if self.terminal && self.waiting.len() >= KEPT {
            self.waiting.pop_front();
            self.skipped += 1;
        }
        self.waiting.push_back(line);
    }

    /// Writes what waits, and draws `block` below it.
    pub(crate) fn refresh(&mut self, block: &str) {
        let mut text = self.erase();
        if self.skipped > 0 {
            text.push_str(&format!(
                ".. {} lines not shown: they come faster than a screen can show\n",
                self.skipped
            ));
            self.skipped = 0;
        }
        for line in self.waiting.drain(..) {
            text.push_str(&line);
            text.push('\n');
        }
        if self.terminal {
            let width = (self.width)();
            for line in block.lines() {
                text.push_str(cut(line, width));
                text.push('\n');
                self.drawn += 1;
            }
        }
        if !text.is_empty() {
            _ = self
                .out
                .write_all(text.as_bytes())
                .and_then(|()| self.out.flush());
        }
    }

    /// Writes what waits and leaves no block.
    pub(crate) fn close(&mut self) {
        self.refresh("");
    }

    /// The sequence that takes the block away: up to its first line, then clear to the end of the screen.
    fn erase(&mut self) -> String {
        let lines = std::mem::take(&mut self.drawn);
        if lines == 0 {
            String::new()
        } else {
            format!("\x1b[{lines}F\x1b[J")
        }
    }
}

/// Cuts a line so that it fills at most `width` columns; a longer one would wrap and spoil the redrawing.
fn cut(line: &str, width: usize) -> &str {
    line.char_indices()
        .nth(width)
        .and_then(|(end, _)| line.get(..end))
        .unwrap_or(line)
}

fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|width| *width > 0)
        .unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(terminal: bool) -> Screen<Vec<u8>> {
        Screen::new(Vec::new(), terminal, || 10)
    }

    fn text(screen: &mut Screen<Vec<u8>>) -> String {
        String::from_utf8(std::mem::take(&mut screen.out)).unwrap()
    }

    #[test]
    fn the_block_is_erased_before_new_lines_and_drawn_after_them() {
        let mut screen = screen(true);
        screen.refresh("one\ntwo\n");
        assert_eq!(text(&mut screen), "one\ntwo\n");
        screen.line("log".to_owned());
        screen.refresh("three\n");
        assert_eq!(text(&mut screen), "\x1b[2F\x1b[Jlog\nthree\n");
        screen.close();
        assert_eq!(text(&mut screen), "\x1b[1F\x1b[J");
    }

    #[test]
    fn block_lines_never_wrap() {
        let mut screen = screen(true);
        screen.refresh("0123456789abc\n");
        assert_eq!(text(&mut screen), "0123456789\n");
    }

    #[test]
    fn without_a_terminal_there_are_only_lines() {
        let mut screen = screen(false);
        screen.line("log".to_owned());
        screen.refresh("block\n");
        assert_eq!(text(&mut screen), "log\n");
    }

    #[test]
    fn a_flood_is_cut_and_the_cut_is_told() {
        let mut screen = screen(true);
        for number in 0..KEPT + 3 {
            screen.line(number.to_string());
        }
        screen.refresh("");
        let text = text(&mut screen);
        assert!(
            text.starts_with(
                ".. 3 lines not shown: they come faster than a screen can show\n3\n4\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn lines_are_cut_at_characters() {
        assert_eq!(cut("grün·blau", 5), "grün·");
        assert_eq!(cut("kurz", 5), "kurz");
    }
}
