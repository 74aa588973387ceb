//! `tnet create`: describes a file or a directory. The description is written atomically, and
//! replaces an existing one only with `--overwrite`.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use serde_json::json;
use tnet_fileinfo::{FileName, scan_file};
use tnet_peer::DownloadError;
use tnet_peer::store::tree::TreeScanOptions;
use tnet_peer::store::{OnExisting, OpenError, write_whole};

use super::create_tree::{self, CreateTree};
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

/// Says what is special about the name in a description.
pub(super) fn note_name(file: &Path, name: Option<&FileName>, context: &Context) {
    let shown = shown_path(file);
    match name.map(FileName::special) {
        Some(None) => {}
        Some(Some(special)) => context.output.note(&format!(
            "{shown} has a name {special}, which `tnet get` takes only from its user: it will need -o"
        )),
        None => context.output.note(&format!(
            "{shown} cannot be a name on every system, so the description has none: `tnet get` will take the one of the .fileinfo, or -o"
        )),
    }
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

/// Checks what can be checked before anything is read.
pub(super) fn check_output(out: &Path, on_existing: OnExisting) -> Result<(), Failure> {
    match fs::symlink_metadata(out) {
        Ok(existing) if existing.is_dir() => {
            let cause = format!("{} is a directory", shown_path(out));
            Err(Failure::new(Exit::Exists, cause).or_hint("name a file in it with -o"))
        }
        Ok(_) if on_existing == OnExisting::Refuse => Err(exists(out)),
        _ => Ok(()),
    }
}

fn exists(out: &Path) -> Failure {
    Failure::new(Exit::Exists, format!("{} exists already", shown_path(out)))
        .or_hint("pass --overwrite to replace it, or another path with -o")
}

/// Writes it under another name first and renames it, so that no reader sees a part of it.
pub(super) fn write(bytes: &[u8], out: &Path, on_existing: OnExisting) -> Result<(), Failure> {
    match write_whole(out, bytes, on_existing) {
        Ok(()) => Ok(()),
        Err(OpenError::Exists { .. }) => Err(exists(out)),
        Err(error) => Err(DownloadError::Open(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"description";

    #[test]
    fn a_description_that_is_there_is_replaced_only_when_asked() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let out = dir.path().join("out");
        fs::write(&out, "mine").expect("written");
        let refused = write(BYTES, &out, OnExisting::Refuse).expect_err("it is there");
        assert_eq!(refused.exit, Exit::Exists);
        assert_eq!(fs::read_to_string(&out).expect("there"), "mine");
        write(BYTES, &out, OnExisting::Replace).expect("asked to");
        assert_eq!(fs::read(&out).expect("there"), BYTES);
    }

    #[test]
    fn a_link_that_others_could_have_put_on_the_way_is_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().expect("a temporary directory");
        let above = dir.path().join("above");
        fs::create_dir(&above).expect("made");
        symlink(dir.path(), above.join("link")).expect("a link");
        let out = above.join("link/out");
        fs::set_permissions(&above, fs::Permissions::from_mode(0o777)).expect("ours");
        let refused = write(BYTES, &out, OnExisting::Replace)
            .expect_err("a link that any user could have created");
        assert_eq!(refused.exit, Exit::NotAllowed);
        assert!(!dir.path().join("out").exists());
        fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).expect("ours");
        write(BYTES, &out, OnExisting::Replace).expect("our own link");
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let out = dir.path().join("out");
        fs::create_dir(&out).expect("made");
        write(BYTES, &out, OnExisting::Replace).expect_err("a directory is in the way");
        let names = fs::read_dir(dir.path()).expect("there").count();
        assert_eq!(names, 1, "the directory");
    }
}
