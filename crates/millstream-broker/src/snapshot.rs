//! Small files that are always replaced whole: what they have in common on disk.
//!
//! A first line `<magic> <version> <crc32c>` and below it one JSON document that the checksum covers, so that a
//! person can read the file and a program can trust it. Replacing writes a temporary file and renames it over the
//! old one: after a kill either the old or the new state is there, never a mixture. With `Durability::Disk` the
//! file and its folder are also forced to the disk, so the same holds after a power cut.
//! What the documents mean belongs to their owners.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::descriptors::with_descriptor;
use crate::error::Error;
use crate::failpoint;

/// What a replaced file has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The death of this process: the page cache is enough.
    Process,
    /// The loss of power.
    Disk,
}

/// The kind of a file: its first word, and the newest version of its document that this release knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) magic: &'static str,
    pub(crate) newest: u32,
}

impl Kind {
    /// Replaces the file by `document`.
    pub(crate) fn write<T: Serialize>(
        self,
        path: &Path,
        document: &T,
        durability: Durability,
    ) -> Result<(), Error> {
        let body = serde_json::to_vec(document)
            .map_err(io::Error::other)
            .map_err(Error::file("encode", path))?;
        let mut bytes = format!(
            "{} {} {:08x}\n",
            self.magic,
            self.newest,
            crc32c::crc32c(&body)
        )
        .into_bytes();
        bytes.extend_from_slice(&body);
        bytes.push(b'\n');
        replace(path, &bytes, durability)
    }

    /// The same, forced to the disk, for what only the owner of this process may read.
    pub(crate) fn write_private<T: Serialize>(
        self,
        path: &Path,
        document: &T,
    ) -> Result<(), Error> {
        // Made with its mode before a byte is in it: who opens a file keeps what the mode was then.
        let temporary = temporary(path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        with_descriptor(|| options.open(&temporary)).map_err(Error::file("create", &temporary))?;
        failpoint::reached()?;
        self.write(path, document, Durability::Disk)
    }

    /// The document, or `None` when there is no such file.
    pub(crate) fn read<T: DeserializeOwned>(self, path: &Path) -> Result<Option<T>, Error> {
        let bytes = match with_descriptor(|| fs::read(path)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let corrupt = |position: usize, reason: String| Error::Corrupt {
            path: path.to_path_buf(),
            position: position as u64,
            reason,
        };
        let end = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(bytes.len());
        let (head, rest) = bytes.split_at(end);
        let body = rest.trim_ascii();
        let head = String::from_utf8_lossy(head);
        let mut words = head.split(' ');
        if words.next() != Some(self.magic) {
            return Err(corrupt(
                0,
                format!("it does not begin with `{}`", self.magic),
            ));
        }
        let Some(version) = words.next().and_then(|word| word.parse::<u32>().ok()) else {
            return Err(corrupt(
                self.magic.len(),
                "the format version is no number".to_owned(),
            ));
        };
        if version == 0 || version > self.newest {
            return Err(Error::FormatVersion {
                path: path.to_path_buf(),
                found: version,
                newest: self.newest,
            });
        }
        let expected = words
            .next()
            .and_then(|word| u32::from_str_radix(word, 16).ok());
        if expected != Some(crc32c::crc32c(body)) {
            return Err(corrupt(
                end,
                "the checksum of the first line does not match what follows".to_owned(),
            ));
        }
        serde_json::from_slice(body)
            .map(Some)
            .map_err(|error| corrupt(end, error.to_string()))
    }
}

/// Replaces a file by one of these bytes.
pub(crate) fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), Error> {
    let temporary = temporary(path);
    failpoint::reached()?;
    let cleaned_up = |source| {
        // The old file stays valid; the half-written one is only in the way.
        fs::remove_file(&temporary).ok();
        Error::file("write", path)(source)
    };
    put(&temporary, bytes, durability).map_err(cleaned_up)?;
    failpoint::reached()?;
    fs::rename(&temporary, path).map_err(cleaned_up)?;
    failpoint::reached()?;
    match (durability, path.parent()) {
        (Durability::Disk, Some(folder)) => sync_folder(folder),
        _ => Ok(()),
    }
}

/// Forces the entries of a folder (created, renamed and removed files) to the disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    with_descriptor(|| File::open(folder))
        .and_then(|folder| folder.sync_all())
        .map_err(Error::file("sync", folder))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// Makes a file of these bytes.
fn put(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    #[cfg(test)]
    crate::log::faults::take(bytes.len())?;
    let mut file = with_descriptor(|| File::create(path))?;
    file.write_all(bytes)?;
    match durability {
        Durability::Process => Ok(()),
        Durability::Disk => file.sync_data(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        magic: "millstream-example",
        newest: 2,
    };

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("example");
        assert_eq!(KIND.read::<Vec<i64>>(&path).unwrap(), None);
        for durability in [Durability::Process, Durability::Disk] {
            KIND.write(&path, &vec![1_i64, 2], durability).unwrap();
            assert_eq!(KIND.read::<Vec<i64>>(&path).unwrap(), Some(vec![1, 2]));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("example");
        KIND.write(&path, &vec![10_i64, 20], Durability::Process)
            .unwrap();
        let bytes = fs::read(&path).unwrap();
        for position in 0..bytes.len() - 1 {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let read = KIND.read::<Vec<i64>>(&path);
            assert!(
                read.is_err(),
                "byte {position} of {:?} gave {read:?}",
                String::from_utf8_lossy(&damaged)
            );
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("example");
        Kind { newest: 3, ..KIND }
            .write(&path, &vec![1_i64], Durability::Process)
            .unwrap();
        let error = KIND.read::<Vec<i64>>(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "format version 3 of `{}` is unknown, this release reads up to 2",
                path.display()
            )
        );
    }
}
