//! Where a setting was given, so that an error about it names the place to correct.
//!
//! A setting comes from an option, an environment variable or a key of the file. Which of them it was is known only
//! where it is read; it is kept beside the value from there on.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::File;

/// The place where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An option of the command line, as it is written there.
    Option(&'static str),
    /// An environment variable.
    Variable(String),
    /// A key of the configuration file.
    Key {
        /// The file.
        path: PathBuf,
        /// The key, tables joined by dots.
        key: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(option) => write!(f, "option `{option}`"),
            Self::Variable(variable) => write!(f, "environment variable `{variable}`"),
            Self::Key { path, key } => write!(f, "`{key}` in `{}`", path.display()),
        }
    }
}

impl File {
    /// Where the brokers were given, if anywhere.
    pub(crate) fn origin_of_brokers(&self, matches: &ArgMatches) -> Option<Origin> {
        match matches.value_source("brokers")? {
            ValueSource::CommandLine => Some(Origin::Option("--brokers")),
            ValueSource::EnvVariable => Some(Origin::Variable("KAFKA_BROKERS".to_owned())),
            _ => Some(self.key("brokers".to_owned())),
        }
    }

    pub(super) fn key(&self, key: String) -> Origin {
        Origin::Key {
            path: self.path.clone(),
            key,
        }
    }

    /// Where the value that `error` refuses was given; `None` when it is on the command line, where it can be seen.
    pub(crate) fn origin_of_refused(
        &self,
        error: &clap::Error,
        command: &Command,
        words: &[OsString],
    ) -> Option<Origin> {
        let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
            return None;
        };
        let name = shown.strip_prefix("--")?;
        let name = name.split([' ', '=']).next()?;
        let (command, path) = innermost(command, words);
        let option = command
            .get_arguments()
            .find(|option| option.get_long() == Some(name))?;
        if is_among(option, words) {
            return None;
        }
        let variable = option.get_env().and_then(|variable| variable.to_str());
        if let Some(variable) = variable.filter(|name| std::env::var_os(name).is_some()) {
            return Some(Origin::Variable(variable.to_owned()));
        }
        // An option of every command stands at the top of the file, or in the command's table.
        let keys = [[&path[..], &[name]].concat().join("."), name.to_owned()];
        keys.into_iter()
            .find(|key| self.holds(key))
            .map(|key| self.key(key))
    }

    fn holds(&self, key: &str) -> bool {
        let mut tables = key.split('.');
        let first = tables.next().and_then(|name| self.options.get(name));
        tables
            .try_fold(first, |value, name| value.map(|value| value.get(name)))
            .flatten()
            .is_some()
    }
}

/// The options of every command that are on this command line.
pub(crate) fn given(matches: &ArgMatches) -> Vec<&'static str> {
    let all = [
        ("brokers", "--brokers"),
        ("properties", "-X"),
        ("http", "--http"),
    ];
    let is_given =
        |matches: &ArgMatches, id| matches.value_source(id) == Some(ValueSource::CommandLine);
    let listen = matches
        .subcommand_matches("up")
        .filter(|up| is_given(up, "listen"))
        .map(|_| "--listen");
    all.into_iter()
        .filter(|(id, _)| is_given(matches, id))
        .map(|(_, option)| option)
        .chain(listen)
        .collect()
}

/// The command that `words` name, and the names that lead to it.
fn innermost<'a>(command: &'a Command, words: &'a [OsString]) -> (&'a Command, Vec<&'a str>) {
    let mut found = (command, Vec::new());
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(inner) = found.0.find_subcommand(word) {
            found.0 = inner;
            found.1.push(word);
        }
    }
    found
}

fn is_among(option: &Arg, words: &[OsString]) -> bool {
    let long = option.get_long().map(|long| format!("--{long}"));
    let short = option.get_short().map(|short| format!("-{short}"));
    words.iter().filter_map(|word| word.to_str()).any(|word| {
        let is_long = |long: &String| word.split('=').next() == Some(long);
        let is_short = |short: &String| word.starts_with(short.as_str());
        long.as_ref().is_some_and(is_long) || short.as_ref().is_some_and(is_short)
    })
}
