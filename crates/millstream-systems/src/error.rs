//! What can go wrong in a system, besides what goes wrong in the library.
//!
//! Errors of the library pass through unchanged, text and all.

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
    }
}
