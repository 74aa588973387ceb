//! `tnet kill-server`: stops the server and waits until it has ended.

use std::time::Duration;

use serde_json::json;
use tnet_control::{Client, RequestError};
use tokio::time::timeout;

use crate::config::Config;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::output::{Report, fields};
use crate::wait_for_exit;

/// How long the server may take to save its downloads and close its connections.
const END_DEADLINE: Duration = Duration::from_secs(45);

/// How long its process may take to exit after that. The server has stopped in any case.
const EXIT_DEADLINE: Duration = Duration::from_secs(2);

pub(crate) async fn run(config: &Config, context: &Context) -> Result<Report, Failure> {
    let client = Client::connect(&config.state_dir()?).await.map_err(|error| {
        Failure::from(error).or_hint("if it is another one, name it with --state-dir")
    })?;
    let pid = client.hello().pid;
    tokio::select! {
        ended = client.shutdown(END_DEADLINE) => ended.map_err(|error| match error {
            RequestError::TimedOut(within) => {
                let cause = format!("the server, pid {pid}, has not ended after {within:.0?}");
                Failure::new(Exit::Other, cause).or_hint("kill that process")
            }
            other => other.into(),
        })?,
        () = context.stop.cancelled() => {
            return Err(Failure::interrupted("interrupted").or_hint("the server goes on ending"));
        }
    }
    let _ = timeout(EXIT_DEADLINE, wait_for_exit::wait(pid)).await;
    context.output.outcome(&format!("server stopped, pid {pid}"));
    Ok(fields(json!({ "pid": pid })))
}
