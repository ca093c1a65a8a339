//! Makes bytes of records safe to show: what a terminal would take for a command is written as text.
//!
//! A record may hold anything. Sent to a terminal as it is, it can recolour it, set its title, move the cursor over earlier
//! lines, or, by the marks of text direction, show its letters in another order than they have. Escaped are the control
//! characters (C0, DEL and C1), the marks of direction, and bytes that are not UTF-8.

use std::borrow::Cow;

/// What becomes of a line feed and of a tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// They stay: a text may have several lines.
    Keep,
    /// They are escaped too: the text stays on one line.
    OneLine,
}

/// Appends `bytes` to `out`, escaped.
pub(crate) fn push(bytes: &[u8], layout: Layout, out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\t' if layout == Layout::Keep => out.push(character as u8),
                _ if is_unsafe(character) => {
                    out.extend(character.escape_default().map(|c| c as u8))
                }
                _ => out.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            out.extend(format!("\\x{byte:02x}").into_bytes());
        }
    }
}

/// A text on one line, escaped where it must be.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::new();
    push(text.as_bytes(), Layout::OneLine, &mut out);
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// A JSON text in which what JSON itself leaves as it is (DEL, C1, marks of direction) is escaped in JSON's way. These can
/// stand only inside of strings, so the meaning stays the same.
pub(crate) fn json(text: String) -> String {
    // JSON has escaped the characters below 0x20 inside of strings; a line feed between them is the layout.
    let is_left = |character: char| character >= ' ' && is_unsafe(character);
    if !text.chars().any(is_left) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_left(character) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Whether a terminal may act on it. `is_control` is C0, DEL and C1.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8], layout: Layout) -> String {
        let mut out = Vec::new();
        push(bytes, layout, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_terminal_would_act_on_becomes_text() {
        let keep = |bytes: &[u8]| escaped(bytes, Layout::Keep);
        assert_eq!(keep(b"\x1b]0;title\x07red"), "\\u{1b}]0;title\\u{7}red");
        assert_eq!(keep("\u{9b}2J".as_bytes()), "\\u{9b}2J");
        assert_eq!(keep(b"\xff\x9b2J"), "\\xff\\x9b2J");
        assert_eq!(keep("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(keep(b"over\rwritten\x7f"), "over\\rwritten\\u{7f}");
        assert_eq!(keep("grün\n\tja".as_bytes()), "grün\n\tja");
        assert_eq!(escaped(b"a\n\tb", Layout::OneLine), "a\\n\\tb");
    }

    #[test]
    fn a_harmless_text_is_not_copied() {
        assert!(matches!(one_line("grün"), Cow::Borrowed("grün")));
        assert_eq!(one_line("a\x1b[31mb"), "a\\u{1b}[31mb");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let text = serde_json::to_string("a\u{9b}\u{7f}\u{202e}\x1b").unwrap();
        let safe = json(text.clone());
        assert_eq!(safe, r#""a\u009b\u007f\u202e\u001b""#);
        let meant: String = serde_json::from_str(&safe).unwrap();
        assert_eq!(meant, serde_json::from_str::<String>(&text).unwrap());
    }
}
