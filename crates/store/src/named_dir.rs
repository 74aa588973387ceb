//! Finds a directory by a path that the user named. A link on the way is followed only if no
//! untrusted user could have put it there; the result names other users who could lead the path
//! elsewhere.
//!
//! A directory is controlled by its owner and by users who may write to it; in a sticky one, such
//! as `/tmp`, an entry is controlled by the entry's owner. This user, the superuser and the owner
//! of `/` (who has another number in some containers) are trusted. So is a group that has the
//! number of a trusted owner: it is that owner's private group.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::sys::{self, Entry, EntryKind, Protection};

/// Links followed and attempts repeated at most: as many as Linux follows links.
const DETOURS: u32 = 40;

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// A directory found by [`find_directory`].
#[derive(Debug)]
#[non_exhaustive]
pub struct FoundDirectory {
    /// The open directory.
    pub directory: OwnedFd,
    /// The widest set of other users who could have led the path elsewhere, if there are any.
    pub others: Option<Exposure>,
}

/// A directory on a path that other users may change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exposure {
    /// Which users.
    pub to: OtherUsers,
    /// The directory that they may change.
    pub directory: PathBuf,
}

/// Other users who decide where a path leads; a later one includes the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OtherUsers {
    /// The owner of a directory on the way, or of a name in a sticky one.
    Owner,
    /// A group.
    Group,
    /// All users.
    Everyone,
}

/// Why a directory was not found.
///
/// Not `non_exhaustive`: a caller must map each case to its own error.
#[derive(Debug)]
pub enum FindError {
    /// There is a link on the way that another user could have put there.
    ForeignLink {
        /// Its path.
        link: PathBuf,
    },
    /// The system's answer.
    Io(io::Error),
}

impl From<Errno> for FindError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl From<io::Error> for FindError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens the directory, and checks at each step which users decide where it leads.
///
/// # Errors
/// The path does not exist, is not a directory, or has a link on the way that is not
/// trusted.
pub fn find_directory(path: &Path) -> Result<FoundDirectory, FindError> {
    let mut way = Way::begin(path)?;
    while let Some(name) = way.names.pop() {
        way.step(name)?;
    }
    Ok(FoundDirectory {
        directory: sys::open_subdirectory(&way.here, ".".as_ref())?,
        others: way.others,
    })
}

/// As [`find_directory`], without the other users: if no link is on the way, it is one system call.
///
/// # Errors
/// As [`find_directory`].
pub(super) fn open(path: &Path) -> Result<OwnedFd, FindError> {
    match without_links(path) {
        Some(directory) => Ok(directory),
        None => Ok(find_directory(path)?.directory),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn without_links(path: &Path) -> Option<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    retry_on_intr(|| openat2(CWD, path, flags, Mode::empty(), resolve)).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn without_links(_: &Path) -> Option<OwnedFd> {
    None
}

/// A path that is being resolved.
struct Way {
    here: OwnedFd,
    /// The path of `here` as far as the names tell, for display.
    path: PathBuf,
    /// Components that remain, in reverse: the next one is the last.
    names: Vec<OsString>,
    others: Option<Exposure>,
    detours: u32,
    trusted: TrustedUsers,
}

impl Way {
    fn begin(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let mut way = Self {
            here: step_into(CWD, "/".as_ref())?,
            path: "/".into(),
            names: Vec::new(),
            others: None,
            detours: 0,
            trusted: TrustedUsers::now()?,
        };
        way.push(&path);
        Ok(way)
    }

    fn push(&mut self, path: &Path) {
        let names = path.components().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        });
        self.names.extend(names);
    }

    fn step(&mut self, name: OsString) -> Result<(), FindError> {
        let entry = sys::entry_at(&self.here, &name)?.ok_or(Errno::NOENT)?;
        let directory = sys::protection(&self.here)?;
        let known = self.others.as_ref().map(|exposed| exposed.to);
        if let Some(to) = self.trusted.others_at(directory, &entry).filter(|to| Some(*to) > known) {
            self.others = Some(Exposure { to, directory: self.path.clone() });
        }
        if entry.kind == EntryKind::Link {
            return self.follow(name);
        }
        match step_into(&self.here, &name) {
            Ok(next) => {
                self.here = next;
                if name == ".." {
                    self.path.pop();
                } else {
                    self.path.push(name);
                }
                Ok(())
            }
            // A link has replaced it since.
            Err(error) if sys::is_something_else(&error) && entry.kind == EntryKind::Directory => {
                self.again(name)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn follow(&mut self, name: OsString) -> Result<(), FindError> {
        if self.others.is_some() {
            return Err(FindError::ForeignLink { link: self.path.join(name) });
        }
        let target = match rustix::fs::readlinkat(&self.here, &*name, Vec::new()) {
            Ok(target) => PathBuf::from(OsString::from_vec(target.into_bytes())),
            // Something else has replaced it since.
            Err(Errno::INVAL) => return self.again(name),
            Err(error) => return Err(error.into()),
        };
        self.detour()?;
        if target.is_absolute() {
            self.here = step_into(CWD, "/".as_ref())?;
            self.path = "/".into();
        }
        self.push(&target);
        Ok(())
    }

    fn again(&mut self, name: OsString) -> Result<(), FindError> {
        self.detour()?;
        self.names.push(name);
        Ok(())
    }

    fn detour(&mut self) -> Result<(), FindError> {
        self.detours += 1;
        if self.detours > DETOURS { Err(Errno::LOOP.into()) } else { Ok(()) }
    }
}

/// The users that this process trusts to change its paths.
#[derive(Debug, Clone, Copy)]
pub struct TrustedUsers([u32; 3]);

impl TrustedUsers {
    /// This user, the superuser, and the owner of `/`.
    pub fn now() -> io::Result<Self> {
        let top = sys::protection(step_into(CWD, "/".as_ref())?)?;
        Ok(Self([sys::effective_user(), 0, top.owner]))
    }

    fn trusts(self, user: u32) -> bool {
        self.0.contains(&user)
    }

    /// Which other users may create names in this directory.
    pub(super) fn other_writers(self, directory: Protection) -> Option<OtherUsers> {
        let Protection { owner, group, mode } = directory;
        if mode & OTHERS_WRITE != 0 {
            Some(OtherUsers::Everyone)
        } else if mode & GROUP_WRITES != 0 && !(group == owner && self.trusts(group)) {
            Some(OtherUsers::Group)
        } else {
            (!self.trusts(owner)).then_some(OtherUsers::Owner)
        }
    }

    /// Which other users may replace an entry that this user owns in this directory. In a sticky
    /// one only the directory's owner may.
    pub fn other_replacers(self, directory: Protection) -> Option<OtherUsers> {
        if directory.mode & STICKY == 0 {
            return self.other_writers(directory);
        }
        (!self.trusts(directory.owner)).then_some(OtherUsers::Owner)
    }

    /// Which other users decide what this entry of this directory is.
    pub(super) fn others_at(self, directory: Protection, entry: &Entry) -> Option<OtherUsers> {
        let is_theirs =
            self.other_writers(directory).is_some() && !self.trusts(entry.protection.owner);
        self.other_replacers(directory).or(is_theirs.then_some(OtherUsers::Owner))
    }
}

/// Opens a directory only to go on from it: it need not be readable.
fn step_into(directory: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let way = OFlags::PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let way = OFlags::RDONLY;
    let flags = way | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::openat(directory.as_fd(), name, flags, Mode::empty()))?)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// `above/real`, and links to it in `above`, which is protected by this mode.
    fn scene(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let above = dir.path().join("above");
        fs::create_dir_all(above.join("real/inner")).expect("writable");
        symlink("real", above.join("link")).expect("a link");
        symlink(above.join("real"), above.join("full")).expect("a link");
        symlink("../above/./link", above.join("twice")).expect("a link");
        symlink("loop", above.join("loop")).expect("a link");
        fs::write(above.join("file"), "x").expect("writable");
        fs::set_permissions(&above, Permissions::from_mode(mode)).expect("ours");
        (dir, above)
    }

    #[test]
    fn links_of_our_own_are_followed() {
        let (_dir, above) = scene(0o755);
        let inner =
            sys::fingerprint(find_directory(&above.join("real/inner")).expect("there").directory)
                .expect("open");
        for way in
            ["link/inner", "full/inner", "twice/inner", "link/../real/inner", "twice/../link/inner"]
        {
            let found = find_directory(&above.join(way)).expect(way);
            assert_eq!(
                (sys::fingerprint(found.directory).expect("open"), found.others),
                (inner, None),
                "{way}"
            );
            assert_eq!(
                sys::fingerprint(open(&above.join(way)).expect(way)).expect("open"),
                inner,
                "{way}"
            );
        }
        for (way, expected) in
            [("loop", Errno::LOOP), ("none", Errno::NOENT), ("file/x", Errno::NOTDIR)]
        {
            match find_directory(&above.join(way)) {
                Err(FindError::Io(error)) => {
                    assert_eq!(Errno::from_io_error(&error), Some(expected), "{way}")
                }
                other => panic!("{way}: {other:?}"),
            }
        }
    }

    #[test]
    fn links_that_others_could_have_put_there_are_not() {
        for (mode, others) in [(0o777, OtherUsers::Everyone), (0o772, OtherUsers::Everyone)] {
            let (_dir, above) = scene(mode);
            for way in ["link", "full/inner", "twice"] {
                let refused = open(&above.join(way));
                assert!(
                    matches!(refused, Err(FindError::ForeignLink { .. })),
                    "{mode:o} {way}: {refused:?}"
                );
            }
            let exposed = find_directory(&above.join("real/inner")).expect("no link").others;
            assert_eq!(
                exposed,
                Some(Exposure { to: others, directory: above.clone() }),
                "{mode:o}"
            );
            open(&above.join("real/inner")).expect("no link");
        }
        // In a sticky directory an entry is its owner's.
        let (_dir, above) = scene(0o1777);
        assert_eq!(find_directory(&above.join("link/inner")).expect("our link").others, None);
    }

    #[test]
    fn owner_group_and_mode_tell_which_users_may_write() {
        let trusted = TrustedUsers([1000, 0, 0]);
        let cases = [
            (1000, 1000, 0o775, None),
            (1000, 100, 0o775, Some(OtherUsers::Group)),
            (1000, 100, 0o755, None),
            (0, 0, 0o775, None),
            (1000, 1000, 0o777, Some(OtherUsers::Everyone)),
            (2000, 2000, 0o755, Some(OtherUsers::Owner)),
            (2000, 2000, 0o775, Some(OtherUsers::Group)),
        ];
        for (owner, group, mode, others) in cases {
            let directory = Protection { owner, group, mode };
            assert_eq!(trusted.other_writers(directory), others, "{owner} {group} {mode:o}");
        }
    }
}
