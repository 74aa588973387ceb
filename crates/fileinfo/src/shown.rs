//! Untrusted text made safe to display: paths, names and what other peers sent.
//!
//! Nothing that is shown through [`Shown`] can end a line, drive a terminal or reorder the text
//! around it, so it can forge neither a log line nor a part of our own output. Ordinary text, in
//! any script, is shown as it is.

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

/// Any untrusted text, for display.
pub fn shown<T: AsRef<OsStr> + ?Sized>(text: &T) -> Shown<'_> {
    Shown(text.as_ref().as_encoded_bytes())
}

/// Untrusted bytes, for display.
pub(crate) fn shown_bytes(bytes: &[u8]) -> Shown<'_> {
    Shown(bytes)
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

/// Whether a character does nothing but look like itself: it ends no line, is no part of an escape
/// sequence, does not change the direction of other text and is not invisible. The two joiners
/// alone are plain although they are: Persian and Indic words are not written without them, nor are
/// most emoji, and they change what they stand between.
pub fn is_plain(c: char) -> bool {
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    let is_joiner = matches!(c, '\u{200c}' | '\u{200d}');
    !(c.is_control() || breaks_line || is_invisible(c) && !is_joiner)
}

/// Whether a character shows nothing of its own: two names that differ in such characters look the
/// same. All that Unicode lets a renderer ignore (`Default_Ignorable_Code_Point`): among them are
/// the marks, embeddings, overrides and isolates that reorder other text (UAX #9), fillers,
/// selectors of variants, and the tags that carry hidden text.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00ad}'
            | '\u{034f}'
            | '\u{061c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn invalid_utf8_is_shown_as_its_bytes() {
        assert_eq!(shown_path(OsStr::from_bytes(b"a\xff\x1b[31m")).to_string(), r"a\xff\u{1b}[31m");
    }

    #[test]
    fn marks_that_reorder_text_are_shown_as_numbers() {
        for c in ['\u{061c}', '\u{200e}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{2028}', '\u{85}']
        {
            let shown = shown(&format!("a{c}b")).to_string();
            assert_eq!(shown, format!("a\\u{{{:x}}}b", u32::from(c)));
        }
    }

    #[test]
    fn invisible_characters_are_shown_as_their_number_except_joiners() {
        let table = "\u{ad}\u{34f}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180e}\u{180f}\u{200b}\u{2060}\u{2065}\u{206a}\u{206f}\
            \u{3164}\u{fe00}\u{fe0f}\u{feff}\u{ffa0}\u{fff0}\u{1bca0}\u{1d173}\u{e0001}\u{e007f}\u{e0080}\u{e01ef}\u{e0fff}";
        for c in table.chars() {
            assert_eq!(
                shown(&format!("a{c}b")).to_string(),
                format!("a\\u{{{:x}}}b", u32::from(c))
            );
        }
        for word in [
            "می\u{200c}خواهم",
            "👩\u{200d}💻",
            "क\u{94d}\u{200d}ष",
            "e\u{301}",
            "中 文",
            "\u{fffd}",
        ] {
            assert_eq!(shown(word).to_string(), word);
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
