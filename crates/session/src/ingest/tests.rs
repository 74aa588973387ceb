//! A session and a download in memory; the other side sends its chunks.

use std::ops::ControlFlow;

use tnet_fileinfo::{FileInfo, Geometry, scan_file};
use tnet_proto::{Holdings, Open, PeerMessage};
use tnet_store::{DownloadOptions, Opened, WriteError};

use super::super::tests::{CHUNK, HANDLE, Rig};
use super::super::{ChunkBody, StoreResult};
use super::*;

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
        rig.ingest.add_download(FILE, Arc::clone(&store));
        let mut running = Running { rig, info, content, store, _directory: directory };
        running.announce(CHUNK).await;
        running
    }

    async fn announce(&mut self, chunk_size: u32) {
        let (hash, size) = (*self.info.hash().as_bytes(), self.info.size());
        let open = Open { file: HANDLE, hash, size, chunk_size, holdings: Holdings::Full };
        self.rig.send(PeerMessage::Open(open)).await;
        let event = self.rig.event().await;
        assert!(matches!(event, SessionEvent::Message(PeerMessage::Open(_))), "{event:?}");
    }

    /// Requests chunk 1 first.
    async fn send(&mut self, bytes: &[u8]) {
        self.rig.request(FILE, 1);
        self.rig.send_part(1, 0, bytes).await;
    }

    fn bytes(&self, chunk: u32) -> Vec<u8> {
        let start = (chunk * CHUNK) as usize;
        self.content[start..start + CHUNK as usize].to_vec()
    }

    /// Whether the session writes the chunk that arrives next.
    async fn is_inline(&mut self) -> bool {
        match self.rig.event().await {
            SessionEvent::ChunkArrived { handle: HANDLE, chunk: 1, last_part: CHUNK, body } => {
                matches!(body, ChunkBody::WrittenBySession)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn outcome(&mut self) -> StoreResult {
        match self.rig.event().await {
            SessionEvent::ChunkWritten { file: FILE, chunk, outcome } if chunk.get() == 1 => {
                assert_eq!(outcome.len, CHUNK);
                outcome.result
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_chunk_of_a_running_download_is_written_before_its_outcome_is_reported() {
    let mut running = Running::new().await;
    let bytes = running.bytes(1);
    running.send(&bytes).await;
    assert!(running.is_inline().await);
    assert!(matches!(running.outcome().await, StoreResult::Stored));
    let (chunk, mut stored) = (running.info.geometry().chunk(1).unwrap(), vec![0; CHUNK as usize]);
    running.store.read_chunk_part(chunk, 0, &mut stored).unwrap();
    assert!(stored == bytes, "other bytes");
}

#[tokio::test]
async fn corrupt_bytes_never_reach_the_file() {
    let mut running = Running::new().await;
    let mut bytes = running.bytes(1);
    bytes[77] ^= 1;
    running.send(&bytes).await;
    assert!(running.is_inline().await);
    assert!(matches!(running.outcome().await, StoreResult::Corrupt));
    assert!(running.store.stored().is_empty());
    let written = std::fs::read(running.store.partial_path()).unwrap();
    assert!(written.iter().all(|byte| *byte == 0), "something was written");
}

#[tokio::test]
async fn a_write_to_a_download_that_ended_fails() {
    let mut running = Running::new().await;
    running.store.discard().unwrap();
    let bytes = running.bytes(1);
    running.send(&bytes).await;
    assert!(running.is_inline().await);
    assert!(matches!(running.outcome().await, StoreResult::Failed(WriteError::Closed)));
}

#[tokio::test]
async fn chunks_of_no_running_download_or_of_another_chunk_size_are_passed_to_the_engine() {
    let mut running = Running::new().await;
    let (hash, size) = (running.info.hash(), ChunkSize::new(CHUNK).unwrap());
    running.rig.ingest.remove_download(FileKey(5), hash, size);
    running.send(&running.bytes(1)).await;
    assert!(running.is_inline().await, "another download ended");
    assert!(matches!(running.outcome().await, StoreResult::Stored));

    running.announce(2 * CHUNK).await;
    let last = running.bytes(2);
    let geometry = Geometry::new(running.info.size(), ChunkSize::new(2 * CHUNK).unwrap()).unwrap();
    running.rig.expect(Content { hash, geometry }, 1);
    running.rig.send_part(1, 0, &last).await;
    assert!(!running.is_inline().await, "chunk 1 is another one there");

    running.announce(CHUNK).await;
    running.rig.request(FILE, 1);
    running.rig.ingest.remove_download(FILE, hash, size);
    running.rig.send_part(1, 0, &running.bytes(1)).await;
    assert!(!running.is_inline().await, "the download has ended");
}
