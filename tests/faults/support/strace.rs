//! A process whose system calls fail, wait or kill as a test says: `strace --inject`.
//!
//! Counting is by thread and by call, says `strace`. So that the n-th call is the same one in every
//! run, [`Strace::in_order`] leaves the process one thread for the disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::wrap::wrapped;

/// How a process is traced.
#[derive(Debug, Clone)]
pub(crate) struct Strace {
    args: Vec<OsString>,
    processor: Option<String>,
}

impl Strace {
    /// Traces only these calls, separated by commas, of all threads, into a file.
    pub(crate) fn of(calls: &str, log: &Path) -> Strace {
        let trace = format!("trace={calls}");
        let args = ["-f", "--seccomp-bpf", "--quiet=all", "-e", "signal=none", "-e", &trace, "-o"];
        let mut args: Vec<OsString> = args.map(OsString::from).to_vec();
        args.push(log.into());
        Strace { args, processor: None }
    }

    /// Counts and changes only calls that concern these paths: by name, by directory or by
    /// descriptor.
    pub(crate) fn on(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Strace {
        for path in paths {
            self.args.extend(["-P".into(), path.into()]);
        }
        self
    }

    /// For example `pwrite64:error=EIO:when=3+`. The call is one of those that are traced.
    pub(crate) fn inject(mut self, what: &str) -> Strace {
        self.args.extend(["-e".into(), format!("inject={what}").into()]);
        self
    }

    /// Kills the process before its `nth` call of a kind.
    pub(crate) fn kill_before(mut self, kind: &str, nth: usize) -> Strace {
        // A signal is not delivered where the filter stops the process.
        self.args.retain(|arg| arg != "--seccomp-bpf");
        self.inject(&format!("{kind}:signal=KILL:when={nth}"))
    }

    /// Shows paths of descriptors, and all bytes that are written.
    pub(crate) fn with_data(mut self) -> Strace {
        self.args.extend(["-y", "-xx", "-s", "16777216"].map(OsString::from));
        self
    }

    /// One thread for the sockets and one for the disk: the system refuses to start any more. On
    /// one processor the command needs no others. Not together with [`on`](Self::on): starting a
    /// thread concerns no path.
    pub(crate) fn in_order(mut self) -> Strace {
        self.processor = Some(first_processor());
        let calls = self.args.iter().position(|arg| arg.to_string_lossy().starts_with("trace="));
        let calls = calls.expect("every trace names its calls");
        self.args[calls].push(",clone,clone3");
        self.inject("clone,clone3:error=EAGAIN:when=2+")
    }

    /// The trace of a process that runs already, of all its threads. It ends with that process, or
    /// when it is ended.
    pub(crate) fn attach(&self, pid: u32) -> Command {
        let mut command = Command::new("strace");
        // A filter is only set for children.
        command
            .args(self.args.iter().filter(|arg| *arg != "--seccomp-bpf"))
            .args(["-p", &pid.to_string()]);
        command
    }

    /// The command under this trace. It ends when the tracer does.
    pub(crate) fn run(&self, command: &Command) -> Command {
        let mortal = wrapped("setpriv", ["--pdeathsig", "KILL"], command);
        let traced = wrapped("strace", &self.args, &mortal);
        match &self.processor {
            Some(processor) => {
                let mut command = wrapped("taskset", ["-c", processor], &traced);
                // The allocator has a thread of its own, which gives memory back.
                command.env("_RJEM_MALLOC_CONF", "background_thread:false");
                command
            }
            None => traced,
        }
    }
}

/// A call as the trace has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) thread: u32,
    pub(crate) name: String,
    /// The arguments as they were printed.
    pub(crate) arguments: String,
    /// What it returned; none if it did not, or not as a number.
    pub(crate) returned: Option<i64>,
    /// Which line of the log began it, and which one ended it.
    pub(crate) began: usize,
    pub(crate) ended: Option<usize>,
}

/// The calls of a log, as they began. Those that other threads interrupted are put together again.
pub(crate) fn calls(log: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for (number, line) in log.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Ok(thread) = thread.parse() else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let open =
                calls.iter_mut().rev().find(|call| call.thread == thread && call.ended.is_none());
            if let (Some(call), Some((arguments, returned))) = (open, resumed.rsplit_once(" = ")) {
                let more = arguments.split_once("resumed>").map_or("", |(_, more)| more);
                call.arguments.push_str(more.trim_end().strip_suffix(')').unwrap_or(more));
                call.returned = number_of(returned);
                call.ended = Some(number);
            }
            continue;
        }
        let Some((name, rest)) = rest.split_once('(') else { continue };
        let name = name.to_owned();
        let call = |arguments: &str, returned, ended| Call {
            thread,
            name,
            arguments: arguments.trim_end().to_owned(),
            returned,
            began: number,
            ended,
        };
        calls.push(match (rest.strip_suffix(" <unfinished ...>"), rest.rsplit_once(" = ")) {
            (Some(arguments), _) => call(arguments, None, None),
            (None, Some((arguments, returned))) => {
                let arguments = arguments.trim_end();
                let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
                // Killed at the call: the system never got to it.
                let ended = (!returned.starts_with('?')).then_some(number);
                call(arguments, number_of(returned), ended)
            }
            (None, None) => call(rest, None, None),
        });
    }
    calls
}

fn number_of(returned: &str) -> Option<i64> {
    returned.split([' ', '<']).next()?.parse().ok()
}

/// A processor that we may use.
fn first_processor() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
    list.trim().split(['-', ',']).next().unwrap_or("0").to_owned()
}
