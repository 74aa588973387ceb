//! A locked `.partial`: the file, or the directory of a tree. While it exists it has its name, and
//! no other download, in this process or another, writes to it, as far as the file system has
//! locks.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disks::{Disks, Feature};
use super::error::OpenError;
use super::file_id::FileId;
use super::replaced::{make_private, restrict};
use super::sys::{self, LockOutcome};
use super::target::Target;

/// The mode of the directory of a tree until it is finished.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Whether the `.partial` existed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    New,
    Found,
}

/// The lock that keeps other processes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// A lock of this open file.
    File,
    /// A lock of this process, where the file system has no better one.
    Process,
    /// Nothing: it has none at all.
    Nothing,
}

impl Guard {
    /// Whether it excludes all others that lock, in this process too.
    fn is_sure(self) -> bool {
        self == Self::File
    }
}

/// Which users may read a new `.partial`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readable {
    /// As this mode says, or as any file that this process makes.
    AsUsual(Option<u32>),
    /// This user alone: the file that it replaces is not readable by all.
    ByUs,
}

/// What a `.partial` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartialKind {
    File(Readable),
    /// Of a tree; for this user alone until it is finished.
    Directory,
}

/// A locked `.partial`.
#[derive(Debug)]
pub(super) struct Partial {
    /// Or the directory.
    file: Arc<File>,
    age: Age,
    guard: Guard,
}

impl Partial {
    /// Opens or creates the `.partial` and locks it. `None`: it went away under our hands, look
    /// again.
    pub(super) fn lock(
        target: &Target,
        kind: PartialKind,
        disks: &Disks,
    ) -> Result<Option<Self>, OpenError> {
        let path = || target.path(target.partial());
        let failed = |source| target.error(target.partial(), source);
        let opened = match kind {
            PartialKind::File(readable) => open_or_create(target, readable)?,
            PartialKind::Directory => open_or_create_directory(target)?,
        };
        let Some((file, age)) = opened else { return Ok(None) };
        let Some((guard, lacking)) = guard(&file) else {
            return Err(OpenError::Busy { path: path() });
        };
        if let Some(error) = lacking {
            let feature = if guard == Guard::Nothing { Feature::Locks } else { Feature::FileLocks };
            disks.lacks(target.device(), feature, &target.path(target.out()), &error);
        }
        let partial = Self { file: Arc::new(file), age, guard };
        // The previous holder of the lock may have renamed or removed the file: then we locked a
        // file without its name.
        let ours = sys::entry(&partial.file).map_err(failed)?;
        let named = target.entry(target.partial())?;
        if !named.is_some_and(|entry| entry.is_same_file(&ours)) {
            return Ok(None);
        }
        if (age == Age::Found || kind == PartialKind::Directory)
            && !partial.is_ours(target, kind).map_err(failed)?
        {
            return Err(OpenError::ForeignPartial { path: path() });
        }
        if age == Age::Found {
            // Where modes cannot be changed there are none.
            let _ = match kind {
                PartialKind::File(Readable::ByUs) => make_private(&partial.file),
                PartialKind::File(Readable::AsUsual(mode)) => {
                    restrict_found(target, &partial.file, mode)
                }
                PartialKind::Directory => sys::set_mode(&*partial.file, PRIVATE_DIRECTORY),
            };
        }
        Ok(Some(partial))
    }

    /// Whether no other process can write to it meanwhile. If not, what was stored has to be read
    /// once more.
    pub(super) fn is_guarded(&self) -> bool {
        self.guard == Guard::File
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn age(&self) -> Age {
        self.age
    }

    /// Removes what a failed open created. Best effort: an empty `.partial` that stays does no
    /// harm.
    pub(super) fn take_back(self, target: &Target) {
        if self.age == Age::New {
            let _ = sys::remove(target.directory(), target.journal());
            let _ = sys::remove(target.directory(), target.partial());
            let _ = sys::remove_directory(target.directory(), target.partial());
        }
    }

    /// Releases the lock before we are dropped.
    pub(super) fn unlock(&self) {
        // It cannot fail on a file that was locked, and the lock ends with us in any case.
        let _ = match self.guard {
            Guard::File => sys::unlock(&self.file),
            Guard::Process => sys::unlock_for_process(&self.file),
            Guard::Nothing => Ok(()),
        };
    }

    /// Whether no other user can have the file open for writing under another name or as its owner.
    /// The directory's owner is accepted: that user can replace everything here anyway, and some
    /// file systems give every file the same owner.
    fn is_ours(&self, target: &Target, kind: PartialKind) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        let directory = sys::protection(target.directory())?;
        let owner_is_known =
            metadata.uid() == sys::effective_user() || metadata.uid() == directory.owner;
        let is_that_kind = match kind {
            PartialKind::File(_) => metadata.is_file() && metadata.nlink() == 1,
            PartialKind::Directory => metadata.is_dir(),
        };
        Ok(is_that_kind && owner_is_known)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started may still share the open
        // file, and sessions may still read from it.
        self.unlock();
    }
}

/// Takes the best lock that the file system has, and returns the error of the better ones; `None`
/// if another open file or process has the lock.
fn guard(file: &File) -> Option<(Guard, Option<io::Error>)> {
    match sys::lock_exclusive(file) {
        Ok(LockOutcome::Taken) => Some((Guard::File, None)),
        Ok(LockOutcome::HeldElsewhere) => None,
        // Lustre without `flock`, NFS without a lock feature: any answer may mean that.
        Err(error) => match sys::lock_for_process(file) {
            Ok(LockOutcome::Taken) => Some((Guard::Process, Some(error))),
            Ok(LockOutcome::HeldElsewhere) => None,
            Err(error) => Some((Guard::Nothing, Some(error))),
        },
    }
}

/// A download may be resumed with a stricter mode than it was begun with.
fn restrict_found(target: &Target, file: &File, mode: Option<u32>) -> io::Result<()> {
    match mode_in(target, mode) {
        Some(mode) => restrict(file, mode),
        None => Ok(()),
    }
}

/// The mode that a new file is to have; none where the directory says it.
fn mode_in(target: &Target, mode: Option<u32>) -> Option<u32> {
    mode.filter(|_| !sys::has_default_access(target.directory()))
}

/// The leftovers of an ended download, locked.
pub(super) struct Ended {
    target: Target,
    partial: Partial,
}

/// The `.partial` of that output if it is still that file and not in use.
pub(super) fn of_ended(out: &Path, id: FileId) -> Option<Ended> {
    let target = Target::open(out, None).ok()?;
    let entry = target.entry(target.partial()).ok()??;
    if FileId::of_entry(&entry) != id {
        return None;
    }
    let file = sys::open_existing(target.directory(), target.partial()).ok()?;
    // Without a full lock another process may be writing to it.
    let (guard, _) = guard(&file).filter(|(guard, _)| guard.is_sure())?;
    let is_same = FileId::of(&file).is_ok_and(|found| found == id);
    let partial = Partial { file: Arc::new(file), age: Age::Found, guard };
    is_same.then_some(Ended { target, partial })
}

impl Ended {
    pub(super) fn file(&self) -> &File {
        &self.partial.file
    }

    pub(super) fn path(&self) -> PathBuf {
        self.target.path(self.target.partial())
    }

    /// Removes it with its journal. Truncates it first, so that its space is free even while it is
    /// open elsewhere.
    pub(super) fn remove(self) {
        let directory = self.target.directory();
        let _ = sys::remove(directory, self.target.journal());
        let _ = self.partial.file.set_len(0);
        let _ = sys::remove(directory, self.target.partial());
    }
}

fn open_or_create_directory(target: &Target) -> Result<Option<(File, Age)>, OpenError> {
    let name = target.partial();
    let age = match sys::make_directory(target.directory(), name, PRIVATE_DIRECTORY) {
        Ok(()) => Age::New,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Age::Found,
        Err(error) => return Err(target.naming_error(name, error)),
    };
    match sys::open_subdirectory(target.directory(), name) {
        Ok(directory) => Ok(Some((File::from(directory), age))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if sys::is_something_else(&error) => {
            Err(OpenError::ForeignPartial { path: target.path(name) })
        }
        Err(error) => Err(target.error(name, error)),
    }
}

fn open_or_create(target: &Target, readable: Readable) -> Result<Option<(File, Age)>, OpenError> {
    let failed = |source| target.error(target.partial(), source);
    let created = match readable {
        Readable::AsUsual(mode) => {
            sys::create_new(target.directory(), target.partial(), mode_in(target, mode))
        }
        Readable::ByUs => sys::create_private(target.directory(), target.partial()),
    };
    match created {
        Ok(file) => return Ok(Some((file, Age::New))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(target.naming_error(target.partial(), error)),
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
