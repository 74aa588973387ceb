//! A failure in JSON: in the events of every command, and in what a server reports of its start.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::failure::{Failure, Reason};
use crate::render::units::json_path;

/// The `error` of an event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorFields {
    kind: String,
    /// Cause and hint in one line, as it is printed.
    message: String,
    /// What went wrong.
    cause: String,
    /// What the user can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The path that the cause or the hint names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    exit_code: u8,
}

impl From<&Failure> for ErrorFields {
    fn from(failure: &Failure) -> Self {
        let Failure { exit, cause, hint, subject, reason } = failure;
        Self {
            kind: exit.kind().to_owned(),
            message: failure.message(),
            cause: cause.clone(),
            hint: hint.clone(),
            subject: subject.as_deref().map(json_path),
            reason: *reason,
            exit_code: exit.code(),
        }
    }
}

impl From<ErrorFields> for Failure {
    fn from(fields: ErrorFields) -> Self {
        let ErrorFields { kind, cause, hint, subject, reason, .. } = fields;
        let exit = Exit::of_kind(&kind).unwrap_or(Exit::Other);
        Self { exit, cause, hint, subject: subject.map(PathBuf::from), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_same_on_the_other_side() {
        let failure = Failure::new(Exit::Exists, "/d/a; b is running; truly")
            .or_hint("stop it; or wait")
            .about("/d/a; b")
            .because(Reason::ServerRunning);
        let json = serde_json::to_string(&ErrorFields::from(&failure)).expect("it serializes");
        let read: ErrorFields = serde_json::from_str(&json).expect("our own");
        assert_eq!(Failure::from(read), failure);
    }
}
