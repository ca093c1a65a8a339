//! `topic.json`: what a topic is, beside its records; written whole, replaced by rename.
//!
//! The file starts with the name of its format and a version; a newer version is refused. A topic's folder is made
//! beside its place and renamed into it, so that a kill leaves either no topic or a whole one.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::config::Overrides;
use crate::error::Error;

const NAME: &str = "topic.json";
const FORMAT: &str = "millstream-topic";
const VERSION: u32 = 1;

/// The content of `topic.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicFile {
    format: String,
    version: u32,
    pub(super) id: Uuid,
    pub(super) partitions: i32,
    pub(super) configs: Overrides,
}

impl TopicFile {
    /// A topic that does not exist yet.
    pub(super) fn new(partitions: i32, configs: &Overrides) -> TopicFile {
        TopicFile::of(Uuid::new_v4(), partitions, configs)
    }

    /// A topic that exists.
    pub(super) fn of(id: Uuid, partitions: i32, configs: &Overrides) -> TopicFile {
        TopicFile {
            format: FORMAT.to_owned(),
            version: VERSION,
            id,
            partitions,
            configs: configs.clone(),
        }
    }
}

/// What stands first in every version of the file.
#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u32,
}

/// Reads the file of the topic in `dir`.
pub(super) fn read(dir: &Path) -> Result<TopicFile, Error> {
    let path = dir.join(NAME);
    let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
    let corrupt = |reason: String| Error::Corrupt {
        path: path.clone(),
        position: 0,
        reason,
    };
    let preamble: Preamble =
        serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    if preamble.format != FORMAT {
        return Err(corrupt(format!(
            "format is `{}`, not `{FORMAT}`",
            preamble.format
        )));
    }
    if preamble.version != VERSION {
        return Err(Error::FormatVersion {
            path,
            found: preamble.version,
            newest: VERSION,
        });
    }
    serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))
}

/// Makes the folder of a new topic with all that belongs into it.
pub(super) fn create(dir: &Path, file: &TopicFile) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    for index in 0..file.partitions {
        let partition = dir.join(index.to_string());
        fs::create_dir(&partition).map_err(Error::file("create", &partition))?;
    }
    write(dir, file)
}

/// Replaces the file of the topic in `dir`.
pub(super) fn write(dir: &Path, file: &TopicFile) -> Result<(), Error> {
    let (path, draft) = (dir.join(NAME), dir.join("topic.json.new"));
    let json = serde_json::to_vec_pretty(file).map_err(|error| Error::File {
        verb: "encode",
        path: path.clone(),
        source: error.into(),
    })?;
    let write = || -> std::io::Result<()> {
        let mut out = File::create(&draft)?;
        out.write_all(&json)?;
        out.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(Error::file("write", &path))
}

/// Renames a topic's folder and makes the new name durable.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    let rename = || -> std::io::Result<()> {
        fs::rename(from, to)?;
        match to.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    rename().map_err(Error::file("rename", from))
}
