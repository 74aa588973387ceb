//! Puts a program in front of another: `strace tnet get`, `prlimit tnet get`.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// `inner` as the last arguments of `outer`, with the directory and exactly the environment that it
/// had.
pub(crate) fn wrapped<S: AsRef<OsStr>>(
    outer: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
    inner: &Command,
) -> Command {
    let mut command = Command::new(outer);
    command
        .args(args)
        .arg(inner.get_program())
        .args(inner.get_args())
        .stdin(Stdio::null())
        .env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    if let Some(dir) = inner.get_current_dir() {
        command.current_dir(dir);
    }
    // Found through our search path; the inner program has none.
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env("PATH", path);
    command
}
