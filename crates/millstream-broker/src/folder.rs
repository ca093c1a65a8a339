//! The data folder of a broker: its one owner, its format version, and its identity.
//!
//! `<data>/lock` is locked by the running broker and names its process; `<data>/millstream.json` says which format
//! the folder has and which cluster it is. A folder of a newer format, or one that another process holds, is
//! refused. What lies in `topics/` and the other files belongs to their owners.
//!
//! The lock belongs to the open file, so the kernel frees it when the process dies in whatever way.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::snapshot::{Durability, Kind};

const FORMAT: Kind = Kind {
    magic: "millstream-data",
    newest: 2,
};

/// Files that a folder has since they were first made: without one, what it held is lost.
const LASTING: [&str; 3] = ["groups.journal", "transactions.journal", "producer-ids"];

/// A data folder that this process owns for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    identity: Identity,
    _lock: File,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    cluster_id: String,
    /// Whether the lasting files were made.
    #[serde(default)]
    complete: bool,
}

impl Folder {
    /// Opens the folder, creating it when missing, and takes its lock.
    pub(crate) fn open(path: &Path) -> Result<Folder, Error> {
        raise_open_files();
        fs::create_dir_all(path.join("topics")).map_err(Error::file("create", path))?;
        let lock = lock(path)?;
        let file = path.join("millstream.json");
        let identity = match FORMAT.read::<Identity>(&file)? {
            Some(identity) => identity,
            None => {
                // Kafka's cluster ids look like this: sixteen random bytes in URL-safe base64.
                let identity = Identity {
                    cluster_id: base64(Uuid::new_v4().as_bytes()),
                    complete: false,
                };
                FORMAT.write(&file, &identity, Durability::Disk)?;
                identity
            }
        };
        Ok(Folder {
            path: path.to_path_buf(),
            identity,
            _lock: lock,
        })
    }

    /// Refuses a folder that has lost a file: made anew, it would hide that.
    pub(crate) fn check_complete(&self) -> Result<(), Error> {
        if self.identity.complete {
            for name in LASTING {
                let path = self.path.join(name);
                fs::metadata(&path).map_err(Error::file("open", &path))?;
            }
        }
        Ok(())
    }

    /// Notes that the lasting files are there.
    pub(crate) fn note_complete(&mut self) -> Result<(), Error> {
        if !self.identity.complete {
            self.identity.complete = true;
            let file = self.path.join("millstream.json");
            FORMAT.write(&file, &self.identity, Durability::Disk)?;
        }
        Ok(())
    }

    /// Where the folder is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name this cluster has had since the folder was created.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.identity.cluster_id
    }
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(Error::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => {
            let pid = format!("{}\n", std::process::id());
            file.set_len(0)
                .and_then(|()| file.write_all(pid.as_bytes()))
                .map_err(Error::file("write", &path))?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.seek(SeekFrom::Start(0))
                .and_then(|_| file.read_to_string(&mut holder))
                .ok();
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                pid => format!("process {pid}"),
            };
            Err(Error::Locked {
                path: folder.to_path_buf(),
                holder,
            })
        }
        Err(TryLockError::Error(source)) => Err(Error::file("lock", &path)(source)),
    }
}

/// Lets this process have as many files open as the system allows: every partition in use has one, and the usual
/// soft limit of 1024 is for programs that call select(2).
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "failed to raise the limit of open files");
        }
    }
}

/// URL-safe base64 without padding, as Kafka writes its uuids.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0_u32, |group, byte| (group << 8) | u32::from(*byte));
        for place in 0..=chunk.len() as u32 {
            let digit = (group >> (18 - 6 * place)) & 0x3f;
            text.extend(ALPHABET.get(digit as usize).map(|byte| char::from(*byte)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_cluster_id() {
        let data = tempfile::tempdir().unwrap();
        let first = Folder::open(data.path()).unwrap();
        let id = first.cluster_id().to_owned();
        assert_eq!(id.len(), 22);
        drop(first);
        assert_eq!(Folder::open(data.path()).unwrap().cluster_id(), id);
    }

    #[test]
    fn a_second_owner_is_told_the_holders_process() {
        let data = tempfile::tempdir().unwrap();
        let _first = Folder::open(data.path()).unwrap();
        let error = Folder::open(data.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "data folder `{}` is in use by process {}",
                data.path().display(),
                std::process::id()
            )
        );
    }

    #[test]
    fn a_newer_format_is_refused_with_both_versions() {
        let data = tempfile::tempdir().unwrap();
        drop(Folder::open(data.path()).unwrap());
        let file = data.path().join("millstream.json");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(
            &file,
            text.replacen("millstream-data 2", "millstream-data 9", 1),
        )
        .unwrap();
        assert_eq!(
            Folder::open(data.path()).unwrap_err().to_string(),
            format!(
                "format version 9 of `{}` is unknown, this release reads up to 2",
                file.display()
            )
        );
    }

    #[test]
    fn a_path_that_is_no_folder_is_named() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("plain");
        fs::write(&file, "not a folder").unwrap();
        let error = Folder::open(&file).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("failed to create `{}`", file.display())
        );
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg");
        assert_eq!(base64(b"fo"), "Zm8");
        assert_eq!(base64(b"foo"), "Zm9v");
        assert_eq!(base64(&[0xfb, 0xff]), "-_8");
    }
}
