//! `tnet ls`: the files of the server, one per line.

use serde_json::json;
use tnet_control::Client;
use tnet_peer::FileStatus;

use crate::config::Config;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::output::{Report, fields};
use crate::render::status::state;
use crate::render::table::aligned;
use crate::render::units::{shown_path, size};

pub(crate) async fn run(config: &Config, context: &Context) -> Result<Report, Failure> {
    let output = context.output;
    let mut files = Client::connect(&config.state_dir()?)
        .await
        .map_err(super::status::no_server)?
        .files()
        .await?;
    // It comes and goes with its tree.
    files.retain(|file| !file.is_manifest);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if output.is_json() {
        for file in &files {
            output.event(
                "file",
                fields(json!({
                    "hash": file.hash,
                    "tree": file.tree,
                    "path": file.path,
                    "size": file.size,
                    "chunk_size": file.chunk_size,
                    "chunks_done": file.chunks_done,
                    "chunks_total": file.chunks_total,
                    "peers": file.peers,
                })),
            );
        }
        return Ok(fields(json!({ "files": files.len() })));
    }
    let rows: Vec<Vec<String>> = files.iter().map(row).collect();
    for line in aligned(&rows, &[1]) {
        output.data(&line);
    }
    if files.is_empty() {
        output.note("the server has no files");
    }
    Ok(Report::new())
}

fn row(file: &FileStatus) -> Vec<String> {
    vec![file.name_elsewhere().to_owned(), size(file.size), state(file), shown_path(&file.path)]
}
