//! A swarm core among hostile peers that send anything in any order, with a disk that sometimes
//! fails. After every input the core's invariants are checked, and its outputs are compared with
//! its inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use tnet_fileinfo::{ChunkIndex, ChunkSet, ChunkSize, FileHash, Geometry, MIN_CHUNK_SIZE};
use tnet_proto::{FileHandle, Holdings, Open, PeerId, PeerMessage, encode};
use tnet_swarm::{
    Config, Direction, Event, FileKey, Goal, Input, Output, PeerKey, SlotLimits, Swarm, Time,
    UploadEnd,
};

/// Chunks of each content that there is. One short chunk; the empty file; some more.
pub const CONTENTS: [u32; 4] = [20, 5, 1, 0];

/// Outputs that one input may cause: some for each chunk and each peer.
const MOST_OUTPUTS: usize = 2_000;

/// Rounds until an honest seed must have delivered everything; each is an output or a tick.
const MOST_ROUNDS: u32 = 20_000;

/// The honest seed, at the end.
const HONEST: ([u8; 4], u8) = ([10, 1, 1, 1], 200);

/// The core, and the true state around it.
#[derive(Debug)]
pub struct World {
    swarm: Swarm,
    now: Time,
    /// The content of each of our files.
    files: BTreeMap<FileKey, usize>,
    disk: BTreeMap<FileKey, ChunkSet>,
    connected: BTreeSet<PeerKey>,
    /// The content behind each handle of the hostile peers, as last announced.
    numbers: BTreeMap<(PeerKey, FileHandle), usize>,
    requests: Vec<(PeerKey, FileKey, u32)>,
    stores: Vec<(PeerKey, FileKey, ChunkIndex)>,
    uploads: Vec<(PeerKey, FileKey, ChunkIndex)>,
    calls: Vec<SocketAddr>,
    next_peer: u64,
    next_file: u32,
}

/// The result for a chunk that arrived.
#[derive(Debug, Clone, Copy)]
pub enum Stored {
    /// It is on the disk.
    Well,
    /// It has another sum.
    Corrupt,
    /// The disk failed.
    Lost,
}

impl World {
    /// With limits that a few hostile peers can reach.
    pub fn new(seed: u64) -> World {
        let config = Config {
            upload_slots: SlotLimits { bytes: 1 << 20, min: 2, max: 4 },
            download_slots: SlotLimits { bytes: 1 << 20, min: 2, max: 6 },
            max_addresses: 40,
            max_peers: 12,
            max_links_per_peer: 4,
            link_bytes: 8 << 10,
            neighbours: 6,
            ..Config::default()
        };
        World {
            swarm: Swarm::new(config, PeerId([128; 16]), seed),
            now: Time::ZERO,
            files: BTreeMap::new(),
            disk: BTreeMap::new(),
            connected: BTreeSet::new(),
            numbers: BTreeMap::new(),
            requests: Vec::new(),
            stores: Vec::new(),
            uploads: Vec::new(),
            calls: Vec::new(),
            next_peer: 1,
            next_file: 1,
        }
    }

    /// Adds a file with this content, of which these chunks are stored; no effect if it is there
    /// already.
    pub fn add_file(&mut self, content: usize, is_stored: impl Fn(u32) -> bool) {
        if self.files.values().any(|known| *known == content) {
            return;
        }
        let (file, geometry) = (FileKey(self.next_file), geometry(content));
        self.next_file += 1;
        let mut stored = ChunkSet::empty(&geometry);
        geometry.chunks().filter(|chunk| is_stored(chunk.get())).for_each(|chunk| {
            stored.insert(chunk);
        });
        let goal = if stored.is_full() { Goal::Seed } else { Goal::Download };
        self.files.insert(file, content);
        self.disk.insert(file, stored.clone());
        let vouched = ChunkSet::empty(&geometry);
        self.input(Input::AddFile { file, hash: hash(content), geometry, stored, vouched, goal });
    }

    /// Removes one of our files; the index is taken modulo their number.
    pub fn remove_file(&mut self, which: usize) {
        let Some(file) =
            pick(which, self.files.len()).and_then(|at| self.files.keys().nth(at).copied())
        else {
            return;
        };
        self.files.remove(&file);
        self.disk.remove(&file);
        self.requests.retain(|request| request.1 != file);
        self.input(Input::RemoveFile { file });
    }

    /// A peer connects.
    pub fn connect(
        &mut self,
        id: u8,
        address: Option<SocketAddr>,
        direction: Direction,
    ) -> PeerKey {
        let peer = PeerKey(self.next_peer);
        self.next_peer += 1;
        self.connected.insert(peer);
        let source = address.map_or(IpAddr::from([10, 9, 9, id]), |address| address.ip());
        self.input(Input::PeerConnected {
            peer,
            id: PeerId([id; 16]),
            source,
            local: None,
            address,
            direction,
        });
        peer
    }

    /// One of the newest connections, open or not.
    pub fn peer(&self, which: u8) -> PeerKey {
        PeerKey(self.next_peer.saturating_sub(1 + u64::from(which % 6)))
    }

    /// A connection is gone.
    pub fn lose(&mut self, peer: PeerKey) {
        self.forget(peer);
        self.input(Input::PeerLost { peer });
    }

    /// A connection attempt fails.
    pub fn fail_call(&mut self, which: usize) {
        if let Some(at) = pick(which, self.calls.len()) {
            let address = self.calls.swap_remove(at);
            self.input(Input::ConnectFailed { address });
        }
    }

    /// A connection attempt succeeds.
    pub fn answer_call(&mut self, which: usize, id: u8) {
        if let Some(at) = pick(which, self.calls.len()) {
            let address = self.calls.swap_remove(at);
            self.connect(id, Some(address), Direction::Outbound);
        }
    }

    /// A hostile peer sends a message.
    pub fn say(&mut self, peer: PeerKey, message: PeerMessage) {
        if let PeerMessage::Open(open) = &message
            && let Some(content) =
                (0..CONTENTS.len()).find(|content| *hash(*content).as_bytes() == open.hash)
        {
            self.numbers.insert((peer, open.file), content);
        }
        self.input(Input::Message { peer, message });
    }

    /// The message with which a hostile peer joins a content's swarm.
    pub fn open(content: usize, file: FileHandle, holdings: Holdings) -> Open {
        let geometry = geometry(content);
        let (size, chunk_size) = (geometry.size(), geometry.chunk_size().get());
        Open { file, hash: *hash(content).as_bytes(), size, chunk_size, holdings }
    }

    /// A hostile peer sends a whole chunk.
    pub fn send_chunk(&mut self, peer: PeerKey, handle: FileHandle, chunk: u32) {
        self.input(Input::DataReceived { peer, bytes: MIN_CHUNK_SIZE });
        self.input(Input::ChunkArrived { peer, handle, chunk, body: () });
    }

    /// A peer answers an open request with the chunk, or with one of the allowed refusals.
    pub fn answer_request(&mut self, which: usize, how: u8) {
        let Some(at) = pick(which, self.requests.len()) else { return };
        let (peer, file, chunk) = self.requests.swap_remove(at);
        let content = self.files[&file];
        let mut numbers = self.numbers.iter();
        let Some(handle) = numbers.find_map(|((of, handle), known)| {
            (*of == peer && *known == content).then_some(*handle)
        }) else {
            return;
        };
        let message = match how % 8 {
            0 => PeerMessage::Busy { file: handle, chunk, load: 3 },
            1 => PeerMessage::Stopped { file: handle, chunk },
            2 => PeerMessage::Refused { file: handle, chunk },
            _ => return self.send_chunk(peer, handle, chunk),
        };
        self.say(peer, message);
    }

    /// The disk has finished with a chunk.
    pub fn settle_store(&mut self, which: usize, how: Stored) {
        let Some(at) = pick(which, self.stores.len()) else { return };
        let (peer, file, chunk) = self.stores.swap_remove(at);
        let input = match how {
            Stored::Well => {
                if let Some(disk) = self.disk.get_mut(&file) {
                    disk.insert(chunk);
                }
                Input::ChunkStored { file, chunk }
            }
            Stored::Corrupt => Input::ChunkCorrupt { file, chunk, peer },
            Stored::Lost => Input::ChunksLost { file, chunks: vec![chunk] },
        };
        self.input(input);
    }

    /// A sync fails: some of what was stored is gone.
    pub fn lose_chunks(&mut self, which: usize, from: u32) {
        let Some(at) = pick(which, self.disk.len()) else { return };
        let Some((file, disk)) = self.disk.iter_mut().nth(at) else { return };
        let chunks: Vec<ChunkIndex> = disk.iter().filter(|chunk| chunk.get() >= from).collect();
        chunks.iter().for_each(|chunk| {
            disk.remove(*chunk);
        });
        let file = *file;
        self.input(Input::ChunksLost { file, chunks });
    }

    /// A chunk was sent, or was not.
    pub fn end_upload(&mut self, which: usize, end: UploadEnd) {
        if let Some(at) = pick(which, self.uploads.len()) {
            let (peer, file, chunk) = self.uploads.swap_remove(at);
            self.input(Input::UploadEnded { peer, file, chunk, end });
        }
    }

    /// The coordinator names holders.
    pub fn name_holders(&mut self, which: usize, addresses: Vec<SocketAddr>) {
        if let Some(file) =
            pick(which, self.files.len()).and_then(|at| self.files.keys().nth(at).copied())
        {
            self.input(Input::Holders { file, addresses });
        }
    }

    /// A peer sent bytes that are not a message.
    pub fn violate(&mut self, peer: PeerKey) {
        self.input(Input::Violated { peer });
    }

    /// Time passes, with a tick whenever a timer is due.
    pub fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.swarm.next_timeout().filter(|at| *at <= end) {
            self.tick(at);
        }
        self.now = end;
    }

    fn tick(&mut self, at: Time) {
        self.now = at.max(self.now);
        self.input(Input::Tick);
        let next = self.swarm.next_timeout();
        assert!(next.is_none_or(|next| next > self.now), "a tick left something due at {next:?}");
    }

    /// All peers leave, and one honest seed connects: it is enough to complete every file.
    pub fn end_well(&mut self) {
        self.connected.clone().into_iter().for_each(|peer| self.lose(peer));
        while !self.stores.is_empty() {
            self.settle_store(0, Stored::Corrupt);
        }
        let (host, id) = HONEST;
        let honest = self.connect(id, Some(SocketAddr::from((host, 7401))), Direction::Outbound);
        for (number, content) in (0..).zip(self.files.values().copied().collect::<Vec<usize>>()) {
            let open = World::open(content, FileHandle(number), Holdings::Full);
            self.say(honest, PeerMessage::Open(open));
        }
        for _ in 0..MOST_ROUNDS {
            if self.disk.values().all(ChunkSet::is_full) {
                return;
            }
            assert!(self.connected.contains(&honest), "the honest seed was sent away");
            if !self.stores.is_empty() {
                self.settle_store(0, Stored::Well);
            } else if !self.requests.is_empty() {
                self.answer_request(0, 7);
            } else {
                let at = self.swarm.next_timeout().expect("what is incomplete waits for something");
                self.tick(at);
            }
        }
        panic!("an honest seed is there, and {:?} is all we have", self.disk);
    }

    /// Bytes that the core has allocated: what is freed when it is dropped.
    pub fn reserved(self) -> usize {
        let swarm = self.swarm;
        let with = crate::memory::in_use();
        drop(swarm);
        with - crate::memory::in_use()
    }

    fn input(&mut self, input: Input) {
        self.swarm.handle_input(self.now, input);
        self.swarm.check();
        let mut outputs = 0;
        while let Some(output) = self.swarm.poll_output() {
            self.perform(output);
            outputs += 1;
        }
        assert!(outputs <= MOST_OUTPUTS, "{outputs} outputs after one input");
        for (file, disk) in &self.disk {
            let status =
                self.swarm.file_status(*file, self.now).expect("a file that was added is there");
            // What is lost while it is being stored is counted after that.
            assert_eq!(status.stored, disk.count(), "{file:?}");
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Connect { address } => {
                assert!(
                    address.port() != 0 && !address.ip().is_unspecified(),
                    "nobody is at {address}"
                );
                // Twice if another peer declared the address, and left, during the first attempt.
                if !self.calls.contains(&address) {
                    self.calls.push(address);
                }
            }
            Output::Send { peer, message } => self.told(peer, &message),
            Output::Upload { peer, file, chunk } => {
                assert!(self.connected.contains(&peer), "a chunk for {peer:?}, who is gone");
                assert!(
                    self.disk[&file].contains(chunk),
                    "{chunk} of {file:?} is not here to be sent"
                );
                self.uploads.push((peer, file, chunk));
            }
            Output::StopUpload { peer, file, chunk } => {
                // It may be told so while it goes.
                let is_gone = !self.connected.contains(&peer);
                let is_known = is_gone || self.uploads.contains(&(peer, file, chunk));
                assert!(is_known, "{chunk} is not being sent to {peer:?}");
            }
            Output::Store { peer, file, chunk, .. } => {
                assert!(!self.disk[&file].contains(chunk), "{chunk} of {file:?} is here already");
                let is_being_stored =
                    self.stores.iter().any(|store| (store.1, store.2) == (file, chunk));
                assert!(!is_being_stored, "{chunk} of {file:?} is being stored already");
                self.stores.push((peer, file, chunk));
            }
            Output::Disconnect { peer, .. } => self.forget(peer),
            Output::Lookup { file } => assert!(self.files.contains_key(&file)),
            Output::Event(Event::Complete { file }) => {
                assert!(self.disk[&file].is_full(), "{file:?} is said to be complete");
            }
            Output::Event(_) => {}
        }
    }

    fn told(&mut self, peer: PeerKey, message: &PeerMessage) {
        assert!(self.connected.contains(&peer), "{message:?} for {peer:?}, who is gone");
        // Panics if the message is above the limit of a frame.
        encode(message, &mut BytesMut::new());
        match *message {
            PeerMessage::Request { file, chunk } => {
                let file = FileKey(file.0);
                let chunk_here =
                    geometry(self.files[&file]).chunk(chunk).expect("a chunk of the file");
                assert!(
                    !self.disk[&file].contains(chunk_here),
                    "{chunk} of {file:?} is here already"
                );
                self.requests.push((peer, file, chunk));
            }
            PeerMessage::Close { file } => {
                self.requests.retain(|request| (request.0, request.1.0) != (peer, file.0));
            }
            _ => {}
        }
    }

    fn forget(&mut self, peer: PeerKey) {
        self.connected.remove(&peer);
        self.numbers.retain(|(of, _), _| *of != peer);
        self.requests.retain(|request| request.0 != peer);
        self.uploads.retain(|upload| upload.0 != peer);
    }
}

/// The hash of a content.
pub fn hash(content: usize) -> FileHash {
    FileHash::from_bytes([u8::try_from(content + 1).expect("few contents"); 32])
}

/// How a content is cut; its last chunk is short.
pub fn geometry(content: usize) -> Geometry {
    let size = (u64::from(CONTENTS[content]) * u64::from(MIN_CHUNK_SIZE)).saturating_sub(1000);
    let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest size");
    Geometry::new(size, chunk_size).expect("few chunks")
}

/// The index modulo the length; `None` for an empty list.
fn pick(which: usize, len: usize) -> Option<usize> {
    which.checked_rem(len)
}
