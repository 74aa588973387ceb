//! The state of the server at one moment, and the failure when it cannot be had.

use std::path::Path;

use serde_json::{Value, json};
use tnet_control::{Client, ConnectError, Hello, RequestError};
use tnet_peer::Status;

use crate::failure::Failure;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::status::{MOST_FILES, listing_for_scripts, status_lines};
use crate::render::terminal::Layout;

/// Files in the JSON output: downloads first, then the files that were active last.
/// `tnet ls --json` lists all, one per line.
const MOST_FILES_FOR_SCRIPTS: u32 = 1000;

/// The state of the server at one moment.
pub(super) struct Snapshot {
    pub(super) hello: Hello,
    status: Status,
}

/// The state cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl SnapshotError {
    /// Whether the server has ended or is ending.
    pub(super) fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Connect(ConnectError::NotRunning { .. }) | Self::Request(RequestError::Lost)
        )
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Failure {
        match error {
            SnapshotError::Connect(error) => no_server(error),
            SnapshotError::Request(error) => error.into(),
        }
    }
}

impl Snapshot {
    pub(super) async fn take(state_dir: &Path, output: Output) -> Result<Snapshot, SnapshotError> {
        let client = Client::connect(state_dir).await?;
        let hello = client.hello().clone();
        let most_files = if output.is_json() { MOST_FILES_FOR_SCRIPTS } else { MOST_FILES };
        let status = client.status(Some(most_files)).await?;
        Ok(Snapshot { hello, status })
    }

    pub(super) fn lines(&self, layout: Layout) -> Vec<String> {
        status_lines(&self.hello, &self.status, layout)
    }

    pub(super) fn report(&self) -> Report {
        let Hello { pid, program, .. } = &self.hello;
        fields(json!({ "pid": pid, "program": program, "status": for_scripts(&self.status) }))
    }
}

/// The status, with values that scripts would otherwise compute from it.
fn for_scripts(status: &Status) -> Value {
    let mut value = json!(status);
    value["coordinator_contact"]["listing"] =
        listing_for_scripts(&status.coordinator_contact.listing);
    let files = value.get_mut("files").and_then(Value::as_array_mut);
    for (shown, file) in files.into_iter().flatten().zip(&status.files) {
        shown["sent_copies"] = file.sent_copies().into();
    }
    value
}

/// The failure when no server can be asked.
pub(crate) fn no_server(error: ConnectError) -> Failure {
    let hint = match &error {
        ConnectError::NotRunning { .. } => {
            Some("start one with `tnet start-server`, or name its directory with --state-dir")
        }
        ConnectError::NotAllowed { .. } | ConnectError::Directory(_) => None,
        _ => Some("try `tnet kill-server`"),
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.or_hint(hint),
        None => failure,
    }
}
