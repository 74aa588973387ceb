//! `tnet verify`: whether a file is what a description says, and if not, which chunks are wrong; or
//! whether a directory is a tree.

use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};
use tnet_fileinfo::tree::TreeHash;
use tnet_fileinfo::{ChunkSet, Described, FileInfo, verify_file};

use super::fileinfo::{self, Reference, blocking};
use super::hashing::hash;
use super::verify_tree;
use crate::config::typed::{TreeArgument, Verify};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, file_failure};
use crate::render::output::{Report, fields};
use crate::render::units::{count, json_path, shown_path, size};

/// Ranges in the JSON output at most; a completely different file may have half a million.
const MAX_RANGES: usize = 100;

/// Ranges in the error message at most.
const MAX_RANGES_SHOWN: usize = 10;

pub(crate) async fn run(args: Verify, context: &Context) -> Result<Report, Failure> {
    let output = context.output;
    let Verify { file: path, expected } = args;
    let info = match expected_of(&expected).await? {
        Expected::File(info) => info,
        Expected::Tree(tree) => {
            let found = path.clone();
            blocking(move || check_directory(&found, &expected)).await?;
            return verify_tree::run(path, tree, context).await;
        }
    };
    let (file, len) = {
        let path = path.clone();
        blocking(move || open(&path, &expected)).await?
    };
    let (checked, total) = (info.clone(), info.size());
    let right = hash("verifying", total, context, move |progress| {
        verify_file(&file, &checked, None, progress)
    })
    .await
    .map_err(|failure| failure.of(&path))?;
    if right.is_full() && len == info.size() {
        output.outcome(&format!("{} is right: {}, {}", shown_path(&path), size(len), info.hash()));
        return Ok(fields(json!({
            "path": json_path(&path),
            "hash": info.hash().to_string(),
            "size": len,
            "chunks": right.len(),
        })));
    }
    output.event("wrong_chunks", wrong_chunks(&info, &right, len));
    Err(wrong(&path, &info, &right, len))
}

enum Expected {
    File(FileInfo),
    Tree(verify_tree::Expected),
}

async fn expected_of(expected: &TreeArgument) -> Result<Expected, Failure> {
    Ok(match expected {
        TreeArgument::Tree(tree) => Expected::Tree(verify_tree::Expected::Hash(*tree)),
        TreeArgument::Path(path) => match fileinfo::read_reference(path).await? {
            Reference::Manifest(manifest) => {
                Expected::Tree(verify_tree::Expected::Manifest(manifest))
            }
            Reference::Described(Described::File(info)) => Expected::File(info),
            Reference::Described(Described::Tree(manifest)) => {
                let tree = TreeHash::of_manifest(manifest.hash());
                Expected::Tree(verify_tree::Expected::Hash(tree))
            }
        },
    })
}

fn check_directory(path: &Path, expected: &TreeArgument) -> Result<(), Failure> {
    let metadata = fs::metadata(path).map_err(|error| file_failure("read", path, &error))?;
    if metadata.is_dir() {
        return Ok(());
    }
    let cause = format!("{} is no directory, and {expected} is a tree", shown_path(path));
    Err(Failure::new(Exit::Usage, cause).or_hint("name a directory"))
}

fn open(path: &Path, expected: &TreeArgument) -> Result<(File, u64), Failure> {
    // Asked first, because opening a pipe waits for its other end.
    let metadata = fs::metadata(path).map_err(|error| file_failure("read", path, &error))?;
    if metadata.is_dir() {
        let cause = format!("{} is a directory, and {expected} describes a file", shown_path(path));
        return Err(Failure::new(Exit::Usage, cause)
            .or_hint("name the file, or the .fileinfo of the directory"));
    }
    if !metadata.is_file() {
        let cause = format!("{} is no regular file", shown_path(path));
        return Err(Failure::new(Exit::Usage, cause).or_hint("name one"));
    }
    let file = File::open(path).map_err(|error| file_failure("read", path, &error))?;
    Ok((file, metadata.len()))
}

/// The wrong chunks, as inclusive ranges; at most [`MAX_RANGES`].
fn wrong_ranges(right: &ChunkSet) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for chunk in right.missing() {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == chunk.get() => *last = chunk.get(),
            _ => ranges.push((chunk.get(), chunk.get())),
        }
        if ranges.len() > MAX_RANGES {
            ranges.pop();
            break;
        }
    }
    ranges
}

fn wrong_chunks(info: &FileInfo, right: &ChunkSet, len: u64) -> Report {
    let ranges: Vec<Value> =
        wrong_ranges(right).into_iter().map(|(first, last)| json!([first, last])).collect();
    fields(json!({
        "wrong": right.len() - right.count(),
        "chunks": right.len(),
        "ranges": ranges,
        "size": len,
        "expected_size": info.size(),
    }))
}

fn wrong(path: &Path, info: &FileInfo, right: &ChunkSet, len: u64) -> Failure {
    let mut faults = Vec::new();
    if len != info.size() {
        faults.push(format!("{len} bytes instead of {}", info.size()));
    }
    if !right.is_full() {
        let wrong = right.len() - right.count();
        let (of, ranges) = (count(right.len().into(), "chunk"), wrong_ranges(right));
        let shown: Vec<String> = ranges
            .iter()
            .take(MAX_RANGES_SHOWN)
            .map(
                |(first, last)| {
                    if first == last { first.to_string() } else { format!("{first}-{last}") }
                },
            )
            .collect();
        let more = if ranges.len() > MAX_RANGES_SHOWN { ", …" } else { "" };
        faults.push(format!("{wrong} of {of} wrong ({}{more})", shown.join(", ")));
    }
    let cause =
        format!("{} is not what its description says: {}", shown_path(path), faults.join(", "));
    Failure::new(Exit::Integrity, cause)
        .about(path)
        .or_hint("fetch it anew with `tnet get --overwrite`")
}

#[cfg(test)]
mod tests {
    use tnet_fileinfo::scan::unwatched;
    use tnet_fileinfo::{ChunkSize, scan_file};

    use super::*;

    const CHUNK: u32 = 16 * 1024;

    fn info(chunks: u32) -> FileInfo {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), vec![1; (chunks * CHUNK) as usize]).expect("written");
        scan_file(file.path(), ChunkSize::new(CHUNK).ok(), &unwatched).expect("readable")
    }

    fn right_but(info: &FileInfo, wrong: &[u32]) -> ChunkSet {
        let mut right = ChunkSet::full(info.geometry());
        for index in wrong {
            right.remove(info.geometry().chunk(*index).expect("in the file"));
        }
        right
    }

    #[test]
    fn neighbours_that_are_wrong_make_one_range() {
        let info = info(8);
        assert_eq!(wrong_ranges(&right_but(&info, &[0, 1, 2, 4, 6, 7])), [(0, 2), (4, 4), (6, 7)]);
        assert!(wrong_ranges(&right_but(&info, &[])).is_empty());
    }

    #[test]
    fn only_so_many_ranges_are_named() {
        let info = info(22);
        let odd: Vec<u32> =
            (0..info.geometry().chunk_count()).filter(|index| index % 2 == 1).collect();
        let line = wrong(Path::new("f"), &info, &right_but(&info, &odd), info.size()).message();
        assert!(line.contains("11 of 22 chunks wrong (1, 3, 5"), "{line}");
        assert!(line.contains(", 19, …); "), "{line}");
    }

    #[test]
    fn a_file_that_is_too_long_is_wrong_even_if_every_chunk_is_right() {
        let info = info(1);
        let line = wrong(Path::new("f"), &info, &right_but(&info, &[]), info.size() + 1).message();
        assert!(line.contains("16385 bytes instead of 16384;"), "{line}");
    }
}
