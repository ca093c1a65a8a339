//! The log of an `up` without a terminal: a file that is never larger than `LARGEST`, and the one before it.
//!
//! Services log a line for each record; a file that only grows would fill the disk that the broker needs.

use std::fs::{File, OpenOptions, rename};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file is full at this size.
const LARGEST: u64 = 16 * 1024 * 1024;

/// A file that is written at its end.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    largest: u64,
}

impl LogFile {
    /// Opens the file, creating it if it does not exist.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            largest: LARGEST,
        })
    }
}

/// Opens a file to write at its end.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size >= self.largest {
            rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = append(&self.path)?;
            self.size = 0;
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_becomes_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.log");
        let mut log = LogFile::open(&path).unwrap();
        log.largest = 8;
        for line in ["one\n", "two\n", "three\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(
            (read("up.log.1"), read("up.log")),
            ("one\ntwo\n".to_owned(), "three\n".to_owned())
        );
    }
}
