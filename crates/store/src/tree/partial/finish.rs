//! The end of a tree: what has no bytes is made, and everything is compared with the manifest once
//! more, by name, kind and size. Only the name of the whole is missing then.

use std::collections::HashSet;

use tnet_fileinfo::tree::{EntryKind, Layout, Member};

use super::fault::TreeFault;
use super::place::{Made, Place, as_path, io_fault};
use super::stock::{Found, What, take_stock};
use crate::fingerprint::FileFingerprint;
use crate::sys;

/// Makes the directories and links that are missing; `is_there` says which members are, and
/// `make_empty` makes those without bytes.
pub(super) fn make_missing(
    place: &Place,
    layout: &Layout,
    is_there: &dyn Fn(u32) -> bool,
    make_empty: &dyn Fn(u32) -> Result<(), TreeFault>,
) -> Result<(), TreeFault> {
    let known: HashSet<Box<[u8]>> = place.known_directories().into_iter().collect();
    let mut members = 0..layout.member_count();
    for entry in layout.manifest().entries() {
        match entry.kind {
            EntryKind::Directory if known.contains(entry.path) => {}
            EntryKind::Directory => drop(place.make_directory(entry.path)?),
            EntryKind::Link { target } => place.make_link(entry.path, target)?,
            EntryKind::File { size, .. } => {
                let number = members.next().expect("every file is a member");
                match (is_there(number), size) {
                    (true, _) => {}
                    (false, 0) => make_empty(number)?,
                    (false, _) => return Err(gone(entry.path)),
                }
            }
        }
    }
    Ok(())
}

/// Gives every entry its mode and compares all with the manifest; answers with the fingerprint of
/// each member.
pub(super) fn compare(place: &Place, layout: &Layout) -> Result<Vec<FileFingerprint>, TreeFault> {
    let fingerprints = compare_names(place, layout, &|found| match &found.what {
        What::Member(_, member) if found.entry.fingerprint.size != member.size() => {
            Err(gone(found.path))
        }
        What::Member(_, Member { is_executable, .. }) => settle(place, found, *is_executable),
        What::Directory => settle(place, found, false),
        What::Link => Ok(found.entry.fingerprint),
    })?;
    let failed = |error| io_fault(b"", error);
    let now = sys::protection(place.top()).map_err(failed)?.mode;
    if let Some(mode) = place.mode_to_set(Made::Directory, now) {
        sys::set_mode(place.top(), mode).map_err(failed)?;
        place.unsynced.note_directory(b"");
    }
    Ok(fingerprints)
}

/// Checks that every entry of the manifest is there under its very name; answers with what `check`
/// says of each member.
pub(super) fn compare_names(
    place: &Place,
    layout: &Layout,
    check: &dyn Fn(&Found<'_>) -> Result<FileFingerprint, TreeFault>,
) -> Result<Vec<FileFingerprint>, TreeFault> {
    let mut members: Vec<Option<FileFingerprint>> = vec![None; layout.member_count() as usize];
    let mut others: HashSet<Box<[u8]>> = HashSet::new();
    take_stock(place, layout, &mut |found| {
        let fingerprint = check(&found)?;
        match found.what {
            What::Member(number, _) => members[number as usize] = Some(fingerprint),
            What::Directory | What::Link => drop(others.insert(found.path.into())),
        }
        Ok(())
    })?;
    let mut numbers = members.iter();
    for entry in layout.manifest().entries() {
        let is_there = match entry.kind {
            EntryKind::File { .. } => numbers.next().is_some_and(Option::is_some),
            EntryKind::Directory | EntryKind::Link { .. } => others.contains(entry.path),
        };
        if !is_there {
            // Under another name, where the file system takes both for one.
            return Err(place.one_name(entry.path).unwrap_or_else(|| gone(entry.path)));
        }
    }
    Ok(members.into_iter().flatten().collect())
}

/// Gives the entry its mode, if it has another one.
fn settle(
    place: &Place,
    found: &Found<'_>,
    is_executable: bool,
) -> Result<FileFingerprint, TreeFault> {
    let what = match found.what {
        What::Directory => Made::Directory,
        _ => Made::File { is_executable },
    };
    let Some(mode) = place.mode_to_set(what, found.entry.protection.mode) else {
        return Ok(found.entry.fingerprint);
    };
    let failed = |error| io_fault(found.path, error);
    match what {
        Made::Directory => {
            let directory = place.open_directory(found.path)?;
            place.unsynced.note_directory(found.path);
            sys::set_mode(directory, mode).map_err(failed)?;
            Ok(found.entry.fingerprint)
        }
        Made::File { .. } => {
            let file = place.open_file(found.path)?;
            sys::set_mode(&file, mode).map_err(failed)?;
            // Rare: only what was left of another tree, or with an odd umask.
            place.unsynced.note_all();
            sys::fingerprint(&file).map_err(failed)
        }
    }
}

fn gone(path: &[u8]) -> TreeFault {
    TreeFault::Gone { path: as_path(path).to_owned() }
}
