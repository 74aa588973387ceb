//! Members that share the blocks of files that are on this machine already.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;

use super::place::io_fault;
use super::{PartialTree, TreeFault, room};
use crate::sys;

impl PartialTree {
    /// Makes a member that is not there share all blocks of a file, of which its length is left.
    /// Answers whether it does: it may be there already, or the file system cannot do that.
    ///
    /// # Errors
    /// The member cannot be made.
    pub(crate) fn share_blocks(&self, number: u32, from: &File) -> Result<bool, TreeFault> {
        if self.is_present(number) {
            return Ok(false);
        }
        let member = self.member(number);
        let failed = |error| io_fault(member.path, error);
        let file = self.create_without_room(number, &member)?;
        let is_shared = sys::reflink(from, &file);
        if is_shared {
            if sys::entry(file.as_fd()).map_err(failed)?.fingerprint.size > member.size() {
                file.set_len(member.size()).map_err(failed)?;
            }
            self.note_written(number);
        } else {
            room::reserve(&file, member.size()).map_err(failed)?;
        }
        Ok(is_shared)
    }

    /// Gives back the blocks of a range of the payload, as far as members are there. Best effort.
    pub(crate) fn punch_hole(&self, range: Range<u64>) {
        for span in self.layout.spans(range).filter(|span| self.is_present(span.member)) {
            if let Ok(file) = self.place.open_file(self.member(span.member).path) {
                sys::punch_hole(&file, span.within);
            }
        }
    }
}
