//! A user who downloads one file with the real command, in the foreground.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};
use tnet_testkit::{Cli, Content, Finished, Network, RawPeer, Running, SOON, files_below, payload};

use super::mounts::Mount;
use super::strace::{Call, calls};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * 1024;

/// The smallest chunk there is, in bytes.
pub(crate) const CHUNK: u64 = MIN_CHUNK_SIZE as u64;

/// A file of so many of the smallest chunks.
pub(crate) fn small_chunks(count: u64, seed: u64) -> Content {
    chunks_of(CHUNK, count, seed)
}

/// A file of so many chunks of that size.
pub(crate) fn chunks_of(bytes: u64, count: u64, seed: u64) -> Content {
    let size = u32::try_from(bytes).ok().and_then(|bytes| ChunkSize::new(bytes).ok());
    Content::chunked(payload(bytes * count, seed), size.expect("a size that chunks can have"))
}

/// A download to `a` in a directory of its own, in which nothing but the download ever is.
#[derive(Debug, Clone)]
pub(crate) struct Getting {
    pub(crate) cli: Cli,
    content: Content,
    dir: PathBuf,
}

impl Getting {
    /// A user of that name who has the description of the content.
    pub(crate) fn new(network: &Network, name: &str, content: &Content) -> Getting {
        let cli = network.user(name);
        Getting::with(cli, content)
    }

    /// A user who has the description of the content.
    pub(crate) fn with(cli: Cli, content: &Content) -> Getting {
        content.write_info(&cli.path("a.fileinfo"));
        let dir = cli.path("to");
        std::fs::create_dir_all(&dir).expect("a home is writable");
        let dir = dir.canonicalize().expect("it is there");
        Getting { cli, content: content.clone(), dir }
    }

    /// Where the file goes.
    pub(crate) fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// The file.
    pub(crate) fn out(&self) -> PathBuf {
        self.dir.join("a")
    }

    pub(crate) fn partial(&self) -> PathBuf {
        self.dir.join("a.partial")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.join("a.partial.journal")
    }

    /// The directory and the three names in it.
    pub(crate) fn paths(&self) -> [PathBuf; 4] {
        [self.dir.clone(), self.out(), self.partial(), self.journal()]
    }

    /// `tnet get`, with these further arguments; ends when the file is whole.
    pub(crate) fn command(&self, further: &[&str]) -> Command {
        let mut command = self.seeding_command();
        command.args(["--linger", "0s"]).args(further);
        command
    }

    /// `tnet get`, which goes on seeding for a while if a peer lacks the file.
    pub(crate) fn seeding_command(&self) -> Command {
        let mut command = self.cli.command(["get", "a.fileinfo", "--foreground", "--json"]);
        command.args(["--listen", "127.0.0.1:0", "-o"]).arg(self.out());
        command
    }

    /// `tnet get` through the server.
    pub(crate) fn server_command(&self) -> Command {
        let mut command = self.cli.command(["get", "a.fileinfo", "--json", "-o"]);
        command.arg(self.out());
        command
    }

    /// Starts it, or something around it.
    pub(crate) fn start(&self, command: Command) -> Running {
        self.cli.start_command(command)
    }

    /// Runs it to its end with success, and compares the file. Nothing else is left.
    pub(crate) async fn completes(&self, further: &[&str]) -> Value {
        let finished = self.start(self.command(further)).ends(SOON).await;
        self.is_complete(finished).await
    }

    /// It ended with success, the file is right, and nothing else is left.
    pub(crate) async fn is_complete(&self, finished: Finished) -> Value {
        let report = finished.with_code(0).result();
        self.content.is_at(&self.out()).await;
        assert_eq!(self.names(), ["a"], "nothing else is left");
        report
    }

    /// It is as if it had not happened: nothing there but perhaps a part with its journal.
    pub(crate) fn is_not_there(&self) {
        let names = self.names();
        let known = |name: &String| ["a.partial", "a.partial.journal"].contains(&name.as_str());
        assert!(names.iter().all(known), "{names:?}");
    }

    /// What is in the directory, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = files_below(&self.dir)
            .expect("readable")
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// The failure is on standard error in one line, as the command's own, with all of these words.
pub(crate) fn says(finished: &Finished, words: &[&str]) -> String {
    let lines: Vec<&str> =
        finished.stderr.lines().filter(|line| line.starts_with("tnet: ")).collect();
    let [line] = lines[..] else { panic!("not one line: {:?}", finished.stderr) };
    for word in words {
        assert!(line.contains(word), "{word:?} in {line:?}");
    }
    line.to_owned()
}

/// The most chunks that a command said it has.
pub(crate) fn chunks_said(stdout: &str) -> u64 {
    let events = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter_map(|event| event["chunks_done"].as_u64()).max().unwrap_or(0)
}

/// The smallest chunks that the system took whole, by the log of a trace.
pub(crate) fn chunks_written(log: &Path) -> u64 {
    let log = std::fs::read_to_string(log).expect("the log");
    let is_chunk =
        |call: &&Call| call.name == "pwrite64" && call.returned == i64::try_from(CHUNK).ok();
    calls(&log).iter().filter(is_chunk).count() as u64
}

/// A user whose directory is on a file system of so many bytes.
pub(crate) fn on_small_disk(
    network: &Network,
    name: &str,
    content: &Content,
    bytes: u64,
) -> (Getting, Mount) {
    let cli = network.user(name);
    let mount = Mount::of_bytes(&cli.path("to"), bytes);
    (Getting::with(cli, content), mount)
}

/// No chunk went over the wire a second time, but for so many that were lost on the way to the
/// disk.
pub(crate) fn fetched_again(seed: &RawPeer, content: &Content) -> u32 {
    seed.counters().served_in_all().checked_sub(content.chunk_count()).expect("every chunk came")
}

/// Waits until the command says that so many chunks are stored.
pub(crate) async fn has_stored(running: &mut Running, chunks: u64) {
    let what = format!("{chunks} chunks are stored");
    running.prints(&what, SOON, |text| (chunks_said(text) == chunks).then_some(())).await;
}
