//! Numbers as people write them on a command line: `1000000`, `1e6`, `2.5e8`.
//!
//! One reading for the options of all commands and services, so that what is refused is refused in the same words.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// A parser of whole numbers within `range`, for `clap`. Its error is a text that says what would be right.
pub fn whole<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: Copy + Display + Into<i128> + TryFrom<i128> + Send + Sync + 'static,
{
    move |text| {
        let (smallest, largest) = (*range.start(), *range.end());
        let number = read(text).ok_or_else(|| format!("`{text}` is not a whole number"))?;
        if number < smallest.into() {
            return Err(format!(
                "`{text}` is too small; the smallest value is {smallest}"
            ));
        }
        T::try_from(number)
            .ok()
            .filter(|_| number <= largest.into())
            .ok_or_else(|| format!("`{text}` is too large; the largest value is {largest}"))
    }
}

/// A whole number of any size; what no type here can hold is the largest or the smallest there is.
fn read(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    // `inf` and `nan` are numbers to the standard library, and begin with a letter.
    text.trim_start_matches(['-', '+'])
        .starts_with(|first: char| first.is_ascii_digit())
        .then_some(())?;
    let number: f64 = text.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast of what is too large gives the largest"
    )]
    let whole = number as i128;
    (number.is_infinite() || number.fract() == 0.0).then_some(whole)
}

/// Reads an error that is aimed at.
///
/// # Errors
/// A text that says what would be right.
pub fn target_error(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(error) if error.is_finite() && error >= 0.0 => Ok(error),
        Ok(_) => Err("expected a finite number, 0 or more".to_owned()),
        Err(_) => Err(format!("`{text}` is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_people_write_them() {
        let any = whole(0..=u64::MAX);
        assert_eq!(any("1000000"), Ok(1_000_000));
        assert_eq!(any("2.5e8"), Ok(250_000_000));
        assert_eq!(any("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(whole(-5..=5_i32)("-5"), Ok(-5));
    }

    #[test]
    fn what_is_refused_is_told_with_the_bound_that_it_passes() {
        let refusal = |text: &str| whole(1..=u64::MAX)(text).unwrap_err();
        for text in ["some", "", "1.5", "inf", "-nan", "0x10", "1e-3"] {
            assert_eq!(refusal(text), format!("`{text}` is not a whole number"));
        }
        for text in ["0", "-1", "-1e30", "-1e400"] {
            assert_eq!(
                refusal(text),
                format!("`{text}` is too small; the smallest value is 1")
            );
        }
        for text in ["18446744073709551616", "1e30", "1e400"] {
            assert_eq!(
                refusal(text),
                format!("`{text}` is too large; the largest value is 18446744073709551615")
            );
        }
    }

    #[test]
    fn a_target_is_finite_and_not_negative() {
        assert_eq!(target_error("1e-3"), Ok(1e-3));
        for text in ["nan", "inf", "-1"] {
            assert_eq!(
                target_error(text),
                Err("expected a finite number, 0 or more".to_owned())
            );
        }
        assert_eq!(
            target_error("small"),
            Err("`small` is not a number".to_owned())
        );
    }
}
