//! What can go wrong with a broker as a whole: configuration, the data folder, the listener.
//!
//! Errors of one request are no `Error`: they are answered to the client with the protocol's code. Texts are
//! lower case, name the thing and do not repeat their source.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// An error of the broker or of its data folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is below what is possible.
    #[error("setting `{name}` is {value}, but must be at least {least}")]
    Config {
        /// The field of `Config`.
        name: &'static str,
        /// What it was set to.
        value: i64,
        /// The smallest possible value.
        least: i64,
    },
    /// A listener cannot be as it is configured.
    #[error("listener `{name}` {reason}")]
    Listener {
        /// Which one.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A listener beyond loopback asks nobody who they are.
    #[error(
        "listening on `{address}` would let anyone in who reaches it: there are no logins and no client certificates"
    )]
    LetsAnyoneIn {
        /// The address.
        address: SocketAddr,
    },
    /// There are ACLs, but nobody whom they do not bind: it is likely that the super users were forgotten.
    #[error(
        "`{path}` has ACLs, but no super user is configured, so that everybody could do everything"
    )]
    AclsWithoutSuperUser {
        /// The file of the ACLs.
        path: PathBuf,
    },
    /// A file of a listener's TLS cannot be used.
    #[error("failed to use `{path}` for TLS: {reason}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("failed to listen on `{address}`")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A request or a task panicked; all others were served.
    #[error("the broker panicked {count} times while it ran, its log says where")]
    Panicked {
        /// How often.
        count: usize,
    },
    /// The threads of an embedded broker did not start.
    #[error("failed to start the broker's threads")]
    Threads {
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused an operation on a file or folder.
    #[error("failed to {verb} `{path}`")]
    File {
        /// What was tried: "read", "create", ...
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another broker owns the data folder.
    #[error("data folder `{path}` is in use by {holder}")]
    Locked {
        /// The data folder.
        path: PathBuf,
        /// Who holds it: "process 123".
        holder: String,
    },
    /// A file was written by a newer release, or is none of ours.
    #[error("format version {found} of `{path}` is unknown, this release reads up to {newest}")]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version this release reads.
        newest: u32,
    },
    /// A file holds bytes that were never written like this.
    #[error("`{path}` is corrupt at byte {position}: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
}

impl Error {
    /// Whether the disk has no room.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Error::File { source, .. } if crate::log::is_no_space(source))
    }

    /// For `map_err`: a failed operation on `path`.
    pub(crate) fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_path_buf();
        move |source| Error::File { verb, path, source }
    }
}
