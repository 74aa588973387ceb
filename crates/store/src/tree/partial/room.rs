//! The space of a tree: what it takes on the file system, and what is reserved of it.
//!
//! Large members are reserved where that costs next to nothing, as a file is: those of at least
//! [`RESERVED_FIRST`] before the download begins, smaller ones when they are created.

use std::fs::File;
use std::io;

use tnet_fileinfo::tree::EntryKind;

use super::PartialTree;
use super::place::io_fault;
use crate::sys::{self, ReservationCost};

/// Bytes that most file systems allocate together.
pub(super) const BLOCK: u64 = 4096;

/// Bytes of a member for which space is reserved at all. Below, the reservation would take as long
/// as writing it.
const RESERVED: u64 = 1024 * 1024;

/// Bytes of a member that is reserved before the download begins.
const RESERVED_FIRST: u64 = 16 * 1024 * 1024;

/// The longest link that file systems keep in the inode.
const LINK_IN_INODE: usize = 59;

/// What a tree still needs of its file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoomNeeded {
    /// Bytes in blocks.
    pub(crate) bytes: u64,
    /// Inodes.
    pub(crate) files: u64,
}

impl PartialTree {
    /// What the file system will charge for the tree, less what was there when it was opened:
    /// members and directories in whole blocks.
    pub(crate) fn room_needed(&self) -> RoomNeeded {
        let bytes = self.layout.manifest().entries().map(|entry| match entry.kind {
            EntryKind::File { size, .. } => size.next_multiple_of(BLOCK),
            EntryKind::Directory => BLOCK,
            EntryKind::Link { target } if target.len() > LINK_IN_INODE => BLOCK,
            EntryKind::Link { .. } => 0,
        });
        let bytes = bytes.fold(0, u64::saturating_add).saturating_sub(self.allocated);
        let files = self.layout.manifest().len() as u64 - u64::from(self.found);
        RoomNeeded { bytes, files }
    }

    /// Reserves the space of the largest members, where that costs next to nothing; but not of
    /// those that share blocks: some file systems want room for all of a range, whatever is there
    /// already.
    ///
    /// # Errors
    /// There is no space, or a member would be larger than a file may be.
    pub(crate) fn reserve_members(&self, is_shared: &dyn Fn(u32) -> bool) -> io::Result<()> {
        if sys::reservation_cost(&self.place) != ReservationCost::AtOnce {
            return Ok(());
        }
        for (number, member) in (0..).zip(self.layout.members()) {
            if member.size() >= RESERVED_FIRST && !is_shared(number) {
                let file = self.open_or_create(number, &member)?;
                reserve(&file, member.size()).map_err(|error| io_fault(member.path, error))?;
            }
        }
        Ok(())
    }
}

/// Reserves the space of a new member, if it is large.
pub(super) fn reserve(file: &File, size: u64) -> io::Result<()> {
    if size >= RESERVED && sys::reservation_cost(file) == ReservationCost::AtOnce {
        sys::reserve(file, 0, size)?;
    }
    Ok(())
}
