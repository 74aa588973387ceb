//! A process of a test: what it says while it runs, and how it ended. It never outlives its owner.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait::eventually;

/// A process under way. Killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    shown: String,
}

/// A process that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
    /// The command line, for messages.
    pub shown: String,
}

impl Running {
    /// The command, whose standard streams are these files.
    pub(crate) fn start(mut command: Command, stdout: PathBuf, stderr: PathBuf) -> Running {
        let shown = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        Running { child, stdout, stderr, shown }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it has written to its standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Ctrl-C.
    ///
    /// # Panics
    /// If the process is not there any more.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Asks it to end.
    ///
    /// # Panics
    /// If the process is not there any more.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it as a crash would.
    ///
    /// # Panics
    /// If the process is not there any more.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is not there any more.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .expect("a child that was not waited for is there");
    }

    /// Waits until `found` finds what it looks for in the standard output.
    ///
    /// # Panics
    /// If it does not within `limit`, or the process ends before.
    pub async fn prints<T>(
        &mut self,
        what: &str,
        limit: Duration,
        found: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Running { child, stdout, stderr, shown } = self;
        eventually(what, limit, async || {
            // Asked first: what it wrote before it ended is all there is.
            let ended = child.try_wait().expect("our own child");
            match found(&text(stdout)) {
                Some(found) => Ok(found),
                None if ended.is_some() => {
                    panic!("{shown} ended without {what}: {}{}", text(stdout), text(stderr))
                }
                None => Err((text(stdout), text(stderr))),
            }
        })
        .await
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not come within `limit`.
    pub async fn ends(mut self, limit: Duration) -> Finished {
        let what = format!("{} ends", self.shown);
        let Running { child, stdout, stderr, .. } = &mut self;
        let status: ExitStatus = eventually(&what, limit, async || {
            child.try_wait().expect("our own child").ok_or_else(|| (text(stdout), text(stderr)))
        })
        .await;
        let (code, signal) = (status.code(), status.signal());
        Finished {
            code,
            signal,
            stdout: self.stdout(),
            stderr: self.stderr(),
            shown: self.shown.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// This, if the exit code is as expected.
    ///
    /// # Panics
    /// If it is not, with all that the process said.
    pub fn with_code(self, code: i32) -> Finished {
        assert_eq!(
            self.code,
            Some(code),
            "{}\n--- stdout\n{}\n--- stderr\n{}\n--- signal {:?}",
            self.shown,
            self.stdout,
            self.stderr,
            self.signal
        );
        self
    }

    /// Every line of the standard output, as JSON.
    ///
    /// # Panics
    /// If one is none.
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line}", self.shown))
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The last line of the standard output, which with `--json` is the result.
    ///
    /// # Panics
    /// If there is none, or it is not a result.
    pub fn result(&self) -> Value {
        let last = self.json_lines().pop();
        let last = last
            .unwrap_or_else(|| panic!("{} printed nothing; stderr: {}", self.shown, self.stderr));
        assert_eq!(last["event"], "result", "{}: the last line is the result", self.shown);
        last
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
