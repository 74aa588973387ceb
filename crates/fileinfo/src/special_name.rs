//! Names that mean more than a file's content: good as names, and only good where the user chose
//! them. A description comes from a stranger, and its name must not make a file that a program
//! reads unasked, that a command takes for an option, or that this program takes for one of its
//! own.

use std::fmt;

use crate::file_name::FileName;
use crate::shown::is_invisible;

/// Endings of the files that stand beside another one, in lower case.
const COMPANIONS: [&str; 3] = [".partial", ".partial.journal", ".fileinfo"];

/// What a name means besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecialName {
    /// It begins with a dot: it is not listed, and may be one that programs read when they start.
    Hidden,
    /// It begins with a dash: commands that are given it take it for an option.
    Option,
    /// It ends as a download that is under way, its journal or a description does.
    Companion,
}

impl fmt::Display for SpecialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hidden => "which begins with a dot",
            Self::Option => "which begins with a dash",
            Self::Companion => "which ends as files of tnet's own do",
        })
    }
}

impl FileName {
    /// The special meaning of the name, if it has one: such a name should be accepted only if the
    /// user typed it.
    ///
    /// ```
    /// use tnet_fileinfo::{FileName, SpecialName};
    ///
    /// let special = |name| FileName::new(name).map(|name| name.special());
    /// assert_eq!(special("debian.iso"), Ok(None));
    /// assert_eq!(special(".bashrc"), Ok(Some(SpecialName::Hidden)));
    /// assert_eq!(special("a.FileInfo"), Ok(Some(SpecialName::Companion)));
    /// ```
    pub fn special(&self) -> Option<SpecialName> {
        SpecialName::of(self.as_str())
    }
}

impl SpecialName {
    /// What any name means besides, also one that is not good on every system.
    pub fn of(name: &str) -> Option<Self> {
        let name = folded(name);
        match name.chars().next() {
            // Nothing of it shows.
            None | Some('.') => Some(Self::Hidden),
            Some('-') => Some(Self::Option),
            Some(_) => {
                COMPANIONS.iter().any(|ending| name.ends_with(ending)).then_some(Self::Companion)
            }
        }
    }
}

/// The name as the most forgiving file systems compare it: in any case, and without characters that
/// do not show.
fn folded(name: &str) -> String {
    let shown = name.chars().filter(|c| !is_invisible(*c));
    // Up and down again: a ligature is two letters in capitals.
    shown.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::SpecialName::{Companion, Hidden, Option};
    use super::*;

    #[test]
    fn a_name_that_means_more_is_known_in_any_spelling() {
        let table = [
            (".bashrc", Some(Hidden)),
            (".a.fileinfo", Some(Hidden)),
            ("..a", Some(Hidden)),
            ("\u{200d}.bashrc", Some(Hidden)),
            ("\u{200d}", Some(Hidden)),
            ("-rf", Some(Option)),
            ("--help", Some(Option)),
            ("\u{feff}-rf", Some(Option)),
            ("\u{3164}-rf", Some(Option)),
            ("a.partial", Some(Companion)),
            ("a.Partial.JOURNAL", Some(Companion)),
            ("a.FILEINFO", Some(Companion)),
            ("a.\u{fb01}leinfo", Some(Companion)),
            ("a.partia\u{200c}l", Some(Companion)),
            ("partial", None),
            ("a.partial.iso", None),
            ("a.journal", None),
            ("fileinfo", None),
            ("a-b.c", None),
            ("\u{2013}a", None),
            ("\u{5d0}\u{200f}", None),
        ];
        for (name, special) in table {
            assert_eq!(FileName::new(name).expect(name).special(), special, "{name:?}");
        }
    }
}
