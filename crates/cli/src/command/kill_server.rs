//! `tnet kill-server`: a clean end of the server, waited for.

use std::time::Duration;

use serde_json::json;
use tnet_control::{Client, RequestError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::process_end;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::settings;

/// How long the server may take to write down what it has and to say goodbye.
const END_DEADLINE: Duration = Duration::from_secs(45);

/// How long its process may take to be gone once it has ended its work, which is done in any case.
const EXIT_DEADLINE: Duration = Duration::from_secs(2);

pub(crate) async fn run(
    global: &Global,
    output: Output,
    stop: CancellationToken,
) -> Result<Report, Failure> {
    let client = Client::connect(&settings::state_dir(global)?).await.map_err(|error| {
        Failure::from(error).or_hint("if it is another one, name it with --state-dir")
    })?;
    let pid = client.hello().pid;
    tokio::select! {
        ended = client.shutdown(END_DEADLINE) => ended.map_err(|error| match error {
            RequestError::TimedOut(within) => {
                let message = format!("the server, pid {pid}, has not ended after {within:.0?}; kill that process");
                Failure::new(Exit::Other, message)
            }
            other => other.into(),
        })?,
        () = stop.cancelled() => {
            return Err(Failure::interrupted("interrupted; the server goes on ending"));
        }
    }
    let _ = timeout(EXIT_DEADLINE, process_end::ended(pid)).await;
    output.outcome(&format!("server stopped, pid {pid}"));
    Ok(fields(json!({ "pid": pid })))
}
