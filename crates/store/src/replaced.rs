//! A file that is to be replaced: whether it may be, which is checked before the first byte, and
//! its metadata, which the new file gets before it gets the name.
//!
//! At no moment is the new content more readable than the old one was. What cannot be carried over
//! takes rights away rather than giving them: if the group is another one, it may do only what all
//! users may.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;

use super::beneath;
use super::error::OpenError;
use super::sys::{self, Entry, EntryKind, Protection, Unchangeable};
use super::target::Target;

const RIGHTS: u32 = 0o777;
const GROUP_RIGHTS: u32 = 0o070;
const OTHERS_READ: u32 = 0o004;
const STICKY: u32 = 0o1000;

/// Attributes that describe the old content, or how an overlay stores it.
const OF_THE_CONTENT: [&str; 3] = ["security.ima", "security.evm", "trusted.overlay."];
const ACCESS_LIST: &str = "system.posix_acl_access";

/// A file that has the output's name.
#[derive(Debug)]
pub(super) struct ReplacedFile {
    protection: Protection,
    /// None if this user may not read it.
    file: Option<File>,
}

impl ReplacedFile {
    /// The file that has the output's name now; `None` if there is none whose rights matter. A link
    /// is followed if no other user could have put it there.
    pub(super) fn at(target: &Target) -> Option<Self> {
        let entry = target.entry(target.out()).ok()??;
        match entry.kind {
            EntryKind::File => {
                let file = beneath::open(target.directory(), target.out().as_ref()).ok();
                Some(Self { protection: entry.protection, file })
            }
            EntryKind::Link if target.is_trusted(&entry).is_ok_and(|is_trusted| is_trusted) => {
                let file = sys::open_for_reading(target.directory(), target.out()).ok()?;
                let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
                is_file
                    .then_some(Self { protection: sys::protection(&file).ok()?, file: Some(file) })
            }
            EntryKind::Link | EntryKind::Directory => None,
            EntryKind::Pipe | EntryKind::Socket | EntryKind::Device => None,
        }
    }

    /// Whether not all users may read it.
    pub(super) fn is_private(&self) -> bool {
        self.protection.mode & OTHERS_READ == 0
    }

    /// Gives `new` the owner, the group, the attributes and the mode of this file, as far as this
    /// user may and the file system can. The error is what could not be kept.
    pub(super) fn carry_to(&self, new: &File) -> Result<(), LostMetadata> {
        let mut lost = None;
        let mut mode = self.protection.mode & 0o7777;
        if let Err(source) = self.carry_owner(new) {
            lost = Some(LostMetadata { what: "owner and group", source });
        }
        let now = sys::protection(new)
            .map_err(|source| LostMetadata { what: "owner and group", source })?;
        let same_group = now.group == self.protection.group;
        if !same_group || now.owner != self.protection.owner {
            // A set-user-ID program must not act for another owner.
            mode &= RIGHTS;
        }
        let attributes = self.carry_attributes(new);
        if !same_group || attributes.as_ref().is_err_and(|(_, rights)| *rights == Rights::Unknown) {
            mode &= !GROUP_RIGHTS | (mode << 3);
        }
        if let Err((source, _)) = attributes {
            lost = lost.or(Some(LostMetadata { what: "extended attributes", source }));
        }
        if let Err(errno) = give_mode(mode, |mode| rustix::fs::fchmod(new, mode_of(mode)))
            && sys::protection(new).is_ok_and(|now| now.mode & 0o7777 != mode & 0o7777)
        {
            lost = lost.or(Some(LostMetadata { what: "mode", source: errno.into() }));
        }
        lost.map_or(Ok(()), Err)
    }

    fn carry_owner(&self, new: &File) -> io::Result<()> {
        let ours = sys::protection(new)?;
        let Protection { owner, group, .. } = self.protection;
        if (ours.owner, ours.group) == (owner, group) {
            return Ok(());
        }
        let (owner, group) = (Uid::from_raw(owner), Gid::from_raw(group));
        let given = rustix::fs::fchown(new, Some(owner), Some(group));
        if given.is_err() {
            // A user may set a group that he is a member of.
            let _ = rustix::fs::fchown(new, None, Some(group));
        }
        Ok(given?)
    }

    fn carry_attributes(&self, new: &File) -> Result<(), (io::Error, Rights)> {
        let Some(old) = &self.file else { return Err((Errno::ACCESS.into(), Rights::Unknown)) };
        let names = match attribute_names(old) {
            Ok(names) => names,
            // A file system without attributes.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Vec::new(),
            Err(errno) => return Err((errno.into(), Rights::Unknown)),
        };
        let mut result = Ok(());
        if !names.iter().any(|name| name == ACCESS_LIST) {
            // The directory may have given the new file a default access list.
            match rustix::fs::fremovexattr(new, ACCESS_LIST) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(errno) => result = Err((errno.into(), Rights::Unknown)),
            }
        }
        let carried = names.iter().filter(|name| !is_of_the_content(name));
        for name in carried {
            if let Err(errno) = carry_attribute(old, new, name) {
                let rights = if name == ACCESS_LIST { Rights::Unknown } else { Rights::Known };
                if result.is_ok() || rights == Rights::Unknown {
                    result = Err((errno.into(), rights));
                }
            }
        }
        result
    }
}

/// Metadata of a replaced file that the new one lacks.
#[derive(Debug)]
pub(super) struct LostMetadata {
    pub(super) what: &'static str,
    pub(super) source: io::Error,
}

/// Whether the bits of the group say what the group may: with an access list they bound what is in
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    Known,
    Unknown,
}

/// Sets as much of `mode` as is allowed. Some sandboxes refuse a mode with set-user-ID or
/// set-group-ID bits: then only the permission bits are set.
fn give_mode(mode: u32, give: impl Fn(u32) -> Result<(), Errno>) -> Result<(), Errno> {
    give(mode).inspect_err(|_| {
        if mode & !RIGHTS != 0 {
            // The first error is returned.
            let _ = give(mode & RIGHTS);
        }
    })
}

fn is_of_the_content(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| OF_THE_CONTENT.iter().any(|start| name.starts_with(start)))
}

fn attribute_names(file: &File) -> Result<Vec<OsString>, Errno> {
    let mut names = vec![0_u8; rustix::fs::flistxattr_query(file)?];
    let len = rustix::fs::flistxattr(file, &mut names[..])?;
    names.truncate(len);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| OsString::from_vec(name.to_vec())).collect())
}

fn carry_attribute(old: &File, new: &File, name: &OsStr) -> Result<(), Errno> {
    let mut value = vec![0_u8; rustix::fs::fgetxattr_query(old, name)?];
    let len = rustix::fs::fgetxattr(old, name, &mut value[..])?;
    value.truncate(len);
    let has_it = |file: &File| {
        let mut found = vec![0_u8; value.len() + 1];
        rustix::fs::fgetxattr(file, name, &mut found[..])
            .is_ok_and(|len| found.get(..len) == Some(&value[..]))
    };
    if has_it(new) {
        return Ok(());
    }
    rustix::fs::fsetxattr(new, name, &value, rustix::fs::XattrFlags::empty())
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_possible_truncation,
    reason = "the type is shorter on some systems; these bits fit everywhere"
)]
fn mode_of(mode: u32) -> Mode {
    Mode::from_raw_mode((mode & 0o7777) as rustix::fs::RawMode)
}

/// Makes a file readable only for this user.
pub(super) fn make_private(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::RUSR | Mode::WUSR)?)
}

/// Takes away what the mode does not allow.
pub(super) fn restrict(file: &File, mode: u32) -> io::Result<()> {
    let now = sys::protection(file)?.mode & 0o7777;
    if now & !mode == 0 {
        return Ok(());
    }
    Ok(rustix::fs::fchmod(file, mode_of(now & mode))?)
}

/// Refuses a file that a rename could not replace in the end.
pub(super) fn check_replaceable(target: &Target, entry: &Entry) -> Result<(), OpenError> {
    let path = || target.path(target.out());
    if let Some(fixed) = sys::unchangeable(target.directory(), target.out()) {
        return Err(match fixed {
            Unchangeable::Immutable | Unchangeable::AppendOnly => {
                OpenError::Unchangeable { path: path() }
            }
            Unchangeable::MountPoint => OpenError::MountPoint { path: path() },
        });
    }
    let directory =
        sys::protection(target.directory()).map_err(|source| target.error(target.out(), source))?;
    let us = sys::effective_user();
    let may = us == 0 || [directory.owner, entry.protection.owner].contains(&us);
    if directory.mode & STICKY != 0 && !may {
        return Err(OpenError::NotAllowed { path: path(), source: Errno::PERM.into() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn where_the_bits_beside_the_rights_are_refused_the_rights_are_given() {
        for (mode, given) in
            [(0o4755, Some(0o755)), (0o2750, Some(0o750)), (0o755, Some(0o755)), (0o7000, Some(0))]
        {
            let last = RefCell::new(None);
            let result = give_mode(mode, |mode| {
                if mode & !RIGHTS != 0 {
                    return Err(Errno::PERM);
                }
                *last.borrow_mut() = Some(mode);
                Ok(())
            });
            assert_eq!(
                (result.is_err(), last.into_inner()),
                (mode & !RIGHTS != 0, given),
                "{mode:o}"
            );
        }
    }
}
