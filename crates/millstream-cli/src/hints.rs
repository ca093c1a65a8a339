//! The next thing to try, for errors that most people meet first.
//!
//! An error says what was wrong; what to do about it depends on the command line, so it stands here and not in the
//! library or the broker.

use std::ffi::OsString;
use std::io;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use millstream_broker::Error as Broker;

use crate::reach::Refused;

const NO_CLUSTER: &str = "is the cluster running? `millstream broker` starts one here; --brokers host:port names another";

/// What to try after `error`, if we know something that helps.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    if error.is::<Refused>() {
        return Some(NO_CLUSTER.to_owned());
    }
    if let Some(error) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Broker>())
    {
        return broker(error);
    }
    // A transparent error does not show what it wraps in the chain.
    let wrapped = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(millstream_systems::Error::Library(error)) => Some(error),
        _ => cause.downcast_ref::<millstream::Error>(),
    });
    library(wrapped?)
}

/// What to write when a value that begins with a minus was taken for an option.
pub(crate) fn for_a_minus(error: &mut clap::Error, words: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(taken)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    if error.kind() != ErrorKind::UnknownArgument || taken.starts_with("--") {
        return None;
    }
    // An unknown short option is named by its first letter alone.
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let at = words
        .iter()
        .position(|word| word.starts_with(taken.as_str()))?;
    let (word, before) = (words.get(at)?, words.get(at.checked_sub(1)?)?);
    let text = if before.starts_with("--") && !before.contains('=') {
        format!("hint: to give {before} a value that begins with a minus, write {before}={word}")
    } else {
        format!("hint: if `{word}` is a value, write it after `--`: .. -- '{word}'")
    };
    // The library's own advice names half of the word.
    error.remove(ContextKind::Suggested);
    Some(text)
}

fn broker(error: &Broker) -> Option<String> {
    Some(match error {
        Broker::Listen { address, source } if source.kind() == io::ErrorKind::AddrInUse => format!(
            "another program listens there, perhaps a broker; use it with --brokers {address}, or take a free port with --listen {}:0",
            address.ip()
        ),
        Broker::Listen { address, source } if source.kind() == io::ErrorKind::PermissionDenied => {
            format!(
                "ports below 1024 belong to the administrator; try --listen {}:9092",
                address.ip()
            )
        }
        Broker::Listen { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; try --listen 127.0.0.1:9092".to_owned()
        }
        Broker::LetsAnyoneIn { .. } => {
            "let clients log in with `millstream broker --listen sasl_ssl://HOST:PORT`, or say that anyone may connect with --allow-anyone"
                .to_owned()
        }
        Broker::AclsWithoutSuperUser { .. } => {
            "name a super user with --super-user NAME, or remove the file to let everybody do everything"
                .to_owned()
        }
        Broker::Locked { .. } => {
            "one folder has one broker: stop that process, or name another folder with --data"
                .to_owned()
        }
        Broker::File { path, source, .. } => return file(&path.display().to_string(), source),
        Broker::FormatVersion { .. } => {
            "it was written by a newer release: use that one, or another folder with --data"
                .to_owned()
        }
        _ => return None,
    })
}

fn file(path: &str, source: &io::Error) -> Option<String> {
    Some(match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!("`{path}` cannot be written; name a folder of yours with --data")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!(
                "there is no space left for `{path}`; free some, or name a folder on another disk with --data"
            )
        }
        io::ErrorKind::NotADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::IsADirectory => {
            format!("`{path}` is in the way; name another folder with --data")
        }
        _ => return None,
    })
}

fn library(error: &millstream::Error) -> Option<String> {
    use millstream::Error;
    Some(match error {
        Error::UnknownTopic { .. } => {
            "`millstream topics list` shows the topics there are".to_owned()
        }
        Error::UnknownGroup { .. } => {
            "`millstream groups list` shows the groups there are".to_owned()
        }
        Error::GroupActive { group, .. } => format!(
            "stop the members of the group first; `millstream groups describe {group}` shows them"
        ),
        Error::TopicMismatch {
            topic,
            property: "partitions",
            ..
        } => format!(
            "remove --partitions to use the topic as it is, or see `millstream topics alter {topic} --partitions`"
        ),
        Error::Kafka {
            class: millstream::Class::Retriable,
            ..
        } => NO_CLUSTER.to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context;

    use super::*;

    fn listen(kind: io::ErrorKind) -> Option<String> {
        let error = Broker::Listen {
            address: "127.0.0.1:9092".parse().unwrap(),
            source: kind.into(),
        };
        let error: Result<(), _> = Err(error);
        hint(&error.context("failed to start").unwrap_err())
    }

    #[test]
    fn a_port_in_use_names_both_ways_out() {
        assert_eq!(
            listen(io::ErrorKind::AddrInUse).unwrap(),
            "another program listens there, perhaps a broker; use it with --brokers 127.0.0.1:9092, or take a free port with --listen 127.0.0.1:0"
        );
        assert_eq!(
            listen(io::ErrorKind::PermissionDenied).unwrap(),
            "ports below 1024 belong to the administrator; try --listen 127.0.0.1:9092"
        );
        assert_eq!(listen(io::ErrorKind::Other), None);
    }

    /// Faults 37 and 40: a full disk and a folder that cannot be written.
    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_what_to_do() {
        let file = |kind: io::ErrorKind| Broker::File {
            verb: "create",
            path: PathBuf::from("/data"),
            source: kind.into(),
        };
        let text = |kind| hint(&file(kind).into()).unwrap();
        assert_eq!(
            text(io::ErrorKind::PermissionDenied),
            "`/data` cannot be written; name a folder of yours with --data"
        );
        assert_eq!(
            text(io::ErrorKind::StorageFull),
            "there is no space left for `/data`; free some, or name a folder on another disk with --data"
        );
    }
}
