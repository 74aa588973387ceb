//! Several cores in one queue of happenings, ordered by time and then by the order in which they
//! were caused. The same seed gives the same run. After every input the core's books are recounted
//! and the rules below are held against it.
//!
//! Rules: only who misbehaves is cut, banned or blamed; a banned address is not called during its
//! ban; a tick leaves nothing due.

mod wires;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_fileinfo::{ChunkIndex, ChunkSet, ChunkSize, FileHash, Geometry, MIN_CHUNK_SIZE};
use tnet_proto::PeerId;

use crate::{Config, Event, FileKey, Goal, Input, Output, PeerKey, Swarm, Time};

/// Inputs in one run; all that is tested here needs a tenth.
const MAX_INPUTS: u64 = 300_000;

/// What a node does with the chunks it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Character {
    Honest,
    /// Sends other bytes.
    Corrupt,
    /// Accepts requests and never sends.
    Mute,
    /// Refuses what it announced.
    Refuser,
    /// Says that it is busy, and wakes nobody.
    Busybody,
}

#[derive(Debug)]
enum Happening {
    Input(usize, Input),
    /// The node's next timeout may have come.
    Tick(usize),
    /// The last byte of a chunk leaves the uplink.
    Sent(PeerKey, FileKey, ChunkIndex, u64),
    Continue(usize),
}

/// One end of a connection.
#[derive(Debug, Clone, Copy)]
struct End {
    node: usize,
    other: PeerKey,
    other_node: usize,
    is_open: bool,
    /// What this end sends arrives in order.
    last_arrival: Time,
}

pub(super) struct Node {
    pub(super) swarm: Swarm,
    pub(super) address: SocketAddr,
    pub(super) character: Character,
    pub(super) is_alive: bool,
    is_paused: bool,
    backlog: VecDeque<Happening>,
    /// Chunks on disk, by file; they survive a crash.
    pub(super) disk: BTreeMap<u32, ChunkSet>,
    pub(super) complete_at: BTreeMap<u32, Time>,
    /// Chunks sent in full.
    pub(super) sent: u64,
    uplink_free: Time,
    uploads: BTreeMap<(PeerKey, FileKey, ChunkIndex), u64>,
    tick_at: Option<Time>,
    banned: Vec<(SocketAddr, Time)>,
    pub(super) events: Vec<Event>,
    keys: BTreeMap<u32, FileKey>,
}

pub(super) struct Network {
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    pub(super) config: Config,
    pub(super) geometry: Geometry,
    /// Time a message needs.
    pub(super) delay: Duration,
    /// Bytes per second of each uplink.
    pub(super) rate: u64,
    /// Recount the books after every so many inputs.
    pub(super) check_every: u64,
    /// Nobody answers lookups.
    pub(super) coordinator_is_down: bool,
    queue: BTreeMap<(Time, u64), Happening>,
    ends: BTreeMap<PeerKey, End>,
    caused: u64,
    next_key: u64,
    pub(super) inputs: u64,
    rng: StdRng,
}

impl Network {
    /// A network without nodes whose files all have `chunks` chunks, the last one short.
    pub(super) fn new(seed: u64, chunks: u32, config: Config) -> Network {
        let size = u64::from(chunks) * u64::from(MIN_CHUNK_SIZE) - 1000;
        Network {
            now: Time::ZERO,
            nodes: Vec::new(),
            config,
            geometry: Geometry::new(size, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap(),
            delay: Duration::from_millis(1),
            rate: 12_500_000,
            check_every: 1,
            coordinator_is_down: false,
            queue: BTreeMap::new(),
            ends: BTreeMap::new(),
            caused: 0,
            next_key: 1,
            inputs: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) fn add_node(&mut self, character: Character) -> usize {
        let node = self.nodes.len();
        let last = u8::try_from(node + 1).unwrap();
        let address = SocketAddr::from(([10, 0, 0, last], 7401));
        let id = PeerId(self.rng.random());
        self.nodes.push(Node {
            swarm: Swarm::new(self.config.clone(), id, self.rng.random()),
            address,
            character,
            is_alive: true,
            is_paused: false,
            backlog: VecDeque::new(),
            disk: BTreeMap::new(),
            complete_at: BTreeMap::new(),
            sent: 0,
            uplink_free: Time::ZERO,
            uploads: BTreeMap::new(),
            tick_at: None,
            banned: Vec::new(),
            events: Vec::new(),
            keys: BTreeMap::new(),
        });
        node
    }

    /// A node that has the file from the start.
    pub(super) fn add_seed(&mut self, character: Character, file: u32) -> usize {
        let node = self.add_node(character);
        self.seed(node, file);
        node
    }

    /// A node that wants the file.
    pub(super) fn add_receiver(&mut self, character: Character, file: u32) -> usize {
        let node = self.add_node(character);
        self.download(node, file);
        node
    }

    pub(super) fn seed(&mut self, node: usize, file: u32) {
        let full = ChunkSet::full(&self.geometry);
        self.nodes[node].disk.insert(file, full.clone());
        let nothing = ChunkSet::empty(&self.geometry);
        self.add_file(node, file, full, nothing, Goal::Seed);
    }

    /// Starts or resumes with what is on disk.
    pub(super) fn download(&mut self, node: usize, file: u32) {
        let nothing = ChunkSet::empty(&self.geometry);
        let stored = self.nodes[node].disk.entry(file).or_insert(nothing).clone();
        let vouched = ChunkSet::empty(&self.geometry);
        self.add_file(node, file, stored, vouched, Goal::Download);
    }

    /// Goes on with what an earlier life left on the disk. It is read again, and one chunk in eight
    /// is damaged.
    fn resume(&mut self, node: usize, file: u32) {
        let nothing = ChunkSet::empty(&self.geometry);
        let vouched = self.nodes[node].disk[&file].clone();
        self.add_file(node, file, nothing, vouched.clone(), Goal::Download);
        let key = self.key(node, file);
        let mut at = self.now;
        for chunk in vouched.iter() {
            at = at + Duration::from_millis(self.rng.random_range(1..40));
            let chunks = vec![chunk];
            let input = match self.rng.random_range(0..8) {
                0 => {
                    self.nodes[node].disk.get_mut(&file).unwrap().remove(chunk);
                    Input::ChunksLost { file: key, chunks }
                }
                _ => Input::ChunksVerified { file: key, chunks },
            };
            self.schedule(at, Happening::Input(node, input));
        }
    }

    fn add_file(
        &mut self,
        node: usize,
        file: u32,
        stored: ChunkSet,
        vouched: ChunkSet,
        goal: Goal,
    ) {
        let (hash, geometry) =
            (FileHash::from_bytes([u8::try_from(file).unwrap(); 32]), self.geometry);
        self.next_key += 1;
        // Another number at each node and each time; the last two digits tell us which file it is.
        let key = FileKey(file + 100 * u32::try_from(self.next_key).unwrap());
        self.nodes[node].keys.insert(file, key);
        self.input(node, Input::AddFile { file: key, hash, geometry, stored, vouched, goal });
    }

    /// The present number of a file at a node.
    pub(super) fn key(&self, node: usize, file: u32) -> FileKey {
        self.nodes[node].keys[&file]
    }

    pub(super) fn remove_file(&mut self, node: usize, file: u32) {
        let key = self.key(node, file);
        self.nodes[node].disk.remove(&file);
        self.nodes[node].complete_at.remove(&file);
        self.input(node, Input::RemoveFile { file: key });
    }

    /// Whether the node has this file in its swarm now.
    pub(super) fn takes_part(&self, node: usize, file: u32) -> bool {
        self.nodes[node]
            .keys
            .get(&file)
            .is_some_and(|key| self.nodes[node].swarm.files.contains(*key))
    }

    pub(super) fn crash(&mut self, node: usize) {
        self.nodes[node].is_alive = false;
        self.nodes[node].backlog.clear();
        let open: Vec<PeerKey> = self
            .ends
            .iter()
            .filter(|(_, end)| end.node == node && end.is_open)
            .map(|(key, _)| *key)
            .collect();
        open.into_iter().for_each(|key| self.close(key));
    }

    /// A crashed node comes back with what is on its disk.
    pub(super) fn restart(&mut self, node: usize) {
        let swarm = Swarm::new(self.config.clone(), PeerId(self.rng.random()), self.rng.random());
        let state = &mut self.nodes[node];
        (state.swarm, state.is_alive, state.is_paused, state.tick_at) = (swarm, true, false, None);
        state.uploads.clear();
        state.banned.clear();
        state.complete_at.clear();
        let is_honest = state.character == Character::Honest;
        for file in state.disk.keys().copied().collect::<Vec<_>>() {
            if is_honest { self.resume(node, file) } else { self.download(node, file) }
        }
    }

    /// The node does nothing for a while; what arrives waits.
    pub(super) fn pause(&mut self, node: usize, duration: Duration) {
        if !self.nodes[node].is_paused {
            self.nodes[node].is_paused = true;
            self.schedule(self.now + duration, Happening::Continue(node));
        }
    }

    /// Whatever was paused goes on.
    pub(super) fn resume_all(&mut self) {
        for node in 0..self.nodes.len() {
            let paused = self.nodes[node].swarm.files.iter().filter(|file| file.is_paused);
            for file in paused.map(|file| file.key).collect::<Vec<_>>() {
                self.input(node, Input::Resume { file });
            }
        }
    }

    pub(super) fn is_complete(&self, node: usize, file: u32) -> bool {
        self.nodes[node].disk.get(&file).is_some_and(ChunkSet::is_full)
    }

    /// Runs until that moment.
    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run(duration, |_| false);
        self.now = end;
    }

    /// Runs until `is_done`; false if it was not within that time.
    pub(super) fn run(&mut self, at_most: Duration, is_done: impl Fn(&Network) -> bool) -> bool {
        let end = self.now + at_most;
        while !is_done(self) {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) else {
                return false;
            };
            let ((now, _), happening) = entry.remove_entry();
            self.now = self.now.max(now);
            self.happen(happening);
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        let node = match &happening {
            Happening::Input(node, _) | Happening::Tick(node) | Happening::Continue(node) => *node,
            Happening::Sent(peer, ..) => self.ends[peer].node,
        };
        match happening {
            Happening::Continue(_) => {
                self.nodes[node].is_paused = false;
                let backlog = std::mem::take(&mut self.nodes[node].backlog);
                backlog.into_iter().for_each(|happening| self.happen(happening));
                self.schedule_tick(node);
            }
            _ if !self.nodes[node].is_alive => {}
            Happening::Tick(_) => self.tick(node),
            happening if self.nodes[node].is_paused => {
                self.nodes[node].backlog.push_back(happening)
            }
            Happening::Input(_, input) => self.input(node, input),
            Happening::Sent(peer, file, chunk, serial) => {
                self.sent(node, peer, file, chunk, serial)
            }
        }
    }

    fn tick(&mut self, node: usize) {
        self.nodes[node].tick_at = None;
        if self.nodes[node].is_paused {
            return;
        }
        if self.nodes[node].swarm.next_timeout().is_some_and(|at| at <= self.now) {
            self.input(node, Input::Tick);
            let next = self.nodes[node].swarm.next_timeout();
            assert!(next.is_none_or(|at| at > self.now), "a tick left something due at {next:?}");
        }
        self.schedule_tick(node);
    }

    /// Gives the node an input and does what it answers.
    pub(super) fn input(&mut self, node: usize, input: Input) {
        if let Input::ChunkStored { file, chunk } = input
            && let Some(stored) = self.nodes[node].disk.get_mut(&(file.0 % 100))
        {
            stored.insert(chunk);
        }
        let state = &mut self.nodes[node];
        state.swarm.handle_input(self.now, input);
        self.inputs += 1;
        assert!(self.inputs < MAX_INPUTS, "they never come to rest");
        if self.inputs.is_multiple_of(self.check_every) {
            state.swarm.check();
        }
        self.drain(node, |_| false);
    }

    /// Does what the node answers, but for what `is_taken` takes.
    pub(super) fn drain(&mut self, node: usize, mut is_taken: impl FnMut(&Output) -> bool) {
        while let Some(output) = self.nodes[node].swarm.poll_output() {
            if !is_taken(&output) {
                self.perform(node, output);
            }
        }
        self.schedule_tick(node);
    }

    fn schedule_tick(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        if let Some(at) = state.swarm.next_timeout()
            && !state.is_paused
            && state.tick_at.is_none_or(|planned| at < planned)
        {
            state.tick_at = Some(at);
            self.schedule(at.max(self.now), Happening::Tick(node));
        }
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.caused += 1;
        self.queue.insert((at, self.caused), happening);
    }
}
