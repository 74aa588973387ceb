//! `tnet status`: what the server does at this moment, once or again and again.

mod watch;

use std::path::Path;

use serde_json::{Value, json};
use tnet_control::{Client, ConnectError, Hello, RequestError};
use tnet_peer::Status;
use tokio_util::sync::CancellationToken;

use crate::args::{self, Global};
use crate::exit::{Exit, Failure};
use crate::render::Output;
use crate::render::look::Look;
use crate::render::output::{Report, fields};
use crate::render::status::{MOST_FILES, status_lines};
use crate::settings;

/// Files that scripts are told of: what is being downloaded and what was active last come first.
/// `tnet ls --json` tells of all, one a line.
const MOST_FILES_FOR_SCRIPTS: u32 = 1000;

pub(crate) async fn run(
    args: args::Status,
    global: &Global,
    output: Output,
    stop: CancellationToken,
) -> Result<Report, Failure> {
    let state_dir = settings::state_dir(global)?;
    if let Some(every) = args.watch {
        return watch::run(&state_dir, every, output, stop).await;
    }
    let snapshot = tokio::select! {
        taken = Snapshot::take(&state_dir, output) => taken?,
        () = stop.cancelled() => return Err(Failure::interrupted("interrupted before the server answered")),
    };
    for line in snapshot.lines(Look::of_stdout()) {
        output.data(&line);
    }
    Ok(snapshot.report())
}

/// The server at one moment.
struct Snapshot {
    hello: Hello,
    status: Status,
}

/// There is nothing to be seen.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl SnapshotError {
    /// Whether the server has ended, or ends just now.
    fn is_end(&self) -> bool {
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
    async fn take(state_dir: &Path, output: Output) -> Result<Snapshot, SnapshotError> {
        let client = Client::connect(state_dir).await?;
        let hello = client.hello().clone();
        let most_files = if output.is_json() { MOST_FILES_FOR_SCRIPTS } else { MOST_FILES };
        let status = client.status(Some(most_files)).await?;
        Ok(Snapshot { hello, status })
    }

    fn lines(&self, look: Look) -> Vec<String> {
        status_lines(&self.hello, &self.status, look)
    }

    fn report(&self) -> Report {
        let Hello { pid, program, .. } = &self.hello;
        fields(json!({ "pid": pid, "program": program, "status": for_scripts(&self.status) }))
    }
}

/// The status, and what scripts would else compute from it.
fn for_scripts(status: &Status) -> Value {
    let mut value = json!(status);
    let files = value.get_mut("files").and_then(Value::as_array_mut);
    for (shown, file) in files.into_iter().flatten().zip(&status.files) {
        shown["sent_copies"] = file.sent_copies().into();
    }
    value
}

/// What to do when there is no server to be asked.
pub(crate) fn no_server(error: ConnectError) -> Failure {
    let hint = match &error {
        ConnectError::NotRunning { .. } => {
            "start one with `tnet start-server`, or name its directory with --state-dir"
        }
        _ => "try `tnet kill-server`",
    };
    let failure = Failure::from(error);
    if failure.exit == Exit::NotAllowed { failure } else { failure.or_hint(hint) }
}
