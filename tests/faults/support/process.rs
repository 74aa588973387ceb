//! What the system says of a process.

use std::fs;

/// The most memory it ever had, and what it has now, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) peak_kib: u64,
    pub(crate) now_kib: u64,
}

/// Memory of a process that runs.
///
/// # Panics
/// If it does not run any more.
pub(crate) fn memory(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number =
            line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{name} in {status}"))
    };
    Memory { peak_kib: field("VmHWM:"), now_kib: field("VmRSS:") }
}

/// Descriptors that a process has open.
///
/// # Panics
/// If it does not run any more.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}
