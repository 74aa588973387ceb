//! Writing a small file whole: its name stands for all of it or for what stood there before, and a
//! link that another user could have put on the way leads nowhere.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rand::RngExt;

use super::download::OnExisting;
use super::error::OpenError;
use super::sys;
use super::target::Target;

/// Writes the file durably, under another name first.
///
/// # Errors
/// It cannot be written, or something is there and is not to be replaced. Nothing is left behind.
pub fn write_whole(out: &Path, bytes: &[u8], existing: OnExisting) -> Result<(), OpenError> {
    let target = Target::open(out, None)?;
    let temporary = OsString::from(format!(".tnet-{:016x}", rand::rng().random::<u64>()));
    let written = sys::create_new(target.directory(), &temporary, None).and_then(|file| {
        let done = fill(file, bytes).and_then(|()| match existing {
            OnExisting::Refuse => sys::rename_new(target.directory(), &temporary, target.out()),
            OnExisting::Replace => sys::rename_replacing(target.directory(), &temporary, target.out()),
        });
        // What cannot be removed is only litter.
        done.inspect_err(|_| drop(sys::remove(target.directory(), &temporary)))
    });
    written.and_then(|()| sys::sync_directory(target.directory())).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => OpenError::Exists { path: target.path(target.out()) },
        io::ErrorKind::IsADirectory => OpenError::IsDirectory { path: target.path(target.out()) },
        _ => target.error(target.out(), source),
    })
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}
