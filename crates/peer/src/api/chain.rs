//! Errors in one line.

use std::error::Error;
use std::fmt;

/// What an error says, with its causes: what went wrong, and what the user can do about it.
///
/// Errors of these crates are displayed as `cause` or `cause; hint`. This is the one place that
/// takes that apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The causes, outermost first, joined by `: `. One line.
    pub cause: String,
    /// What to do, wherever in the chain it was said. One line.
    pub hint: Option<String>,
}

/// Displayed as `cause; hint`.
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
pub fn explain(error: &dyn Error) -> Explanation {
    let (mut causes, mut hints): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut next = Some(error);
    while let Some(error) = next {
        let text = one_line(&error.to_string());
        let (cause, hint) = match text.split_once("; ") {
            Some((cause, hint)) => (cause.to_owned(), Some(hint.to_owned())),
            None => (text, None),
        };
        // Some errors repeat the text of their source.
        if causes.last().is_none_or(|last| !last.ends_with(&cause)) {
            causes.push(cause);
        }
        hints.extend(hint);
        next = error.source();
    }
    let hint = (!hints.is_empty()).then(|| hints.join("; "));
    Explanation { cause: causes.join(": "), hint }
}

/// An error and its causes on one line: the causes joined by `: `, then, after `; `, what the user
/// can do.
pub fn chain(error: &dyn Error) -> String {
    explain(error).to_string()
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
