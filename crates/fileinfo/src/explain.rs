//! What an error says to a user: the cause, what to do about it, and which path it is about. Each
//! is a field of its own: no code takes a sentence apart.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An error that may know what to do about it. Its `Display` is the cause alone.
///
/// Hints do not pass through [`Error::source`]: an error with a source that has a hint answers with
/// that hint itself.
pub trait Explain: Error {
    /// What the user can do, on one line.
    fn hint(&self) -> Option<&str> {
        None
    }

    /// The path that the cause names.
    fn subject(&self) -> Option<&Path> {
        None
    }
}

impl Explain for io::Error {}

/// An error in the parts that are shown. Displayed as `cause; hint`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The causes, outermost first, joined by `: `. One line.
    pub cause: String,
    /// What the user can do. One line.
    pub hint: Option<String>,
    /// The path that the cause names.
    pub subject: Option<PathBuf>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Explains an error and its causes.
pub fn explain(error: &(impl Explain + 'static)) -> Explanation {
    Explanation {
        cause: chain(error),
        hint: error.hint().map(one_line),
        subject: error.subject().map(Path::to_owned),
    }
}

/// An error and its causes, outermost first, joined by `: `. One line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut causes = one_line(&error.to_string());
    let mut next = error.source();
    while let Some(error) = next {
        causes.push_str(": ");
        causes.push_str(&one_line(&error.to_string()));
        next = error.source();
    }
    causes
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no permission to write {path:?}")]
    struct Outer {
        path: PathBuf,
        source: io::Error,
    }

    impl Explain for Outer {
        fn hint(&self) -> Option<&str> {
            Some("choose another directory")
        }

        fn subject(&self) -> Option<&Path> {
            Some(&self.path)
        }
    }

    fn outer(path: &str) -> Outer {
        Outer { path: path.into(), source: io::Error::other("permission denied") }
    }

    #[test]
    fn what_to_do_comes_after_all_causes() {
        assert_eq!(
            explain(&outer("a")).to_string(),
            "no permission to write \"a\": permission denied; choose another directory"
        );
    }

    #[test]
    fn a_semicolon_in_a_path_belongs_to_the_cause() {
        let explanation = explain(&outer("/d/a; b"));
        assert_eq!(explanation.cause, "no permission to write \"/d/a; b\": permission denied");
        assert_eq!(explanation.hint.as_deref(), Some("choose another directory"));
        assert_eq!(explanation.subject.as_deref(), Some(Path::new("/d/a; b")));
    }

    #[test]
    fn a_line_end_in_a_message_does_not_end_the_line() {
        assert_eq!(chain(&io::Error::other("a\nb")), "a b");
    }
}
