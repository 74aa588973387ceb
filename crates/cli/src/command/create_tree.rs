//! `tnet create` of a directory: the description of its manifest, and on request the manifest.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tnet_fileinfo::tree::{EntryKind, Manifest};
use tnet_fileinfo::{Described, FileInfo, FileName};
use tnet_peer::store::OnExisting;
use tnet_peer::store::tree::{ScannedTree, TreeListing, TreeScanOptions};

use super::description::{check_output, note_name, write};
use super::fileinfo::{blocking, default_path};
use super::hashing::{hash, scan_failure};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, file_failure};
use crate::render::output::{Report, fields};
use crate::render::units::{count, json_path, shown_path, size};

/// What is asked for.
pub(super) struct CreateTree {
    pub(super) directory: PathBuf,
    pub(super) out: Option<PathBuf>,
    /// Where to write the manifest itself.
    pub(super) manifest: Option<PathBuf>,
    pub(super) options: TreeScanOptions,
    pub(super) on_existing: OnExisting,
}

pub(super) async fn run(args: CreateTree, context: &Context) -> Result<Report, Failure> {
    let CreateTree { directory, out, manifest: manifest_out, options, on_existing } = args;
    let (named, first, second) = (directory.clone(), out, manifest_out.clone());
    let (root, out) = blocking(move || {
        let root =
            fs::canonicalize(&named).map_err(|error| file_failure("read", &named, &error))?;
        let out = match first {
            Some(out) => out,
            None => beside(&named, &root)?,
        };
        for out in [Some(&out), second.as_ref()].into_iter().flatten() {
            check_output(out, on_existing)?;
            check_outside(out, &root)?;
        }
        Ok((root, out))
    })
    .await?;
    let listed = directory.clone();
    let listing =
        blocking(move || TreeListing::read(&listed).map_err(|error| scan_failure(error, &listed)))
            .await?;
    let total = listing.size();
    let scanned = hash("hashing", total, context, move |progress| listing.scan(options, progress))
        .await
        .map_err(|failure| failure.of(&directory))?;
    let ScannedTree { manifest, payload, .. } = scanned;

    let name = root.file_name().and_then(|name| FileName::from_os_str(name).ok());
    let (written, written_manifest) = (out.clone(), manifest_out.clone());
    let counts = Counts::of(&manifest);
    let described = blocking(move || {
        let info = FileInfo::of_bytes(manifest.bytes(), None)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let described = Described::Tree(info.with_name(name));
        if let Some(out) = &manifest_out {
            write(manifest.bytes(), out, on_existing)?;
        }
        write(described.to_json().as_bytes(), &out, on_existing)?;
        Ok(described)
    })
    .await?;
    let tree = described.tree().map(|tree| tree.to_string()).unwrap_or_default();

    let (output, geometry) = (context.output, payload.geometry());
    output.outcome(&format!("hash    {tree}"));
    output.outcome(&format!("size    {} ({} bytes)", size(payload.size()), payload.size()));
    output.outcome(&format!("holds   {counts}"));
    output.outcome(&format!("chunks  {} of {}", geometry.chunk_count(), geometry.chunk_size()));
    for written in [Some(&written), written_manifest.as_ref()].into_iter().flatten() {
        output.outcome(&format!("wrote   {}", shown_path(written)));
    }
    note_name(&directory, described.name(), context);
    Ok(fields(json!({
        "path": json_path(&written),
        "manifest": written_manifest.as_deref().map(json_path),
        "hash": tree,
        "size": payload.size(),
        "chunk_size": geometry.chunk_size().get(),
        "chunks": geometry.chunk_count(),
        "name": described.name().map(FileName::as_str),
        "kind": "tree",
        "files": counts.files,
        "directories": counts.directories,
        "links": counts.links,
    })))
}

/// The path of the description beside the directory. A path that ends in dots names no entry: then
/// the directory's own name counts.
fn beside(directory: &Path, root: &Path) -> Result<PathBuf, Failure> {
    if directory.file_name().is_some() {
        return Ok(default_path(directory));
    }
    if root.file_name().is_some() {
        return Ok(default_path(root));
    }
    let cause = format!("{} has no name", shown_path(directory));
    Err(Failure::new(Exit::Usage, cause).or_hint("name the description with -o"))
}

/// A description inside the directory would be a part of what it describes, or change it.
fn check_outside(out: &Path, root: &Path) -> Result<(), Failure> {
    let parent = match out.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    // One that does not exist is found when it is written to.
    let Ok(parent) = fs::canonicalize(parent) else { return Ok(()) };
    if parent.starts_with(root) {
        let cause = format!("{} would be in the directory that it describes", shown_path(out));
        return Err(Failure::new(Exit::Usage, cause).or_hint("name another path for it"));
    }
    Ok(())
}

/// How many entries of which kind a tree has.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) directories: u64,
    pub(super) links: u64,
}

impl Counts {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut counts = Self::default();
        for entry in manifest.entries() {
            match entry.kind {
                EntryKind::File { .. } => counts.files += 1,
                EntryKind::Directory => counts.directories += 1,
                EntryKind::Link { .. } => counts.links += 1,
            }
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&count(self.files, "file"))?;
        match self.directories {
            0 => {}
            1 => f.write_str(", 1 directory")?,
            many => write!(f, ", {many} directories")?,
        }
        match self.links {
            0 => Ok(()),
            many => write!(f, ", {}", count(many, "link")),
        }
    }
}
