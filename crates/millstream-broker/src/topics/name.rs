//! Which names a topic may have.
//!
//! The rules and texts are Apache Kafka's (`org.apache.kafka.common.internals.Topic`): names double as folder names, so
//! that `.`, `..`, slashes and over-long names must never get past this check.

/// Longest name of a topic; leaves room for suffixes within a file name.
const MAX_LENGTH: usize = 249;

/// Checks a name; the error is the text that Kafka answers with.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("Topic name is invalid: {why}"));
    match name {
        "" => refused("the empty string is not allowed"),
        "." | ".." => refused(&format!("'{name}' cannot be \".\" or \"..\"")),
        _ if name.len() > MAX_LENGTH => refused(&format!(
            "the length of '{name}' is longer than the max allowed length {MAX_LENGTH}"
        )),
        _ if name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) =>
        {
            Ok(())
        }
        _ => refused(&format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )),
    }
}

/// Names that differ only in `.` and `_` make the same metric name in Kafka, and are refused beside each other.
pub(crate) fn collides(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one.len() == other.len() && one != other && one.bytes().map(plain).eq(other.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use super::{check, collides};

    #[test]
    fn names_of_letters_digits_dots_dashes_and_underscores_are_taken() {
        assert_eq!(check("Aa0._-"), Ok(()));
        assert_eq!(check(&"x".repeat(249)), Ok(()));
        assert_eq!(check("..."), Ok(()));
    }

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "a\\b", "a b", "ä", "a\0"] {
            assert!(check(name).is_err(), "{name}");
        }
        assert_eq!(
            check(&"x".repeat(250)),
            Err(format!(
                "Topic name is invalid: the length of '{}' is longer than the max allowed length 249",
                "x".repeat(250)
            ))
        );
    }

    #[test]
    fn names_collide_when_dots_and_underscores_are_the_only_difference() {
        assert!(collides("a.b", "a_b"));
        assert!(!collides("a.b", "a.b"));
        assert!(!collides("a.b", "a-b"));
        assert!(!collides("a.b", "a_bc"));
    }
}
