//! The machine loses power: what no sync covered is there, or not, or in pieces.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tnet_fileinfo::{ChunkIndex, ChunkSet};
use tnet_peer::store::{Download, DownloadOptions, Opened};
use tnet_testkit::{Behaviour, Cli, Content, Network, SOON};

use crate::support::case::cases;
use crate::support::disk_log::{DiskLog, DiskState, Which};
use crate::support::getting::{CHUNK, Getting, small_chunks};
use crate::support::needs::Need;
use crate::support::strace::Strace;

cases![
    43 "power loss: unsynced writes reordered, torn, dropped" no_power_loss_makes_the_journal_wrong_or_empty
        .needing(&[Need::Strace]) .lasts(15);
];

const CALLS: &str =
    "openat,fallocate,ftruncate,pwrite64,write,fsync,fdatasync,renameat,renameat2,linkat,unlinkat";

/// Chunks of the file; and of those, how many come before the first life ends.
const CHUNKS: u64 = 20;
const FIRST: u64 = 9;

/// In memory: a state takes a fraction of a millisecond to make and to open there, and syncs cost
/// nothing.
const MEMORY: &str = "/dev/shm";

async fn no_power_loss_makes_the_journal_wrong_or_empty() -> String {
    let content = small_chunks(CHUNKS, 43);
    let dir = tempfile::tempdir_in(MEMORY).expect("a file system in memory");
    let recorded = record(&content, dir.path()).await;
    let explored = explore(&recorded.log, &content, &recorded.getting, usize::MAX);
    if let Some(violation) = explored.violations.first() {
        panic!("{} of {} states: {violation}", explored.violations.len(), explored.states);
    }
    assert!(
        explored.believed * 2 > explored.states,
        "the journal was believed in {} of {} states",
        explored.believed,
        explored.states
    );
    // A disk that ignores the syncs of the data must be caught, or all of this proves nothing.
    let unsynced =
        explore(&recorded.log.clone().without_data_syncs(), &content, &recorded.getting, 1);
    assert!(
        !unsynced.violations.is_empty(),
        "nothing was found in {} states of a disk that ignores syncs",
        unsynced.states
    );
    format!(
        "{} states at {} moments of two lives, the journal believed in {}: 0 violations (a disk that ignores syncs has one after {})",
        explored.states,
        recorded.log.moments().count(),
        explored.believed,
        unsynced.states
    )
}

/// What the real command did.
struct Recorded {
    log: DiskLog,
    getting: Getting,
}

/// Two lives of one download. The first gets a part, and ends because no more comes; the second
/// goes on. The disk takes its time, so that chunks are written while others are synced.
async fn record(content: &Content, home: &Path) -> Recorded {
    let network = Network::builder().start().await;
    // A chunk each 200 ms: slower than that, and nothing is in doubt; faster, and no sync comes
    // before the end.
    let drip = Behaviour::Drips {
        bytes_per_second: u32::try_from(CHUNK * 5).expect("small").try_into().expect("not zero"),
    };
    let seed = network.raw(content.raw_peer().behaving(drip).allowing(FIRST)).await;
    let getting = Getting::with(Cli::at(home).with_coordinator(network.coordinator()), content);
    let mut logs = Vec::new();
    for (life, code) in [("first", 7), ("second", 0)] {
        let log = getting.cli.path(life);
        let strace = Strace::of(CALLS, &log).on(getting.paths()).with_data();
        let strace = strace.inject("fdatasync:delay_enter=250000:delay_exit=250000");
        let ended =
            getting.start(strace.run(&getting.command(&["--timeout", "800ms"]))).ends(SOON).await;
        let _ = ended.with_code(code);
        seed.allow_all().await;
        logs.push(fs::read_to_string(log).expect("the log"));
    }
    content.is_at(&getting.out()).await;
    Recorded { log: DiskLog::read(&logs, &getting.out()), getting }
}

#[derive(Debug, Default)]
struct Explored {
    states: usize,
    believed: usize,
    violations: Vec<String>,
}

/// Makes every state for real and opens it, until there are `enough` violations.
fn explore(log: &DiskLog, content: &Content, getting: &Getting, enough: usize) -> Explored {
    let mut explored = Explored::default();
    let mut seen = HashSet::new();
    let mut bench = Bench::around(content, getting);
    for moment in log.moments() {
        let promised = promised(log, content, moment);
        for fates in log.fates(moment) {
            if explored.violations.len() >= enough {
                return explored;
            }
            if seen.contains(&(promised.count(), fates.clone())) {
                continue;
            }
            let state = log.state(&fates);
            seen.insert((promised.count(), fates));
            explored.states += 1;
            match bench.try_out(&state, &promised) {
                Ok(believed) => explored.believed += usize::from(believed),
                Err(rule) => explored.violations.push(format!("at moment {moment}: {rule}")),
            }
        }
    }
    explored
}

/// The chunks in records of the journal that a completed sync covers.
fn promised(log: &DiskLog, content: &Content, moment: usize) -> ChunkSet {
    const HEADER: usize = 80;
    const RECORD: usize = 16;
    let geometry = *content.info().geometry();
    let mut chunks = ChunkSet::empty(&geometry);
    for (offset, bytes) in log.safe_journal_writes(moment) {
        assert!(offset.max(HEADER).is_multiple_of(RECORD), "records stand in their places");
        let records = if offset < HEADER { &bytes[HEADER - offset..] } else { bytes };
        for record in records.chunks_exact(RECORD) {
            let word =
                |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"));
            (word(0)..word(0) + word(4)).filter_map(|index| geometry.chunk(index)).for_each(
                |chunk| {
                    chunks.insert(chunk);
                },
            );
        }
    }
    chunks
}

/// Where states are made: with the very file of the recorded download, whose number the journal
/// names.
struct Bench<'a> {
    content: &'a Content,
    bytes: Vec<u8>,
    getting: &'a Getting,
    inode: u64,
    /// Where the file waits when it has no name.
    parked: PathBuf,
}

impl<'a> Bench<'a> {
    fn around(content: &'a Content, getting: &'a Getting) -> Bench<'a> {
        let parked = getting.cli.path("parked");
        let inode = fs::metadata(getting.out()).expect("the download ended well").ino();
        Bench { content, bytes: content.payload().bytes(), getting, inode, parked }
    }

    /// Opens the state, looks at all that it has, and completes the download. Answers whether the
    /// journal was believed.
    fn try_out(&mut self, state: &DiskState, promised: &ChunkSet) -> Result<bool, String> {
        self.make(state);
        let is_whole = state.data == self.bytes;
        let has_name = state.names.contains_key("a");
        if has_name && !is_whole {
            return Err("the final name stands for something else".to_owned());
        }
        let hashed = AtomicU64::new(0);
        let count = |bytes| {
            hashed.fetch_add(bytes, Ordering::Relaxed);
            ControlFlow::Continue(())
        };
        let out = self.getting.out();
        let opened = Download::open(self.content.info(), &out, DownloadOptions::default(), &count);
        let (download, stored) = match opened.map_err(|error| error.to_string())? {
            Opened::Complete(_) if has_name => return self.is_alone().map(|()| false),
            Opened::Complete(_) => return Err("complete without its name".to_owned()),
            Opened::Partial(download, stored) => (download, stored),
        };
        let geometry = *self.content.info().geometry();
        while !download.vouched().is_empty() {
            if let Some(wrong) =
                download.check_vouched(u64::MAX, std::time::Duration::MAX).wrong.first()
            {
                return Err(format!("the journal vouches for {wrong:?}, which is wrong"));
            }
        }
        for chunk in stored.iter() {
            let mut bytes = vec![0; self.part(chunk).len()];
            let read = download.read_chunk_part(chunk, 0, &mut bytes);
            if read.is_err() || bytes != self.part(chunk) {
                return Err(format!("{chunk:?} counts as stored and is wrong"));
            }
        }
        if let Some(lost) = promised.iter().find(|chunk| !stored.contains(*chunk)) {
            return Err(format!("{lost:?} was promised and is lost"));
        }
        let vouched = geometry.size() - hashed.into_inner();
        if vouched < geometry.bytes_in(promised) {
            return Err("the journal was not believed".to_owned());
        }
        for chunk in geometry.chunks().filter(|chunk| !stored.contains(*chunk)) {
            download.write_chunk(chunk, self.part(chunk)).map_err(|error| error.to_string())?;
        }
        download.finish().map_err(|error| error.to_string())?;
        if fs::read(&out).ok().as_ref() != Some(&self.bytes) {
            return Err("the finished file is another".to_owned());
        }
        self.is_alone()?;
        Ok(vouched > 0)
    }

    fn part(&self, chunk: ChunkIndex) -> &[u8] {
        let range = self.content.info().geometry().range(chunk);
        &self.bytes[usize::try_from(range.start).expect("small")
            ..usize::try_from(range.end).expect("small")]
    }

    /// Nothing but the file is left.
    fn is_alone(&self) -> Result<(), String> {
        match self.getting.names() {
            names if names == ["a"] => Ok(()),
            names => Err(format!("{names:?} are left")),
        }
    }

    fn make(&mut self, state: &DiskState) {
        for name in self.getting.names() {
            let path = self.getting.dir().join(name);
            if fs::metadata(&path).is_ok_and(|metadata| metadata.ino() == self.inode) {
                fs::rename(&path, &self.parked).expect("our own directory");
            } else {
                fs::remove_file(&path).expect("our own directory");
            }
        }
        // In place: a file that is made anew is another file.
        let mut file =
            File::options().write(true).truncate(true).open(&self.parked).expect("it waits there");
        file.write_all(&state.data).expect("there is memory");
        for (name, which) in &state.names {
            let path = self.getting.dir().join(name);
            match which {
                Which::Data => fs::rename(&self.parked, path).expect("our own directory"),
                Which::Journal => fs::write(path, &state.journal).expect("there is memory"),
            }
        }
    }
}
