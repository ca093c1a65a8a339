//! Why bytes could not be decoded or a value not encoded, and at which byte.
//!
//! The text never holds more than a short piece of the record: a bad megabyte must not become a log line of a
//! megabyte.

use std::fmt;

/// The longest detail kept from an underlying parser, in bytes.
const DETAIL_LIMIT: usize = 160;

/// The reason in one word, from a closed set: fit for a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Kafka's null where a value is needed.
    Null,
    /// The bytes end before the value does.
    Truncated,
    /// Not this format at all.
    Syntax,
    /// Well formed, but not a value of the wanted type.
    Type,
    /// A string that is not UTF-8.
    NotUtf8,
    /// A number that fits no machine number, or is not finite where it has to be.
    OutOfRange,
    /// Nested deeper than the codec follows.
    TooDeep,
    /// Bytes are left over after the value.
    Trailing,
}

impl Kind {
    /// The label's text, such as `not_utf8`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Truncated => "truncated",
            Kind::Syntax => "syntax",
            Kind::Type => "type",
            Kind::NotUtf8 => "not_utf8",
            Kind::OutOfRange => "out_of_range",
            Kind::TooDeep => "too_deep",
            Kind::Trailing => "trailing",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a text, both counted from 1; columns count bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: usize,
    /// Byte within the line, from 1.
    pub column: usize,
}

/// A key or value that could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError {
    codec: &'static str,
    decoding: bool,
    kind: Kind,
    byte: Option<usize>,
    place: Option<LineColumn>,
    detail: String,
}

impl CodecError {
    /// A value that `codec` has no form for.
    pub fn encode(codec: &'static str, kind: Kind, detail: impl Into<String>) -> CodecError {
        CodecError {
            codec,
            decoding: false,
            kind,
            byte: None,
            place: None,
            detail: shorten(detail.into()),
        }
    }

    /// Bytes that are not a value, refused at `byte` (counted from 0).
    pub fn decode(
        codec: &'static str,
        kind: Kind,
        byte: Option<usize>,
        detail: impl Into<String>,
    ) -> CodecError {
        CodecError {
            codec,
            decoding: true,
            kind,
            byte,
            place: None,
            detail: shorten(detail.into()),
        }
    }

    /// Kafka's null where `codec` needs a value.
    #[must_use]
    pub fn null(codec: &'static str) -> CodecError {
        CodecError::decode(codec, Kind::Null, None, "null where a value is needed")
    }

    /// Adds line and column, for codecs of text.
    #[must_use]
    pub fn at(mut self, place: LineColumn) -> CodecError {
        self.place = Some(place);
        self
    }

    /// The codec's name.
    #[must_use]
    pub fn codec(&self) -> &'static str {
        self.codec
    }

    /// The reason in one word.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The byte, counted from 0, at which decoding gave up, if it got that far.
    #[must_use]
    pub fn byte(&self) -> Option<usize> {
        self.byte
    }

    /// Line and column of that byte, for codecs of text.
    #[must_use]
    pub fn place(&self) -> Option<LineColumn> {
        self.place
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "failed to {} {}",
            if self.decoding { "decode" } else { "encode" },
            self.codec
        )?;
        match (self.place, self.byte) {
            (Some(LineColumn { line, column }), _) => write!(f, " at line {line} column {column}")?,
            (None, Some(byte)) => write!(f, " at byte {byte}")?,
            (None, None) => {}
        }
        write!(f, ": {}", self.detail)
    }
}

impl std::error::Error for CodecError {}

fn shorten(mut detail: String) -> String {
    if detail.len() > DETAIL_LIMIT {
        let end = (0..=DETAIL_LIMIT)
            .rev()
            .find(|at| detail.is_char_boundary(*at))
            .unwrap_or(0);
        detail.truncate(end);
        detail.push_str("..");
    }
    detail
}
