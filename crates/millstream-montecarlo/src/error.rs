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

    /// A formula that cannot be read; the text is several lines with a caret under the place.
    #[error(transparent)]
    Formula(#[from] crate::FormulaError),
}
