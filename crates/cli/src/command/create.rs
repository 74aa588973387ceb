//! `tnet create`: describes a file. The description is written atomically, and replaces an existing
//! one only with `--overwrite`.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use tnet_fileinfo::{FileInfo, scan_file};
use tnet_peer::DownloadError;
use tnet_peer::store::{OnExisting, OpenError, write_whole};

use super::fileinfo::{blocking, default_path, hash};
use crate::config::typed::Create;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, file_failure};
use crate::render::output::{Report, fields};
use crate::render::units::{json_path, shown_path, size};

pub(crate) async fn run(args: Create, context: &Context) -> Result<Report, Failure> {
    let output = context.output;
    let Create { file, output: out, chunk_size, overwrite } = args;
    if out.as_deref().is_some_and(|out| out.as_os_str() == "-") {
        return Err(Failure::new(Exit::Usage, "a description is not written to stdout")
            .or_hint("name a file with -o, which ./- may be too"));
    }
    let out = out.unwrap_or_else(|| default_path(&file));
    let on_existing = if overwrite { OnExisting::Replace } else { OnExisting::Refuse };
    // Before the hashing, which may take minutes.
    let total = {
        let (file, out) = (file.clone(), out.clone());
        blocking(move || check(&file, &out, on_existing)).await?
    };
    let scanned = file.clone();
    let info =
        hash("hashing", total, context, move |progress| scan_file(&scanned, chunk_size, progress))
            .await
            .map_err(|failure| failure.of_file(&file))?;
    let written = {
        let (info, out) = (info.clone(), out.clone());
        blocking(move || write(&info, &out, on_existing)).await?
    };
    let chunk_count = info.geometry().chunk_count();
    output.outcome(&format!("hash    {}", info.hash()));
    output.outcome(&format!("size    {} ({} bytes)", size(info.size()), info.size()));
    output.outcome(&format!("chunks  {} of {}", chunk_count, info.geometry().chunk_size()));
    output.outcome(&format!("wrote   {}", shown_path(&written)));
    match info.name() {
        None => output.note(&format!(
            "{} cannot be a name on every system, so the description has none: `tnet get` will take the one of the .fileinfo, or -o",
            shown_path(&file)
        )),
        Some(name) => {
            if let Some(special) = name.special() {
                output.note(&format!(
                    "{} has a name {special}, which `tnet get` takes only from its user: it will need -o",
                    shown_path(&file)
                ));
            }
        }
    }
    Ok(fields(json!({
        "path": json_path(&written),
        "hash": info.hash().to_string(),
        "size": info.size(),
        "chunk_size": info.geometry().chunk_size().get(),
        "chunks": chunk_count,
        "name": info.name().map(tnet_fileinfo::FileName::as_str),
    })))
}

/// Checks what can be checked before the file is read; returns its size.
fn check(file: &Path, out: &Path, on_existing: OnExisting) -> Result<u64, Failure> {
    let metadata = fs::metadata(file).map_err(|error| file_failure("read", file, &error))?;
    let shown = shown_path(file);
    if metadata.is_dir() {
        let cause = format!("{shown} is a directory, and a .fileinfo describes one file");
        return Err(
            Failure::new(Exit::Usage, cause).or_hint("pack it first, for example with `tar`")
        );
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
    match fs::symlink_metadata(out) {
        Ok(existing) if existing.is_dir() => {
            let cause = format!("{} is a directory", shown_path(out));
            Err(Failure::new(Exit::Exists, cause).or_hint("name a file in it with -o"))
        }
        Ok(_) if on_existing == OnExisting::Refuse => Err(exists(out)),
        _ => Ok(metadata.len()),
    }
}

fn exists(out: &Path) -> Failure {
    Failure::new(Exit::Exists, format!("{} exists already", shown_path(out)))
        .or_hint("pass --overwrite to replace it, or another path with -o")
}

/// Writes it under another name first and renames it, so that no reader sees a part of it.
fn write(info: &FileInfo, out: &Path, on_existing: OnExisting) -> Result<PathBuf, Failure> {
    match write_whole(out, info.to_json().as_bytes(), on_existing) {
        Ok(()) => Ok(out.to_owned()),
        Err(OpenError::Exists { .. }) => Err(exists(out)),
        Err(error) => Err(DownloadError::Open(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use tnet_fileinfo::scan::unwatched;

    use super::*;

    fn described(dir: &Path) -> FileInfo {
        let file = dir.join("file");
        fs::write(&file, "content").expect("written");
        scan_file(&file, None, &unwatched).expect("readable")
    }

    #[test]
    fn a_description_that_is_there_is_replaced_only_when_asked() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (info, out) = (described(dir.path()), dir.path().join("out"));
        fs::write(&out, "mine").expect("written");
        let refused = write(&info, &out, OnExisting::Refuse).expect_err("it is there");
        assert_eq!(refused.exit, Exit::Exists);
        assert_eq!(fs::read_to_string(&out).expect("there"), "mine");
        write(&info, &out, OnExisting::Replace).expect("asked to");
        assert_eq!(fs::read_to_string(&out).expect("there"), info.to_json());
    }

    #[test]
    fn a_link_that_others_could_have_put_on_the_way_is_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (info, above) = (described(dir.path()), dir.path().join("above"));
        fs::create_dir(&above).expect("made");
        symlink(dir.path(), above.join("link")).expect("a link");
        let out = above.join("link/out");
        fs::set_permissions(&above, fs::Permissions::from_mode(0o777)).expect("ours");
        let refused = write(&info, &out, OnExisting::Replace)
            .expect_err("a link that any user could have created");
        assert_eq!(refused.exit, Exit::NotAllowed);
        assert!(!dir.path().join("out").exists());
        fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).expect("ours");
        write(&info, &out, OnExisting::Replace).expect("our own link");
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (info, out) = (described(dir.path()), dir.path().join("out"));
        fs::create_dir(&out).expect("made");
        write(&info, &out, OnExisting::Replace).expect_err("a directory is in the way");
        let names = fs::read_dir(dir.path()).expect("there").count();
        assert_eq!(names, 2, "the file and the directory");
    }
}
