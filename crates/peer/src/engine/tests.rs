//! The engine without a network: what it does with files that change under it.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use tnet_fileinfo::{ChunkSize, FileInfo, Geometry, MIN_CHUNK_SIZE, scan::unwatched, scan_file};
use tnet_net::{Connector, NarrowPaths, OwnReach};
use tnet_proto::{Availability, CoordinatorReply, CoordinatorRequest, Holder, Limit};
use tnet_store::ChunkSource;
use tnet_swarm::Goal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::entry::FileEntry;
use super::*;
use crate::store::{self, FileState, FileStore, Flaw, Opened, ReadError};

const CHUNK: usize = MIN_CHUNK_SIZE as usize;
const CHUNKS: u32 = 600;

struct Bench {
    engine: Engine,
    work: mpsc::Receiver<WorkDone>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let (events, _) = mpsc::channel(1);
        let (results, _) = mpsc::channel(1);
        let (done, work) = Inbox::work_channel();
        let (tasks, listen) = (TaskTracker::new(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let (config, peer_id, descriptors) =
            (Config::default(), PeerId([1; 16]), Descriptors::new());
        let context = SessionContext::new(
            events,
            config.chunk_memory,
            Clock::new(),
            tasks,
            CancellationToken::new(),
        );
        let dialer = Dialer {
            peer_id,
            reach: OwnReach::new(listen, None),
            connector: Connector::new(NarrowPaths::default(), descriptors.clone())
                .with_timeout(config.connect_within),
            results,
            next: Arc::new(AtomicU64::new(0)),
            context: context.clone(),
            stop: CancellationToken::new(),
        };
        let (scans, hurry) = (None, Arc::new(Notify::new()));
        let parts = Parts {
            config,
            scans,
            hurry,
            descriptors,
            peer_id,
            seed: 1,
            listen,
            context,
            dialer,
            work: done,
        };
        Bench { engine: Engine::new(parts), work, dir: tempfile::tempdir().unwrap() }
    }

    /// A file with chunks of its own, each of which begins with its number, and its description.
    fn file(&self, name: &str, first: u8) -> (PathBuf, FileInfo) {
        let path = self.dir.path().join(name);
        let mut bytes = vec![first; CHUNK * CHUNKS as usize];
        for (number, chunk) in (0u32..).zip(bytes.chunks_mut(CHUNK)) {
            chunk[..4].copy_from_slice(&number.to_le_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        let info =
            scan_file(&path, Some(ChunkSize::new(MIN_CHUNK_SIZE).unwrap()), &unwatched).unwrap();
        (path, info)
    }

    /// Shares it.
    fn shared(&mut self, name: &str) -> (PathBuf, Arc<FileStore>) {
        let (path, info) = self.file(name, 0);
        self.engine.share(FileStore::open_shared(&path, &info).unwrap());
        let own = self.engine.own_cut(&info.hash()).unwrap();
        let store = self.engine.files[&own].wholes().next().unwrap().clone();
        (path, store)
    }

    fn own(&self, hash: &FileHash) -> FileKey {
        self.engine.own_cut(hash).unwrap()
    }

    /// A download of the content to that name, which has all chunks but this one.
    fn download(
        &mut self,
        of: &str,
        to: &str,
        lacking: Option<u32>,
    ) -> (FileKey, Arc<store::Download>) {
        let (path, info) = self.file(of, 1);
        let options =
            store::DownloadOptions { existing: store::OnExisting::Replace, ..Default::default() };
        let out = self.dir.path().join(to);
        let Opened::Partial(part, _) =
            store::Download::open(&info, &out, options, &unwatched).unwrap()
        else {
            panic!("it is new");
        };
        let part = Arc::new(part);
        for chunk in info.geometry().chunks().filter(|chunk| Some(chunk.get()) != lacking) {
            part.write_chunk(chunk, &bytes_of(&path, chunk)).unwrap();
        }
        let (done, _followed) = oneshot::channel();
        let hash = info.hash();
        let options = crate::config::DownloadOptions::default();
        self.engine.start_download(StartDownload { info, store: Arc::clone(&part), options, done });
        (self.own(&hash), part)
    }

    /// Takes in what the next piece of work came to.
    async fn works(&mut self) -> &'static str {
        let done =
            tokio::time::timeout(Duration::from_secs(20), self.work.recv()).await.unwrap().unwrap();
        let what = match &done {
            WorkDone::Inspected(_) => "inspected",
            WorkDone::Reverified { .. } => "verified",
            WorkDone::Finished { .. } => "finished",
            WorkDone::Rescanned { .. } => "read again",
            _ => "another",
        };
        self.engine.on_work_done(done);
        what
    }

    /// Does so until that has come.
    async fn works_until(&mut self, wanted: &str) {
        while self.works().await != wanted {}
    }

    /// So much later it looks at what is doubtful.
    fn looks_after(&mut self, time: Duration) {
        self.engine.now = self.engine.now + time;
        self.engine.look_at_doubtful();
        assert!(self.engine.integrity.is_looking);
    }

    fn is_finishing(&self, file: FileKey) -> bool {
        let running = self.engine.files.running(file);
        running.is_some_and(|running| running.phase == crate::api::Phase::Finishing)
    }
}

fn bytes_of(path: &Path, chunk: ChunkIndex) -> Vec<u8> {
    let mut bytes = vec![0; CHUNK];
    std::fs::File::open(path)
        .unwrap()
        .read_exact_at(&mut bytes, u64::from(chunk.get()) * u64::from(MIN_CHUNK_SIZE))
        .unwrap();
    bytes
}

fn chunk_of(info: &FileInfo, index: u32) -> ChunkIndex {
    info.geometry().chunk(index).unwrap()
}

fn stranger() -> (std::net::IpAddr, PeerKey) {
    ([10, 0, 0, 1].into(), PeerKey(1))
}

/// What became of a file that is looked at.
fn replace(path: &Path) {
    std::fs::write(path, b"another one").unwrap();
}

#[tokio::test]
async fn a_file_that_is_replaced_while_all_of_it_is_looked_at_is_served_no_more() {
    for replaced in [replace, |path: &Path| std::fs::remove_file(path).unwrap()] {
        let mut bench = Bench::new();
        let (path, store) = bench.shared("file");
        let own = bench.own(&store.info().hash());
        let chunk = chunk_of(store.info(), 3);
        bench.engine.integrity.damage.note_flaw(Time::ZERO, own, &store, chunk, Flaw::Wrong);
        bench.looks_after(Duration::from_secs(1));
        bench.works_until("inspected").await;
        assert_eq!(bench.engine.files.len(), 1, "it is what it was");
        replaced(&path);
        bench.looks_after(Duration::from_secs(10));
        bench.works_until("inspected").await;
        assert!(bench.engine.files.is_empty() && bench.engine.integrity.damage.is_empty());
    }
}

#[tokio::test]
async fn of_two_copies_the_one_that_is_not_replaced_during_a_look_is_served() {
    let mut bench = Bench::new();
    let (path, store) = bench.shared("one");
    let (_, _) = bench.shared("two");
    let own = bench.own(&store.info().hash());
    replace(&path);
    bench.engine.integrity.doubts.add_own(Time::ZERO, own, chunk_of(store.info(), 3));
    bench.looks_after(Duration::from_secs(1));
    bench.works_until("inspected").await;
    let left: Vec<_> =
        bench.engine.files[&own].wholes().map(|store| store.path().to_path_buf()).collect();
    assert_eq!(left, [bench.dir.path().join("two")]);
}

#[tokio::test]
async fn a_file_that_is_replaced_while_a_chunk_of_a_recut_is_looked_at_is_served_no_more() {
    let mut bench = Bench::new();
    let (path, store) = bench.shared("file");
    let info = store.info().clone();
    let geometry =
        Geometry::new(info.size(), ChunkSize::new(MIN_CHUNK_SIZE * 64).unwrap()).unwrap();
    let source = ChunkSource::Rechunked { whole: store, geometry };
    let entry = FileEntry::new(info, source, None);
    let stored = entry.sound_chunks();
    let recut = bench.engine.add_file(geometry, stored, Goal::Seed, entry);
    replace(&path);
    bench.engine.integrity.doubts.add(Time::ZERO, recut, geometry.chunk(1).unwrap(), stranger());
    bench.looks_after(Duration::from_secs(1));
    bench.works_until("inspected").await;
    assert!(bench.engine.files.is_empty());
}

#[tokio::test]
async fn a_file_of_which_nothing_reads_is_withdrawn_at_once_and_comes_back_chunk_by_chunk() {
    let mut bench = Bench::new();
    let (_, store) = bench.shared("file");
    let own = bench.own(&store.info().hash());
    for index in 0..40 {
        let chunk = chunk_of(store.info(), index);
        let source = std::io::Error::other("the disk is gone");
        bench.engine.on_unreadable(own, &ReadError::Io { chunk, source });
    }
    assert_eq!(bench.engine.swarm.stored_chunks(own), Some(0));
    assert_eq!(store.flaws().count(Flaw::Unreadable), CHUNKS);
    bench.looks_after(Duration::from_secs(2));
    bench.works_until("inspected").await;
    assert_eq!(bench.engine.swarm.stored_chunks(own), Some(1));
}

#[tokio::test]
async fn a_doubt_that_waits_keeps_a_download_from_its_name() {
    let mut bench = Bench::new();
    let (file, part) = bench.download("source", "out", Some(CHUNKS - 1));
    rot(&bench, &part, 7);
    bench.engine.integrity.doubts.add_own(
        bench.engine.now + Duration::from_secs(60),
        file,
        chunk_of(part.info(), 7),
    );
    completes(&mut bench, file, &part);
    bench.works_until("verified").await;
    is_not_finished(&bench, file);
}

#[tokio::test]
async fn a_look_under_way_keeps_a_download_from_its_name() {
    let mut bench = Bench::new();
    let (file, part) = bench.download("source", "out", Some(CHUNKS - 1));
    rot(&bench, &part, 7);
    bench.engine.integrity.doubts.add(Time::ZERO, file, chunk_of(part.info(), 7), stranger());
    bench.looks_after(Duration::from_secs(1));
    completes(&mut bench, file, &part);
    bench.works_until("verified").await;
    is_not_finished(&bench, file);
}

#[tokio::test]
async fn what_a_look_found_meanwhile_has_a_download_verified_once_more() {
    let mut bench = Bench::new();
    let (file, part) = bench.download("source", "out", Some(CHUNKS - 1));
    bench.engine.integrity.doubts.add(Time::ZERO, file, chunk_of(part.info(), 9), stranger());
    rot(&bench, &part, 7);
    bench.looks_after(Duration::from_secs(1));
    completes(&mut bench, file, &part);
    // The doubted chunk is right; another was found wrong.
    bench.engine.files.running_mut(file).unwrap().is_suspect = true;
    bench.works_until("verified").await;
    assert!(bench.is_finishing(file));
    bench.works_until("verified").await;
    is_not_finished(&bench, file);
}

#[tokio::test]
async fn a_false_word_keeps_no_download_from_its_name() {
    let mut bench = Bench::new();
    let (file, part) = bench.download("source", "out", Some(CHUNKS - 1));
    bench.engine.integrity.doubts.add(Time::ZERO, file, chunk_of(part.info(), 9), stranger());
    completes(&mut bench, file, &part);
    bench.works_until("finished").await;
    assert!(bench.dir.path().join("out").exists());
}

#[tokio::test]
async fn a_download_takes_its_path_from_a_damaged_file_and_nothing_of_the_damage() {
    let mut bench = Bench::new();
    let (_, old) = bench.shared("out");
    let own = bench.own(&old.info().hash());
    bench.engine.integrity.damage.note_flaw(
        Time::ZERO,
        own,
        &old,
        chunk_of(old.info(), 3),
        Flaw::Unreadable,
    );
    let (file, part) = bench.download("source", "out", Some(CHUNKS - 1));
    completes(&mut bench, file, &part);
    bench.works_until("finished").await;
    assert!(bench.engine.integrity.damage.is_empty());
    assert_eq!(bench.engine.files.keys().collect::<Vec<_>>(), [&file]);
    assert_eq!(bench.engine.by_path.values().collect::<Vec<_>>(), [&file]);
}

/// A look sees that the file was touched.
fn is_touched(bench: &mut Bench, store: &Arc<FileStore>) {
    let own = bench.own(&store.info().hash());
    bench
        .engine
        .on_metadata_compared(vec![(own, Arc::clone(store), FileState::Touched)], Duration::ZERO);
    assert_eq!(bench.engine.own_cut(&store.info().hash()), None, "not served before it was read");
}

#[tokio::test]
async fn a_touched_file_that_cannot_be_read_is_shared_when_it_can() {
    let mut bench = Bench::new();
    let (path, store) = bench.shared("file");
    let elsewhere = bench.dir.path().join("elsewhere");
    // A name that leads to itself: nobody knows what the file is.
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    is_touched(&mut bench, &store);
    bench.works_until("read again").await;
    assert_eq!(bench.engine.own_cut(&store.info().hash()), None);
    std::fs::rename(&elsewhere, &path).unwrap();
    bench.engine.now = bench.engine.now + Duration::from_secs(10);
    bench.engine.compare_metadata();
    bench.works_until("read again").await;
    bench.own(&store.info().hash());
}

#[tokio::test]
async fn what_a_touched_file_has_become_is_not_asked_again_if_it_is_known() {
    let other_content: fn(&Path) = |path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&[0xff], 9).unwrap();
    };
    for change in [other_content, |path| std::fs::remove_file(path).unwrap()] {
        let mut bench = Bench::new();
        let (path, store) = bench.shared("file");
        change(&path);
        is_touched(&mut bench, &store);
        bench.works_until("read again").await;
        assert_eq!(bench.engine.own_cut(&store.info().hash()), None);
        assert!(!bench.engine.unshare(&store.info().hash()), "nobody waits for it");
    }
}

#[tokio::test]
async fn a_file_that_is_removed_while_it_is_read_again_is_not_shared_again() {
    let mut bench = Bench::new();
    let (_, store) = bench.shared("file");
    is_touched(&mut bench, &store);
    assert!(bench.engine.unshare(&store.info().hash()), "it was there");
    bench.works_until("read again").await;
    assert_eq!(bench.engine.own_cut(&store.info().hash()), None);
}

/// Flips a bit of a stored chunk.
fn rot(bench: &Bench, part: &store::Download, index: u32) {
    let path = bench.dir.path().join("out.partial");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0xff], part.info().geometry().offset(chunk_of(part.info(), index)) + 9)
        .unwrap();
}

/// Its last chunk arrives.
fn completes(bench: &mut Bench, file: FileKey, part: &store::Download) {
    let last = chunk_of(part.info(), CHUNKS - 1);
    part.write_chunk(last, &bytes_of(&bench.dir.path().join("source"), last)).unwrap();
    bench.engine.on_complete(file);
    assert!(bench.is_finishing(file));
}

fn is_not_finished(bench: &Bench, file: FileKey) {
    assert!(!bench.is_finishing(file) && !bench.dir.path().join("out").exists());
    let running = bench.engine.files.running(file).unwrap();
    assert!(running.is_suspect, "it is verified in full before it gets its name");
    assert_eq!(bench.engine.progress(file).unwrap().chunks_done, CHUNKS - 2);
}

#[tokio::test]
async fn a_call_for_which_we_lacked_something_is_told_nobody_as_a_failure() {
    let mut bench = Bench::new();
    let address = SocketAddr::from(([10, 0, 0, 1], 7401));
    let holders = vec![Holder { address, availability: Availability::Full }];
    let reply = CoordinatorReply::Holders { hash: [1; 32], full: 1, partial: 0, holders };
    bench.engine.coordinator.session.on_reply(&reply);
    let mut is_told = |failure| {
        bench.engine.on_dialed(Dialed::Failed { address, failure });
        let session = &mut bench.engine.coordinator.session;
        let requests = std::iter::from_fn(|| session.poll(Time::ZERO, |_| false));
        requests.into_iter().any(|request| matches!(request, CoordinatorRequest::Calls { .. }))
    };
    assert!(!is_told(None));
    assert!(is_told(Some(crate::api::CallFailure::Refused)), "a later call is told");
}

#[tokio::test]
async fn a_coordinator_that_says_ever_other_limits_fills_no_memory() {
    let mut bench = Bench::new();
    for value in 0..1000 {
        for limit in [Limit::EntriesPerPeer, Limit::EntriesTotal] {
            let reply = CoordinatorReply::LimitReached { limit, value };
            bench.engine.on_coordinator(CoordinatorEvent::Reply(reply));
        }
    }
    assert_eq!(bench.engine.coordinator.limits_told, [Limit::EntriesPerPeer, Limit::EntriesTotal]);
}
