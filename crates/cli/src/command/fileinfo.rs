//! Reads a `.fileinfo` that the user named.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tnet_fileinfo::tree::{MAX_MANIFEST_LEN, Manifest, ManifestError, TreeHash};
use tnet_fileinfo::{Described, FileInfo, MAX_FILEINFO_LEN};

use crate::exit::Exit;
use crate::failure::{Failure, file_failure};
use crate::render::units::shown_path;

/// What to do where a tree will not do.
const A_FILE: &str = "name the .fileinfo or the hash of a file";

/// A command for files was given a tree.
pub(crate) fn no_file(tree: TreeHash) -> Failure {
    Failure::new(Exit::Usage, format!("{tree} is a directory, not a file")).or_hint(A_FILE)
}

/// Reads and verifies the description of a file.
pub(crate) async fn read(path: &Path) -> Result<FileInfo, Failure> {
    match read_any(path).await? {
        Described::File(info) => Ok(info),
        Described::Tree(_) => {
            let cause = format!("{} describes a directory, not a file", shown_path(path));
            Err(Failure::new(Exit::Usage, cause).or_hint(A_FILE).about(path))
        }
    }
}

/// Reads and verifies the description of a file or a tree.
pub(crate) async fn read_any(path: &Path) -> Result<Described, Failure> {
    let path = path.to_owned();
    blocking(move || parse(&path, &read_bytes(&path, |_| MAX_FILEINFO_LEN)?)).await
}

/// What a tree is compared with.
#[derive(Debug)]
pub(crate) enum Reference {
    /// The description of a file or a tree.
    Described(Described),
    /// The manifest of a tree.
    Manifest(Manifest),
}

/// Reads a description, or the manifest of a tree.
pub(crate) async fn read_reference(path: &Path) -> Result<Reference, Failure> {
    let path = path.to_owned();
    blocking(move || {
        let most = |head: &[u8]| {
            if Manifest::is_begun_by(head) { MAX_MANIFEST_LEN } else { MAX_FILEINFO_LEN }
        };
        let bytes = read_bytes(&path, most)?;
        if !Manifest::is_begun_by(&bytes) {
            return parse(&path, &bytes).map(Reference::Described);
        }
        let exit = |error: &ManifestError| match error {
            ManifestError::Version { .. } => Exit::Version,
            _ => Exit::Integrity,
        };
        Manifest::parse(bytes).map(Reference::Manifest).map_err(|error| {
            Failure::new(exit(&error), error.to_string())
                .named(&path)
                .or_hint("get it again from where it was made")
        })
    })
    .await
}

/// Opens a description for another process to read.
pub(crate) async fn open(path: &Path) -> Result<File, Failure> {
    let path = path.to_owned();
    blocking(move || open_regular(&path).map_err(|error| file_failure("read", &path, &error))).await
}

/// Reads a file of at most as many bytes as its first ones allow.
fn read_bytes(path: &Path, most: impl Fn(&[u8]) -> usize) -> Result<Vec<u8>, Failure> {
    let shown = shown_path(path);
    read_bounded(path, most).map_err(|error| match error.kind() {
        io::ErrorKind::IsADirectory => {
            Failure::new(Exit::Integrity, format!("{shown} is a directory"))
                .or_hint("name the .fileinfo in it")
                .about(path)
        }
        io::ErrorKind::InvalidInput => {
            let cause =
                format!("{shown} is no regular file, and a description is read more than once");
            Failure::new(Exit::Integrity, cause)
                .or_hint("save it to a file, and name that")
                .about(path)
        }
        _ => file_failure("read", path, &error),
    })
}

fn parse(path: &Path, json: &[u8]) -> Result<Described, Failure> {
    Described::parse(json).map_err(|error| {
        let hint = if looks_like_content(path) {
            "is it the file itself? make its description with `tnet create`, or name that"
        } else {
            "get it again from where it was made with `tnet create`"
        };
        Failure::from(error).named(path).or_hint(hint)
    })
}

/// A path without the extension `.fileinfo` is probably the content.
fn looks_like_content(path: &Path) -> bool {
    path.extension().is_none_or(|extension| extension != "fileinfo")
}

fn open_regular(path: &Path) -> io::Result<File> {
    // Asked first, because opening a pipe waits for its other end.
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)
}

fn read_bounded(path: &Path, most: impl Fn(&[u8]) -> usize) -> io::Result<Vec<u8>> {
    const HEAD: usize = 16;
    let (mut file, mut bytes) = (open_regular(path)?, Vec::new());
    file.by_ref().take(HEAD as u64).read_to_end(&mut bytes)?;
    // One byte more than allowed suffices for the parser to refuse it.
    let left = most(&bytes) + 1 - bytes.len();
    file.take(left as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs blocking work in the thread pool.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The path with `.fileinfo` after it, beside what it names: a slash at its end is left out.
pub(crate) fn default_path(file: &Path) -> PathBuf {
    let mut name = file.components().as_path().as_os_str().to_owned();
    name.push(".fileinfo");
    name.into()
}
