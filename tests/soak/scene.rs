//! The users that take part, their directories, and what was seen.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tnet_testkit::{Cli, Running, SOON, eventually};
use tokio::sync::Mutex;

use crate::contents::{Contents, Shared};
use crate::sample::directory_bytes;

/// Files that stay as they are.
const KEPT: usize = 4;

/// What all actors know.
#[derive(Debug)]
pub(crate) struct Scene {
    home: TempDir,
    pub(crate) coordinator: SocketAddr,
    pub(crate) contents: Contents,
    ends: Instant,
    /// A seed whose files change all the time, and a server that downloads; neither is ever killed.
    seed: Mutex<Running>,
    server: Mutex<Running>,
    seed_pid: u32,
    server_pid: u32,
    pub(crate) counts: Counts,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) right: AtomicU32,
    pub(crate) gone: AtomicU32,
    pub(crate) broken_off: AtomicU32,
    pub(crate) kills: AtomicU32,
    pub(crate) stops: AtomicU32,
    pub(crate) changes: AtomicU32,
    pub(crate) longest_ms: AtomicU64,
}

impl Scene {
    /// All of it, until the time is over.
    pub(crate) async fn set(lasts: Duration) -> Rc<Scene> {
        let home =
            tempfile::Builder::new().prefix("tnet-soak").tempdir().expect("a place for files");
        let coordinator = free_port();
        let cli = |name: &str| cli_at(home.path(), coordinator, name);
        let contents = Contents::default();
        let shared = cli("seed").path("shared");
        std::fs::create_dir(&shared).expect("our own directory");
        for number in 0..KEPT {
            let path = shared.join(format!("kept{number}"));
            let content = Contents::fresh();
            content.write(&path).await;
            contents.add(Shared { content: Rc::new(content), is_kept: true, path });
        }
        let seed = serve(&cli("seed"), &["--dir", "shared"]).await;
        let server = serve(&cli("server"), &[]).await;
        let (seed_pid, server_pid) = (seed.id(), server.id());
        let (seed, server) = (Mutex::new(seed), Mutex::new(server));
        let (ends, counts) = (Instant::now() + lasts, Counts::default());
        Rc::new(Scene {
            home,
            coordinator,
            contents,
            ends,
            seed,
            server,
            seed_pid,
            server_pid,
            counts,
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.ends
    }

    /// A user with a home directory.
    pub(crate) fn cli(&self, name: &str) -> Cli {
        cli_at(self.home.path(), self.coordinator, name)
    }

    pub(crate) fn seed(&self) -> &Mutex<Running> {
        &self.seed
    }

    pub(crate) fn server(&self) -> &Mutex<Running> {
        &self.server
    }

    /// Those that run from the beginning to the end.
    pub(crate) fn steady_processes(&self) -> Vec<u32> {
        vec![self.seed_pid, self.server_pid]
    }

    pub(crate) fn state_of_seed(&self) -> PathBuf {
        self.cli("seed").path("state")
    }

    pub(crate) fn state_of_server(&self) -> PathBuf {
        self.cli("server").path("state")
    }

    /// After the work: stopped processes run again, and only what is kept is shared.
    pub(crate) async fn quiet(&self) {
        while let Some(shared) = self.contents.take_any() {
            let _ = std::fs::remove_file(&shared.path);
        }
        // A download of a command that was broken off may have been done after the others.
        for out in std::fs::read_dir(self.cli("server").home()).expect("our own directory") {
            let out = out.expect("our own directory").path();
            if out.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"out")) {
                let _ = std::fs::remove_dir_all(out);
            }
        }
        let kept = self.contents.len();
        eventually("only the kept files are shared", 3 * SOON, async || {
            let status = self.cli("seed").run(["status", "--json"]).await.with_code(0).result();
            let total = status["status"]["files_total"].clone();
            if total == kept { Ok(()) } else { Err(total) }
        })
        .await;
    }

    /// Bytes that a new server writes down of the same directory.
    pub(crate) async fn state_of_a_fresh_seed(&self) -> u64 {
        let cli = self.cli("fresh");
        let shared = self.cli("seed").path("shared");
        let running = serve(&cli, &["--dir", &shared.to_string_lossy()]).await;
        let kept = self.contents.len();
        eventually("the kept files are shared", SOON, async || {
            let status = cli.run(["status", "--json"]).await.with_code(0).result();
            let total = status["status"]["files_total"].clone();
            if total == kept { Ok(()) } else { Err(total) }
        })
        .await;
        running.terminate();
        running.ends(SOON).await.with_code(0);
        directory_bytes(&cli.path("state"))
    }

    pub(crate) fn summary(&self) -> String {
        self.counts.to_string()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU32| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} downloads right, 0 wrong; {} of files that were gone, {} broken off; {} kills, {} stops, {} changes; the longest command {} ms",
            of(&self.right),
            of(&self.gone),
            of(&self.broken_off),
            of(&self.kills),
            of(&self.stops),
            of(&self.changes),
            self.longest_ms.load(Ordering::Relaxed)
        )
    }
}

/// A server in the foreground that is ready.
pub(crate) async fn serve(cli: &Cli, args: &[&str]) -> Running {
    let start = ["start-server", "--foreground", "--json", "--listen", "127.0.0.1:0"];
    let mut running = cli.start([&start[..], args].concat());
    running.prints("it is ready", SOON, |text| text.contains("\"ready\"").then_some(())).await;
    running
}

fn cli_at(home: &Path, coordinator: SocketAddr, name: &str) -> Cli {
    let home = home.join(name);
    std::fs::create_dir_all(&home).expect("our own directory");
    Cli::at(&home).with_coordinator(coordinator)
}

/// A port for a process that is started again and again.
fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}
