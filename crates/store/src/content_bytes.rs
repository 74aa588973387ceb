//! The bytes of a content at positions: of one file, of the files of a tree one after the other, or
//! in memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::sys;

/// What is read at positions, in bytes from the start of the content.
pub(super) trait ContentBytes {
    /// Fills `buf`. Bytes that are not there, or not what they were, are an `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()>;

    /// Fills `buf` from the page cache: false if the bytes are not in it, or if that is not known.
    fn read_cached(&self, buf: &mut [u8], position: u64) -> bool;

    /// Drops pages from the page cache, so that the next read asks the disk. Best effort.
    fn drop_cached(&self, range: Range<u64>);
}

impl ContentBytes for File {
    fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, position)
    }

    fn read_cached(&self, buf: &mut [u8], position: u64) -> bool {
        sys::read_cached(self, buf, position)
    }

    fn drop_cached(&self, range: Range<u64>) {
        sys::drop_cached(self, range);
    }
}

impl ContentBytes for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let bytes = self.get(start..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn read_cached(&self, buf: &mut [u8], position: u64) -> bool {
        ContentBytes::read_exact_at(self, buf, position).is_ok()
    }

    fn drop_cached(&self, _range: Range<u64>) {}
}
