//! Finding a directory by a path that a person named. A link on the way is followed only if no
//! other user could have put it there; who else could lead the path elsewhere is part of the
//! answer.
//!
//! A directory is in the hands of its owner and of those who may write to it; where it is sticky,
//! as `/tmp`, an entry in it is in the hands of the entry's owner. This user, the superuser and the
//! owner of `/` (whom a container may not know by his number) are trusted. So is a group that has
//! the number of a trusted owner: it is his own.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::sys::{self, Entry, EntryKind, Protection};

/// Links followed and attempts repeated, as many as Linux follows links.
const DETOURS: u32 = 40;

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// A directory that was found.
#[derive(Debug)]
pub struct Found {
    /// Open, for what is in it.
    pub directory: OwnedFd,
    /// Who else could have led the path elsewhere; the worst.
    pub others: Option<Exposed>,
}

/// Where others decide, and who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// Who.
    pub to: Others,
    /// The directory that they may change.
    pub directory: PathBuf,
}

/// Other users who decide where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Others {
    /// The owner of a directory on the way, or of a name in a sticky one.
    Owner,
    /// A group.
    Group,
    /// All users.
    Everybody,
}

/// A directory was not found.
#[derive(Debug)]
pub enum FindError {
    /// A link is in the way that another user could have put there.
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

/// Opens the directory, asking of each step who decides where it leads.
///
/// # Errors
/// It is not there, is no directory, or a link in the way is not to be trusted.
pub fn find(path: &Path) -> Result<Found, FindError> {
    let mut way = Way::begin(path)?;
    while let Some(name) = way.names.pop() {
        way.step(name)?;
    }
    Ok(Found { directory: sys::open_subdirectory(&way.here, ".".as_ref())?, others: way.others })
}

/// The same if nobody needs to know who else decides: where no link is in the way, it is one system
/// call.
///
/// # Errors
/// As [`find`].
pub fn open(path: &Path) -> Result<OwnedFd, FindError> {
    match without_links(path) {
        Some(directory) => Ok(directory),
        None => Ok(find(path)?.directory),
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

/// A path that is being walked.
struct Way {
    here: OwnedFd,
    /// For people: the path of `here`, as far as names tell.
    path: PathBuf,
    /// What is still to be walked; the next is the last.
    names: Vec<OsString>,
    others: Option<Exposed>,
    detours: u32,
    trusted: Trusted,
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
            trusted: Trusted::now()?,
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
            self.others = Some(Exposed { to, directory: self.path.clone() });
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
            // A link took its place since.
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
            // Something else took its place since.
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

/// Users who may decide what is done in this process's name.
#[derive(Debug, Clone, Copy)]
pub struct Trusted([u32; 3]);

impl Trusted {
    /// This user, the superuser, and the owner of `/`.
    pub fn now() -> io::Result<Self> {
        let top = sys::protection(step_into(CWD, "/".as_ref())?)?;
        Ok(Self([sys::effective_user(), 0, top.owner]))
    }

    fn trusts(self, user: u32) -> bool {
        self.0.contains(&user)
    }

    /// Who else may put names into this directory.
    pub fn other_writers(self, directory: Protection) -> Option<Others> {
        let Protection { owner, group, mode } = directory;
        if mode & OTHERS_WRITE != 0 {
            Some(Others::Everybody)
        } else if mode & GROUP_WRITES != 0 && !(group == owner && self.trusts(group)) {
            Some(Others::Group)
        } else {
            (!self.trusts(owner)).then_some(Others::Owner)
        }
    }

    /// Who else may replace what this user has in this directory. In a sticky one only its owner
    /// may.
    pub fn other_replacers(self, directory: Protection) -> Option<Others> {
        if directory.mode & STICKY == 0 {
            return self.other_writers(directory);
        }
        (!self.trusts(directory.owner)).then_some(Others::Owner)
    }

    /// Who else decides what this entry of this directory is.
    pub fn others_at(self, directory: Protection, entry: &Entry) -> Option<Others> {
        let is_theirs =
            self.other_writers(directory).is_some() && !self.trusts(entry.protection.owner);
        self.other_replacers(directory).or(is_theirs.then_some(Others::Owner))
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
            sys::stamp(find(&above.join("real/inner")).expect("there").directory).expect("open");
        for way in
            ["link/inner", "full/inner", "twice/inner", "link/../real/inner", "twice/../link/inner"]
        {
            let found = find(&above.join(way)).expect(way);
            assert_eq!(
                (sys::stamp(found.directory).expect("open"), found.others),
                (inner, None),
                "{way}"
            );
            assert_eq!(
                sys::stamp(open(&above.join(way)).expect(way)).expect("open"),
                inner,
                "{way}"
            );
        }
        for (way, expected) in
            [("loop", Errno::LOOP), ("none", Errno::NOENT), ("file/x", Errno::NOTDIR)]
        {
            match find(&above.join(way)) {
                Err(FindError::Io(error)) => {
                    assert_eq!(Errno::from_io_error(&error), Some(expected), "{way}")
                }
                other => panic!("{way}: {other:?}"),
            }
        }
    }

    #[test]
    fn links_that_others_could_have_put_there_are_not() {
        for (mode, others) in [(0o777, Others::Everybody), (0o772, Others::Everybody)] {
            let (_dir, above) = scene(mode);
            for way in ["link", "full/inner", "twice"] {
                let refused = open(&above.join(way));
                assert!(
                    matches!(refused, Err(FindError::ForeignLink { .. })),
                    "{mode:o} {way}: {refused:?}"
                );
            }
            let exposed = find(&above.join("real/inner")).expect("no link").others;
            assert_eq!(exposed, Some(Exposed { to: others, directory: above.clone() }), "{mode:o}");
            open(&above.join("real/inner")).expect("no link");
        }
        // In a sticky directory an entry is its owner's.
        let (_dir, above) = scene(0o1777);
        assert_eq!(find(&above.join("link/inner")).expect("our link").others, None);
    }

    #[test]
    fn who_may_write_is_told_from_owner_group_and_mode() {
        let trusted = Trusted([1000, 0, 0]);
        let cases = [
            (1000, 1000, 0o775, None),
            (1000, 100, 0o775, Some(Others::Group)),
            (1000, 100, 0o755, None),
            (0, 0, 0o775, None),
            (1000, 1000, 0o777, Some(Others::Everybody)),
            (2000, 2000, 0o755, Some(Others::Owner)),
            (2000, 2000, 0o775, Some(Others::Group)),
        ];
        for (owner, group, mode, others) in cases {
            let directory = Protection { owner, group, mode };
            assert_eq!(trusted.other_writers(directory), others, "{owner} {group} {mode:o}");
        }
    }
}
