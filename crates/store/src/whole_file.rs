//! Writes a small file atomically: its name always stands for the complete new file or for the old
//! one, and a link that another user could have put on the way is not followed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rand::RngExt;

use super::download::OnExisting;
use super::error::OpenError;
use super::replaced::{LostMetadata, ReplacedFile};
use super::sys;
use super::target::Target;

/// Writes `bytes` to `out` durably, through a temporary name.
///
/// # Errors
/// The file cannot be written, or one exists and `existing` refuses to replace it. Nothing
/// is left behind.
pub fn write_whole(out: &Path, bytes: &[u8], existing: OnExisting) -> Result<(), OpenError> {
    let target = Target::open(out, None)?;
    let temporary = OsString::from(format!(".tnet-{:016x}", rand::rng().random::<u64>()));
    let old = (existing == OnExisting::Replace).then(|| ReplacedFile::at(&target)).flatten();
    let created = match &old {
        Some(old) if old.is_private() => sys::create_private(target.directory(), &temporary),
        _ => sys::create_new(target.directory(), &temporary, None),
    };
    let written = created.and_then(|file| {
        let done = fill(file, bytes, old.as_ref()).and_then(|()| match existing {
            OnExisting::Refuse => sys::rename_new(target.directory(), &temporary, target.out()),
            OnExisting::Replace => {
                sys::rename_replacing(target.directory(), &temporary, target.out())
            }
        });
        // A temporary file that cannot be removed does no harm.
        done.inspect_err(|_| drop(sys::remove(target.directory(), &temporary)))
    });
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => OpenError::Exists { path: target.path(target.out()) },
        io::ErrorKind::IsADirectory => OpenError::IsDirectory { path: target.path(target.out()) },
        _ => target.naming_error(target.out(), source),
    })?;
    // A file system that cannot sync a directory orders its names itself.
    let _ = sys::sync_directory(target.directory());
    Ok(())
}

fn fill(mut file: File, bytes: &[u8], old: Option<&ReplacedFile>) -> io::Result<()> {
    file.write_all(bytes)?;
    if let Some(Err(LostMetadata { what, source })) = old.map(|old| old.carry_to(&file)) {
        tracing::warn!(%source, "metadata of the replaced file not preserved: {what}");
    }
    file.sync_all()
}
