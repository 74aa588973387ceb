//! A session and a download in memory; the other side sends its chunks.

use std::ops::ControlFlow;

use tnet_fileinfo::{FileInfo, scan_file};
use tnet_proto::{Holdings, Open, PeerMessage};

use super::super::ChunkBody;
use super::super::tests::{CHUNK, HANDLE, Rig};
use super::*;
use crate::store::{DownloadOptions, Opened};

const FILE: FileKey = FileKey(4);
const CHUNKS: u32 = 3;

/// A running download of three chunks.
struct Running {
    rig: Rig,
    info: FileInfo,
    content: Vec<u8>,
    store: Arc<Download>,
    /// On a file system in memory.
    _directory: tempfile::TempDir,
}

impl Running {
    async fn new() -> Running {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let content: Vec<u8> = (0..CHUNKS * CHUNK).map(|at| (at % 251) as u8).collect();
        let (path, out) = (directory.path().join("file"), directory.path().join("out"));
        std::fs::write(&path, &content).unwrap();
        let size = ChunkSize::new(CHUNK).unwrap();
        let info = scan_file(&path, Some(size), &|_| ControlFlow::Continue(())).unwrap();
        let opened =
            Download::open(&info, &out, DownloadOptions::default(), &|_| ControlFlow::Continue(()));
        let Ok(Opened::Partial(store, _)) = opened else { panic!("nothing is there yet") };
        let (store, rig) = (Arc::new(store), Rig::new());
        rig.intake.destinations.add(FILE, Arc::clone(&store));
        let mut running = Running { rig, info, content, store, _directory: directory };
        running.announce(CHUNK).await;
        running
    }

    async fn announce(&mut self, chunk_size: u32) {
        let (hash, size) = (*self.info.hash().as_bytes(), self.info.size());
        let open = Open { file: HANDLE, hash, size, chunk_size, holdings: Holdings::Full };
        self.rig.say(PeerMessage::Open(open)).await;
        let event = self.rig.event().await;
        assert!(matches!(event, SessionEvent::Message(PeerMessage::Open(_))), "{event:?}");
    }

    /// Asks for it first.
    async fn send(&mut self, bytes: &[u8]) {
        self.rig.asks_for(FILE, 1);
        self.rig.send_part(1, 0, bytes).await;
    }

    fn bytes(&self, chunk: u32) -> Vec<u8> {
        let start = (chunk * CHUNK) as usize;
        self.content[start..start + CHUNK as usize].to_vec()
    }

    /// Whether the session kept the chunk that arrives next.
    async fn is_kept(&mut self) -> bool {
        match self.rig.event().await {
            SessionEvent::ChunkArrived { handle: HANDLE, chunk: 1, last_part: CHUNK, body } => {
                matches!(body, ChunkBody::WrittenBySession)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn taken(&mut self) -> StoreResult {
        match self.rig.event().await {
            SessionEvent::ChunkTaken { file: FILE, chunk, taken } if chunk.get() == 1 => {
                assert_eq!(taken.len, CHUNK);
                taken.result
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_chunk_of_a_running_download_is_in_the_file_when_the_engine_hears_what_became_of_it() {
    let mut running = Running::new().await;
    let bytes = running.bytes(1);
    running.send(&bytes).await;
    assert!(running.is_kept().await);
    assert!(matches!(running.taken().await, StoreResult::Stored));
    let (chunk, mut stored) = (running.info.geometry().chunk(1).unwrap(), vec![0; CHUNK as usize]);
    running.store.read_chunk_part(chunk, 0, &mut stored).unwrap();
    assert!(stored == bytes, "other bytes");
}

#[tokio::test]
async fn wrong_bytes_never_reach_the_file() {
    let mut running = Running::new().await;
    let mut bytes = running.bytes(1);
    bytes[77] ^= 1;
    running.send(&bytes).await;
    assert!(running.is_kept().await);
    assert!(matches!(running.taken().await, StoreResult::Corrupt));
    assert!(running.store.stored().is_empty());
    let written = std::fs::read(running.store.partial_path()).unwrap();
    assert!(written.iter().all(|byte| *byte == 0), "something was written");
}

#[tokio::test]
async fn a_chunk_for_a_download_that_ended_meanwhile_says_so() {
    let mut running = Running::new().await;
    running.store.discard().unwrap();
    let bytes = running.bytes(1);
    running.send(&bytes).await;
    assert!(running.is_kept().await);
    assert!(matches!(running.taken().await, StoreResult::Failed(WriteError::Closed)));
}

#[tokio::test]
async fn chunks_of_what_is_no_longer_downloaded_or_is_cut_otherwise_are_handed_over() {
    let mut running = Running::new().await;
    let (hash, size) = (running.info.hash(), ChunkSize::new(CHUNK).unwrap());
    running.rig.intake.destinations.remove(FileKey(5), hash, size);
    running.send(&running.bytes(1)).await;
    assert!(running.is_kept().await, "it was another download that ended");
    assert!(matches!(running.taken().await, StoreResult::Stored));

    running.announce(2 * CHUNK).await;
    let last = running.bytes(2);
    let geometry = Geometry::new(running.info.size(), ChunkSize::new(2 * CHUNK).unwrap()).unwrap();
    running.rig.expects(Announced { hash, geometry }, 1);
    running.rig.send_part(1, 0, &last).await;
    assert!(!running.is_kept().await, "chunk 1 is another one there");

    running.announce(CHUNK).await;
    running.rig.asks_for(FILE, 1);
    running.rig.intake.destinations.remove(FILE, hash, size);
    running.rig.send_part(1, 0, &running.bytes(1)).await;
    assert!(!running.is_kept().await, "nobody wants it any more");
}
