//! What the nodes' deeds come to: connections, messages and chunks on their way, lookups, disks.

use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use tnet_fileinfo::ChunkIndex;
use tnet_proto::PeerMessage;

use super::{Character, End, Happening, Network, Node};
use crate::{Direction, Event, FileKey, Input, Output, PeerKey, Time, UploadEnd};

impl Network {
    pub(super) fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { peer, .. }
            | Output::StopUpload { peer, .. }
            | Output::Disconnect { peer, .. }
                if !self.ends.contains_key(&peer) => {}
            // An outsider reads nothing, until the deadline of the sender; half of what it sends is
            // right.
            Output::Upload { peer, file, chunk } if !self.ends.contains_key(&peer) => {
                let input = Input::UploadEnded { peer, file, chunk, end: UploadEnd::Stopped };
                self.schedule(self.now + Duration::from_secs(5), Happening::Input(node, input));
            }
            Output::Store { peer, file, chunk, .. } if !self.ends.contains_key(&peer) => {
                let input = match chunk.get() % 2 {
                    0 => Input::ChunkStored { file, chunk },
                    _ => Input::ChunkCorrupt { file, chunk, peer },
                };
                self.schedule(self.now, Happening::Input(node, input));
            }
            Output::Connect { address } => self.connect(node, address),
            // As a session does.
            Output::Send { peer, message: PeerMessage::Ping { nonce } } => {
                let (message, end) = (PeerMessage::Pong { nonce }, self.ends[&peer]);
                if end.is_open && self.nodes[end.other_node].is_alive {
                    self.schedule(
                        self.now + self.delay * 2,
                        Happening::Input(node, Input::Message { peer, message }),
                    );
                }
            }
            Output::Send { peer, message } => {
                self.deliver(peer, |peer| Input::Message { peer, message })
            }
            Output::Upload { peer, file, chunk } => self.upload(node, peer, file, chunk),
            Output::StopUpload { peer, file, chunk } => {
                if self.nodes[node].uploads.remove(&(peer, file, chunk)).is_some() {
                    self.stop(node, peer, file, chunk);
                }
            }
            Output::Store { peer, file, chunk, .. } => {
                let sender = &self.nodes[self.ends[&peer].other_node];
                let input = match sender.character {
                    Character::Corrupt => Input::ChunkCorrupt { file, chunk, peer },
                    _ => Input::ChunkStored { file, chunk },
                };
                self.schedule(self.now + Duration::from_micros(100), Happening::Input(node, input));
            }
            Output::Disconnect { peer, reason } => {
                let message = PeerMessage::Bye { reason };
                self.deliver(peer, |peer| Input::Message { peer, message });
                self.close(peer);
            }
            Output::Lookup { file } => {
                let others = self
                    .nodes
                    .iter()
                    .enumerate()
                    .filter(|(other, state)| *other != node && state.is_alive);
                let addresses = others.map(|(_, other)| other.address).collect();
                if !self.coordinator_is_down {
                    let input = Input::Holders { file, addresses };
                    self.schedule(self.now + self.delay * 2, Happening::Input(node, input));
                }
            }
            Output::Event(event) => self.on_event(node, event),
        }
    }

    fn on_event(&mut self, node: usize, event: Event) {
        let suspect = match &event {
            Event::Complete { file } => {
                self.nodes[node].complete_at.insert(file.0 % 100, self.now);
                None
            }
            Event::Banned { address } => {
                let until = self.now + self.config.ban;
                self.nodes[node].banned.extend(address.map(|address| (address, until)));
                Some((*address, Character::Corrupt))
            }
            Event::CorruptChunk { address, .. } => Some((*address, Character::Corrupt)),
            Event::Doubted { .. } | Event::FellSilent { .. } => None,
            Event::Cut { address, .. } => Some((*address, Character::Refuser)),
        };
        if let Some((address, fault)) = suspect {
            // Whoever is none of us may have done anything.
            let found = self.nodes.iter().find(|other| Some(other.address) == address);
            let character = found.map_or(fault, |other| other.character);
            assert_eq!(character, fault, "node {node} at {:?}: {event:?}", self.now);
        }
        self.nodes[node].events.push(event);
    }

    fn connect(&mut self, node: usize, address: SocketAddr) {
        let banned = self.nodes[node]
            .banned
            .iter()
            .find(|(banned, until)| *banned == address && self.now < *until);
        assert_eq!(banned, None, "node {node} calls a banned address at {:?}", self.now);
        let found = self.nodes.iter().position(|other| other.address == address && other.is_alive);
        let Some(other_node) = found else {
            return self.schedule(
                self.now + self.delay,
                Happening::Input(node, Input::ConnectFailed { address }),
            );
        };
        let (caller, called) = (PeerKey(self.next_key), PeerKey(self.next_key + 1));
        self.next_key += 2;
        for (key, node, other, other_node, arrival, direction) in [
            (called, other_node, caller, node, self.delay, Direction::Inbound),
            (caller, node, called, other_node, self.delay * 2, Direction::Outbound),
        ] {
            let Node { swarm, address, .. } = &self.nodes[other_node];
            let (id, source, address) = (swarm.own_id, address.ip(), Some(*address));
            self.ends.insert(
                key,
                End { node, other, other_node, is_open: true, last_arrival: Time::ZERO },
            );
            let input =
                Input::PeerConnected { peer: key, id, source, local: None, address, direction };
            self.schedule(self.now + arrival, Happening::Input(node, input));
        }
        // Nothing arrives at the caller before it knows of the connection.
        self.ends.get_mut(&called).unwrap().last_arrival = self.now + self.delay * 2;
    }

    pub(super) fn close(&mut self, peer: PeerKey) {
        let Some(end) = self.ends.get_mut(&peer).filter(|end| end.is_open) else { return };
        end.is_open = false;
        let other = end.other;
        // What was sent before arrives before.
        let at = end.last_arrival.max(self.now + self.delay);
        if std::mem::take(&mut self.ends.get_mut(&other).unwrap().is_open) {
            let node = self.ends[&other].node;
            self.schedule(at, Happening::Input(node, Input::PeerLost { peer: other }));
        }
    }

    /// Something this end of a connection sends arrives at the other.
    fn deliver(&mut self, peer: PeerKey, input: impl FnOnce(PeerKey) -> Input) {
        let end = self.ends.get_mut(&peer).unwrap();
        if !end.is_open {
            return;
        }
        let jitter = Duration::from_micros(self.rng.random_range(0..100));
        end.last_arrival = end.last_arrival.max(self.now + self.delay + jitter);
        let (at, node, other) = (end.last_arrival, end.other_node, end.other);
        self.schedule(at, Happening::Input(node, input(other)));
    }

    fn upload(&mut self, node: usize, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        let (handle, index) = (file.handle(), chunk.get());
        let answer = match self.nodes[node].character {
            Character::Mute => return,
            Character::Refuser => Some(PeerMessage::Refused { file: handle, chunk: index }),
            Character::Busybody => Some(PeerMessage::Busy { file: handle, chunk: index, load: 9 }),
            Character::Honest | Character::Corrupt => None,
        };
        if let Some(message) = answer {
            self.deliver(peer, |peer| Input::Message { peer, message });
            let input = Input::UploadEnded { peer, file, chunk, end: UploadEnd::Stopped };
            return self.schedule(self.now, Happening::Input(node, input));
        }
        let nanoseconds = u64::from(self.geometry.chunk_len(chunk)) * 1_000_000_000 / self.rate;
        let state = &mut self.nodes[node];
        state.uplink_free = state.uplink_free.max(self.now) + Duration::from_nanos(nanoseconds);
        let at = state.uplink_free;
        state.uploads.insert((peer, file, chunk), self.caused);
        self.schedule(at, Happening::Sent(peer, file, chunk, self.caused));
    }

    pub(super) fn sent(
        &mut self,
        node: usize,
        peer: PeerKey,
        file: FileKey,
        chunk: ChunkIndex,
        serial: u64,
    ) {
        if self.nodes[node].uploads.get(&(peer, file, chunk)) != Some(&serial) {
            return;
        }
        self.nodes[node].uploads.remove(&(peer, file, chunk));
        // Removed meanwhile: the bytes cannot be read any more.
        if !self.nodes[node].disk.contains_key(&(file.0 % 100)) {
            return self.stop(node, peer, file, chunk);
        }
        self.nodes[node].sent += 1;
        let bytes = self.geometry.chunk_len(chunk);
        self.deliver(peer, |peer| Input::DataReceived { peer, bytes });
        self.deliver(peer, |peer| Input::ChunkArrived {
            peer,
            handle: file.handle(),
            chunk: chunk.get(),
            body: (),
        });
        let input = Input::UploadEnded { peer, file, chunk, end: UploadEnd::Sent };
        self.schedule(self.now, Happening::Input(node, input));
    }

    fn stop(&mut self, node: usize, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        let message = PeerMessage::Stopped { file: file.handle(), chunk: chunk.get() };
        self.deliver(peer, |peer| Input::Message { peer, message });
        let input = Input::UploadEnded { peer, file, chunk, end: UploadEnd::Stopped };
        self.schedule(self.now, Happening::Input(node, input));
    }
}
