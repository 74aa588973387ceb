//! One peer says anything at all, in any order: nothing panics, the books stay right, and an honest
//! download beside it is not held up.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use tnet_proto::{ByeReason, FileHandle, Holdings, Open, PeerId, PeerMessage};

use super::network::{Character, Network};
use crate::{Config, Direction, Input, Output, PeerKey};

const FILE: u32 = 1;
const CHUNKS: u32 = 20;

fn handle() -> impl Strategy<Value = FileHandle> {
    prop_oneof![9 => (0..2u32).prop_map(FileHandle), 1 => any::<u32>().prop_map(FileHandle)]
}

fn chunk() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..CHUNKS, 1 => Just(CHUNKS), 1 => any::<u32>()]
}

fn open(network: &Network) -> impl Strategy<Value = PeerMessage> + use<> {
    let geometry = network.geometry;
    let holdings = prop_oneof![
        2 => Just(Holdings::Full),
        2 => prop::collection::vec(any::<u8>(), 2).prop_map(|bits| Holdings::Bitmap([bits, vec![0]].concat())),
        1 => prop::collection::vec(any::<u8>(), 0..5).prop_map(Holdings::Bitmap),
    ];
    (handle(), prop::bool::weighted(0.8), holdings).prop_map(move |(file, is_ours, holdings)| {
        let hash = [if is_ours { 1 } else { 77 }; 32];
        let (size, chunk_size) = (geometry.size(), geometry.chunk_size().get());
        PeerMessage::Open(Open { file, hash, size, chunk_size, holdings })
    })
}

/// What the peer does.
#[derive(Debug, Clone)]
enum Deed {
    Say(PeerMessage),
    SendChunk(FileHandle, u32),
    /// Answers the n-th request that it has got, in one of the ways that are allowed.
    Answer(prop::sample::Index, u8),
    Wait(Duration),
    /// We do not read it from now on, or do again.
    Read(bool),
    Reconnect,
}

fn deed(network: &Network) -> impl Strategy<Value = Deed> + use<> {
    let message = prop_oneof![
        3 => open(network),
        1 => any::<u32>().prop_map(|file| PeerMessage::NotFound { file: FileHandle(file) }),
        1 => handle().prop_map(|file| PeerMessage::Close { file }),
        2 => (handle(), prop::collection::vec(chunk(), 0..6))
            .prop_map(|(file, chunks)| PeerMessage::Have { file, chunks }),
        3 => (handle(), 0..CHUNKS).prop_map(|(file, chunk)| PeerMessage::Request { file, chunk }),
        2 => (handle(), chunk()).prop_map(|(file, chunk)| PeerMessage::Cancel { file, chunk }),
        1 => (handle(), chunk(), any::<u32>())
            .prop_map(|(file, chunk, load)| PeerMessage::Busy { file, chunk, load }),
        2 => (handle(), 0..CHUNKS).prop_map(|(file, chunk)| PeerMessage::Ready { file, chunk }),
        2 => (handle(), 0..CHUNKS).prop_map(|(file, chunk)| PeerMessage::Suggest { file, chunk }),
        1 => (handle(), chunk()).prop_map(|(file, chunk)| PeerMessage::Stopped { file, chunk }),
        1 => (handle(), chunk()).prop_map(|(file, chunk)| PeerMessage::Refused { file, chunk }),
        2 => (handle(), chunk()).prop_map(|(file, chunk)| PeerMessage::Corrupt { file, chunk }),
        1 => (handle(), prop::collection::vec(any::<SocketAddr>(), 0..50))
            .prop_map(|(file, peers)| PeerMessage::Peers { file, peers }),
        1 => any::<u16>().prop_map(|reason| PeerMessage::Bye { reason: ByeReason(reason) }),
        1 => any::<u64>().prop_map(|nonce| PeerMessage::Ping { nonce }),
        1 => any::<u32>().prop_map(|message| PeerMessage::Unsupported { message }),
    ];
    prop_oneof![
        12 => message.prop_map(Deed::Say),
        2 => (handle(), chunk()).prop_map(|(file, chunk)| Deed::SendChunk(file, chunk)),
        6 => (any::<prop::sample::Index>(), 0..7u8).prop_map(|(which, how)| Deed::Answer(which, how)),
        3 => (0..4000u64).prop_map(|milliseconds| Deed::Wait(Duration::from_millis(milliseconds))),
        1 => any::<bool>().prop_map(Deed::Read),
        2 => Just(Deed::Reconnect),
    ]
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    prop::collection::vec(deed(&Network::new(0, CHUNKS, Config::default())), 0..120)
}

/// The hostile peer, driven by hand beside a network of an honest seed and an honest receiver, its
/// victim.
struct Attack {
    network: Network,
    victim: usize,
    peer: PeerKey,
    is_connected: bool,
    /// Chunks that the victim asked for, not answered yet.
    requests: Vec<u32>,
    /// Its number for the file, as it said last.
    /// Its number for the file, as it said last.
    opened: Option<FileHandle>,
    connections: u64,
}

impl Attack {
    fn new(victim: usize) -> Attack {
        // Small enough for one peer to try and fill it.
        let config = Config { max_addresses: 100, max_links_per_peer: 8, ..Config::default() };
        let mut network = Network::new(9, CHUNKS, config);
        network.add_seed(Character::Honest, FILE);
        // Slow enough that the attack takes place during the download.
        network.rate = 20_000;
        network.add_receiver(Character::Honest, FILE);
        network.run_for(Duration::from_millis(500));
        let peer = PeerKey(1 << 40);
        Attack {
            network,
            victim,
            peer,
            is_connected: false,
            requests: Vec::new(),
            opened: None,
            connections: 0,
        }
    }

    fn input(&mut self, input: Input) {
        let now = self.network.now;
        self.network.nodes[self.victim].swarm.handle_input(now, input);
        self.network.nodes[self.victim].swarm.check();
        self.network.drain(self.victim, |output| match output {
            Output::Send { peer, message } if *peer == self.peer => {
                match message {
                    PeerMessage::Request { chunk, .. } => self.requests.push(*chunk),
                    PeerMessage::Close { .. } => self.requests.clear(),
                    _ => {}
                }
                true
            }
            Output::Disconnect { peer, .. } if *peer == self.peer => {
                self.is_connected = false;
                true
            }
            _ => false,
        });
    }

    fn connect(&mut self) {
        if self.is_connected {
            self.input(Input::PeerLost { peer: self.peer });
        }
        self.connections += 1;
        self.peer = PeerKey((1 << 40) + self.connections);
        (self.is_connected, self.opened) = (true, None);
        self.requests.clear();
        // Each time from another port, as one that was banned would.
        let port = u16::try_from(1000 + self.connections).unwrap();
        let address = SocketAddr::from(([10, 9, 9, 9], port));
        let id = PeerId([9; 16]);
        let direction = Direction::Inbound;
        let (source, address) = (address.ip(), Some(address));
        self.input(Input::PeerConnected {
            peer: self.peer,
            id,
            source,
            local: None,
            address,
            direction,
        });
        // Mostly a proper beginning, else it is cut before it comes to anything.
        if !self.connections.is_multiple_of(4) {
            self.say_open(FileHandle(0));
        }
    }

    fn say_open(&mut self, file: FileHandle) {
        let geometry = self.network.geometry;
        let (size, chunk_size) = (geometry.size(), geometry.chunk_size().get());
        let open = Open { file, hash: [1; 32], size, chunk_size, holdings: Holdings::Full };
        self.opened = Some(file);
        self.input(Input::Message { peer: self.peer, message: PeerMessage::Open(open) });
    }

    fn perform(&mut self, deed: Deed) {
        let peer = self.peer;
        match deed {
            Deed::Wait(duration) => self.network.run_for(duration),
            Deed::Reconnect => self.connect(),
            _ if !self.is_connected => self.connect(),
            Deed::Say(message) => {
                if let PeerMessage::Open(open) = &message
                    && open.hash == [1; 32]
                {
                    self.opened = Some(open.file);
                }
                self.input(Input::Message { peer, message });
            }
            Deed::SendChunk(handle, chunk) => {
                self.input(Input::DataReceived { peer, bytes: 16384 });
                self.input(Input::ChunkArrived { peer, handle, chunk, body: () });
            }
            Deed::Answer(which, how) => self.answer(which, how),
            Deed::Read(true) => self.input(Input::ReadingResumed { peer }),
            Deed::Read(false) => self.input(Input::ReadingPaused { peer }),
        }
    }

    fn answer(&mut self, which: prop::sample::Index, how: u8) {
        let (Some(file), false) = (self.opened, self.requests.is_empty()) else { return };
        let chunk = self.requests.swap_remove(which.index(self.requests.len()));
        let peer = self.peer;
        let message = match how {
            0 => PeerMessage::Busy { file, chunk, load: 3 },
            1 => PeerMessage::Stopped { file, chunk },
            2 => PeerMessage::Refused { file, chunk },
            3 => return,
            _ => {
                self.input(Input::DataReceived { peer, bytes: 16384 });
                return self.input(Input::ChunkArrived { peer, handle: file, chunk, body: () });
            }
        };
        self.input(Input::Message { peer, message });
    }
}

proptest! {
    #[test]
    fn nothing_that_one_peer_says_stops_an_honest_download_beside_it(deeds in deeds()) {
        let mut attack = Attack::new(1);
        attack.connect();
        deeds.into_iter().for_each(|deed| attack.perform(deed));
        let is_done = |network: &Network| network.is_complete(1, FILE);
        prop_assert!(attack.network.run(Duration::from_secs(200), is_done));
    }

    #[test]
    fn nothing_that_one_peer_says_disturbs_a_seed(deeds in deeds()) {
        let mut attack = Attack::new(0);
        attack.connect();
        deeds.into_iter().for_each(|deed| attack.perform(deed));
        let is_done = |network: &Network| network.is_complete(1, FILE);
        prop_assert!(attack.network.run(Duration::from_secs(200), is_done));
    }
}

#[test]
fn a_hostile_peer_cannot_fill_the_books() {
    let mut attack = Attack::new(1);
    for round in 0..250 {
        attack.connect();
        let file = FileHandle(0);
        let peer = attack.peer;
        attack.say_open(file);
        let peers = (0..50).map(|n| SocketAddr::from(([10, 8, round, n], 1000)));
        let message = PeerMessage::Peers { file, peers: peers.collect() };
        attack.input(Input::Message { peer, message });
        attack.input(Input::ChunkArrived { peer, handle: file, chunk: 9999, body: () });
    }
    // `check` has held the address book, the numbers and the slots to their bounds after each
    // input.
    assert!(attack.network.nodes[1].swarm.peer_status().len() < 5);
}
