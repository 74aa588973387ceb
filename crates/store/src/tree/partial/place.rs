//! Makes and opens the entries of a tree in its directory. A name that leads out of it, or to
//! something that another user may have put there, is never used.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::emptying::names;
use super::fault::TreeFault;
use super::handles::Handles;
use super::probe::Probe;
use super::unsynced::{Changes, Unsynced};
use crate::beneath;
use crate::sys::{self, Entry, EntryKind, Protection};

/// What the owner may do with an entry while the tree is being made, whatever the umask says.
const OWNER_OF_FILE: u32 = 0o600;
const OWNER_OF_DIRECTORY: u32 = 0o700;

/// How often something is opened again because there are no descriptors left, and how long others
/// are given to close some. A second in all.
const DESCRIPTOR_TRIES: u32 = 50;
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(20);

/// What other users may do.
const OTHERS: u32 = 0o077;

/// New files get the group of the directory, which new directories inherit.
const KEEPS_GROUP: u32 = 0o2000;

/// The directory of a tree that is being made.
#[derive(Debug)]
pub(super) struct Place {
    top: OwnedFd,
    /// This user, and the owner of the top: some file systems give every file the same owner.
    owners: [u32; 2],
    probe: Probe,
    /// The paths of directories that are there.
    directories: Mutex<HashSet<Box<[u8]>>>,
    pub(super) unsynced: Unsynced,
    pub(super) handles: Handles,
}

/// What an entry is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Directory,
    File { is_executable: bool },
}

impl Place {
    /// `top` is the open directory of the tree. From now on no other user can reach what is in it,
    /// also if it was finished before.
    pub(super) fn new(top: OwnedFd) -> Result<Self, TreeFault> {
        let failed = |source| io_fault(b"", source);
        let Protection { owner, mode, .. } = sys::protection(&top).map_err(failed)?;
        if mode & OTHERS != 0 {
            sys::set_mode(&top, mode & !OTHERS & 0o7777).map_err(failed)?;
        }
        let probe = Probe::of(&top).map_err(failed)?;
        Ok(Self {
            top,
            owners: [sys::effective_user(), owner],
            probe,
            directories: Mutex::default(),
            unsynced: Unsynced::default(),
            handles: Handles::default(),
        })
    }

    pub(super) fn top(&self) -> &OwnedFd {
        &self.top
    }

    /// Whether any two names are two names here; else some may be refused.
    pub(super) fn takes_all_names(&self) -> bool {
        self.probe.takes_all_names
    }

    /// The mode that an entry is to have in the end, if it has another one now.
    pub(super) fn mode_to_set(&self, what: Made, now: u32) -> Option<u32> {
        let kept = match what {
            Made::Directory => now & KEEPS_GROUP,
            Made::File { .. } => 0,
        };
        Some(self.mode(what)? | kept).filter(|mode| *mode != now & 0o7777)
    }

    /// The mode of a new entry; `None` if the file system has no modes.
    fn mode(&self, what: Made) -> Option<u32> {
        let granted = self.probe.granted_mode?;
        Some(granted & wanted_mode(what))
    }

    /// Creates a file and, where they are missing, the directories that it is in.
    pub(super) fn create_file(&self, path: &[u8], is_executable: bool) -> Result<File, TreeFault> {
        let what = Made::File { is_executable };
        let create =
            || self.opened(|| beneath::create(&self.top, as_path(path), wanted_mode(what)));
        let mut created = create();
        if is_missing(&created) {
            self.make_parents(path)?;
            created = create();
        }
        let file = created.map_err(|error| self.not_made(path, error))?;
        self.allow_owner(&file, what, OWNER_OF_FILE).map_err(|error| io_fault(path, error))?;
        self.unsynced.note_directory(parent(path));
        Ok(file)
    }

    /// Opens a file that is there, for reading and writing.
    pub(super) fn open_file(&self, path: &[u8]) -> Result<File, TreeFault> {
        let opened = self.opened(|| beneath::open_writable(&self.top, as_path(path)));
        self.check_file(path, opened.map_err(|error| not_opened(path, error))?)
    }

    /// Opens a file that is there, if that needs no disk.
    pub(super) fn open_file_at_once(&self, path: &[u8]) -> Option<File> {
        let file = beneath::open_writable_at_once(&self.top, as_path(path))?;
        self.check_file(path, file).ok()
    }

    fn check_file(&self, path: &[u8], file: File) -> Result<File, TreeFault> {
        let entry = sys::entry(&file).map_err(|error| io_fault(path, error))?;
        if self.is_our_file(&entry) { Ok(file) } else { Err(foreign(path)) }
    }

    /// Whether no other user can change the file through another name or as its owner.
    pub(super) fn is_our_file(&self, entry: &Entry) -> bool {
        entry.kind == EntryKind::File
            && entry.names == 1
            && self.owners.contains(&entry.protection.owner)
    }

    /// The directory is there; it was made by an earlier process.
    pub(super) fn note_directory(&self, path: &[u8]) {
        self.directories().insert(path.into());
    }

    /// Makes a directory, with those that it is in, unless it is there.
    pub(super) fn make_directory(&self, path: &[u8]) -> Result<OwnedFd, TreeFault> {
        let mut directories = self.directories();
        let mut outer: Option<OwnedFd> = None;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let (path, name) = (&path[..end], name_of(&path[..end]));
            let directory = outer.as_ref().map_or(self.top.as_fd(), AsFd::as_fd);
            let known = directories.contains(path);
            let open = || self.opened(|| sys::open_subdirectory(directory, name));
            let mut opened = open();
            let was_there = !is_missing(&opened);
            if !was_there {
                sys::make_directory(directory, name, wanted_mode(Made::Directory))
                    .map_err(|error| self.not_made(path, error))?;
                opened = open();
                if let Ok(made) = &opened {
                    self.allow_owner(made, Made::Directory, OWNER_OF_DIRECTORY)
                        .map_err(|error| io_fault(path, error))?;
                }
                directories.insert(path.into());
                self.unsynced.note_directory(parent(path));
            }
            let is_taken = match &opened {
                Ok(_) => was_there && !known,
                Err(error) => beneath::leads_elsewhere(error),
            };
            if is_taken {
                return Err(self.not_made(path, Errno::EXIST.into()));
            }
            outer = Some(opened.map_err(|error| io_fault(path, error))?);
        }
        Ok(outer.expect("a path has at least one component"))
    }

    fn make_parents(&self, path: &[u8]) -> Result<(), TreeFault> {
        match parent(path) {
            b"" => Ok(()),
            directory => self.make_directory(directory).map(drop),
        }
    }

    /// Makes a link, unless one with the same text is there.
    pub(super) fn make_link(&self, path: &[u8], target: &[u8]) -> Result<(), TreeFault> {
        self.make_parents(path)?;
        let (directory, name) = (self.open_directory(parent(path))?, name_of(path));
        match sys::make_link(&directory, name, target) {
            Ok(()) => {
                self.unsynced.note_directory(parent(path));
                Ok(())
            }
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && sys::link_target(&directory, name).is_ok_and(|text| text == target) =>
            {
                Ok(())
            }
            Err(error) => Err(self.not_made(path, error)),
        }
    }

    /// Opens a directory that is there; the empty path is the top.
    pub(super) fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, TreeFault> {
        let within = if path.is_empty() { Path::new(".") } else { as_path(path) };
        self.opened(|| beneath::open_directory(&self.top, within))
            .map_err(|error| not_opened(path, error))
    }

    /// All changes since they were last taken; see [`Unsynced::take`].
    pub(super) fn take_changes(&self, forget: impl Fn(u32)) -> Changes {
        // A directory that was just made may hold a synced file before it is noted itself.
        let _none_is_being_made = self.directories();
        self.unsynced.take(forget)
    }

    /// The paths of all directories that are there, without the top.
    pub(super) fn known_directories(&self) -> Vec<Box<[u8]>> {
        self.directories().iter().cloned().collect()
    }

    /// Tries it again for a while if no descriptors are left, after closing what we keep open.
    fn opened<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        for _ in 0..DESCRIPTOR_TRIES {
            match open() {
                Err(error)
                    if matches!(
                        Errno::from_io_error(&error),
                        Some(Errno::MFILE | Errno::NFILE)
                    ) => {}
                opened => return opened,
            }
            if !self.handles.close_all() {
                thread::sleep(DESCRIPTOR_PAUSE);
            }
        }
        open()
    }

    /// With an odd umask the owner could not open again what was just made.
    fn allow_owner(&self, made: impl AsFd, what: Made, owner: u32) -> io::Result<()> {
        match self.mode(what) {
            Some(mode) if mode & owner != owner => sys::set_mode(made, mode | owner),
            _ => Ok(()),
        }
    }

    /// Why something could not be made under a path.
    fn not_made(&self, path: &[u8], error: io::Error) -> TreeFault {
        match Errno::from_io_error(&error) {
            Some(Errno::EXIST | Errno::ISDIR) => self.one_name(path).unwrap_or(foreign(path)),
            Some(Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG) => {
                TreeFault::NameRefused { path: as_path(path).to_owned() }
            }
            _ => io_fault(path, error),
        }
    }

    /// The fault, if what has this name is listed under another one.
    pub(super) fn one_name(&self, path: &[u8]) -> Option<TreeFault> {
        let directory = self.open_directory(parent(path)).ok()?;
        let taken = sys::entry_at(&directory, name_of(path)).ok()??;
        let names = names(&directory).ok()?;
        if names.iter().any(|name| name == name_of(path)) {
            return None;
        }
        let is_same = |name: &&OsString| {
            sys::entry_at(&directory, name)
                .is_ok_and(|entry| entry.is_some_and(|entry| entry.is_same_file(&taken)))
        };
        // Where inodes have a number for each name, letters are compared.
        let lower = |name: &OsStr| name.to_str().map(str::to_lowercase);
        let is_alike = |name: &&OsString| lower(name) == lower(name_of(path));
        let other = names.iter().find(is_same).or_else(|| names.iter().find(is_alike))?;
        let first = as_path(&join(parent(path), other.as_bytes())).to_owned();
        Some(TreeFault::OneName { first, second: as_path(path).to_owned() })
    }

    // A poisoned lock is used: a directory that is missing from the set is only looked at again.
    fn directories(&self) -> MutexGuard<'_, HashSet<Box<[u8]>>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }
}

/// The mode of an entry where the umask takes nothing away.
fn wanted_mode(what: Made) -> u32 {
    match what {
        Made::Directory | Made::File { is_executable: true } => 0o755,
        Made::File { is_executable: false } => 0o644,
    }
}

fn is_missing<T>(opened: &io::Result<T>) -> bool {
    opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn not_opened(path: &[u8], error: io::Error) -> TreeFault {
    match error.kind() {
        io::ErrorKind::NotFound => TreeFault::Gone { path: as_path(path).to_owned() },
        _ if beneath::leads_elsewhere(&error) => foreign(path),
        _ => io_fault(path, error),
    }
}

fn foreign(path: &[u8]) -> TreeFault {
    TreeFault::Foreign { path: as_path(path).to_owned() }
}

pub(super) fn io_fault(path: &[u8], source: io::Error) -> TreeFault {
    let path = if path.is_empty() { Path::new(".") } else { as_path(path) };
    TreeFault::Io { path: path.to_owned(), source }
}

pub(super) fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// The path of the directory that an entry is in; the top is empty.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |slash| &path[..slash])
}

pub(super) fn name_of(path: &[u8]) -> &OsStr {
    let name = path.rsplit(|byte| *byte == b'/').next();
    OsStr::from_bytes(name.unwrap_or(path))
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
