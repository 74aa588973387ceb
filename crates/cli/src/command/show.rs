//! `tnet show`: what a description, or the manifest of a tree, says.

use serde_json::json;
use tnet_fileinfo::tree::Manifest;
use tnet_fileinfo::{Described, FileName, Geometry};

use super::create_tree::Counts;
use super::fileinfo::{self, Reference};
use crate::config::typed::Show;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::units::size;

pub(crate) async fn run(args: Show, context: &Context) -> Result<Report, Failure> {
    let output = context.output;
    Ok(match fileinfo::read_reference(&args.fileinfo).await? {
        Reference::Described(described) => description(&described, output),
        Reference::Manifest(manifest) => manifest_itself(&manifest, output),
    })
}

fn description(described: &Described, output: Output) -> Report {
    let (info, name) = (described.info(), described.name().map(FileName::as_str));
    if let Some(name) = name {
        output.data(&format!("name    {name}"));
    }
    let geometry = info.geometry();
    match described.tree() {
        None => {
            let hash = info.hash().to_string();
            content("file", &hash, geometry, output);
            fields(json!({
                "kind": "file",
                "name": name,
                "hash": hash,
                "size": geometry.size(),
                "chunk_size": geometry.chunk_size().get(),
                "chunks": geometry.chunk_count(),
            }))
        }
        Some(tree) => {
            output.data("kind    tree");
            output.data(&format!("hash    {tree}"));
            // How much is in the tree stands in the manifest.
            output.data(&format!("list    {}, in the manifest", bytes(geometry)));
            fields(json!({
                "kind": "tree",
                "name": name,
                "hash": tree.to_string(),
                "manifest_size": geometry.size(),
            }))
        }
    }
}

fn manifest_itself(manifest: &Manifest, output: Output) -> Report {
    let (counts, hash, payload) =
        (Counts::of(manifest), manifest.hash().to_string(), manifest.payload());
    content("tree", &hash, payload, output);
    output.data(&format!("holds   {counts}"));
    fields(json!({
        "kind": "tree",
        "hash": hash,
        "manifest_size": manifest.bytes().len(),
        "size": payload.size(),
        "chunk_size": payload.chunk_size().get(),
        "chunks": payload.chunk_count(),
        "files": counts.files,
        "directories": counts.directories,
        "links": counts.links,
    }))
}

fn content(kind: &str, hash: &str, geometry: &Geometry, output: Output) {
    output.data(&format!("kind    {kind}"));
    output.data(&format!("hash    {hash}"));
    output.data(&format!("size    {}", bytes(geometry)));
    output.data(&format!("chunks  {} of {}", geometry.chunk_count(), geometry.chunk_size()));
}

fn bytes(geometry: &Geometry) -> String {
    format!("{} ({} bytes)", size(geometry.size()), geometry.size())
}
