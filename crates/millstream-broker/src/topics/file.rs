//! `topic.json`: what a topic is, beside its records; and the folder of a topic, made whole or not at all.
//!
//! A topic's folder is made beside its place and renamed into it, so that a kill leaves either no topic or a
//! whole one. The file is replaced whole as `snapshot` does it.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::config::Overrides;
use crate::error::Error;
use crate::snapshot::{Durability, Kind, sync_folder};

const NAME: &str = "topic.json";
const FORMAT: Kind = Kind {
    magic: "millstream-topic",
    newest: 1,
};

/// The content of `topic.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicFile {
    pub(super) id: Uuid,
    pub(super) partitions: i32,
    pub(super) configs: Overrides,
}

/// Reads the file of the topic in `dir`; `None` when there is none.
pub(super) fn read(dir: &Path) -> Result<Option<TopicFile>, Error> {
    FORMAT.read(&dir.join(NAME))
}

/// Replaces the file of the topic in `dir`.
pub(super) fn write(dir: &Path, file: &TopicFile) -> Result<(), Error> {
    FORMAT.write(&dir.join(NAME), file, Durability::Disk)
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

/// Renames a topic's folder and makes the new name durable.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::file("rename", from))?;
    to.parent().map_or(Ok(()), sync_folder)
}
