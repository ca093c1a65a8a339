//! What the user of `up` sees and presses: lines of services, of the broker and of `up` itself, and the status block.
//!
//! Each line is marked with its source. Whose lines are shown is chosen on the command line or by a key; lines that
//! are not shown are kept for a moment, because when a service fails its last lines say why. Repeated problems are
//! counted by `repeats`.

use std::collections::VecDeque;
use std::io::{Stderr, Write};

use tokio::time::Instant;

use super::keys::{HELP, Key};
use super::status::{Block, State, Status};
use crate::repeats::Repeats;
use crate::screen::Screen;

/// Hidden lines of a service that are shown when it fails.
const RECENT: usize = 8;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The service at this position of the plan.
    Service(usize),
    /// The embedded broker.
    Broker,
}

/// Whose lines are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Everybody's.
    All,
    /// Those of these sources.
    Of(Vec<Source>),
    /// Nobody's: only what `up` itself reports.
    None,
}

/// What a key asks the supervisor to do with a service, or with all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Start(usize),
    Stop(usize),
    Restart(usize),
    StopAll,
}

/// The screen and what is chosen on it.
#[derive(Debug)]
pub(crate) struct View<W = Stderr> {
    screen: Screen<W>,
    channels: Vec<Channel>,
    width: usize,
    lines: Lines,
    chosen: Option<usize>,
    help: bool,
    /// Whether there are keys.
    keys: bool,
}

/// The lines of one source.
#[derive(Debug)]
struct Channel {
    name: String,
    repeats: Repeats,
    hidden: VecDeque<String>,
}

impl<W: Write> View<W> {
    /// A view of the services called `names`.
    pub(crate) fn new<'a>(
        screen: Screen<W>,
        names: impl Iterator<Item = &'a str>,
        lines: Lines,
        keys: bool,
    ) -> Self {
        let channel = |name: &str| Channel {
            name: name.to_owned(),
            repeats: Repeats::default(),
            hidden: VecDeque::new(),
        };
        // The broker's is the last one.
        let channels: Vec<Channel> = names.chain(["broker"]).map(channel).collect();
        let width = channels.iter().map(|channel| channel.name.len()).max();
        Self {
            screen,
            width: width.unwrap_or(0),
            channels,
            lines,
            chosen: None,
            help: false,
            keys,
        }
    }

    /// Whether a block is drawn.
    pub(crate) fn is_terminal(&self) -> bool {
        self.screen.is_terminal()
    }

    /// A line that `source` wrote.
    pub(crate) fn line(&mut self, source: Source, line: &str, now: Instant) {
        let shown = self.shows(source);
        let width = self.width;
        let Some(channel) = self.channel(source) else {
            return;
        };
        if !shown {
            if channel.hidden.len() == RECENT {
                channel.hidden.pop_front();
            }
            channel.hidden.push_back(line.to_owned());
        } else if channel.repeats.admit(line, now) {
            let text = format!("{:width$} | {line}", channel.name);
            self.screen.line(text);
        }
    }

    /// A line of `up` itself, which is always shown.
    pub(crate) fn note(&mut self, line: &str) {
        let width = self.width;
        self.screen.line(format!("{:width$} | {line}", "up"));
    }

    /// A line of `up` itself about the service at `position`.
    pub(crate) fn note_on(&mut self, position: usize, line: &str) {
        let name = match self.channels.get(position) {
            Some(channel) => channel.name.clone(),
            None => return,
        };
        self.note(&format!("{name} {line}"));
    }

    /// Shows the last lines of the service at `position` if they were hidden: it failed, and they may say why.
    pub(crate) fn show_last_lines(&mut self, position: usize) {
        let width = self.width;
        let Some(channel) = self.channels.get_mut(position) else {
            return;
        };
        for line in channel.hidden.drain(..) {
            let text = format!("{:width$} | {line}", channel.name);
            self.screen.line(text);
        }
    }

    /// Writes what waits, and draws the block if there is a terminal.
    pub(crate) fn refresh(&mut self, status: &Status, now: Instant) {
        self.count_repeats(now, false);
        if !self.screen.is_terminal() {
            self.screen.refresh("");
            return;
        }
        let title = status.title();
        let lines = self.lines_note();
        let hint = if status.stopping {
            "stopping; Ctrl-C again ends at once"
        } else {
            "Ctrl-C to stop"
        };
        let mut head = vec![title.as_str(), hint];
        if self.keys {
            head.push("? for keys");
        }
        head.extend(lines.as_deref());
        let block = Block {
            head: &head,
            rows: &status.services,
            chosen: self.chosen,
            foot: if self.help { &HELP } else { &[] },
        };
        let text = block.text(self.screen.size());
        self.screen.refresh(&text);
    }

    /// Writes what waits and takes the block away.
    pub(crate) fn close(&mut self, now: Instant) {
        self.count_repeats(now, true);
        self.screen.close();
    }

    /// A key was pressed; returns what the supervisor is to do.
    pub(crate) fn on_key(&mut self, key: Key, states: &[State]) -> Option<Order> {
        let last = states.len().checked_sub(1)?;
        match key {
            Key::Up => self.chosen = Some(self.chosen.map_or(last, |at| at.saturating_sub(1))),
            Key::Down => self.chosen = Some(self.chosen.map_or(0, |at| (at + 1).min(last))),
            Key::Help => self.help = !self.help,
            Key::Quit => return Some(Order::StopAll),
            Key::Lines => self.next_lines(),
            Key::Restart | Key::StopOrStart => {
                let Some(at) = self.chosen else {
                    self.note("choose a service with up or down, then press r or s");
                    return None;
                };
                let runs = !matches!(
                    states.get(at),
                    Some(State::Stopped | State::Finished | State::Failed | State::Stopping)
                );
                return Some(match key {
                    Key::Restart => Order::Restart(at),
                    _ if runs => Order::Stop(at),
                    _ => Order::Start(at),
                });
            }
        }
        None
    }

    /// All lines, those of the chosen service, none, and again.
    fn next_lines(&mut self) {
        self.lines = match (&self.lines, self.chosen) {
            (Lines::All, Some(at)) => Lines::Of(vec![Source::Service(at)]),
            (Lines::All, None) | (Lines::Of(_), _) => Lines::None,
            (Lines::None, _) => Lines::All,
        };
    }

    /// Whose lines are shown, unless it is everybody's.
    fn lines_note(&self) -> Option<String> {
        match &self.lines {
            Lines::All => None,
            Lines::None => Some("no lines".to_owned()),
            Lines::Of(sources) => {
                let names: Vec<&str> = sources
                    .iter()
                    .filter_map(|source| self.channels.get(self.index(*source)))
                    .map(|channel| channel.name.as_str())
                    .collect();
                Some(format!("lines of {}", names.join(", ")))
            }
        }
    }

    fn shows(&self, source: Source) -> bool {
        match &self.lines {
            Lines::All => true,
            Lines::Of(sources) => sources.contains(&source),
            Lines::None => false,
        }
    }

    fn count_repeats(&mut self, now: Instant, at_the_end: bool) {
        let width = self.width;
        for channel in &mut self.channels {
            for line in channel.repeats.due(now, at_the_end) {
                self.screen
                    .line(format!("{:width$} | {line}", channel.name));
            }
        }
    }

    fn index(&self, source: Source) -> usize {
        match source {
            Source::Service(position) => position,
            Source::Broker => self.channels.len().saturating_sub(1),
        }
    }

    fn channel(&mut self, source: Source) -> Option<&mut Channel> {
        let index = self.index(source);
        self.channels.get_mut(index)
    }
}
