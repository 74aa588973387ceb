//! What a process holds: tasks, descriptors, files. Taken before and after, it shows what was left
//! behind.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use tokio::runtime::Handle;

use crate::wait::{SOON, eventually};

/// Tasks and descriptors at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceCount {
    /// Tasks of this runtime that have not ended.
    pub tasks: usize,
    /// Open descriptors of this process, where the system tells (Linux).
    pub descriptors: Option<usize>,
}

impl ResourceCount {
    /// Counts now. Other runtimes in this process disturb the count of descriptors: a test that
    /// counts descriptors has a process of its own.
    pub fn take() -> ResourceCount {
        let descriptors = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        ResourceCount { tasks: Handle::current().metrics().num_alive_tasks(), descriptors }
    }

    /// Counts when nothing comes or goes any more: what was ended just before may take a moment to
    /// be gone.
    pub async fn take_when_quiet() -> ResourceCount {
        let (mut last, mut same) = (ResourceCount::take(), 0);
        eventually("the process is quiet", SOON, async || {
            let now = ResourceCount::take();
            same = if now == last { same + 1 } else { 0 };
            last = now;
            // A quarter of a second without a change.
            if same >= 15 { Ok(now) } else { Err(now) }
        })
        .await
    }

    /// Waits until the process holds no more than it held then.
    ///
    /// # Panics
    /// If it does not within `limit`.
    pub async fn is_restored(self, limit: Duration) {
        let what = format!("nothing is left behind, as in {self:?}");
        eventually(&what, limit, async || {
            let now = ResourceCount::take();
            if now.tasks <= self.tasks && now.descriptors <= self.descriptors {
                Ok(())
            } else {
                Err(now)
            }
        })
        .await;
    }
}

/// All files below a directory, sorted, relative to it.
///
/// # Errors
/// A directory cannot be read.
pub fn files_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut unread = vec![dir.to_owned()];
    while let Some(next) = unread.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                unread.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(dir).unwrap_or(&entry.path()).to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
