//! The process behind a tracer.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The process that this tracer started, once it has, while it runs.
pub(crate) fn traced(tracer: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// The most memory that a process ever had, in KiB; none if it does not run any more.
pub(crate) fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.split_whitespace().next()?.parse().ok()
}

/// Asks a process to end.
///
/// # Panics
/// If it does not run any more.
pub(crate) fn terminate(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the number of a process");
    kill_process(pid, Signal::TERM).expect("it runs");
}
