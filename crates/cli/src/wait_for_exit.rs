//! Waits for the end of a process that is not our child. A zombie counts as ended: until its parent
//! has asked for its exit code, its pid stays in use and accepts signals. The first process of many
//! containers never asks, and others take seconds.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use tokio::time::sleep;

/// Poll interval: the system does not announce the end of another process's child.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Returns when the process has ended. The caller sets the limit.
pub(crate) async fn wait(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    while runs(pid) {
        sleep(LOOK_EVERY).await;
    }
}

fn runs(pid: Pid) -> bool {
    test_kill_process(pid).is_ok() && !is_zombie(pid)
}

/// Whether only its exit code is left. False where the system has no `/proc`.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    is_zombie_by(&stat)
}

/// The state is the first word after the program's name, which is in parentheses and may hold any
/// byte, these included.
fn is_zombie_by(stat: &[u8]) -> bool {
    let state = stat.rsplitn(2, |byte| *byte == b')').next().map(<[u8]>::trim_ascii_start);
    matches!(state, Some([b'Z' | b'X', ..]))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_zombie_counts_as_ended() {
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat is everywhere");
        drop(child.stdin.take());
        timeout(SOON, wait(child.id())).await.expect("it ends with its input");
        // We are its parent and have not asked: its number is still taken.
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("small")).expect("not zero");
        assert!(test_kill_process(pid).is_ok());
        child.wait().expect("our child");
    }

    #[tokio::test]
    async fn a_process_that_runs_is_waited_for() {
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat is everywhere");
        assert!(
            timeout(LOOK_EVERY * 5, wait(child.id())).await.is_err(),
            "it still waits for input"
        );
        drop(child.stdin.take());
        child.wait().expect("our child");
        timeout(SOON, wait(child.id())).await.expect("the pid is free");
    }

    #[test]
    fn the_state_is_read_whatever_the_program_is_called() {
        for (stat, is_zombie) in [
            ("7 (tnet) Z 1 7 7", true),
            ("7 (tnet) S 1 7 7", false),
            // Names that look like the end of the name and a state.
            ("7 (a) Z (b) S 1 7 7", false),
            ("7 (a) S) Z 1 7 7", true),
            // Cut short, or none of /proc.
            ("7 (tnet)", false),
            ("", false),
        ] {
            assert_eq!(is_zombie_by(stat.as_bytes()), is_zombie, "{stat:?}");
        }
    }
}
