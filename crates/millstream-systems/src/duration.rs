//! Times as people write them on a command line: `30s`, `500ms`, `5m`, `1h30m`.
//!
//! The words are those of `jiff`; a bare number is refused, for nobody knows its unit.

use std::time::Duration;

use jiff::SignedDuration;

/// Reads a time that is not negative.
///
/// # Errors
/// A text that says what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is not a time; write 30s, 500ms, 5m or 1h30m");
    let signed: SignedDuration = text.parse().map_err(|_| expected())?;
    Duration::try_from(signed).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_are_read() {
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_has_no_unit_or_no_meaning_is_refused() {
        for wrong in ["30", "", "-5s", "soon"] {
            assert_eq!(
                parse(wrong),
                Err(format!(
                    "`{wrong}` is not a time; write 30s, 500ms, 5m or 1h30m"
                ))
            );
        }
    }
}
