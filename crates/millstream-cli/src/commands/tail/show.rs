//! What `tail` prints of a record, and which records.
//!
//! A terminal never gets a control character of a record unless `--raw` asks for it: see `escape`. A pipe or a file gets the
//! bytes as they are, but in the one-line form, where a line feed would end the record.

use std::io::{self, IsTerminal};

use anyhow::Context;
use regex::bytes::Regex;

use crate::escape;
use crate::output::Output;
use crate::record_format::{Controls, Format, Shown, write_line};
use crate::record_json::JsonRecord;

/// Which records are shown, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only records whose key or value matches this regular expression
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,
    /// Only records with this key
    #[arg(long, short, value_name = "TEXT")]
    key: Option<String>,
    /// Prints one line per record: time, partition and offset, key, value, headers. Default at a terminal
    #[arg(long, short, conflicts_with_all = ["json", "format"])]
    long: bool,
    /// Prints each record in this format: %s value, %S its length, %k key, %K its length, %t topic, %p partition, %o offset, %T time in ms, %h headers
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<String>,
    /// Prints each record as a JSON object, which `send --json` reads
    #[arg(long, short)]
    json: bool,
    /// With --json: on several lines, for people
    #[arg(long, requires = "json")]
    pretty: bool,
    /// Leaves control characters of records as they are, at a terminal too. A record can then recolour it or set its title
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

/// Prints records.
#[derive(Debug)]
pub(super) struct Show {
    output: Output,
    form: Form,
    controls: Controls,
    is_terminal: bool,
    grep: Option<Regex>,
    key: Option<Vec<u8>>,
    line: Vec<u8>,
}

#[derive(Debug)]
enum Form {
    Line,
    Format(Format),
    Json,
    PrettyJson,
}

impl Show {
    pub(super) fn new(options: &Options) -> anyhow::Result<Self> {
        let is_terminal = io::stdout().is_terminal();
        let form = match &options.format {
            Some(format) => Form::Format(Format::parse(format).context("--format")?),
            None if options.pretty => Form::PrettyJson,
            None if options.json => Form::Json,
            None if options.long || is_terminal => Form::Line,
            None => Form::Format(Format::value_lines()),
        };
        let escapes = !options.raw && (is_terminal || options.long);
        let grep = options.grep.as_deref().map(Regex::new).transpose();
        Ok(Self {
            output: Output::new(options.json),
            form,
            controls: if escapes {
                Controls::Escaped
            } else {
                Controls::Raw
            },
            is_terminal,
            grep: grep.context("--grep")?,
            key: options.key.clone().map(String::into_bytes),
            line: Vec::new(),
        })
    }

    /// At a terminal, says that the command runs: on a quiet topic nothing else would.
    pub(super) fn waiting(&self, topics: &[String]) {
        if self.is_terminal {
            tracing::info!(topics = topics.join(", "), "reading; Ctrl-C to stop");
        }
    }

    /// Prints `record` if it is wanted; whether it was.
    pub(super) fn record(&mut self, record: Shown) -> io::Result<bool> {
        if !self.wants(&record) {
            return Ok(false);
        }
        self.line.clear();
        match &self.form {
            Form::Line => write_line(&record, self.controls, &mut self.line)?,
            Form::Format(format) => format.write(&record, self.controls, &mut self.line)?,
            Form::Json => self.push_json(serde_json::to_string(&JsonRecord::of(&record)))?,
            Form::PrettyJson => {
                self.push_json(serde_json::to_string_pretty(&JsonRecord::of(&record)))?;
            }
        }
        self.output.bytes(&self.line)?;
        Ok(true)
    }

    fn push_json(&mut self, text: serde_json::Result<String>) -> io::Result<()> {
        self.line.extend(escape::json(text?).into_bytes());
        self.line.push(b'\n');
        Ok(())
    }

    fn wants(&self, record: &Shown) -> bool {
        let key_is = |key: &Vec<u8>| record.key.as_ref() == Some(key);
        let matches = |grep: &Regex| {
            let parts = [&record.key, &record.value];
            parts.into_iter().flatten().any(|part| grep.is_match(part))
        };
        self.key.as_ref().is_none_or(key_is) && self.grep.as_ref().is_none_or(matches)
    }

    /// Gives what was printed to the reader.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
