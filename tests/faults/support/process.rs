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
    memory_while_it_runs(pid).unwrap_or_else(|| panic!("the process {pid} does not run any more"))
}

/// Memory of a process; `None` if it has ended: from its exit until it is waited for, it has
/// none.
pub(crate) fn memory_while_it_runs(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Memory { peak_kib: field("VmHWM:")?, now_kib: field("VmRSS:")? })
}

/// Descriptors that a process has open.
///
/// # Panics
/// If it does not run any more.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

/// Begins a new peak of this process' own memory.
pub(crate) fn forget_peak() {
    // Where the system does not do that, the peak stays what it was, and growth is judged too
    // mildly by that.
    let _ = fs::write("/proc/self/clear_refs", "5");
}
