//! Writes descriptions: atomically, and over an existing one only with `--overwrite`.

use std::fs;
use std::path::Path;

use tnet_fileinfo::FileName;
use tnet_peer::DownloadError;
use tnet_peer::store::{OnExisting, OpenError, write_whole};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::units::shown_path;

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
