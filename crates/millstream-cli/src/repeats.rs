//! Limits what a source can print: the same problem again and again is a few lines and then a count.
//!
//! Two warnings or errors are the same when they differ only in their time and in words with digits (offsets, ports,
//! ids); other lines are the same when only the time differs. The first `SHOWN` of a kind are printed; those that
//! follow are counted, and the count is printed every `WINDOW`, until a window passes without one. A full disk, with
//! hundreds of refused records a second, costs a line each ten seconds.

use std::time::Duration;

use tokio::time::Instant;

/// Lines of one kind that are printed before they are only counted.
const SHOWN: u32 = 3;
/// How often the count is printed.
const WINDOW: Duration = Duration::from_secs(10);
/// Kinds that are remembered; more than this differ so much that they are not repetitions.
const KINDS: usize = 64;

/// The recent lines of one source, by kind.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    kinds: Vec<Kind>,
}

#[derive(Debug)]
struct Kind {
    key: String,
    since: Instant,
    shown: u32,
    hidden: u64,
    last: String,
}

impl Repeats {
    /// Whether `line` is to be printed.
    pub(crate) fn admit(&mut self, line: &str, now: Instant) -> bool {
        let key = key(line);
        if let Some(kind) = self.kinds.iter_mut().find(|kind| kind.key == key) {
            if kind.shown < SHOWN {
                kind.shown += 1;
                return true;
            }
            kind.hidden += 1;
            line.clone_into(&mut kind.last);
            return false;
        }
        if self.kinds.len() == KINDS {
            // The oldest that hides nothing: a count is not lost.
            match self.kinds.iter().position(|kind| kind.hidden == 0) {
                Some(oldest) => drop(self.kinds.remove(oldest)),
                None => return true,
            }
        }
        self.kinds.push(Kind {
            key,
            since: now,
            shown: 1,
            hidden: 0,
            last: String::new(),
        });
        true
    }

    /// The counts that are to be printed now; `at_the_end` all there are.
    pub(crate) fn due(&mut self, now: Instant, at_the_end: bool) -> Vec<String> {
        let mut counts = Vec::new();
        self.kinds.retain_mut(|kind| {
            let age = now.saturating_duration_since(kind.since);
            if age < WINDOW && !at_the_end {
                return true;
            }
            if kind.hidden == 0 {
                return false;
            }
            counts.push(format!(
                "{} more lines like this one within {} s: {}",
                kind.hidden,
                age.as_secs_f64().ceil(),
                kind.last
            ));
            kind.hidden = 0;
            kind.since = now;
            true
        });
        counts
    }
}

/// What lines of one kind have in common.
fn key(line: &str) -> String {
    let plain = without_colours(line);
    let mut words = plain.trim_start().splitn(2, ' ');
    let rest = match (words.next(), words.next()) {
        (Some(first), Some(rest)) if is_time(first) => rest.trim_start(),
        _ => plain.trim_start(),
    };
    if !rest.starts_with("WARN") && !rest.starts_with("ERROR") {
        return rest.to_owned();
    }
    let mut key = String::with_capacity(rest.len());
    let mut word = String::new();
    for character in rest.chars().chain([' ']) {
        if character.is_alphanumeric() {
            word.push(character);
            continue;
        }
        let has_digit = word.contains(|c: char| c.is_ascii_digit());
        key.push_str(if has_digit { "0" } else { &word });
        word.clear();
        key.push(character);
    }
    key
}

fn is_time(word: &str) -> bool {
    word.len() >= 20 && word.ends_with('Z') && word.starts_with(|c: char| c.is_ascii_digit())
}

/// The line without the escape sequences of colours.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(second: u32, offset: u32) -> String {
        format!(
            "2026-11-21T15:31:{second:02}.327164Z ERROR append refused topic=\"a\" offset={offset} error=no space left"
        )
    }

    #[test]
    fn the_same_problem_is_a_few_lines_and_a_count() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let shown = (0..1000)
            .filter(|offset| repeats.admit(&refused(1, *offset), start))
            .count();
        assert_eq!(shown, 3);
        assert_eq!(repeats.due(start, false), Vec::<String>::new());
        let expected = format!(
            "997 more lines like this one within 10 s: {}",
            refused(1, 999)
        );
        assert_eq!(repeats.due(start + WINDOW, false), [expected]);
    }

    #[test]
    fn a_problem_that_goes_on_is_one_line_a_window_and_one_that_came_back_is_shown_again() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        for offset in 0..4 {
            repeats.admit(&refused(1, offset), start);
        }
        assert_eq!(repeats.due(start + WINDOW, false).len(), 1);
        assert!(!repeats.admit(&refused(12, 5), start + WINDOW));
        assert_eq!(repeats.due(start + WINDOW, true).len(), 1);
        assert_eq!(repeats.due(start + WINDOW * 2, false), Vec::<String>::new());
        assert!(repeats.admit(&refused(30, 6), start + WINDOW * 2));
    }

    #[test]
    fn ordinary_lines_that_differ_in_a_number_are_all_shown() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let line = |counter: u32| {
            format!("2026-11-21T15:31:01.1Z  INFO message received counter={counter}")
        };
        assert!((0..1000).all(|counter| repeats.admit(&line(counter), now)));
    }

    #[test]
    fn colours_and_time_make_no_difference() {
        let coloured = "\x1b[2m2026-11-21T15:31:01.327164Z\x1b[0m \x1b[31mERROR\x1b[0m append refused \x1b[3moffset\x1b[0m\x1b[2m=\x1b[0m7";
        assert_eq!(key(coloured), "ERROR append refused offset=0 ");
    }
}
