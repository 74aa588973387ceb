//! `tnet create`: describes a file or a directory.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use serde_json::json;
use tnet_fileinfo::{FileName, scan_file};
use tnet_peer::store::OnExisting;
use tnet_peer::store::tree::TreeScanOptions;

use super::create_tree::{self, CreateTree};
use super::description::{check_output, note_name, write};
use super::fileinfo::{blocking, default_path};
use super::hashing::hash;
use crate::config::typed::Create;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, file_failure};
use crate::render::output::{Report, fields};
use crate::render::units::{json_path, shown_path, size};

pub(crate) async fn run(args: Create, context: &Context) -> Result<Report, Failure> {
    let output = context.output;
    let Create { file, output: out, manifest, chunk_size, allow_outside_links, overwrite } = args;
    if out.as_deref().is_some_and(|out| out.as_os_str() == "-") {
        return Err(Failure::new(Exit::Usage, "a description is not written to stdout")
            .or_hint("name a file with -o, which ./- may be too"));
    }
    let on_existing = if overwrite { OnExisting::Replace } else { OnExisting::Refuse };
    // Before the hashing, which may take minutes.
    let named = file.clone();
    let total = match blocking(move || subject(&named)).await? {
        Subject::File { len } => len,
        Subject::Directory => {
            let options = TreeScanOptions { chunk_size, allow_outside_links };
            let tree = CreateTree { directory: file, out, manifest, options, on_existing };
            return create_tree::run(tree, context).await;
        }
    };
    if manifest.is_some() || allow_outside_links {
        let cause = format!("{} is no directory", shown_path(&file));
        return Err(Failure::new(Exit::Usage, cause)
            .or_hint("--manifest and --allow-outside-links are for directories"));
    }
    let out = out.unwrap_or_else(|| default_path(&file));
    {
        let out = out.clone();
        blocking(move || check_output(&out, on_existing)).await?;
    }
    let scanned = file.clone();
    let info =
        hash("hashing", total, context, move |progress| scan_file(&scanned, chunk_size, progress))
            .await
            .map_err(|failure| failure.of(&file))?;
    let written = out.clone();
    let json = info.to_json();
    blocking(move || write(json.as_bytes(), &out, on_existing)).await?;
    let chunk_count = info.geometry().chunk_count();
    output.outcome(&format!("hash    {}", info.hash()));
    output.outcome(&format!("size    {} ({} bytes)", size(info.size()), info.size()));
    output.outcome(&format!("chunks  {} of {}", chunk_count, info.geometry().chunk_size()));
    output.outcome(&format!("wrote   {}", shown_path(&written)));
    note_name(&file, info.name(), context);
    Ok(fields(json!({
        "path": json_path(&written),
        "hash": info.hash().to_string(),
        "size": info.size(),
        "chunk_size": info.geometry().chunk_size().get(),
        "chunks": chunk_count,
        "name": info.name().map(FileName::as_str),
        "kind": "file",
    })))
}

/// What is described.
enum Subject {
    File { len: u64 },
    Directory,
}

fn subject(file: &Path) -> Result<Subject, Failure> {
    let metadata = fs::metadata(file).map_err(|error| file_failure("read", file, &error))?;
    let shown = shown_path(file);
    if metadata.is_dir() {
        return Ok(Subject::Directory);
    }
    if !metadata.is_file() {
        let kind = metadata.file_type();
        let what = if kind.is_fifo() {
            "a pipe, which can be read only once, so its content cannot be served"
        } else if kind.is_socket() {
            "a socket, which has no content"
        } else {
            "a device, whose length is not known"
        };
        return Err(Failure::new(Exit::Usage, format!("{shown} is {what}"))
            .or_hint("write what is to be described to a file, and name that"));
    }
    Ok(Subject::File { len: metadata.len() })
}
