//! How much memory this process may use: what its control groups allow, and what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// Divisor of what control groups allow. The rest is for socket buffers and the allocator's
/// overhead.
const OF_A_GROUP: u64 = 2;

/// Divisor of the machine's memory: other processes need some too.
const OF_THE_MACHINE: u64 = 4;

/// A larger number means "no limit" in version 1 of control groups.
const UNLIMITED: u64 = 1 << 60;

/// Bytes that a service may use; none if the system does not tell.
pub(crate) fn fair_share() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = limit_of(&groups, Path::new("/sys/fs/cgroup")).map(|limit| limit / OF_A_GROUP);
    group.into_iter().chain(machine().map(|bytes| bytes / OF_THE_MACHINE)).min()
}

#[cfg(target_os = "linux")]
fn machine() -> Option<u64> {
    let info = rustix::system::sysinfo();
    let pages: u64 = info.totalram;
    pages.checked_mul(u64::from(info.mem_unit).max(1)).filter(|bytes| *bytes > 0)
}

#[cfg(not(target_os = "linux"))]
fn machine() -> Option<u64> {
    None
}

/// The lowest limit of all our control groups, of both versions.
fn limit_of(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        match controllers {
            "" => Some((root.to_owned(), path, "memory.max")),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                Some((root.join("memory"), path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    limits.filter_map(|(root, path, name)| least(&root, path, name)).min()
}

/// The lowest value in the files of that name, from the group up to the root.
fn least(root: &Path, path: &str, name: &str) -> Option<u64> {
    let mut group: PathBuf = root.join(path.trim_start_matches('/'));
    let mut least = None;
    loop {
        let text = fs::read_to_string(group.join(name)).unwrap_or_default();
        let limit = text.trim().parse().ok().filter(|limit| *limit < UNLIMITED);
        least = least.into_iter().chain(limit).min();
        if group == root || !group.pop() || !group.starts_with(root) {
            return least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_groups_above_counts_in_both_versions() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
            fs::write(path, text).expect("writable");
        };
        write("system.slice/memory.max", "1073741824\n");
        write("system.slice/tnet.service/memory.max", "max\n");
        write("memory/docker/memory.limit_in_bytes", "536870912\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let limit = |groups| limit_of(groups, root.path());
        assert_eq!(limit("0::/system.slice/tnet.service\n"), Some(1 << 30));
        assert_eq!(limit("0::/other.slice\n"), None);
        assert_eq!(
            limit("4:cpu,memory:/docker\n1:name=systemd:/docker\n0::/system.slice\n"),
            Some(512 << 20)
        );
        assert_eq!(limit("4:memory:/\n"), None);
        assert_eq!(limit("nonsense"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_says_how_much_it_has() {
        let share = fair_share().expect("it says so");
        assert!((1 << 20..1 << 50).contains(&share), "{share}");
    }
}
