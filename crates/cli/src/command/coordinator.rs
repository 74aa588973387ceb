//! `tnet coordinator`: runs one until a signal comes.

use serde_json::json;
use tnet_coordinator::{Config, Coordinator};
use tokio_util::sync::CancellationToken;

use crate::args::Global;
use crate::exit::Failure;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::service;

pub(crate) async fn run(global: &Global, output: Output, stop: CancellationToken) -> Result<Report, Failure> {
    let mut config = Config::default();
    if let Some(listen) = global.listen {
        config.listen = listen;
    }
    let coordinator = Coordinator::bind(config)?;
    let address = coordinator.local_addr();
    output.event("ready", fields(json!({ "listen": address })));
    output.outcome(&format!("coordinator on {address}; Ctrl-C stops it"));
    service::ready(&format!("listening on {address}"));
    let stopping = stop.clone();
    let (_, ()) = tokio::join!(
        async {
            stopping.cancelled().await;
            service::stopping();
        },
        coordinator.run(stop)
    );
    // Ending is what it was asked to do.
    Ok(fields(json!({ "listen": address })))
}
