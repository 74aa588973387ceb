//! A `.partial` while it is ours alone: locked, under its name, and out of everybody else's hands.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::error::OpenError;
use super::sys::{self, Lock};
use super::target::Target;

/// Who made the `.partial`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    New,
    Found,
}

/// A locked `.partial`.
#[derive(Debug)]
pub(super) struct Partial {
    file: Arc<File>,
    age: Age,
}

impl Partial {
    /// Opens the `.partial`, or creates it with this mode, and locks it. `None`: it went away under our hands, look again.
    pub(super) fn lock(target: &Target, mode: Option<u32>) -> Result<Option<Self>, OpenError> {
        let path = || target.path(target.partial());
        let failed = |source| target.error(target.partial(), source);
        let Some((file, age)) = open_or_create(target, mode)? else { return Ok(None) };
        if sys::lock_exclusive(&file).map_err(failed)? == Lock::HeldElsewhere {
            return Err(OpenError::Busy { path: path() });
        }
        let partial = Self { file: Arc::new(file), age };
        // Whoever held the lock before may have renamed or removed the file: then we locked a file without its name.
        let ours = sys::entry(&partial.file).map_err(failed)?;
        let named = target.entry(target.partial())?;
        if !named.is_some_and(|entry| entry.is_same_file(&ours)) {
            return Ok(None);
        }
        if age == Age::Found && !partial.is_ours(target).map_err(failed)? {
            return Err(OpenError::ForeignPartial { path: path() });
        }
        Ok(Some(partial))
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn age(&self) -> Age {
        self.age
    }

    /// Takes back what a beginning that failed has made. Best effort: an empty `.partial` that stays is only litter.
    pub(super) fn take_back(self, target: &Target) {
        if self.age == Age::New {
            let _ = sys::remove(target.directory(), target.journal());
            let _ = sys::remove(target.directory(), target.partial());
        }
    }

    /// Lets others have it before we are dropped.
    pub(super) fn unlock(&self) {
        // It cannot fail on a file that was locked, and the lock ends with us in any case.
        let _ = sys::unlock(&self.file);
    }

    /// Whether nobody else can have the file open for writing under another name or as its owner. The directory's
    /// owner may: whoever that is can replace everything here anyway, and some file systems give every file the same
    /// owner.
    fn is_ours(&self, target: &Target) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        let directory = sys::protection(target.directory())?;
        let owner_is_known = metadata.uid() == sys::effective_user() || metadata.uid() == directory.owner;
        Ok(metadata.is_file() && metadata.nlink() == 1 && owner_is_known)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started may still share the open file, and sessions may
        // still read from it.
        self.unlock();
    }
}

fn open_or_create(target: &Target, mode: Option<u32>) -> Result<Option<(File, Age)>, OpenError> {
    let failed = |source| target.error(target.partial(), source);
    match sys::create_new(target.directory(), target.partial(), mode) {
        Ok(file) => return Ok(Some((file, Age::New))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    match sys::open_existing(target.directory(), target.partial()) {
        Ok(file) => Ok(Some((file, Age::Found))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if sys::is_something_else(&error) => {
            Err(OpenError::ForeignPartial { path: target.path(target.partial()) })
        }
        Err(error) => Err(failed(error)),
    }
}
