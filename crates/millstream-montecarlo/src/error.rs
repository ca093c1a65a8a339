//! Every error of the package.
//!
//! A text names the offending value and says what was expected; a formula's error shows the place. Whether samples were
//! good enough is no error: that is the status of an answer.

/// What can go wrong before a sample is drawn, or between a job and its parts.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[non_exhaustive]
pub enum Error {
    /// A request that cannot be run: which field, what it held, what was expected.
    #[error("failed to accept `{field}`: {reason}")]
    Request {
        /// The field, as it is called in the JSON of a request.
        field: String,
        /// What it held and what was expected.
        reason: String,
    },

    /// A plan of another version of the arithmetic: its bits cannot be had here.
    #[error(
        "failed to use a plan of numerics version {wanted}: this program has version {here}; run the same release everywhere"
    )]
    Numerics {
        /// The plan's version.
        wanted: u32,
        /// This program's version.
        here: u32,
    },

    /// Two results of one chunk differ: broken hardware, or programs that are not the same.
    #[error(
        "chunk {chunk} came twice with different bits: broken hardware, or workers of different builds or functions"
    )]
    Nondeterminism {
        /// The chunk.
        chunk: u64,
    },

    /// A wave that is not complete yet.
    #[error("{missing} chunks of the wave are missing")]
    Incomplete {
        /// How many.
        missing: u64,
    },

    /// Partial results, tiles or tables that do not belong to the same wave.
    #[error("the parts do not belong to the same wave")]
    Mismatch,

    /// A formula that cannot be read; the text is several lines with a caret under the place.
    #[error(transparent)]
    Formula(#[from] crate::FormulaError),
}
