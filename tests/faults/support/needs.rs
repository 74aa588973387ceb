//! What some cases need of the machine, looked at before they run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Something that not every machine has or allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The user may do everything: mount, make namespaces, become another user.
    Root,
    /// Network namespaces joined by a bridge (`ip`), with rules between them (`nft`).
    Namespaces,
    /// `strace` with `--inject`, allowed to trace.
    Strace,
    /// A control group for memory can be made.
    MemoryGroup,
}

impl Need {
    pub(crate) fn is_met(self) -> bool {
        static ANSWERS: [OnceLock<bool>; 4] = [const { OnceLock::new() }; 4];
        let (answer, look): (_, fn() -> bool) = match self {
            Need::Root => (&ANSWERS[0], is_root),
            Need::Namespaces => (&ANSWERS[1], || is_root() && can_make_namespaces()),
            Need::Strace => (&ANSWERS[2], can_trace),
            Need::MemoryGroup => (&ANSWERS[3], || is_root() && memory_groups().is_some()),
        };
        *answer.get_or_init(look)
    }

    /// Why a case does not run, for people.
    pub(crate) fn missing(self) -> &'static str {
        match self {
            Need::Root => "needs root",
            Need::Namespaces => "needs root, `ip` and `nft`",
            Need::Strace => "needs `strace`, allowed to trace",
            Need::MemoryGroup => "needs root and control groups for memory",
        }
    }
}

/// Where groups that limit memory are made, and the name of the file with the limit.
pub(crate) fn memory_groups() -> Option<(&'static Path, &'static str)> {
    let second = Path::new("/sys/fs/cgroup");
    let controllers =
        std::fs::read_to_string(second.join("cgroup.subtree_control")).unwrap_or_default();
    if controllers.split_whitespace().any(|controller| controller == "memory") {
        return Some((second, "memory.max"));
    }
    let first = Path::new("/sys/fs/cgroup/memory");
    first.join("memory.limit_in_bytes").exists().then_some((first, "memory.limit_in_bytes"))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn can_make_namespaces() -> bool {
    let name = format!("tnet-look-{}", std::process::id());
    let made = succeeds("ip", &["netns", "add", &name]);
    let can_filter =
        made && succeeds("ip", &["netns", "exec", &name, "nft", "add", "table", "inet", "look"]);
    if made {
        succeeds("ip", &["netns", "del", &name]);
    }
    can_filter
}

fn can_trace() -> bool {
    succeeds("strace", &["-qq", "-e", "inject=getpid:retval=1", "-e", "trace=getpid", "true"])
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
