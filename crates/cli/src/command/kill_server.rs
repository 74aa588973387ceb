//! `tnet kill-server`: a clean end of the server, waited for.

use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use serde_json::json;
use tnet_peer::control::{Client, RequestError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::settings;

/// How long the server may take to write down what it has and to say goodbye.
const END_DEADLINE: Duration = Duration::from_secs(45);

/// How long its process may take to be gone once it has ended its work.
const EXIT_ROUNDS: u32 = 200;
const EXIT_ROUND: Duration = Duration::from_millis(10);

pub(crate) async fn run(global: &Global, output: Output, stop: CancellationToken) -> Result<Report, Failure> {
    let client = Client::connect(&settings::state_dir(global)?)
        .await
        .map_err(|error| Failure::from(error).or_hint("if it is another one, name it with --state-dir"))?;
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
    wait_for_exit(pid).await;
    output.outcome(&format!("server stopped, pid {pid}"));
    Ok(fields(json!({ "pid": pid })))
}

/// Until the process is gone, or for so long: its work is done in any case.
async fn wait_for_exit(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    for _ in 0..EXIT_ROUNDS {
        if test_kill_process(pid).is_err() {
            return;
        }
        sleep(EXIT_ROUND).await;
    }
}
