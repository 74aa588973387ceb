//! Failures as they cross the socket: a kind for programs, and for people the cause, the hint and
//! the path that they are about, each in a field of its own.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tnet_fileinfo::{Explain, Explanation, explain, shown_path};
use tnet_peer::DownloadError;

use super::FaultKind;
use super::advice::{Advice, CHECK_DISK, START_HOLDER, advice_on};
use crate::json_values;

/// A failure with its kind. Displayed as `cause; hint`, one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fault {
    /// For programs.
    pub kind: FaultKind,
    /// What went wrong, for people.
    pub cause: String,
    /// What the user can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The path that the cause or the hint names.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json_values::optional_path")]
    pub subject: Option<PathBuf>,
    /// Temporary: the same request succeeds later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub temporary: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl Fault {
    /// A failure in words.
    pub fn new(kind: FaultKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into(), hint: None, subject: None, temporary: false }
    }

    /// No failure of the request's: there are too many others at this moment.
    pub fn passing(cause: impl Into<String>) -> Self {
        Self { temporary: true, ..Self::new(FaultKind::Other, cause) }
    }

    /// A failure that has an error, with all its causes.
    pub fn of(kind: FaultKind, error: &(impl Explain + 'static)) -> Self {
        let Explanation { cause, hint, subject, .. } = explain(error);
        Self { hint, subject, ..Self::new(kind, cause) }
    }

    /// A download to `out` that failed. Where the error does not say what to do, this does.
    pub fn of_download(error: &DownloadError, out: &Path) -> Self {
        let fault = Self::of(error.into(), error);
        match advice_on(error) {
            Some(Advice::Continue) => fault.or_continue(out),
            Some(Advice::StartHolder) => fault.or_hint(START_HOLDER),
            Some(Advice::CheckDisk) => fault.or_hint(CHECK_DISK),
            None => fault,
        }
    }

    /// Tells that the same command continues, unless there is a hint.
    #[must_use]
    pub fn or_continue(self, out: &Path) -> Self {
        if self.hint.is_some() {
            return self;
        }
        let hint = format!(
            "what arrived is kept in {}.partial: run the same command again to continue",
            shown_path(out)
        );
        Self { hint: Some(hint), subject: Some(out.to_owned()), ..self }
    }

    /// What the user can do, unless that was said.
    #[must_use]
    pub fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tnet_store::OpenError;

    use super::*;

    #[test]
    fn a_fault_crosses_the_socket_in_fields() {
        let fault = Fault {
            subject: Some("/a; b".into()),
            ..Fault::new(FaultKind::Exists, "\"/a; b\" exists").or_hint("remove it; or not")
        };
        let json = serde_json::to_value(&fault).expect("it serializes");
        let fields = serde_json::json!({
            "kind": "exists",
            "cause": "\"/a; b\" exists",
            "hint": "remove it; or not",
            "subject": "/a; b",
        });
        assert_eq!(json, fields);
        assert_eq!(serde_json::from_value::<Fault>(json).expect("our own"), fault);
        let bare = serde_json::to_string(&Fault::new(FaultKind::Other, "a")).expect("serializes");
        assert_eq!(bare, r#"{"kind":"other","cause":"a"}"#);
    }

    #[test]
    fn a_path_with_a_semicolon_is_not_cut() {
        let out = Path::new("/d/a; b");
        let fault = Fault::of_download(
            &DownloadError::Open(OpenError::Exists { path: out.to_owned() }),
            out,
        );
        assert_eq!(fault.cause, "\"/d/a; b\" exists with other content");
        assert_eq!(fault.hint.as_deref(), Some("pass --overwrite to replace it"));
        assert_eq!(fault.subject.as_deref(), Some(out));
    }

    #[test]
    fn a_failed_download_says_what_to_do_by_its_error() {
        let hint = |error: DownloadError| Fault::of_download(&error, Path::new("/d/a")).hint;
        let waited = Duration::from_secs(1);
        let no_holder = hint(DownloadError::NoHolder { waited }).expect("a hint");
        assert!(no_holder.contains("tnet start-server"), "{no_holder}");
        let cancelled = Fault::of_download(&DownloadError::Cancelled, Path::new("/d/a"));
        assert_eq!(cancelled.subject.as_deref(), Some(Path::new("/d/a")));
        assert!(cancelled.hint.is_some_and(|hint| hint.contains("/d/a.partial")));
        let own = hint(DownloadError::Open(OpenError::Exists { path: "/d/a".into() }));
        assert_eq!(own.as_deref(), Some("pass --overwrite to replace it"));
    }
}
