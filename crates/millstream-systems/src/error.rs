//! What can go wrong in a system, besides what goes wrong in the library.
//!
//! Errors of the library pass through unchanged, text and all.

use std::path::PathBuf;

/// An error of a system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library's own.
    #[error(transparent)]
    Library(#[from] millstream::Error),
    /// A process of a service could not be started.
    #[error("failed to start process {number}")]
    Process {
        /// Its number, from 0.
        number: usize,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The threads that compute could not be started.
    #[error("failed to start the threads that compute: {reason}")]
    Threads {
        /// What the pool says.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("failed to use file `{path}`", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file holds something else than requests.
    #[error("`{path}` is not a list of requests: {reason}", path = .path.display())]
    Requests {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_reads_well() {
        let library = millstream::Error::UnknownTopic {
            topic: "calls".to_owned(),
        };
        assert_eq!(
            Error::from(library).to_string(),
            "topic `calls` does not exist"
        );
        let process = Error::Process {
            number: 3,
            source: std::io::ErrorKind::NotFound.into(),
        };
        assert_eq!(process.to_string(), "failed to start process 3");
        let threads = Error::Threads {
            reason: "no memory".to_owned(),
        };
        assert_eq!(
            threads.to_string(),
            "failed to start the threads that compute: no memory"
        );
        let file = Error::File {
            path: "a/b".into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        assert_eq!(file.to_string(), "failed to use file `a/b`");
        let requests = Error::Requests {
            path: "a.json".into(),
            reason: "it has no requests".to_owned(),
        };
        assert_eq!(
            requests.to_string(),
            "`a.json` is not a list of requests: it has no requests"
        );
    }
}
