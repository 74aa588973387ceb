//! Escapes control characters, as the last step before text is printed or logged.
//!
//! Names and messages are already escaped where they are put into a sentence
//! (`tnet_fileinfo::shown`). This catches what was not: no printed line holds a character that
//! controls a terminal or reorders the line.

use std::borrow::Cow;
use std::fmt::Write as _;

use tnet_fileinfo::{is_plain, write_escaped};

/// Text of one or more lines, in which all characters but line ends and plain ones are escaped.
pub(crate) fn plain_lines(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c == '\n' || is_plain(c)) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => plain.push('\n'),
            c => write_escaped(&mut plain, c).expect("a string takes every character"),
        }
    }
    Cow::Owned(plain)
}

/// One line of text.
pub(crate) fn plain_line(text: &str) -> Cow<'_, str> {
    match text.contains('\n') {
        true => Cow::Owned(plain_lines(&text.replace('\n', "\\n")).into_owned()),
        false => plain_lines(text),
    }
}

/// A line of JSON in which every character is plain: others, which occur only in strings, are
/// written as `\u` escapes (RFC 8259, section 7).
pub(crate) fn plain_json(line: String) -> String {
    if line.chars().all(is_plain) {
        return line;
    }
    let mut plain = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if is_plain(c) {
            plain.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(plain, "\\u{unit:04x}").expect("a string takes every character");
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_stay_line_ends_and_nothing_else_acts() {
        assert_eq!(plain_lines("two\nlines"), "two\nlines");
        assert_eq!(plain_lines("a\u{1b}[2J\u{9b}m\r\u{202e}b"), r"a\u{1b}[2J\u{9b}m\r\u{202e}b");
        assert_eq!(plain_line("two\nlines"), r"two\nlines");
    }

    #[test]
    fn json_is_plain_and_means_the_same() {
        let value = serde_json::json!({ "path": "a\u{9b}b\u{202e}c\u{e0041}d\ne" });
        let line = plain_json(value.to_string());
        assert!(line.chars().all(is_plain), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON"), value);
    }
}
