//! Foreign text as a person may see it: paths, names and whatever a stranger sent.
//!
//! Nothing that is shown through [`Shown`] can end a line, drive a terminal or reorder the text around it, so it can
//! forge neither a log line nor a word of our own output. Ordinary text, in any script, is shown as it is.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

/// Shows text with everything escaped that is not plain text; bytes that are no UTF-8 as `\x..`.
///
/// ```
/// use tnet_fileinfo::shown;
///
/// assert_eq!(shown("Käse.iso").to_string(), "Käse.iso");
/// assert_eq!(shown("a\n<3>b\u{202e}").to_string(), r"a\n<3>b\u{202e}");
/// ```
#[derive(Clone, Copy)]
pub struct Shown<'a>(&'a [u8]);

/// Any foreign text, to be shown.
pub fn shown<T: AsRef<OsStr> + ?Sized>(text: &T) -> Shown<'_> {
    Shown(text.as_ref().as_encoded_bytes())
}

/// A path, to be shown.
pub fn shown_path<T: AsRef<Path> + ?Sized>(path: &T) -> Shown<'_> {
    shown(path.as_ref())
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            for c in part.valid().chars() {
                write_escaped(f, c)?;
            }
            for byte in part.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Writes a character, escaped unless it is plain.
pub fn write_escaped(out: &mut impl fmt::Write, c: char) -> fmt::Result {
    match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if is_plain(c) => out.write_char(c),
        c => write!(out, "\\u{{{:x}}}", u32::from(c)),
    }
}

/// Whether a character does nothing but look like itself: it ends no line, is no part of an escape sequence, does not
/// change the direction of other text and is not invisible.
pub fn is_plain(c: char) -> bool {
    let reorders = matches!(
        c,
        // Marks, embeddings, overrides and isolates (UAX #9), and the Arabic letter mark.
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    // Zero width, so that two different names look the same; and the tags that carry hidden text.
    let is_invisible =
        matches!(c, '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    !(c.is_control() || reorders || breaks_line || is_invisible)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_text_is_shown_as_its_bytes() {
        assert_eq!(shown_path(OsStr::from_bytes(b"a\xff\x1b[31m")).to_string(), r"a\xff\u{1b}[31m");
    }

    #[test]
    fn marks_that_reorder_text_are_shown_as_numbers() {
        for c in ['\u{061c}', '\u{200e}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{2028}', '\u{85}'] {
            let shown = shown(&format!("a{c}b")).to_string();
            assert_eq!(shown, format!("a\\u{{{:x}}}b", u32::from(c)));
        }
    }

    proptest! {
        #[test]
        fn nothing_shown_holds_a_character_that_acts(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let shown = shown(OsStr::from_bytes(&bytes)).to_string();
            prop_assert!(shown.chars().all(is_plain), "{shown:?}");
        }
    }
}
