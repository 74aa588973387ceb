//! Every call by which a download changes the disk, one after the other, from three beginnings:
//! what a case does at the first call of a kind it does at the second, and so on, until there is no
//! such call.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tnet_fileinfo::ChunkSet;
use tnet_fileinfo::scan::unwatched;
use tnet_peer::store::{Download, DownloadOptions, Opened};
use tnet_testkit::{Content, Network, SOON};

use super::getting::{CHUNK, Getting};
use super::strace::{Strace, calls};

/// What can change the disk. A file is made by opening it.
const CALLS: &str =
    "openat,fallocate,ftruncate,pwrite64,fsync,fdatasync,renameat,renameat2,linkat,unlinkat";

/// Calls that are tried at once.
const AT_ONCE: usize = 2;

/// The file that is in the way of some downloads.
const OLD: &[u8] = b"the old state";

/// What is there when the download begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    /// A part with two chunks that its journal vouches for, and the torn end of a record.
    PartAndJournal,
    /// A part without a journal, of which two chunks are right; and another file under the final
    /// name.
    PartAndOldFile,
}

/// One call of one download.
#[derive(Debug, Clone)]
pub(crate) struct Boundary {
    pub(crate) before: Before,
    pub(crate) kind: String,
    pub(crate) nth: usize,
}

impl Before {
    pub(crate) const ALL: [Before; 3] =
        [Before::Nothing, Before::PartAndJournal, Before::PartAndOldFile];

    /// What `tnet get` needs to be told.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Before::Nothing | Before::PartAndJournal => &[],
            Before::PartAndOldFile => &["--overwrite"],
        }
    }

    /// Right chunks that are there.
    pub(crate) fn chunks(self) -> u64 {
        match self {
            Before::Nothing => 0,
            Before::PartAndOldFile | Before::PartAndJournal => 2,
        }
    }

    /// What is under the final name is what was there before, or the whole new file.
    pub(crate) async fn is_old_or_new(self, getting: &Getting, content: &Content) {
        let now = fs::read(getting.out()).ok();
        match (&now, self) {
            (None, Before::Nothing | Before::PartAndJournal) => {}
            (None, Before::PartAndOldFile) => {
                panic!("the old file is gone, and no new one is there")
            }
            (Some(bytes), Before::PartAndOldFile) if bytes == OLD => {}
            (Some(_), _) => content.is_at(&getting.out()).await,
        }
        let known = ["a", "a.partial", "a.partial.journal"];
        let names = getting.names();
        assert!(names.iter().all(|name| known.contains(&name.as_str())), "{names:?}");
    }

    /// A user of that name, with what is to be there.
    fn prepared(self, network: &Network, name: &str, content: &Content) -> Getting {
        let getting = Getting::new(network, name, content);
        let bytes = content.payload().bytes();
        let half = &bytes[..usize::try_from(2 * CHUNK).expect("small")];
        match self {
            Before::Nothing => {}
            Before::PartAndOldFile => {
                fs::write(getting.out(), OLD).expect("a home is writable");
                let file = File::create_new(getting.partial()).expect("a home is writable");
                file.write_all_at(half, 0).expect("a home is writable");
                file.write_all_at(half, 2 * CHUNK).expect("a home is writable");
            }
            Before::PartAndJournal => {
                let (download, _) = open(content, &getting.out());
                for (chunk, bytes) in
                    content.chunks(0..2).into_iter().zip(half.chunks(half.len() / 2))
                {
                    download.write_chunk(chunk, bytes).expect("the disk works");
                }
                download.sync().expect("the disk works");
                drop(download);
                let mut journal =
                    File::options().append(true).open(getting.journal()).expect("it was made");
                journal.write_all(b"torn").expect("a home is writable");
            }
        }
        getting
    }

    /// The kinds of calls that such a download makes on this machine.
    async fn kinds(self, network: &Network, content: &Content) -> Vec<String> {
        let getting = self.prepared(network, &format!("{self:?}-counts"), content);
        let log = getting.cli.path("trace");
        let traced =
            Strace::of(CALLS, &log).on(getting.paths()).run(&getting.command(self.arguments()));
        getting.is_complete(getting.start(traced).ends(SOON).await).await;
        let calls = calls(&fs::read_to_string(log).expect("the log"));
        let mut kinds: Vec<String> = calls.into_iter().map(|call| call.name).collect();
        kinds.sort();
        kinds.dedup();
        fs::remove_dir_all(getting.cli.home()).expect("it is ours");
        kinds
    }
}

impl Boundary {
    /// A user with what is to be there before, and a trace that knows which call is meant.
    pub(crate) fn prepared(
        &self,
        network: &Network,
        name: &str,
        content: &Content,
    ) -> (Getting, Strace) {
        let name = format!("{name}-{:?}-{}-{}", self.before, self.kind, self.nth);
        let getting = self.before.prepared(network, &name, content);
        let strace = Strace::of(CALLS, &getting.cli.path("trace"));
        // Every program opens many files at first, but the one thread that begins a download opens
        // these.
        let strace =
            if self.kind == "openat" { strace.on(getting.paths()) } else { strace.in_order() };
        (getting, strace)
    }
}

/// Tries every call of a download from this beginning; a try answers whether there was such a call.
/// Answers how many there were.
pub(crate) async fn each(
    network: &Network,
    content: &Content,
    before: Before,
    attempt: impl AsyncFn(Boundary) -> bool,
) -> usize {
    let kinds = before.kinds(network, content).await;
    let mut count = 0;
    for kind in &kinds {
        for first in (1..).step_by(AT_ONCE) {
            let nths = first..first + AT_ONCE;
            let tries = nths.map(|nth| attempt(Boundary { before, kind: kind.clone(), nth }));
            let results = futures_util::future::join_all(tries).await;
            count += results.iter().filter(|was_there| **was_there).count();
            if results.contains(&false) {
                break;
            }
        }
    }
    assert!(count >= 10, "only {count} calls among {kinds:?}");
    count
}

/// Opens a download in this process.
pub(crate) fn open(content: &Content, out: &Path) -> (Download, ChunkSet) {
    match Download::open(content.info(), out, DownloadOptions::default(), &unwatched) {
        Ok(Opened::Partial(download, stored)) => (download, stored),
        other => panic!("{other:?}"),
    }
}
