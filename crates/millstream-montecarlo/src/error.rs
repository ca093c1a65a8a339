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

#[cfg(test)]
mod tests {
    use super::Error;
    use crate::Formula;

    /// One of each variant; the match makes a new variant appear here.
    fn all() -> Vec<Error> {
        let formula = Formula::parse("2*(x0 + sin x1)", None, &std::collections::BTreeMap::new());
        let all = vec![
            Error::Request {
                field: "lower".into(),
                reason: "3 limits for 2 dimensions".into(),
            },
            Error::Numerics { wanted: 2, here: 1 },
            Error::Nondeterminism { chunk: 7 },
            Error::Incomplete { missing: 3 },
            Error::Mismatch,
            formula.unwrap_err(),
        ];
        for error in &all {
            match error {
                Error::Request { .. }
                | Error::Numerics { .. }
                | Error::Nondeterminism { .. }
                | Error::Incomplete { .. }
                | Error::Mismatch
                | Error::Formula(_) => {}
            }
        }
        all
    }

    #[test]
    fn every_error_names_what_was_wrong() {
        let texts: Vec<String> = all().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "failed to accept `lower`: 3 limits for 2 dimensions",
                "failed to use a plan of numerics version 2: this program has version 1; run the same release everywhere",
                "chunk 7 came twice with different bits: broken hardware, or workers of different builds or functions",
                "3 chunks of the wave are missing",
                "the parts do not belong to the same wave",
                "failed to read the formula at byte 12: expected `(` and the arguments of `sin`\n  2*(x0 + sin x1)\n              ^",
            ]
        );
    }
}
