//! Why a record was not processed: a reason from a closed set, and a text for people.
//!
//! Everything that can go wrong with one record becomes a [`Failure`]; the policy decides on the reason and whether a retry
//! is of use, dead letters and logs carry the text.

use std::any::Any;

use crate::codec;
pub(crate) use crate::dead_letter::Reason;
use crate::error::{Error, ProcessError};

/// The longest text a failure carries: a header must not make a dead letter too large.
const LONGEST_TEXT: usize = 2_000;

/// What went wrong with one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) text: String,
    /// Whether a retry would fail again.
    pub(crate) permanent: bool,
}

impl Failure {
    fn new(reason: Reason, text: String, permanent: bool) -> Self {
        Self {
            reason,
            text: shortened(text),
            permanent,
        }
    }

    /// The bytes of the record's `part` are not what the topic's codec reads. No retry mends bytes.
    pub(crate) fn decode(part: &str, error: &codec::CodecError) -> Self {
        Self::new(Reason::Decode, format!("{part}: {error}"), true)
    }

    /// The handler refused the record.
    pub(crate) fn process(error: &ProcessError) -> Self {
        Self::new(Reason::Process, error.to_string(), error.is_permanent())
    }

    /// The handler, or a decoder, panicked.
    pub(crate) fn panic(payload: &(dyn Any + Send)) -> Self {
        Self::new(Reason::Panic, panic_text(payload), false)
    }

    /// The cluster will never take an effect of this record.
    pub(crate) fn refused(error: &Error) -> Self {
        Self::new(Reason::Refused, error.to_string(), true)
    }
}

/// The message of a panic, where it has one.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        let end = (0..=LONGEST_TEXT)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
        text.push_str("..");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let failure = Failure::process(&ProcessError::new("ä".repeat(2_000)));
        assert_eq!(failure.text.len(), 2_002);
        assert!(failure.text.ends_with("ä.."));
    }

    #[test]
    fn a_panic_keeps_its_message() {
        let caught = std::panic::catch_unwind(|| panic!("no {}", "luck")).unwrap_err();
        assert_eq!(panic_text(&*caught), "no luck");
    }
}
