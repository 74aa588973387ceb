//! A file name is one component of a path, on every system we may write it to, and shows on a
//! terminal as what it is.
//!
//! Names come from untrusted peers. They are for display and for the default name of the output, so
//! a value of [`FileName`] is safe to join to a directory and to print; a name to which a system
//! gives another meaning is refused.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What Linux, macOS and Windows can store of one name.
const MAX_NAME_LEN: usize = 255;

/// Characters of a refused name that an error repeats; the rest would only push the reason out of
/// sight.
const MAX_SHOWN: usize = 64;

/// One valid path component. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

impl FileName {
    /// Accepts a name that is one path component everywhere.
    ///
    /// # Errors
    /// What is wrong with the name, which the error repeats with anything unprintable escaped.
    pub fn new(name: &str) -> Result<Self, FileNameError> {
        match fault_of(name) {
            None => Ok(Self(name.into())),
            Some(fault) => Err(FileNameError { shown: shown(name), fault }),
        }
    }

    /// Accepts a name as the operating system gives it.
    ///
    /// # Errors
    /// As [`FileName::new`], and for a name that is not UTF-8.
    pub fn from_os_str(name: &OsStr) -> Result<Self, FileNameError> {
        Self::from_bytes(name.as_encoded_bytes())
    }

    /// Accepts a name from bytes.
    ///
    /// # Errors
    /// As [`FileName::new`], and for a name that is not UTF-8.
    pub fn from_bytes(name: &[u8]) -> Result<Self, FileNameError> {
        match std::str::from_utf8(name) {
            Ok(name) => Self::new(name),
            Err(_) => {
                let shown = name.escape_ascii().take(MAX_SHOWN).map(char::from).collect();
                Err(FileNameError { shown, fault: FileNameFault::NotUtf8 })
            }
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = FileNameError;

    fn from_str(name: &str) -> Result<Self, FileNameError> {
        Self::new(name)
    }
}

impl AsRef<str> for FileName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<std::path::Path> for FileName {
    fn as_ref(&self) -> &std::path::Path {
        self.as_str().as_ref()
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A name that cannot be a file name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("file name \"{shown}\" refused: {fault}")]
pub struct FileNameError {
    shown: String,
    fault: FileNameFault,
}

impl FileNameError {
    /// What is wrong with it.
    pub fn fault(&self) -> FileNameFault {
        self.fault
    }
}

/// What can be wrong with a file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileNameFault {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// More bytes than file systems store.
    #[error("it is longer than {MAX_NAME_LEN} bytes")]
    TooLong,
    /// Not text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// `.` or `..`.
    #[error("it names a directory")]
    Directory,
    /// `/` or `\`: more than one component, here or elsewhere.
    #[error("it contains a path separator")]
    Separator,
    /// `:`, which makes a drive or a hidden stream on Windows.
    #[error("it contains a colon, which means a drive or a stream on Windows")]
    Colon,
    /// NUL, a control character, or a line separator.
    #[error("it contains a control character")]
    Control,
    /// A character that changes the direction of text, so that the name would show as another.
    #[error("it contains a character that reorders text")]
    Reordering,
    /// Windows drops them, so that the name would become another.
    #[error("it ends with a dot or a space")]
    TrailingDotOrSpace,
    /// `CON`, `NUL`, `COM1` and so on, with any extension: devices on Windows.
    #[error("it is the name of a device on Windows")]
    Device,
}

fn fault_of(name: &str) -> Option<FileNameFault> {
    if name.is_empty() {
        return Some(FileNameFault::Empty);
    }
    if name.len() > MAX_NAME_LEN {
        return Some(FileNameFault::TooLong);
    }
    if name == "." || name == ".." {
        return Some(FileNameFault::Directory);
    }
    if let Some(fault) = name.chars().find_map(fault_of_char) {
        return Some(fault);
    }
    if name.ends_with(['.', ' ']) {
        return Some(FileNameFault::TrailingDotOrSpace);
    }
    is_device(name).then_some(FileNameFault::Device)
}

fn fault_of_char(c: char) -> Option<FileNameFault> {
    match c {
        '/' | '\\' => Some(FileNameFault::Separator),
        ':' => Some(FileNameFault::Colon),
        // Unicode's own line and paragraph separators break a line just as '\n' does.
        '\u{2028}' | '\u{2029}' => Some(FileNameFault::Control),
        c if c.is_control() => Some(FileNameFault::Control),
        // Embeddings, overrides and isolates. Plain marks (200E, 200F) stay: right-to-left names
        // may need them.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some(FileNameFault::Reordering),
        _ => None,
    }
}

/// Windows looks only at what comes before the first dot, without spaces at its end, in any case.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    // The superscript digits count as digits there.
    port.is_some_and(|port| {
        let mut digits = port.chars();
        matches!(digits.next(), Some('0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}'))
            && digits.next().is_none()
    })
}

fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
