//! The `tnet` command as its user has it: a home, an environment, and servers that end with the
//! test.
//!
//! The binary is built by cargo before the first test that needs it, so that no test ever runs a
//! stale one. `TNET_BIN` names another one to test instead.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Finished, Running};

/// How long a server may take to end by itself before it is killed.
const END_OF_SERVER: Duration = Duration::from_secs(10);

/// `tnet` with a home of its own: its working directory, its state directory, nothing else of the
/// environment.
#[derive(Debug, Clone)]
pub struct Cli {
    home: PathBuf,
    coordinator: Option<SocketAddr>,
}

/// A server in the background. Ended when it is dropped: by `tnet kill-server`, and by its process
/// id if that fails.
#[derive(Debug)]
pub struct Server {
    cli: Cli,
    pid: u32,
}

impl Cli {
    /// Runs in `home`, which exists; its state directory is `home/state`.
    pub fn at(home: &Path) -> Cli {
        Cli { home: home.to_owned(), coordinator: None }
    }

    /// Knows this coordinator from its environment.
    #[must_use]
    pub fn with_coordinator(mut self, coordinator: SocketAddr) -> Cli {
        self.coordinator = Some(coordinator);
        self
    }

    /// Where it runs.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A path in its home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// The command, ready to be changed and started.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(&self.home).stdin(Stdio::null()).env_clear();
        command.env("HOME", &self.home).env("TNET_STATE_DIR", self.home.join("state"));
        if let Some(coordinator) = self.coordinator {
            command.env("TNET_COORDINATOR", coordinator.to_string());
        }
        command
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        self.start_command(self.command(args))
    }

    /// Starts what [`command`](Self::command) made.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_command(&self, mut command: Command) -> Running {
        // Output goes to files: a full pipe cannot stop the process, nor an heir of the pipe keep
        // us waiting.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let streams = self.home.join("streams");
        fs::create_dir_all(&streams).expect("the home of a test is writable");
        let (stdout, stderr) =
            (streams.join(format!("{number}.out")), streams.join(format!("{number}.err")));
        let open = |path: &Path| File::create(path).expect("the home of a test is writable");
        command.stdout(open(&stdout)).stderr(open(&stderr));
        Running::start(command, stdout, stderr)
    }

    /// Starts a server in the background on a free port, with these arguments to `start-server`.
    ///
    /// # Panics
    /// If it does not start soon.
    pub async fn server<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Server {
        let mut command = self.command(["start-server", "--json", "--listen", "127.0.0.1:0"]);
        command.args(args);
        let started = self.start_command(command).ends(crate::wait::SOON).await.with_code(0);
        self.guard(started.result()["pid"].as_u64())
    }

    /// Sees to the end of a server that was started in another way, whose process id some event
    /// told.
    ///
    /// # Panics
    /// If there is no process id.
    pub fn guard(&self, pid: Option<u64>) -> Server {
        let pid = pid.and_then(|pid| u32::try_from(pid).ok()).expect("the process id of a server");
        Server { cli: self.clone(), pid }
    }

    /// Starts it and waits for its end.
    ///
    /// # Panics
    /// If it does not end within `limit`.
    pub async fn run_within<S: AsRef<OsStr>>(
        &self,
        limit: Duration,
        args: impl IntoIterator<Item = S>,
    ) -> Finished {
        self.start(args).ends(limit).await
    }

    /// Starts it and waits for its end, which has to come soon.
    ///
    /// # Panics
    /// If it does not.
    pub async fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Finished {
        self.run_within(crate::wait::SOON, args).await
    }
}

impl Server {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process is there and is the server it was: a process id can have a new owner.
    pub fn is_running(&self) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&*self.cli.home.to_string_lossy())
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        if self.is_running() {
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
            // Fails if it ended between the look and the signal, which is as good.
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        let asked =
            self.cli.command(["kill-server"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if let Ok(mut asked) = asked {
            let deadline = Instant::now() + END_OF_SERVER;
            while self.is_running() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = asked.kill();
            let _ = asked.wait();
        }
        self.kill();
    }
}

/// Arguments of a download in the foreground to the file `a`, on a free port of loopback, with
/// these further ones.
pub fn get_args<'a>(wanted: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    let get = ["get", wanted, "-o", "a", "--foreground", "--listen", "127.0.0.1:0"];
    [&get[..], further].concat()
}

/// The binary to test.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("TNET_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

/// Builds the binary where this test was built: cargo builds no binary for the tests of another
/// package.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let profile_dir =
        test.parent().and_then(Path::parent).expect("tests are in target/PROFILE/deps");
    let profile = match profile_dir.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let target_dir = profile_dir.parent().expect("a profile's directory is in a target directory");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        // The workspace's features, as in the build that this test is part of: nothing is compiled
        // twice.
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--bin",
            "tnet",
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(
        built.as_ref().is_ok_and(ExitStatus::success),
        "building the binary to test: {built:?}"
    );
    profile_dir.join("tnet")
}
