//! Reading a file at a position from several threads: no read disturbs another.

use std::fs::File;
use std::io;

use super::ScanError;

/// A file that is read by position only.
pub(super) struct PositionedFile<'a> {
    file: &'a File,
    /// Elsewhere than on Unix a position means moving the file's only cursor: one reader at a time.
    #[cfg(not(unix))]
    cursor: std::sync::Mutex<()>,
}

impl<'a> PositionedFile<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Self {
            file,
            #[cfg(not(unix))]
            cursor: std::sync::Mutex::new(()),
        }
    }

    /// Fills the buffer from `offset` on; answers how much of it, which is less only at the end of
    /// the file.
    pub(super) fn fill(&self, buffer: &mut [u8], offset: u64) -> Result<usize, ScanError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            match self.read_at(&mut buffer[filled..], at) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ScanError::Read { offset: at, source }),
            }
        }
        Ok(filled)
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self.file, buffer, offset)
    }

    #[cfg(not(unix))]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        use std::io::{Read, Seek, SeekFrom};
        // Poison is no matter: the cursor is set anew for each read.
        let _alone = self.cursor.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut file = self.file;
        file.seek(SeekFrom::Start(offset))?;
        file.read(buffer)
    }
}
