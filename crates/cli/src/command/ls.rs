//! `tnet ls`: the files of the server, one a line.

use serde_json::json;
use tnet_control::Client;
use tnet_peer::FileStatus;

use crate::args::Global;
use crate::exit::Failure;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::status::state;
use crate::render::table::aligned;
use crate::render::units::{shown_path, size};
use crate::settings;

pub(crate) async fn run(global: &Global, output: Output) -> Result<Report, Failure> {
    let mut files = Client::connect(&settings::state_dir(global)?)
        .await
        .map_err(super::status::no_server)?
        .files()
        .await?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if output.is_json() {
        for file in &files {
            output.event(
                "file",
                fields(json!({
                    "hash": file.hash,
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
    vec![file.hash.clone(), size(file.size), state(file), shown_path(&file.path)]
}
