//! One core, and peers that say what the test tells them to. The books are recounted after every
//! input.

use std::net::SocketAddr;
use std::time::Duration;

use tnet_fileinfo::{ChunkIndex, ChunkSet, ChunkSize, FileHash, Geometry, MIN_CHUNK_SIZE};
use tnet_proto::{ByeReason, FileHandle, Holdings, Open, PeerId, PeerMessage};

use crate::config::SlotLimits;
use crate::{
    Config, Direction, Event, FileKey, Goal, Input, Output, PeerKey, Swarm, Time, UploadEnd,
};

/// The core's own number of the file in most tests.
pub(super) const FILE: FileKey = FileKey(1);

/// Every scripted peer's number of that file.
pub(super) const THEIRS: FileHandle = FileHandle(70);

pub(super) struct Desk {
    pub(super) swarm: Swarm,
    pub(super) now: Time,
    pub(super) geometry: Geometry,
    peers: u8,
}

/// Slots for so many chunks each way, for those who ask.
pub(super) fn with_slots(slots: u32) -> Config {
    let limits = SlotLimits { bytes: u64::MAX, min: 1, max: slots };
    Config { upload_slots: limits, download_slots: limits, offers: false, ..Config::default() }
}

impl Desk {
    pub(super) fn new(chunks: u32, config: Config) -> Desk {
        let size = u64::from(chunks) * u64::from(MIN_CHUNK_SIZE);
        let geometry = Geometry::new(size, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap();
        // The middle of all ids: scripted peers can be below or above.
        Desk {
            swarm: Swarm::new(config, PeerId([128; 16]), 1),
            now: Time::ZERO,
            geometry,
            peers: 0,
        }
    }

    pub(super) fn seeding(chunks: u32, config: Config) -> Desk {
        let mut desk = Desk::new(chunks, config);
        let stored = ChunkSet::full(&desk.geometry);
        desk.add_file(FILE, stored, Goal::Seed);
        desk
    }

    pub(super) fn downloading(chunks: u32, config: Config) -> Desk {
        let mut desk = Desk::new(chunks, config);
        let stored = ChunkSet::empty(&desk.geometry);
        desk.add_file(FILE, stored, Goal::Download);
        desk
    }

    /// A download whose file has these chunks from an earlier process.
    pub(super) fn resuming(chunks: u32, vouched: &[u32], config: Config) -> Desk {
        let mut desk = Desk::new(chunks, config);
        let (hash, geometry, stored) = (hash(FILE), desk.geometry, ChunkSet::empty(&desk.geometry));
        let mut set = stored.clone();
        vouched.iter().for_each(|chunk| {
            set.insert(desk.chunk(*chunk));
        });
        let vouched = set;
        desk.input(Input::AddFile {
            file: FILE,
            hash,
            geometry,
            stored,
            vouched,
            goal: Goal::Download,
        });
        desk
    }

    pub(super) fn add_file(&mut self, file: FileKey, stored: ChunkSet, goal: Goal) -> Vec<Output> {
        let hash = hash(file);
        let (geometry, vouched) = (self.geometry, ChunkSet::empty(&self.geometry));
        self.input(Input::AddFile { file, hash, geometry, stored, vouched, goal })
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Output> {
        self.swarm.handle_input(self.now, input);
        self.swarm.check();
        std::iter::from_fn(|| self.swarm.poll_output()).collect()
    }

    /// What is requested of a peer.
    pub(super) fn open_at(&self, peer: PeerKey) -> Vec<u32> {
        let open = self.swarm.requests.of_link(peer, FILE).open();
        open.iter().map(|chunk| chunk.get()).collect()
    }

    pub(super) fn say(&mut self, peer: PeerKey, message: PeerMessage) -> Vec<Output> {
        self.input(Input::Message { peer, message })
    }

    /// Lets time pass, with a tick at each moment that is due.
    pub(super) fn wait(&mut self, duration: Duration) -> Vec<Output> {
        let end = self.now + duration;
        let mut outputs = Vec::new();
        while let Some(at) = self.swarm.next_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            outputs.extend(self.input(Input::Tick));
        }
        self.now = end;
        outputs
    }

    /// Where the n-th scripted peer accepts peers.
    pub(super) fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 7401))
    }

    /// A new peer calls us.
    pub(super) fn connect(&mut self) -> PeerKey {
        self.peers += 1;
        let (n, id) = (self.peers, PeerId([self.peers; 16]));
        let peer = PeerKey(u64::from(n));
        self.connected(peer, id, Some(Desk::address(n)), Direction::Inbound);
        peer
    }

    /// A peer that the coordinator named and that we called.
    pub(super) fn reached(&mut self, n: u8) -> PeerKey {
        let (peer, address) = (PeerKey(1000 + u64::from(n)), Desk::address(n));
        self.input(Input::Holders { file: FILE, addresses: vec![address] });
        self.connected(peer, PeerId([n; 16]), Some(address), Direction::Outbound);
        peer
    }

    pub(super) fn connected(
        &mut self,
        peer: PeerKey,
        id: PeerId,
        address: Option<SocketAddr>,
        direction: Direction,
    ) -> Vec<Output> {
        let source = address.map_or(Desk::address(250).ip(), |address| address.ip());
        self.input(Input::PeerConnected { peer, id, source, local: None, address, direction })
    }

    /// A peer that accepts nobody calls from `remote`.
    pub(super) fn called_from(
        &mut self,
        peer: PeerKey,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> Vec<Output> {
        let (id, source, direction) = (PeerId([9; 16]), remote.ip(), Direction::Inbound);
        self.input(Input::PeerConnected {
            peer,
            id,
            source,
            local: Some(local),
            address: None,
            direction,
        })
    }

    /// A new peer that opens the file with these chunks.
    pub(super) fn holder_of(&mut self, chunks: &[u32]) -> PeerKey {
        let peer = self.connect();
        self.open(peer, chunks);
        peer
    }

    /// A new peer that opens the file with every chunk.
    pub(super) fn full_holder(&mut self) -> (PeerKey, Vec<Output>) {
        let peer = self.connect();
        let outputs = self.say(peer, self.open_message(FILE, THEIRS, Holdings::Full));
        (peer, outputs)
    }

    /// It has sent a chunk of another file.
    pub(super) fn proven(&mut self, peer: PeerKey) {
        self.swarm.change_trust(peer, |connection| connection.is_proven = true);
    }

    pub(super) fn open(&mut self, peer: PeerKey, chunks: &[u32]) -> Vec<Output> {
        let mut held = ChunkSet::empty(&self.geometry);
        chunks.iter().for_each(|chunk| {
            held.insert(self.chunk(*chunk));
        });
        self.say(peer, self.open_message(FILE, THEIRS, Holdings::Bitmap(held.to_bytes())))
    }

    pub(super) fn open_message(
        &self,
        file: FileKey,
        handle: FileHandle,
        holdings: Holdings,
    ) -> PeerMessage {
        PeerMessage::Open(Open {
            file: handle,
            hash: *hash(file).as_bytes(),
            size: self.geometry.size(),
            chunk_size: self.geometry.chunk_size().get(),
            holdings,
        })
    }

    pub(super) fn chunk(&self, index: u32) -> ChunkIndex {
        self.geometry.chunk(index).unwrap()
    }

    pub(super) fn request(&mut self, peer: PeerKey, chunk: u32) -> Vec<Output> {
        self.say(peer, PeerMessage::Request { file: THEIRS, chunk })
    }

    pub(super) fn cancel(&mut self, peer: PeerKey, chunk: u32) -> Vec<Output> {
        self.say(peer, PeerMessage::Cancel { file: THEIRS, chunk })
    }

    pub(super) fn busy(&mut self, peer: PeerKey, chunk: u32) -> Vec<Output> {
        self.say(peer, PeerMessage::Busy { file: THEIRS, chunk, load: 1 })
    }

    pub(super) fn ended(&mut self, peer: PeerKey, chunk: u32, end: UploadEnd) -> Vec<Output> {
        let chunk = self.chunk(chunk);
        self.input(Input::UploadEnded { peer, file: FILE, chunk, end })
    }

    /// The peer has sent the whole chunk.
    pub(super) fn arrive(&mut self, peer: PeerKey, chunk: u32) -> Vec<Output> {
        self.input(Input::DataReceived { peer, bytes: MIN_CHUNK_SIZE });
        self.input(Input::ChunkArrived { peer, handle: THEIRS, chunk, body: () })
    }

    pub(super) fn store(&mut self, chunk: u32) -> Vec<Output> {
        let chunk = self.chunk(chunk);
        self.input(Input::ChunkStored { file: FILE, chunk })
    }

    pub(super) fn corrupt(&mut self, peer: PeerKey, chunk: u32) -> Vec<Output> {
        let chunk = self.chunk(chunk);
        self.input(Input::ChunkCorrupt { file: FILE, chunk, peer })
    }
}

pub(super) fn hash(file: FileKey) -> FileHash {
    FileHash::from_bytes([u8::try_from(file.0).unwrap(); 32])
}

/// The messages sent to this peer.
pub(super) fn told(outputs: &[Output], to: PeerKey) -> Vec<PeerMessage> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send { peer, message } if *peer == to => Some(message.clone()),
        _ => None,
    });
    sent.collect()
}

/// Who is asked for what.
pub(super) fn asked(outputs: &[Output]) -> Vec<(PeerKey, u32)> {
    let requests = outputs.iter().filter_map(|output| match output {
        Output::Send { peer, message: PeerMessage::Request { chunk, .. } } => Some((*peer, *chunk)),
        _ => None,
    });
    requests.collect()
}

/// Who is sent what.
pub(super) fn uploaded(outputs: &[Output]) -> Vec<(PeerKey, u32)> {
    let uploads = outputs.iter().filter_map(|output| match output {
        Output::Upload { peer, chunk, .. } => Some((*peer, chunk.get())),
        _ => None,
    });
    uploads.collect()
}

/// Whom we let go.
pub(super) fn disconnected(outputs: &[Output]) -> Vec<(PeerKey, ByeReason)> {
    let ended = outputs.iter().filter_map(|output| match output {
        Output::Disconnect { peer, reason } => Some((*peer, *reason)),
        _ => None,
    });
    ended.collect()
}

/// Whom we call.
pub(super) fn called(outputs: &[Output]) -> Vec<SocketAddr> {
    let calls = outputs.iter().filter_map(|output| match output {
        Output::Connect { address } => Some(*address),
        _ => None,
    });
    calls.collect()
}

pub(super) fn events(outputs: &[Output]) -> Vec<Event> {
    let events = outputs.iter().filter_map(|output| match output {
        Output::Event(event) => Some(event.clone()),
        _ => None,
    });
    events.collect()
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// For comparing what comes in no particular order.
pub(super) fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}
