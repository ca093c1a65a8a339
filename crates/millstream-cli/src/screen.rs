//! Standard error while something runs: lines, and in a terminal a status block that is drawn below them.
//!
//! In a terminal the block is erased, new lines are written, the block is drawn again, all in one write, so that
//! nothing flickers and the lines scroll away like any others. If lines come faster than a person can read, some are
//! left out and counted. Without a terminal every line is written and nothing is drawn.
//!
//! A terminal that was made narrower has wrapped what stood there, so the block's height is computed again from its
//! lines and the present width before it is erased; and the block never is higher than the terminal.
//!
//! A standard error that cannot be written is no reason to stop services: errors end here.

use std::collections::VecDeque;
use std::io::{IsTerminal, Stderr, Write};

use crate::config;

/// Lines kept between two refreshes of a terminal.
const KEPT: usize = 200;
/// Turns the terminal's own wrapping off and on: what is too wide for the block is cut, whatever its characters.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// The lines and the block.
#[derive(Debug)]
pub(crate) struct Screen<W = Stderr> {
    out: W,
    terminal: bool,
    size: fn() -> Size,
    waiting: VecDeque<String>,
    skipped: u64,
    /// The widths of the block's lines.
    drawn: Vec<usize>,
}

impl Screen {
    /// Standard error as it is.
    pub(crate) fn stderr() -> Self {
        let out = std::io::stderr();
        let terminal = out.is_terminal() && config::redrawing_allowed();
        Self::new(out, terminal, terminal_size)
    }
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(out: W, terminal: bool, size: fn() -> Size) -> Self {
        Self {
            out,
            terminal,
            size,
            waiting: VecDeque::new(),
            skipped: 0,
            drawn: Vec::new(),
        }
    }

    /// Whether a block is drawn.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// How large the terminal is now.
    pub(crate) fn size(&self) -> Size {
        (self.size)()
    }

    /// One line that stays. In a terminal its control characters are shown and not obeyed: it is another program's
    /// text.
    pub(crate) fn line(&mut self, line: String) {
        if !self.terminal {
            self.waiting.push_back(line);
            return;
        }
        if self.waiting.len() >= KEPT {
            self.waiting.pop_front();
            self.skipped += 1;
        }
        self.waiting.push_back(printable(line));
    }

    /// Writes what waits, and draws `block` below it.
    pub(crate) fn refresh(&mut self, block: &str) {
        let size = self.size();
        let mut text = self.erase(size);
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
        if self.terminal && !block.is_empty() {
            text.push_str(NO_WRAP);
            for line in block.lines().take(size.rows.saturating_sub(1)) {
                let line = cut(line, size.columns);
                text.push_str(line);
                text.push('\n');
                self.drawn.push(line.chars().count());
            }
            text.push_str(WRAP);
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
    fn erase(&mut self, size: Size) -> String {
        let height = |width: &usize| width.div_ceil(size.columns.max(1)).max(1);
        let rows: usize = self.drawn.iter().map(height).sum();
        self.drawn.clear();
        if rows == 0 {
            String::new()
        } else {
            format!("\x1b[{rows}F\x1b[J")
        }
    }
}

/// Cuts a line to at most `width` characters.
fn cut(line: &str, width: usize) -> &str {
    line.char_indices()
        .nth(width)
        .and_then(|(end, _)| line.get(..end))
        .unwrap_or(line)
}

/// A line without control characters: a tab is a space, another is shown by its code.
fn printable(line: String) -> String {
    if !line.contains(char::is_control) {
        return line;
    }
    let mut shown = String::with_capacity(line.len() + 16);
    for character in line.chars() {
        match character {
            '\t' => shown.push(' '),
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}

/// The size of the terminal at standard error; 80 by 24 if it does not know.
pub(crate) fn terminal_size() -> Size {
    let known = |value: u16, otherwise: usize| match value {
        0 => otherwise,
        value => usize::from(value),
    };
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) => Size {
            columns: known(size.ws_col, 80),
            rows: known(size.ws_row, 24),
        },
        Err(_) => Size {
            columns: 80,
            rows: 24,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(terminal: bool) -> Screen<Vec<u8>> {
        Screen::new(Vec::new(), terminal, || Size {
            columns: 10,
            rows: 5,
        })
    }

    fn text(screen: &mut Screen<Vec<u8>>) -> String {
        String::from_utf8(std::mem::take(&mut screen.out)).unwrap()
    }

    #[test]
    fn the_block_is_erased_before_new_lines_and_drawn_after_them() {
        let mut screen = screen(true);
        screen.refresh("one\ntwo\n");
        assert_eq!(text(&mut screen), "\x1b[?7lone\ntwo\n\x1b[?7h");
        screen.line("log".to_owned());
        screen.refresh("three\n");
        assert_eq!(
            text(&mut screen),
            "\x1b[2F\x1b[Jlog\n\x1b[?7lthree\n\x1b[?7h"
        );
        screen.close();
        assert_eq!(text(&mut screen), "\x1b[1F\x1b[J");
    }

    #[test]
    fn block_lines_never_wrap() {
        let mut screen = screen(true);
        screen.refresh("0123456789abc\n");
        assert_eq!(text(&mut screen), "\x1b[?7l0123456789\n\x1b[?7h");
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

    /// A terminal that became narrower shows the block on more rows than were drawn.
    #[test]
    fn a_block_that_was_wrapped_by_a_resize_is_erased_whole() {
        let mut screen = screen(true);
        screen.refresh("0123456789\none\n");
        screen.size = || Size {
            columns: 4,
            rows: 5,
        };
        _ = text(&mut screen);
        screen.close();
        assert_eq!(text(&mut screen), "\x1b[4F\x1b[J");
    }

    #[test]
    fn a_block_is_lower_than_the_terminal() {
        let mut screen = screen(true);
        screen.refresh("1\n2\n3\n4\n5\n6\n");
        _ = text(&mut screen);
        screen.close();
        assert_eq!(text(&mut screen), "\x1b[4F\x1b[J");
    }

    #[test]
    fn control_characters_of_a_line_do_not_reach_a_terminal() {
        let mut screen = screen(true);
        screen.line("a\tb\x1b]0;title\x07\r".to_owned());
        screen.refresh("");
        assert_eq!(text(&mut screen), "a b\\u{1b}]0;title\\u{7}\\r\n");
    }

    #[test]
    fn lines_are_cut_at_characters() {
        assert_eq!(cut("grün·blau", 5), "grün·");
        assert_eq!(cut("kurz", 5), "kurz");
    }
}
