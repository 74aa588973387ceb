//! What a process and a directory have at a moment.

use std::fs;
use std::path::Path;

/// Of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

impl Sample {
    /// # Panics
    /// If it does not run.
    pub(crate) fn of(pid: u32) -> Sample {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let field = |name: &str| -> u64 {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)).expect("it is running");
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
        let threads = usize::try_from(field("Threads:")).expect("few");
        Sample { kib: field("VmRSS:"), descriptors, threads }
    }
}

/// Bytes of all files below a directory.
pub(crate) fn directory_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("it is there").flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}
