//! Where a formula went wrong, shown as a reader wants it: the line, and a caret under the place.
//!
//! Owns the text only; what is expected is said by whoever reads the formula.

use std::fmt;

use strsim::damerau_levenshtein;

/// A formula that cannot be read: where, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormulaError {
    /// Byte of the formula at which reading stopped.
    pub position: usize,
    /// What is wrong there, or what was expected.
    pub expected: String,
    /// The whole formula.
    pub source: String,
}

/// Characters of a long line that are shown on each side of the place.
const AROUND: usize = 36;

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.source.floor_char_boundary(self.position);
        let (before, after) = self.source.split_at(position);
        let before = before.rsplit('\n').next().unwrap_or_default();
        let after = after.split('\n').next().unwrap_or_default();
        let skipped = before.chars().count().saturating_sub(AROUND);
        let shown: String = before.chars().skip(skipped).map(printable).collect();
        let rest: String = after.chars().take(AROUND).map(printable).collect();
        let (left, right) = (
            if skipped > 0 { ".." } else { "" },
            if after.chars().count() > AROUND {
                ".."
            } else {
                ""
            },
        );
        writeln!(
            f,
            "failed to read the formula at byte {}: {}",
            self.position, self.expected
        )?;
        writeln!(f, "  {left}{shown}{rest}{right}")?;
        write!(
            f,
            "  {:width$}^",
            "",
            width = left.len() + shown.chars().count()
        )
    }
}

impl std::error::Error for FormulaError {}

/// One column for each character, whatever it is.
fn printable(character: char) -> char {
    if character.is_control() {
        ' '
    } else {
        character
    }
}

/// The name among `known` that `name` was probably meant to be.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = 1 + name.chars().count() / 4;
    known
        .map(|candidate| {
            (
                damerau_levenshtein(&name.to_lowercase(), candidate),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= allowed && *distance < candidate.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
