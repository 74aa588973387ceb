//! `tnet verify` of a directory: whether it is exactly a tree, and if not, what differs.
//!
//! A `.fileinfo` has the hash of a tree and no list of what is in it. Whether the directory is the
//! tree is known with it; what differs only with the manifest.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tnet_fileinfo::tree::{Difference, DifferenceKind, Manifest, TreeHash};
use tnet_fileinfo::{ChunkSize, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE, shown};
use tnet_peer::store::tree::{TreeListing, TreeScanError, TreeScanOptions};

use super::create_tree::Counts;
use super::fileinfo::blocking;
use super::hashing::{HashFailure, hash, scan_failure};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::output::{Report, fields};
use crate::render::units::{count, json_path, shown_path, size};

/// Differences that are listed at most; a completely different directory may have millions.
const MAX_LISTED: usize = 1000;

/// What the directory is compared with.
pub(super) enum Expected {
    Hash(TreeHash),
    Manifest(Manifest),
}

pub(super) async fn run(
    directory: PathBuf,
    expected: Expected,
    context: &Context,
) -> Result<Report, Failure> {
    let output = context.output;
    let (found, size_found) = scan(&directory, context).await?;
    let compared = blocking(move || {
        let counts = Counts::of(&found);
        let compared = match expected {
            Expected::Hash(tree) => {
                if is(found, tree) {
                    Compared::Same(tree)
                } else {
                    Compared::Unlike(tree)
                }
            }
            Expected::Manifest(manifest) => {
                let differences = Differences::between(&manifest, &found);
                if differences.count() == 0 {
                    Compared::Same(manifest.hash())
                } else {
                    Compared::Different(manifest.hash(), differences)
                }
            }
        };
        Ok((counts, compared))
    });
    let named = shown_path(&directory);
    match compared.await? {
        (counts, Compared::Same(tree)) => {
            output.outcome(&format!("{named} is right: {counts}, {}, {tree}", size(size_found)));
            Ok(fields(json!({
                "path": json_path(&directory),
                "hash": tree.to_string(),
                "size": size_found,
                "files": counts.files,
                "directories": counts.directories,
                "links": counts.links,
            })))
        }
        (_, Compared::Unlike(tree)) => {
            let cause = format!("{named} is not the tree {tree}");
            Err(Failure::new(Exit::Integrity, cause).about(directory).or_hint(
                "to see what differs, name the manifest of the tree: `tnet create --manifest` writes it where the directory is right",
            ))
        }
        (_, Compared::Different(tree, differences)) => {
            for (path, kind) in &differences.listed {
                output.data(&format!("{:<8} {}", name_of(*kind), shown(path)));
            }
            let more = differences.count() - differences.listed.len() as u64;
            if more > 0 {
                output.data(&format!("and {more} more"));
            }
            output.event("wrong_entries", differences.report());
            let cause = format!("{named} is not the tree {tree}: {}", differences.summary());
            Err(Failure::new(Exit::Integrity, cause).about(directory))
        }
    }
}

/// The directory as a tree, and its bytes.
async fn scan(directory: &Path, context: &Context) -> Result<(Manifest, u64), Failure> {
    let listed = directory.to_owned();
    let listing =
        blocking(move || TreeListing::read(&listed).map_err(|error| not_a_tree(error, &listed)))
            .await?;
    let total = listing.size();
    let options = TreeScanOptions { allow_outside_links: true, ..TreeScanOptions::default() };
    let scanned =
        hash("verifying", total, context, move |progress| listing.scan(options, progress)).await;
    let scanned = scanned.map_err(|failure| match failure {
        HashFailure::Stopped => failure.of(directory),
        HashFailure::Scan(error) => not_a_tree(error, directory),
    })?;
    let manifest = std::sync::Arc::unwrap_or_clone(scanned.manifest);
    Ok((manifest, total))
}

/// What can be in no tree makes the directory wrong, as any other difference does.
fn not_a_tree(error: TreeScanError, directory: &Path) -> Failure {
    let is_wrong = matches!(
        error,
        TreeScanError::NoContent { .. }
            | TreeScanError::TooDeep { .. }
            | TreeScanError::PathTooLong { .. }
            | TreeScanError::TooLarge
    );
    let failure = scan_failure(error, directory);
    if is_wrong { Failure { exit: Exit::Integrity, ..failure } } else { failure }
}

enum Compared {
    Same(TreeHash),
    /// Nobody knows where.
    Unlike(TreeHash),
    Different(TreeHash, Differences),
}

/// Whether the manifest is that of the tree, in chunks of whatever size it was made with.
fn is(mut found: Manifest, tree: TreeHash) -> bool {
    // The default is most likely.
    if found.hash() == tree {
        return true;
    }
    for shift in MIN_CHUNK_SIZE.ilog2()..=MAX_CHUNK_SIZE.ilog2() {
        // From smallest to largest: if the payload has too many chunks of one size, try the next.
        let size = ChunkSize::new(1 << shift);
        if size.and_then(|size| found.set_chunk_size(size)).is_ok() && found.hash() == tree {
            return true;
        }
    }
    false
}

/// Where a directory is not the tree.
#[derive(Debug, Default)]
struct Differences {
    /// The first ones, in the order of their paths.
    listed: Vec<(std::ffi::OsString, DifferenceKind)>,
    /// How many there are of each kind.
    counts: std::collections::BTreeMap<DifferenceKind, u64>,
}

impl Differences {
    fn between(expected: &Manifest, found: &Manifest) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let mut differences = Self::default();
        for Difference { path, kind } in expected.differences(found) {
            *differences.counts.entry(kind).or_default() += 1;
            if differences.listed.len() < MAX_LISTED {
                let path = std::ffi::OsStr::from_bytes(path).to_owned();
                differences.listed.push((path, kind));
            }
        }
        differences
    }

    fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    fn report(&self) -> Report {
        let listed: Vec<Value> = self
            .listed
            .iter()
            .map(|(path, kind)| {
                json!({ "path": json_path(Path::new(path)), "difference": name_of(*kind) })
            })
            .collect();
        fields(json!({ "wrong": self.count(), "entries": listed }))
    }

    /// `2 missing, 1 extra`.
    fn summary(&self) -> String {
        let parts: Vec<String> = self
            .counts
            .iter()
            .map(|(kind, number)| match kind {
                DifferenceKind::Missing => format!("{number} missing"),
                DifferenceKind::Extra => format!("{number} too many"),
                DifferenceKind::Kind => format!("{number} of another kind"),
                DifferenceKind::Content => format!("{} changed", count(*number, "file")),
                DifferenceKind::Mode => format!("{} with another mode", count(*number, "file")),
                DifferenceKind::Target => format!("{} changed", count(*number, "link")),
            })
            .collect();
        parts.join(", ")
    }
}

fn name_of(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Missing => "missing",
        DifferenceKind::Extra => "extra",
        DifferenceKind::Kind => "kind",
        DifferenceKind::Content => "content",
        DifferenceKind::Mode => "mode",
        DifferenceKind::Target => "target",
    }
}

#[cfg(test)]
mod tests {
    use tnet_fileinfo::tree::ManifestBuilder;
    use tnet_fileinfo::{FileHash, FileInfo, Geometry};

    use super::*;

    fn hash_of(bytes: &[u8]) -> FileHash {
        FileInfo::of_bytes(bytes, None).expect("short").hash()
    }

    fn tree(files: &[&str]) -> Manifest {
        let mut builder = ManifestBuilder::default();
        for name in files {
            builder.file(name.as_bytes(), 1, hash_of(name.as_bytes()), false);
        }
        let payload = Geometry::new(files.len() as u64, ChunkSize::default_for(0)).expect("small");
        builder.finish(payload, hash_of(b"payload")).expect("valid")
    }

    #[test]
    fn a_tree_made_with_another_chunk_size_is_recognised() {
        let found = tree(&["a", "b"]);
        let largest = ChunkSize::new(MAX_CHUNK_SIZE).expect("valid");
        let mut made = found.clone();
        made.set_chunk_size(largest).expect("one chunk");
        assert!(is(found.clone(), found.hash()) && is(found.clone(), made.hash()));
        assert!(!is(found, tree(&["a"]).hash()));
    }

    #[test]
    fn only_so_many_differences_are_listed_and_all_are_counted() {
        let names: Vec<String> = (0..MAX_LISTED + 5).map(|number| format!("{number:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let differences = Differences::between(&tree(&names), &tree(&["x"]));
        assert_eq!(differences.listed.len(), MAX_LISTED);
        assert_eq!(differences.count(), MAX_LISTED as u64 + 6);
        assert_eq!(differences.summary(), "1005 missing, 1 too many");
        assert_eq!(differences.report()["entries"][0]["difference"], "missing");
    }
}
