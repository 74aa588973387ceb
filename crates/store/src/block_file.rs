//! The three things the crash rules need from a file, so that they can be tested against a model
//! disk that loses power.
//!
//! [`write_all_at`] writes every byte or returns how many it wrote; a short write or an
//! interruption is not an error.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::io::Errno;

/// A file written at positions and synced.
pub(super) trait BlockFile {
    /// Writes some of `bytes` at `offset`; returns how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Returns once everything written before survives a power cut. After an error nothing may be
    /// assumed about it, and a later success says nothing about it either.
    fn sync_data(&self) -> io::Result<()>;
}

impl BlockFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        match File::sync_data(self) {
            // A file system that cannot sync keeps its data as well as it can.
            Err(error) if Errno::from_io_error(&error).is_some_and(is_not_there) => Ok(()),
            synced => synced,
        }
    }
}

/// Whether the error means that the file system cannot sync at all, not that the sync failed.
fn is_not_there(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL)
}

impl<T: BlockFile> BlockFile for Arc<T> {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        T::write_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        T::sync_data(self)
    }
}

/// A failed write, and the bytes written before it failed.
#[derive(Debug)]
pub(super) struct PartWritten {
    pub(super) written: usize,
    pub(super) source: io::Error,
}

/// Writes all of `bytes` at `offset`.
///
/// A failed write is tried once more, because a path to the disk can be lost for a moment; not on a
/// full disk.
pub(super) fn write_all_at(
    file: &impl BlockFile,
    bytes: &[u8],
    offset: u64,
) -> Result<(), PartWritten> {
    let mut written = 0;
    let mut retried = false;
    while written < bytes.len() {
        match file.write_at(&bytes[written..], offset + written as u64) {
            Ok(0) => return Err(PartWritten { written, source: io::ErrorKind::WriteZero.into() }),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_full(&error) || retried => {
                return Err(PartWritten { written, source: error });
            }
            Err(_) => retried = true,
        }
    }
    Ok(())
}

/// Whether the error means that no more data is accepted, so that a retry is useless.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// Answers each write from a script, then takes everything.
    struct Scripted {
        answers: Mutex<VecDeque<io::Result<usize>>>,
        content: Mutex<Vec<u8>>,
    }

    impl Scripted {
        fn new(answers: impl IntoIterator<Item = io::Result<usize>>) -> Self {
            Self {
                answers: Mutex::new(answers.into_iter().collect()),
                content: Mutex::new(vec![0; 16]),
            }
        }

        fn content(&self) -> Vec<u8> {
            self.content.lock().expect("no test panics while writing").clone()
        }
    }

    impl BlockFile for Scripted {
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            let next = self.answers.lock().expect("not poisoned").pop_front();
            let count = next.unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            let start = usize::try_from(offset).expect("small");
            self.content.lock().expect("not poisoned")[start..start + count]
                .copy_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn kind(kind: io::ErrorKind) -> io::Result<usize> {
        Err(kind.into())
    }

    #[test]
    fn short_writes_and_interruptions_still_write_every_byte() {
        let interrupted = || kind(io::ErrorKind::Interrupted);
        let file =
            Scripted::new([Ok(1), interrupted(), Ok(3), interrupted(), interrupted(), Ok(2)]);

        write_all_at(&file, b"whole content", 3).expect("nothing failed");

        assert_eq!(file.content(), b"\0\0\0whole content");
    }

    #[test]
    fn one_failed_write_is_tried_again() {
        let file = Scripted::new([Ok(2), kind(io::ErrorKind::Other)]);
        write_all_at(&file, b"whole content", 0).expect("the second try went through");
        assert_eq!(&file.content()[..13], b"whole content");
    }

    #[test]
    fn a_second_failed_write_is_an_error_that_says_how_far_it_came() {
        let file =
            Scripted::new([Ok(2), kind(io::ErrorKind::Other), Ok(3), kind(io::ErrorKind::Other)]);
        let error = write_all_at(&file, b"whole content", 0).expect_err("it failed twice");
        assert_eq!(error.written, 5);
    }

    #[test]
    fn a_full_disk_is_not_asked_twice() {
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let file = Scripted::new([Ok(2), kind(full)]);
            let error = write_all_at(&file, b"whole content", 0).expect_err("no more space");
            assert_eq!((error.written, error.source.kind()), (2, full));
        }
    }

    #[test]
    fn a_write_of_nothing_is_an_error_and_not_an_endless_loop() {
        let file = Scripted::new([Ok(0)]);
        assert!(write_all_at(&file, b"x", 0).is_err());
    }
}
