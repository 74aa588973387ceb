//! What the terminal at stdout can show: the width of a line, and which characters.

use std::env;
use std::io::{self, IsTerminal};

/// The size assumed for a terminal that does not tell.
const COMMON: Size = Size { columns: 80, rows: 24 };

/// A terminal's size, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// The layout of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Columns of the terminal; none for no limit.
    pub(crate) columns: Option<usize>,
    /// Whether blocks and ellipses can be shown, else only ASCII.
    pub(crate) utf8: bool,
    /// Whether the beginning of a path that is too long is cut. Else it is shown in full, to be
    /// copied.
    pub(crate) fits_paths: bool,
}

impl Layout {
    /// The layout for stdout at this moment; the size of a terminal may change.
    pub(crate) fn of_stdout() -> Layout {
        let size = stdout_size();
        let utf8 = size.is_some() && !is_dumb() && speaks_utf8();
        Layout { columns: size.map(|size| size.columns), utf8, fits_paths: false }
    }

    pub(crate) fn ellipsis(self) -> &'static str {
        if self.utf8 { "…" } else { "..." }
    }

    /// Columns beside an indentation; one at least.
    pub(crate) fn columns_within(self, indent: usize) -> Option<usize> {
        self.columns.map(|columns| columns.saturating_sub(indent).max(1))
    }

    /// A line with no more characters than there are columns.
    pub(crate) fn cut(self, line: &str) -> String {
        match self.columns {
            Some(columns) if line.chars().count() > columns => {
                let kept = columns.saturating_sub(self.ellipsis().chars().count());
                line.chars().take(kept).chain(self.ellipsis().chars()).take(columns).collect()
            }
            _ => line.to_owned(),
        }
    }
}

/// The size of the terminal at stdout, if it is one.
pub(crate) fn stdout_size() -> Option<Size> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let told = rustix::termios::tcgetwinsize(io::stdout()).ok();
    Some(
        told.filter(|told| told.ws_col > 0 && told.ws_row > 0)
            .map_or(COMMON, |told| Size { columns: told.ws_col.into(), rows: told.ws_row.into() }),
    )
}

/// Whether the terminal can only write lines (`TERM=dumb`).
pub(crate) fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether the locale, by the first of its variables that is set, uses UTF-8.
fn speaks_utf8() -> bool {
    let mut locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| env::var(name).ok());
    locale.find(|value| !value.is_empty()).is_some_and(|value| names_utf8(&value))
}

fn names_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_characters_and_says_so() {
        let layout = |columns, utf8| Layout { columns: Some(columns), utf8, fits_paths: true };
        assert_eq!(layout(5, true).cut("äöüß!"), "äöüß!");
        assert_eq!(layout(4, true).cut("äöüß!"), "äöü…");
        assert_eq!(layout(4, false).cut("abcde"), "a...");
        assert_eq!(layout(2, false).cut("abcde"), "..");
        assert_eq!(layout(0, true).cut("abcde"), "");
        assert_eq!(Layout { columns: None, utf8: false, fits_paths: true }.cut("abcde"), "abcde");
    }

    #[test]
    fn the_usual_names_of_utf8_are_known() {
        for (locale, is_utf8) in
            [("de_DE.UTF-8", true), ("C.utf8", true), ("C", false), ("de_DE.ISO-8859-1", false)]
        {
            assert_eq!(names_utf8(locale), is_utf8, "{locale}");
        }
    }
}
