//! The core of a peer.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tnet_fileinfo::{ChunkSet, FileHash, Geometry};
use tnet_proto::{FileHandle, Holdings, Open, PeerId, PeerMessage};
use tnet_swarm::{
    Config, Direction, FileKey, Goal, Input, Output, PeerKey, Swarm, Time, UploadEnd,
};

use super::Step;
use super::chunks::{CHUNK, geometry, random_half};

const NEIGHBOURS: u64 = 50;
const CHUNKS: u32 = 8192;
const FILE: FileKey = FileKey(1);
const HASH: FileHash = FileHash::from_bytes([7; 32]);

/// A swarm with neighbours that hold random halves of the file.
struct Scene {
    swarm: Swarm,
    geometry: Geometry,
    now: Duration,
    /// Open requests, oldest first.
    asked: VecDeque<(PeerKey, u32)>,
    /// Chunks that the core wants to send.
    sending: VecDeque<(PeerKey, FileKey, tnet_fileinfo::ChunkIndex)>,
}

impl Scene {
    fn new(goal: Goal) -> Scene {
        let geometry = geometry(CHUNKS);
        let mut rng = StdRng::seed_from_u64(2);
        let config = Config { max_peers: 4096, ..Config::default() };
        let mut scene = Scene {
            swarm: Swarm::new(config, PeerId([1; 16]), 3),
            geometry,
            now: Duration::from_secs(1),
            asked: VecDeque::new(),
            sending: VecDeque::new(),
        };
        let stored = match goal {
            Goal::Seed => ChunkSet::full(&scene.geometry),
            Goal::Download | Goal::ServePart => ChunkSet::empty(&scene.geometry),
        };
        let (geometry, vouched) = (scene.geometry, ChunkSet::empty(&scene.geometry));
        scene.feed(Input::AddFile { file: FILE, hash: HASH, geometry, stored, vouched, goal });
        for peer in 1..=NEIGHBOURS {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&peer.to_le_bytes());
            let (peer, direction) = (PeerKey(peer), Direction::Inbound);
            let source = Ipv4Addr::from(0x0a00_0000 + u32::try_from(peer.0).unwrap_or(0)).into();
            scene.feed(Input::PeerConnected {
                peer,
                id: PeerId(id),
                source,
                local: None,
                address: None,
                direction,
            });
            let holdings = Holdings::Bitmap(random_half(&scene.geometry, &mut rng).to_bytes());
            let (file, hash, size) = (FileHandle(1), *HASH.as_bytes(), scene.geometry.size());
            scene.say(
                peer,
                PeerMessage::Open(Open { file, hash, size, chunk_size: CHUNK, holdings }),
            );
        }
        scene
    }

    fn say(&mut self, peer: PeerKey, message: PeerMessage) {
        self.feed(Input::Message { peer, message });
    }

    /// Advances time a little, and records the core's outputs.
    fn feed(&mut self, input: Input) {
        self.now += Duration::from_micros(100);
        self.swarm.handle_input(Time::after_start(self.now), input);
        let mut stored = Vec::new();
        while let Some(output) = self.swarm.poll_output() {
            match output {
                Output::Send { peer, message: PeerMessage::Request { chunk, .. } } => {
                    self.asked.push_back((peer, chunk));
                }
                Output::Upload { peer, file, chunk } => self.sending.push_back((peer, file, chunk)),
                Output::Store { file, chunk, .. } => stored.push((file, chunk)),
                _ => {}
            }
        }
        for (file, chunk) in stored {
            self.feed(Input::ChunkStored { file, chunk });
        }
    }
}

/// Answers the oldest request. When the file is complete, starts over.
pub(crate) fn picker() -> Step {
    let mut scene = Scene::new(Goal::Download);
    Box::new(move || {
        let Some((peer, chunk)) = scene.asked.pop_front() else {
            scene = Scene::new(Goal::Download);
            return 0;
        };
        scene.feed(Input::DataReceived { peer, bytes: CHUNK });
        scene.feed(Input::ChunkArrived { peer, handle: FILE.handle(), chunk, body: () });
        u64::from(chunk)
    })
}

/// A neighbour asks for a chunk; when the slots are taken, the oldest upload ends.
pub(crate) fn uploads() -> Step {
    let mut scene = Scene::new(Goal::Seed);
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        let (peer, chunk) =
            (PeerKey(turn % NEIGHBOURS + 1), u32::try_from(turn * 97 % u64::from(CHUNKS)));
        let chunk = chunk.expect("below the number of chunks");
        scene.say(peer, PeerMessage::Request { file: FILE.handle(), chunk });
        if let Some((peer, file, chunk)) = scene.sending.pop_front() {
            scene.feed(Input::UploadEnded { peer, file, chunk, end: UploadEnd::Sent });
        }
        turn
    })
}
