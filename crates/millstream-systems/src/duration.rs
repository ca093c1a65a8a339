//! Times as people write them on a command line: `30s`, `500ms`, `1h30m`, `7d`.
//!
//! The spelling is that of `jiff`; a bare number is refused because its unit is not known. A day has 24 hours and a week
//! seven days; months and years are refused, for they have no fixed length.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Reads a time that is not negative.
///
/// # Errors
/// A text that says what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is not a time; write 30s, 500ms, 5m, 1h30m or 7d");
    let span: Span = text.parse().map_err(|_| expected())?;
    let signed = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| expected())?;
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
        assert_eq!(parse("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse("2w"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse("1d12h"), Ok(Duration::from_secs(36 * 3600)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_has_no_unit_or_no_fixed_length_is_refused() {
        for wrong in ["30", "", "-5s", "soon", "1mo", "1y"] {
            assert_eq!(
                parse(wrong),
                Err(format!(
                    "`{wrong}` is not a time; write 30s, 500ms, 5m, 1h30m or 7d"
                ))
            );
        }
    }
}
