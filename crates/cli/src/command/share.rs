//! `tnet share`: files, and directories as one tree each, are served by the running server, and by
//! every later one, until `tnet rm` undoes it.

use std::path::Path;

use serde_json::{Value, json};
use tnet_control::{Client, Shared};

use super::get::Server;
use crate::config::typed::Share;
use crate::config::{Config, absolute};
use crate::context::Context;
use crate::failure::Failure;
use crate::render::output::{Report, fields};
use crate::render::units::{json_path, shown_path, size};

pub(crate) async fn run(
    args: Share,
    config: &Config,
    context: &Context,
) -> Result<Report, Failure> {
    let output = context.output;
    let state_dir = config.state_dir()?;
    Server::find(config, context).await?;
    // A failure does not stop the others.
    let (mut shared, mut failures): (Vec<Shared>, Vec<Failure>) = (Vec::new(), Vec::new());
    for path in &args.paths {
        match one(path, &args, &state_dir, context).await {
            Ok(one) => shared.push(one),
            Err(failure) => failures.push(failure),
        }
    }
    let (count, failed) = (args.paths.len(), failures.len());
    let mut failures = failures.into_iter();
    match failures.next() {
        None => {
            let shared: Vec<Value> = shared.iter().map(report).collect();
            Ok(fields(json!({ "shared": shared })))
        }
        Some(only) if count == 1 => Err(only),
        Some(first) => {
            output.complaint(&first.message());
            failures.for_each(|failure| output.complaint(&failure.message()));
            let message = format!("{failed} of {count} could not be shared, the reasons are above");
            Err(Failure::new(first.exit, message))
        }
    }
}

async fn one(
    path: &Path,
    args: &Share,
    state_dir: &Path,
    context: &Context,
) -> Result<Shared, Failure> {
    let output = context.output;
    let client = Client::connect(state_dir).await?;
    let sharing = client.share(absolute(path)?, args.allow_outside_links);
    let shared = match context.stop.run_until_cancelled(sharing).await {
        Some(shared) => shared.map_err(|error| Failure::from(error).about(path))?,
        None => return Err(Failure::interrupted("interrupted")),
    };
    let what = match shared.entries {
        Some(entries) => format!("{}, {}", entries_of(entries), size(shared.size)),
        None => size(shared.size),
    };
    output.outcome(&format!("sharing {}: {what}", shown_path(&shared.path)));
    if !shared.remembered {
        output.note("it is not remembered: after a restart of the server, share it again");
    }
    output.data(&format!("tnet get {}", shared.hash));
    Ok(shared)
}

fn entries_of(entries: u64) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}

fn report(shared: &Shared) -> Value {
    json!({
        "path": json_path(&shared.path),
        "hash": shared.hash,
        "kind": if shared.entries.is_some() { "tree" } else { "file" },
        "size": shared.size,
        "entries": shared.entries,
        "remembered": shared.remembered,
    })
}
