//! Errors in one line.

use std::error::Error;

/// An error and its causes on one line: the causes joined by `: `, then, after `; `, what the user
/// can do, wherever in the chain it was said.
pub fn chain(error: &dyn Error) -> String {
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
    let mut line = causes.join(": ");
    for hint in hints {
        line.push_str("; ");
        line.push_str(&hint);
    }
    line
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
