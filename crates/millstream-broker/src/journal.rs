//! An append-only file of checked records, from which a state in memory is rebuilt at start.
//!
//! The owner decides what records mean, appends one before it changes its state, and hands in the live ones
//! when the file has grown to mostly dead ones and is written anew. A record that was appended is in the page cache, so that it
//! survives the death of this process; with `fsync`, [`Written::settle`] returns when it also survives a power cut.
//!
//! The file: a header of magic, version and checksum, then records.
//!
//! ```text
//! header  magic 8 | version u32 | crc32c of the 12 bytes before u32
//! record  mark u32 | length u32 | crc32c of position u64, length and payload u32 | payload
//! ```
//!
//! The mark says whether the payload is the owner's, the boot of the machine in which what follows was written (`Boot`), or the position
//! up to which the file is forced to the disk (all before the record itself if the payload is empty). With `fsync` such a note goes
//! before each record that follows a sync.
//!
//! The position in the checksum makes a record valid at its own place only. A broken end is what a kill leaves:
//! it is cut off and reported. A broken record with a valid one after it is damage: the file is refused, unless it was written in
//! another boot and no later note says that it was forced to the disk. Then power was lost, and the journal ends where the disk
//! stopped: of what no sync has covered, any part may be missing.
//! No space refuses one append and takes it back; every other failed write or sync poisons the journal, since nobody knows
//! what the disk then holds.

pub(crate) mod fields;
mod frame;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kafka_protocol::ResponseError;

use crate::descriptors::with_descriptor;
use crate::error::Error;
use crate::log::{blocking, is_no_space};
use crate::snapshot::sync_folder;
use frame::{BOOT, Boot, FORCED, MARK, MAX_RECORD_BYTES, frame, framed, record_at, refuse_damage};

const HEADER_BYTES: u64 = 16;
/// A journal below this size is not worth writing anew.
const SMALL_BYTES: u64 = 8 << 20;

/// What kind of journal a file is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    /// The newest version of the records that this release knows, and the one it writes.
    pub(crate) version: u32,
}

impl Format {
    fn header(self) -> Vec<u8> {
        let mut header = Vec::from(self.magic);
        header.extend(self.version.to_be_bytes());
        let checksum = crc32c::crc32c(&header);
        header.extend(checksum.to_be_bytes());
        header
    }

    fn check(self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let corrupt = |reason: &str| Error::Corrupt {
            path: path.to_path_buf(),
            position: 0,
            reason: reason.to_owned(),
        };
        let fields = bytes
            .split_first_chunk::<8>()
            .and_then(|(magic, rest)| Some((magic, rest.split_first_chunk::<4>()?)))
            .and_then(|(magic, (version, rest))| Some((magic, version, rest.first_chunk::<4>()?)));
        let Some((magic, version, checksum)) = fields else {
            return Err(corrupt("it is shorter than its header"));
        };
        if *magic != self.magic {
            return Err(corrupt("it does not begin like a journal of this kind"));
        }
        let expected = crc32c::crc32c_append(crc32c::crc32c(magic), version);
        if u32::from_be_bytes(*checksum) != expected {
            return Err(corrupt("the header does not match its checksum"));
        }
        match u32::from_be_bytes(*version) {
            found if found == 0 || found > self.version => Err(Error::FormatVersion {
                path: path.to_path_buf(),
                found,
                newest: self.version,
            }),
            _ => Ok(()),
        }
    }
}

/// Why a record was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwritten {
    /// Nothing was stored, and a later append may succeed.
    #[error("no space for another record")]
    NoSpace,
    /// The record is larger than a journal takes; nothing was stored.
    #[error("the record is too large")]
    TooLarge,
    /// A write or sync failed before; nothing is stored any more.
    #[error("the journal is unusable since a failed write")]
    Poisoned,
}

impl Unwritten {
    /// The error code for a client: whether to try again, or to give up.
    pub(crate) fn code(self) -> ResponseError {
        match self {
            Unwritten::NoSpace => ResponseError::CoordinatorNotAvailable,
            Unwritten::TooLarge => ResponseError::UnknownServerError,
            Unwritten::Poisoned => ResponseError::KafkaStorageError,
        }
    }
}

/// An appended record, on its way to the disk.
#[must_use = "with fsync, a record is durable only when it has settled"]
#[derive(Clone, Debug)]
pub(crate) struct Written {
    disk: Option<Arc<Disk>>,
    up_to: u64,
}

impl Written {
    /// Nothing that has to be waited for.
    pub(crate) fn settled() -> Written {
        Written {
            disk: None,
            up_to: 0,
        }
    }

    /// Returns when the record survives what it has to survive. Blocks for the disk only with `fsync`.
    pub(crate) fn settle(self) -> Result<(), Unwritten> {
        match self.disk {
            Some(disk) => blocking(|| disk.sync(self.up_to)),
            None => Ok(()),
        }
    }
}

/// The file of a journal, with how far it is known to be on the disk: many records settle by one sync.
#[derive(Debug)]
struct Disk {
    file: File,
    written: AtomicU64,
    synced: AtomicU64,
    /// Held by the one who forces the file to the disk for all who wait.
    turn: Mutex<()>,
    poisoned: AtomicBool,
    #[cfg(test)]
    faults: tests::Faults,
}

impl Disk {
    fn new(file: File, written: u64, synced: u64) -> Disk {
        Disk {
            file,
            written: AtomicU64::new(written),
            synced: AtomicU64::new(synced),
            turn: Mutex::default(),
            poisoned: AtomicBool::new(false),
            #[cfg(test)]
            faults: tests::Faults::default(),
        }
    }

    fn check(&self) -> Result<(), Unwritten> {
        match self.poisoned.load(Ordering::Acquire) {
            true => Err(Unwritten::Poisoned),
            false => Ok(()),
        }
    }

    fn poison(&self, verb: &str, error: &io::Error) -> Unwritten {
        self.poisoned.store(true, Ordering::Release);
        tracing::error!(verb, %error, "journal is unusable from now on");
        Unwritten::Poisoned
    }

    fn write(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.write(&self.file, bytes, position)?;
        self.file.write_all_at(bytes, position)
    }

    fn sync(&self, up_to: u64) -> Result<(), Unwritten> {
        self.check()?;
        if self.synced.load(Ordering::Acquire) >= up_to {
            return Ok(());
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        if self.synced.load(Ordering::Acquire) < up_to {
            // What was written before the sync began is covered by it, other writers' records too.
            let written = self.written.load(Ordering::Acquire);
            self.sync_data()
                .map_err(|error| self.poison("sync", &error))?;
            self.synced.store(written, Ordering::Release);
        }
        Ok(())
    }

    /// Makes the new name of the file at `path` last.
    fn sync_folder(&self, path: &Path) -> Result<(), Error> {
        #[cfg(test)]
        self.faults
            .sync_folder()
            .map_err(Error::file("sync", path))?;
        path.parent().map_or(Ok(()), sync_folder)
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        self.file.sync_data()
    }
}

/// One journal, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    format: Format,
    fsync: bool,
    disk: Arc<Disk>,
    size: u64,
    /// How far the file says that it is forced to the disk.
    noted: u64,
    /// The size at which most of the file is dead.
    limit: u64,
    frame: Vec<u8>,
}

impl Journal {
    /// Opens a journal, creating it when missing, and hands each record to `replay`, oldest first.
    pub(crate) fn open(
        path: &Path,
        format: Format,
        fsync: bool,
        mut replay: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Journal, Error> {
        if !path.exists() {
            replace(path, format, &Boot::this(fsync), &mut std::iter::empty())?;
            path.parent().map_or(Ok(()), sync_folder)?;
        }
        let bytes = fs::read(path).map_err(Error::file("read", path))?;
        format.check(path, &bytes)?;
        let mut size = HEADER_BYTES;
        let mut written_in = None;
        while let Some((mark, payload)) = record_at(&bytes, size) {
            match mark {
                BOOT => written_in = Boot::decode(payload),
                FORCED => {}
                _ => replay(payload).map_err(|reason| Error::Corrupt {
                    path: path.to_path_buf(),
                    position: size,
                    reason,
                })?,
            }
            size += framed(payload.len());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::file("open", path))?;
        let end = bytes.len() as u64;
        if size < end {
            refuse_damage(path, &bytes, size, written_in.as_ref())?;
            tracing::warn!(path = %path.display(), position = size, bytes = end - size, "cut off a record that was not written to its end");
            file.set_len(size).map_err(Error::file("truncate", path))?;
        }
        // The records that follow may be of a newer version than those before.
        file.write_all_at(&format.header(), 0)
            .map_err(Error::file("write", path))?;
        let mut journal = Journal {
            path: path.to_path_buf(),
            format,
            fsync,
            // An earlier process may have left some of it in the page cache.
            disk: Arc::new(Disk::new(file, size, 0)),
            size,
            noted: 0,
            limit: SMALL_BYTES,
            frame: Vec::new(),
        };
        let this = Boot::this(fsync);
        let begun = match written_in.as_ref() == Some(&this) {
            true => Ok(journal.written()),
            false => journal.put(BOOT, &this.encode()),
        };
        begun
            .and_then(Written::settle)
            .map_err(io::Error::other)
            .map_err(Error::file("write", path))?;
        Ok(journal)
    }

    /// Refuses a record that is too large for any journal.
    pub(crate) fn check_size(payload: &[u8]) -> Result<(), Unwritten> {
        match payload.len() > MAX_RECORD_BYTES {
            true => Err(Unwritten::TooLarge),
            false => Ok(()),
        }
    }

    /// Stores a record. An error has stored nothing.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<Written, Unwritten> {
        self.put(MARK, payload)
    }

    fn put(&mut self, mark: u32, payload: &[u8]) -> Result<Written, Unwritten> {
        self.disk.check()?;
        Journal::check_size(payload).inspect_err(|_| {
            tracing::error!(path = %self.path.display(), bytes = payload.len(), "record refused, it is too large");
        })?;
        self.frame.clear();
        let forced = self.disk.synced.load(Ordering::Acquire);
        if self.fsync && forced > self.noted {
            frame(&mut self.frame, FORCED, self.size, &forced.to_be_bytes());
        }
        let position = self.size + self.frame.len() as u64;
        frame(&mut self.frame, mark, position, payload);
        if let Err(error) = self.disk.write(&self.frame, self.size) {
            return Err(self.take_back(&error));
        }
        self.size += self.frame.len() as u64;
        self.noted = forced;
        self.disk.written.store(self.size, Ordering::Release);
        Ok(self.written())
    }

    /// All that was appended.
    fn written(&self) -> Written {
        Written {
            disk: self.fsync.then(|| Arc::clone(&self.disk)),
            up_to: self.size,
        }
    }

    /// Whether records can still be stored.
    pub(crate) fn is_usable(&self) -> bool {
        self.disk.check().is_ok()
    }

    /// Removes what a failed write left behind the last record.
    fn take_back(&self, error: &io::Error) -> Unwritten {
        if !is_no_space(error) {
            return self.disk.poison("write", error);
        }
        if let Err(error) = self.disk.file.set_len(self.size) {
            return self.disk.poison("truncate", &error);
        }
        tracing::warn!(path = %self.path.display(), %error, "record refused");
        Unwritten::NoSpace
    }

    /// Whether most of the file is dead, so that it should be written anew.
    pub(crate) fn is_mostly_dead(&self) -> bool {
        self.size > self.limit
    }

    /// Replaces the file by one with these records only. On an error the old file stays in use, unless it has lost its name already:
    /// then nothing is stored any more.
    pub(crate) fn rewrite(
        &mut self,
        records: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<(), Error> {
        if self.disk.check().is_err() {
            return Ok(());
        }
        match replace(&self.path, self.format, &Boot::this(self.fsync), records) {
            Ok((file, size)) => {
                let synced = self.disk.sync_folder(&self.path);
                self.disk = Arc::new(Disk::new(file, size, size));
                self.size = size;
                self.noted = size;
                self.limit = size.saturating_mul(2).max(SMALL_BYTES);
                synced.inspect_err(|error| {
                    self.disk
                        .poison("rename", &io::Error::other(error.to_string()));
                })
            }
            Err(error) => {
                // Not again with the next record: the reason will mostly be a full disk.
                self.limit = self.size.saturating_add(SMALL_BYTES);
                Err(error)
            }
        }
    }

    /// The file, and how much of it a power cut leaves for certain.
    #[cfg(test)]
    pub(crate) fn forced(&self) -> (PathBuf, u64) {
        (self.path.clone(), self.disk.synced.load(Ordering::Acquire))
    }

    /// What tests do to the disk.
    #[cfg(test)]
    pub(crate) fn faulty_disk(&self) -> tests::FaultyDisk {
        tests::FaultyDisk(Arc::clone(&self.disk))
    }

    /// Forces everything to the disk, and notes that it is there.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let path = self.path.clone();
        let noted = |journal: &mut Journal| {
            journal.disk.sync(journal.size)?;
            journal.put(FORCED, &[])?.settle()?;
            journal.disk.sync(journal.size)
        };
        match noted(self) {
            // All is on the disk, only the note of it is not.
            Ok(()) | Err(Unwritten::NoSpace) => Ok(()),
            Err(unwritten) => Err(Error::file("sync", &path)(io::Error::other(unwritten))),
        }
    }
}

/// Writes a whole journal beside its place, forces it to the disk, and renames it there, so that a kill leaves the old or the new one.
fn replace(
    path: &Path,
    format: Format,
    boot: &Boot,
    records: &mut dyn Iterator<Item = Vec<u8>>,
) -> Result<(File, u64), Error> {
    let temporary = path.with_extension("journal.tmp");
    let written = write_new(&temporary, format, boot, records)
        .and_then(|new| fs::rename(&temporary, path).map(|()| new));
    written.map_err(|source| {
        fs::remove_file(&temporary).ok();
        Error::file("write", path)(source)
    })
}

fn write_new(
    path: &Path,
    format: Format,
    boot: &Boot,
    records: &mut dyn Iterator<Item = Vec<u8>>,
) -> io::Result<(File, u64)> {
    let mut file = BufWriter::new(with_descriptor(|| File::create(path))?);
    file.write_all(&format.header())?;
    let mut size = HEADER_BYTES;
    let mut bytes = Vec::new();
    let records = records.map(|payload| (MARK, payload));
    let first = std::iter::once((BOOT, boot.encode()));
    for (mark, payload) in first.chain(records).chain([(FORCED, Vec::new())]) {
        if payload.len() > MAX_RECORD_BYTES {
            return Err(io::Error::other(Unwritten::TooLarge));
        }
        bytes.clear();
        frame(&mut bytes, mark, size, &payload);
        file.write_all(&bytes)?;
        size += bytes.len() as u64;
    }
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_data()?;
    Ok((file, size))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::FaultyDisk;
