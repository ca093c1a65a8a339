//! Where settings come from: defaults < `millstream.toml` < environment < flags, resolved once, before anything runs.
//!
//! The file has the shape of the command line: `[messages.send]` holds the long options of `millstream messages send`
//! and its values become the defaults of those options, so that `--help` shows what is in force and environment and
//! flags win by themselves. `[kafka]` holds properties of the Kafka client; they also come from
//! `MILLSTREAM_PROPERTY_<NAME>` and from `-X name=value`. A key that nothing knows is an error with the nearest name, and
//! every error names the place where the setting was given (`origin`).
//!
//! A secret never comes from a flag, for flags are seen by everyone who lists processes, and no error text here
//! contains a value.

mod origin;
mod properties;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{ArgAction, Command};
use toml::{Table, Value};

pub(crate) use origin::{Origin, given};
pub(crate) use properties::Property;

/// The file that is read when it lies in the working directory and no other is named.
const FILE: &str = "millstream.toml";
/// Names another file.
const FILE_VARIABLE: &str = "MILLSTREAM_CONFIG";
/// The process that supervises this one.
pub(crate) const SUPERVISOR_VARIABLE: &str = "MILLSTREAM_SUPERVISOR";
/// Options that make no sense in a file.
const FLAGS_ONLY: [&str; 3] = ["config", "help", "version"];

/// A configuration file, read and checked for syntax.
#[derive(Debug, Default)]
pub(crate) struct File {
    path: PathBuf,
    options: Table,
    /// The `[kafka]` table, names joined by dots.
    pub(crate) properties: Vec<Property>,
}

impl File {
    /// The file that `--config` in `arguments` or the environment names, else `millstream.toml` if there is one.
    pub(crate) fn find(arguments: &[OsString]) -> anyhow::Result<Self> {
        let named = named_in(arguments).map(|path| (path, Origin::Option("--config")));
        let named = named.or_else(|| {
            let path = std::env::var_os(FILE_VARIABLE)?;
            Some((path, Origin::Variable(FILE_VARIABLE.to_owned())))
        });
        match named {
            Some((path, origin)) => {
                Self::read(Path::new(&path), true).with_context(|| origin.to_string())
            }
            None if Path::new(FILE).exists() => Self::read(Path::new(FILE), false),
            None => Ok(Self::default()),
        }
    }

    /// Reads `path`; a file that was only found, not `named` by the user, may not make us run other people's code.
    fn read(path: &Path, named: bool) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("failed to read the configuration file `{}`", path.display())
        })?;
        Self::parse(path, &text, named)
    }

    fn parse(path: &Path, text: &str, named: bool) -> anyhow::Result<Self> {
        let mut options: Table = text
            .parse()
            .map_err(|error| syntax_error(path, text, &error))?;
        let properties = match options.remove("kafka") {
            None => Vec::new(),
            Some(Value::Table(table)) => properties::from_table(path, &table, named)?,
            Some(_) => bail!("`kafka` in `{}` must be a table: [kafka]", path.display()),
        };
        Ok(Self {
            path: path.to_owned(),
            options,
            properties,
        })
    }

    /// The command line with the values of this file as its defaults.
    pub(crate) fn apply(&self, command: Command) -> anyhow::Result<Command> {
        self.apply_table(command, &self.options, "")
    }

    fn apply_table(
        &self,
        mut command: Command,
        table: &Table,
        place: &str,
    ) -> anyhow::Result<Command> {
        for (key, value) in table {
            let place = if place.is_empty() {
                key.clone()
            } else {
                format!("{place}.{key}")
            };
            if let Value::Table(inner) = value
                && let Some(sub) = command.find_subcommand(key)
            {
                let sub = self.apply_table(sub.clone(), inner, &place)?;
                command = command.mut_subcommand(key, |_| sub);
            } else if let Some(id) = option_id(&command, key) {
                let values = texts(value).with_context(|| self.wrong_type(&place))?;
                let option = command.get_arguments().find(|arg| *arg.get_id() == id);
                if let Some(example) = option.and_then(address)
                    && !has_texts(value)
                {
                    bail!(
                        "{} must be a text: {key} = \"{example}\"",
                        self.wrong_type(&place)
                    );
                }
                let repeats =
                    option.is_some_and(|arg| matches!(arg.get_action(), ArgAction::Append));
                if values.len() != 1 && !repeats {
                    bail!(
                        "`{place}` in `{}` takes one value, not a list",
                        self.path.display()
                    );
                }
                command = command.mut_arg(id, |arg| arg.default_values(values));
            } else if command.find_subcommand(key).is_some() {
                bail!(
                    "`{place}` in `{}` must be a table: [{place}]",
                    self.path.display()
                );
            } else {
                return Err(self.unknown_key(&command, key, &place));
            }
        }
        Ok(command)
    }

    fn unknown_key(&self, command: &Command, key: &str, place: &str) -> anyhow::Error {
        let subcommands = command
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned());
        let mut known: Vec<String> = options(command).chain(subcommands).collect();
        if !place.contains('.') {
            known.push("kafka".to_owned());
        }
        let mut text = format!("unknown key `{place}` in `{}`", self.path.display());
        match nearest(key, known.iter().map(String::as_str)) {
            Some(near) => text.push_str(&format!("; did you mean `{near}`?")),
            None if known.is_empty() => text.push_str("; this command has no options of its own"),
            None => text.push_str(&format!("; known here: {}", known.join(", "))),
        }
        anyhow::anyhow!(text)
    }

    fn wrong_type(&self, place: &str) -> String {
        format!("`{place}` in `{}`", self.path.display())
    }
}

/// The properties of the Kafka client in force: file < environment < flags.
pub(crate) fn resolve_properties(file: &File, flags: &[String]) -> anyhow::Result<Vec<Property>> {
    let mut all = file.properties.clone();
    all.extend(properties::from_environment(std::env::vars_os())?);
    all.extend(properties::from_flags(flags)?);
    Ok(all)
}

/// Whether colours may be used where a terminal would show them (<https://no-color.org>).
pub(crate) fn colours_allowed() -> bool {
    has_colours(std::env::var_os("NO_COLOR"), std::env::var_os("TERM"))
}

fn has_colours(no_color: Option<OsString>, term: Option<OsString>) -> bool {
    no_color.is_none_or(|value| value.is_empty()) && can_redraw(term)
}

/// Whether a terminal can move its cursor, so that a status can be drawn over the one before.
pub(crate) fn redrawing_allowed() -> bool {
    can_redraw(std::env::var_os("TERM"))
}

fn can_redraw(term: Option<OsString>) -> bool {
    term.is_none_or(|term| term != "dumb")
}

/// The shell that asks for candidates, if `variable` names one.
pub(crate) fn completing(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|shell| !shell.is_empty())
}

/// The process id of our supervisor, when we run under one.
pub(crate) fn supervisor() -> Option<i32> {
    std::env::var_os(SUPERVISOR_VARIABLE)?
        .to_str()?
        .parse()
        .ok()
}

/// The candidate that a person most likely meant by `name`.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// `--config FILE` among raw arguments: needed before they can be parsed, for the file holds defaults for the parse.
fn named_in(arguments: &[OsString]) -> Option<OsString> {
    let mut arguments = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().cloned();
        }
        if let Some(path) = argument
            .to_str()
            .and_then(|text| text.strip_prefix("--config="))
        {
            return Some(path.into());
        }
    }
    None
}

fn options(command: &Command) -> impl Iterator<Item = String> + '_ {
    let keys = command.get_arguments().filter(|arg| is_key(arg));
    keys.filter_map(|arg| arg.get_long()).map(str::to_owned)
}

fn option_id(command: &Command, key: &str) -> Option<clap::Id> {
    let mut keys = command.get_arguments().filter(|arg| is_key(arg));
    keys.find(|arg| arg.get_long() == Some(key))
        .map(|arg| arg.get_id().clone())
}

/// Whether a file may set the option: a hidden one is for processes that this program starts.
fn is_key(option: &clap::Arg) -> bool {
    let long = option.get_long();
    long.is_some_and(|long| !FLAGS_ONLY.contains(&long)) && !option.is_hide_set()
}

/// What is written for an option that is an address. A number would be taken for the name of a host.
fn address(option: &clap::Arg) -> Option<&'static str> {
    let name = option.get_value_names()?.first()?;
    name.ends_with("HOST:PORT").then_some("host:port")
}

fn has_texts(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().all(Value::is_str),
        one => one.is_str(),
    }
}

fn texts(value: &Value) -> anyhow::Result<Vec<String>> {
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

fn text(value: &Value) -> anyhow::Result<String> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(at) => at.to_string(),
        Value::Array(_) | Value::Table(_) => {
            bail!("a text, a number, true or false is expected here")
        }
    })
}

/// The parser's message with its place but without the line itself, which may hold a secret.
fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |last| last.chars().count())
        + 1;
    anyhow::anyhow!(
        "`{}` is not valid TOML at line {line}, column {column}: {}",
        path.display(),
        error.message()
    )
}

#[cfg(test)]
mod tests;
