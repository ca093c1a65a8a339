//! Standard output, where data goes and nothing else: lines, tables for people, one JSON object a line for programs.
//!
//! Everything is buffered and flushed once per answer. A closed pipe is an ordinary `io::Error` here; `main` turns
//! it into success, for a reader that has seen enough is no failure of ours.

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

use crate::escape::{self, Layout};

/// The data side of a command.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    out: BufWriter<Stdout>,
}

impl Output {
    /// Standard output as text, or with `json` as JSON Lines.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            out: BufWriter::with_capacity(64 * 1024, io::stdout()),
        }
    }

    /// A line of text, control characters but for line feeds and tabs escaped.
    pub(crate) fn line(&mut self, line: impl Display) -> io::Result<()> {
        let mut safe = Vec::new();
        escape::push(line.to_string().as_bytes(), Layout::Keep, &mut safe);
        safe.push(b'\n');
        self.out.write_all(&safe)
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// One JSON object on a line of its own.
    pub(crate) fn object<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
        self.out.write_all(b"\n")
    }

    /// Rows of one kind: objects with JSON, else a table whose cells `cells` gives.
    pub(crate) fn rows<T: Serialize, const N: usize>(
        &mut self,
        heads: [&str; N],
        rows: &[T],
        cells: impl Fn(&T) -> [String; N],
    ) -> io::Result<()> {
        if self.json {
            for row in rows {
                self.object(row)?;
            }
        } else {
            // Names of groups and clients are anybody's text.
            let safe = |cell: String| escape::one_line(&cell).into_owned();
            let cells: Vec<[String; N]> = rows.iter().map(|row| cells(row).map(safe)).collect();
            self.out.write_all(table(heads, &cells).as_bytes())?;
        }
        self.flush()
    }

    /// Gives what was written to the reader.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A number with its noun: `1 record`, `2 records`.
pub(crate) fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// A value, or `-` where there is none.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A table with aligned columns; columns of numbers are aligned to the right.
pub(crate) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    aligned(&heads, rows)
}

/// The same for a number of columns that is known only at run time.
pub(crate) fn aligned(heads: &[&str], rows: &[impl AsRef<[String]>]) -> String {
    let mut text = String::new();
    let columns: Vec<(usize, bool)> = heads
        .iter()
        .enumerate()
        .map(|(column, head)| {
            let cells = || rows.iter().filter_map(move |row| row.as_ref().get(column));
            let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
            (
                width.max(head.chars().count()),
                !rows.is_empty() && cells().all(|cell| is_number(cell)),
            )
        })
        .collect();
    push_row(&mut text, &columns, heads.iter().copied());
    for row in rows {
        push_row(&mut text, &columns, row.as_ref().iter().map(String::as_str));
    }
    text
}

fn push_row<'a>(
    text: &mut String,
    columns: &[(usize, bool)],
    cells: impl Iterator<Item = &'a str>,
) {
    let start = text.len();
    for (position, (cell, &(width, right))) in cells.zip(columns).enumerate() {
        if position > 0 {
            text.push_str("  ");
        }
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
        if right {
            text.push_str(&padding);
        }
        text.push_str(cell);
        if !right {
            text.push_str(&padding);
        }
    }
    let end = text.get(start..).map_or(0, |row| row.trim_end().len());
    text.truncate(start + end);
    text.push('\n');
}

fn is_number(cell: &str) -> bool {
    cell == "-"
        || cell
            .chars()
            .all(|c| c.is_ascii_digit() || ".,%".contains(c))
            && !cell.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let rows = [
            ["alpha".to_owned(), "3".to_owned(), "x".to_owned()],
            ["b".to_owned(), "1200".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["NAME", "N", "LAST"], &rows),
            "NAME      N  LAST\nalpha     3  x\nb      1200\n"
        );
    }

    #[test]
    fn an_empty_table_is_its_head() {
        assert_eq!(table(["NAME", "N"], &[]), "NAME  N\n");
    }
}
