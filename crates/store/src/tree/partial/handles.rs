//! A few files that stay open between writes and reads: those used last.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files that one tree keeps open at most. A file that is in use when it has to make way is closed
/// after that use.
const MOST: usize = 32;

/// Open files by the number of their member, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Handles(Mutex<Vec<(u32, Arc<File>)>>);

impl Handles {
    /// The file of the member, if it is open.
    pub(super) fn find(&self, member: u32) -> Option<Arc<File>> {
        let mut open = self.open();
        let at = open.iter().rposition(|(number, _)| *number == member)?;
        let found = open.remove(at);
        let file = Arc::clone(&found.1);
        open.push(found);
        Some(file)
    }

    /// Keeps the file open, and closes the one that was not used for longest.
    pub(super) fn keep(&self, member: u32, file: File) -> Arc<File> {
        let mut open = self.open();
        if let Some((_, other)) = open.iter().find(|(number, _)| *number == member) {
            return Arc::clone(other);
        }
        if open.len() == MOST {
            open.remove(0);
        }
        let file = Arc::new(file);
        open.push((member, Arc::clone(&file)));
        file
    }

    /// Closes all; answers whether there were any.
    pub(super) fn close_all(&self) -> bool {
        !std::mem::take(&mut *self.open()).is_empty()
    }

    // A poisoned lock is used: each change is complete in itself.
    fn open(&self) -> MutexGuard<'_, Vec<(u32, Arc<File>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_not_used_for_longest_makes_way() {
        let file = || tempfile::tempfile().expect("a place for temporary files");
        let (handles, most) = (Handles::default(), u32::try_from(MOST).expect("few"));
        for member in 0..most {
            handles.keep(member, file());
        }
        handles.find(0).expect("open");
        handles.keep(most, file());
        let open = |member| handles.find(member).is_some();
        assert_eq!((open(0), open(1), open(2), open(most)), (true, false, true, true));
        assert!(handles.close_all());
        assert!(!open(0) && !handles.close_all());
    }

    #[test]
    fn a_member_has_one_open_file() {
        let file = || tempfile::tempfile().expect("a place for temporary files");
        let handles = Handles::default();
        let first = handles.keep(7, file());
        assert!(Arc::ptr_eq(&first, &handles.keep(7, file())));
    }
}
