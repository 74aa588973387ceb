//! `tnet status`: the current state of the server, once or repeatedly.

mod snapshot;
mod watch;

pub(crate) use snapshot::no_server;

use crate::config::Config;
use crate::config::typed;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::output::Report;
use crate::render::terminal::Layout;
use snapshot::Snapshot;

pub(crate) async fn run(
    args: typed::Status,
    config: &Config,
    context: &Context,
) -> Result<Report, Failure> {
    let state_dir = config.state_dir()?;
    if let Some(every) = args.watch {
        return watch::run(&state_dir, every, context).await;
    }
    let snapshot = tokio::select! {
        taken = Snapshot::take(&state_dir, context.output) => taken?,
        () = context.stop.cancelled() => {
            return Err(Failure::interrupted("interrupted before the server answered"));
        }
    };
    for line in snapshot.lines(Layout::of_stdout()) {
        context.output.data(&line);
    }
    Ok(snapshot.report())
}
