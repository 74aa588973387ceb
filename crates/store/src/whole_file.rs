//! Writing a small file whole: its name stands for all of it or for what stood there before, and a
//! link that another user could have put on the way leads nowhere.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rand::RngExt;

use super::download::OnExisting;
use super::error::OpenError;
use super::replaced::{NotKept, Replaced};
use super::sys;
use super::target::Target;

/// Writes the file durably, under another name first.
///
/// # Errors
/// It cannot be written, or something is there and is not to be replaced. Nothing is left behind.
pub fn write_whole(out: &Path, bytes: &[u8], existing: OnExisting) -> Result<(), OpenError> {
    let target = Target::open(out, None)?;
    let temporary = OsString::from(format!(".tnet-{:016x}", rand::rng().random::<u64>()));
    let old = (existing == OnExisting::Replace).then(|| Replaced::look(&target)).flatten();
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
        // What cannot be removed is only litter.
        done.inspect_err(|_| drop(sys::remove(target.directory(), &temporary)))
    });
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => OpenError::Exists { path: target.path(target.out()) },
        io::ErrorKind::IsADirectory => OpenError::IsDirectory { path: target.path(target.out()) },
        _ => target.naming_error(target.out(), source),
    })?;
    // A file system that cannot orders its names itself.
    let _ = sys::sync_directory(target.directory());
    Ok(())
}

fn fill(mut file: File, bytes: &[u8], old: Option<&Replaced>) -> io::Result<()> {
    file.write_all(bytes)?;
    if let Some(Err(NotKept { what, source })) = old.map(|old| old.carry_to(&file)) {
        tracing::warn!(%source, "of the replaced file not kept: {what}");
    }
    file.sync_all()
}
