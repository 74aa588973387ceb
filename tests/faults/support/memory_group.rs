//! A control group that limits the memory of a process, with the page cache that it fills. Gone
//! when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::needs::memory_groups;
use super::wrap::wrapped;

/// A group. Its members must have ended before it is dropped.
#[derive(Debug)]
pub(crate) struct MemoryGroup {
    path: PathBuf,
}

impl MemoryGroup {
    /// A group whose members may have so many bytes together.
    pub(crate) fn of_bytes(bytes: u64) -> MemoryGroup {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (parent, limit) = memory_groups().expect("the case needs groups");
        let path = parent.join(format!("tnet-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("the case needs groups");
        let group = MemoryGroup { path };
        fs::write(group.path.join(limit), bytes.to_string()).expect("a new group takes any limit");
        group
    }

    /// The command in this group.
    pub(crate) fn run(&self, command: &Command) -> Command {
        let script = r#"echo $$ > "$0" && exec "$@""#;
        let procs = self.path.join("cgroup.procs");
        wrapped("/bin/sh", ["-c".as_ref(), script.as_ref(), procs.as_os_str()], command)
    }

    /// How often the system killed a member for want of memory.
    pub(crate) fn kills(&self) -> u64 {
        let events = ["memory.events", "memory.oom_control"];
        let text = events.iter().find_map(|name| fs::read_to_string(self.path.join(name)).ok());
        let text = text.expect("the group is there");
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|n| n.parse().ok());
        count.unwrap_or_else(|| panic!("no count of kills in {text}"))
    }

    /// The most memory that the group ever had, page cache and all, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        let peaks = ["memory.peak", "memory.max_usage_in_bytes"];
        let text = peaks.iter().find_map(|name| fs::read_to_string(self.path.join(name)).ok());
        text.and_then(|text| text.trim().parse().ok()).expect("the group is there")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A member that was just killed is still leaving.
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() || !Path::new(&self.path).exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
