//! Looks at everything in the directory of a tree that is being made. What is of the tree is told
//! to a visitor; everything else is removed, so that afterwards nothing else is there.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use tnet_fileinfo::shown_path;
use tnet_fileinfo::tree::{EntryKind, Layout, Member};

use super::emptying::{names, remove_any};
use super::fault::TreeFault;
use super::place::{Place, as_path, io_fault, join};
use crate::sys::{self, Entry};

/// An entry of the tree that was found under its very name and is of the right kind.
pub(super) struct Found<'a> {
    /// From the top of the tree.
    pub(super) path: &'a [u8],
    pub(super) what: What<'a>,
    pub(super) entry: Entry,
}

/// What was found.
pub(super) enum What<'a> {
    Directory,
    /// Of any size.
    Member(u32, Member<'a>),
    /// With the right text.
    Link,
}

/// Visits all entries of the tree that are there, directories before what is in them, and removes
/// everything else; answers whether there was something to remove.
pub(super) fn take_stock(
    place: &Place,
    layout: &Layout,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), TreeFault>,
) -> Result<bool, TreeFault> {
    let mut removed = false;
    let mut to_list: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(path) = to_list.pop() {
        let directory = place.open_directory(&path)?;
        for name in names(&directory).map_err(|error| io_fault(&path, error))? {
            let inner = join(&path, name.as_bytes());
            let failed = |error| io_fault(&inner, error);
            let Some(entry) = sys::entry_at(&directory, &name).map_err(failed)? else { continue };
            match fitting(place, layout, &directory, &name, &inner, &entry) {
                Some(what) => {
                    let is_directory = matches!(what, What::Directory);
                    visit(Found { path: &inner, what, entry })?;
                    if is_directory {
                        to_list.push(inner);
                    }
                }
                None => {
                    tracing::debug!(path = %shown_path(as_path(&inner)), "removed what is not of the tree");
                    remove_any(&directory, &name).map_err(failed)?;
                    place.unsynced.note_directory(&path);
                    removed = true;
                }
            }
        }
    }
    Ok(removed)
}

/// What of the tree it is, if it is of the tree.
fn fitting<'a>(
    place: &Place,
    layout: &'a Layout,
    directory: &OwnedFd,
    name: &OsStr,
    path: &[u8],
    entry: &Entry,
) -> Option<What<'a>> {
    match (layout.manifest().find(path)?.kind, entry.kind) {
        (EntryKind::Directory, sys::EntryKind::Directory) => Some(What::Directory),
        (EntryKind::File { .. }, sys::EntryKind::File) if place.is_our_file(entry) => {
            let number = number_of(layout, path)?;
            Some(What::Member(number, layout.member(number)?))
        }
        (EntryKind::Link { target }, sys::EntryKind::Link) => {
            let text = sys::link_target(directory, name).ok()?;
            (text == target).then_some(What::Link)
        }
        _ => None,
    }
}

/// The number of the member at a path: members are sorted by path, as all entries are.
fn number_of(layout: &Layout, path: &[u8]) -> Option<u32> {
    let (mut from, mut to) = (0, layout.member_count());
    while from < to {
        let middle = from + (to - from) / 2;
        match layout.member(middle)?.path.cmp(path) {
            std::cmp::Ordering::Less => from = middle + 1,
            std::cmp::Ordering::Equal => return Some(middle),
            std::cmp::Ordering::Greater => to = middle,
        }
    }
    None
}

/// Removes everything in the directory.
pub(super) fn remove_everything(place: &Place) -> Result<(), TreeFault> {
    super::emptying::empty(place.top()).map_err(|error| io_fault(b"", error))
}
