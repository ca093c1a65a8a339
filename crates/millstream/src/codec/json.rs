//! JSON by `serde_json`, with the two gaps of that crate closed.
//!
//! serde_json writes NaN and the infinities as `null`, which no reader of a number takes back: such a value is
//! refused here, where it is made, instead of becoming a poison record for whoever reads it. The check costs
//! nothing for records without a `null`: the formatter notes that one was written, and only then the value is
//! walked a second time. Numbers too large for their type are refused when decoding. Nesting ends at
//! serde_json's 128 levels, so that no input reaches the end of the stack.

use std::cell::Cell;
use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::ser::Formatter;

use super::error::LineColumn;
use super::{Codec, CodecError, Encoded, Kind, finite};

const NAME: &str = "json";

/// JSON without white space, for any serde type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn name(&self) -> &'static str {
        NAME
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, CodecError> {
        let before = out.len();
        let nulls = Cell::new(false);
        let mut serializer = serde_json::Serializer::with_formatter(&mut *out, NoteNulls(&nulls));
        let mut outcome = value
            .serialize(&mut serializer)
            .map_err(|error| CodecError::encode(NAME, Kind::Type, error.to_string()));
        if outcome.is_ok() && nulls.get() && !finite::all_finite(value) {
            outcome = Err(CodecError::encode(
                NAME,
                Kind::OutOfRange,
                "a number is not finite",
            ));
        }
        if outcome.is_err() {
            out.truncate(before);
        }
        outcome.map(|()| Encoded::Bytes)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        let bytes = bytes.ok_or_else(|| CodecError::null(NAME))?;
        serde_json::from_slice(bytes).map_err(|error| decode_error(bytes, &error))
    }
}

/// Compact output that remembers whether a `null` was written.
struct NoteNulls<'a>(&'a Cell<bool>);

impl Formatter for NoteNulls<'_> {
    fn write_null<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.set(true);
        writer.write_all(b"null")
    }
}

fn decode_error(bytes: &[u8], error: &serde_json::Error) -> CodecError {
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    let detail = text
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&text);
    let kind = match (error.classify(), detail) {
        (Category::Eof, _) => Kind::Truncated,
        (_, "recursion limit exceeded") => Kind::TooDeep,
        (_, "number out of range") => Kind::OutOfRange,
        (_, "trailing characters") => Kind::Trailing,
        (_, "invalid unicode code point") => Kind::NotUtf8,
        (Category::Data, _) => Kind::Type,
        (Category::Syntax | Category::Io, _) => Kind::Syntax,
    };
    let byte = line_start(bytes, line) + column.saturating_sub(1);
    CodecError::decode(NAME, kind, Some(byte.min(bytes.len())), detail).at(LineColumn {
        line,
        column: column.max(1),
    })
}

/// The byte at which line `line` (from 1) begins.
fn line_start(bytes: &[u8], line: usize) -> usize {
    let newlines = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1);
    std::iter::once(0)
        .chain(newlines)
        .nth(line.saturating_sub(1))
        .unwrap_or(0)
}
