//! Decides what a raw peer says. One task owns everything a raw peer knows; connections and the
//! test tell it events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tnet_fileinfo::{ChunkIndex, ChunkSet, FileInfo};
use tnet_proto::{Holdings, Info, MAX_INFO_SUMS, Open, PeerMessage, Received};
use tokio::sync::{mpsc, watch};

use super::behaviour::{Behaviour, Description, Supply};
use super::counters::Counters;
use super::session::{Delivery, HANDLE, Line};
use crate::payload::describe;

/// A connection of a raw peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey(pub(super) u64);

/// Something a raw peer has to react to.
#[derive(Debug)]
pub(super) enum Event {
    Joined { key: SessionKey, lines: mpsc::Sender<Line> },
    Heard { key: SessionKey, received: Received<PeerMessage> },
    Left { key: SessionKey },
    Allow(u64),
    AllowAll,
    Hold,
    Behave(Behaviour),
    Describe(Description),
    Gain(Vec<ChunkIndex>),
    HangUp,
}

/// What a raw peer is.
pub(super) struct Script {
    pub(super) info: FileInfo,
    pub(super) content: Arc<Vec<u8>>,
    pub(super) held: ChunkSet,
    pub(super) behaviour: Behaviour,
    pub(super) description: Description,
    pub(super) supply: Supply,
    pub(super) sessions: BTreeMap<SessionKey, Session>,
    pub(super) counters: watch::Sender<Counters>,
}

/// What a raw peer knows of a connection.
pub(super) struct Session {
    lines: mpsc::Sender<Line>,
    opened: bool,
    /// Chunks answered with busy.
    waiting: BTreeSet<u32>,
}

impl Script {
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Joined { key, lines } => self.on_joined(key, lines),
            Event::Heard { key, received: Received::Message(message) } => {
                self.on_message(key, message)
            }
            Event::Heard { key, received: Received::Unknown { number } } => {
                self.say(key, PeerMessage::Unsupported { message: number });
            }
            Event::Left { key } => self.on_left(key),
            Event::Allow(more) => self.on_allow(more),
            Event::AllowAll => self.on_allow_all(),
            Event::Hold => self.supply = Supply::Left(0),
            Event::Behave(behaviour) => self.behaviour = behaviour,
            Event::Describe(description) => self.description = description,
            Event::Gain(chunks) => self.on_gain(&chunks),
            // Dropping the lines ends the connections.
            Event::HangUp => {
                self.sessions.clear();
                self.count(|counters| counters.connected = 0);
            }
        }
    }

    fn on_joined(&mut self, key: SessionKey, lines: mpsc::Sender<Line>) {
        self.sessions.insert(key, Session { lines, opened: false, waiting: BTreeSet::new() });
        let connected = self.sessions.len();
        self.count(|counters| {
            counters.connected = connected;
            counters.greeted += 1;
        });
    }

    fn on_left(&mut self, key: SessionKey) {
        self.sessions.remove(&key);
        let connected = self.sessions.len();
        self.count(|counters| counters.connected = connected);
    }

    fn on_message(&mut self, key: SessionKey, message: PeerMessage) {
        match message {
            PeerMessage::Open(open) => self.on_open(key, &open),
            PeerMessage::Close { .. } => self.on_close(key),
            PeerMessage::Request { chunk, .. } => self.on_request(key, chunk),
            PeerMessage::Cancel { chunk, .. } => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.waiting.remove(&chunk);
                }
            }
            PeerMessage::InfoRequest { hash, first } => self.on_info_request(key, hash, first),
            PeerMessage::Ping { nonce } => self.say(key, PeerMessage::Pong { nonce }),
            PeerMessage::Bye { reason } => self.count(|counters| counters.byes.push(reason)),
            PeerMessage::Unsupported { .. } => self.count(|counters| counters.unsupported += 1),
            // News of others: a raw peer wants nothing.
            _ => {}
        }
    }

    fn on_open(&mut self, key: SessionKey, open: &Open) {
        let geometry = self.info.geometry();
        let ours = (*self.info.hash().as_bytes(), geometry.size(), geometry.chunk_size().get());
        if (open.hash, open.size, open.chunk_size) != ours {
            return self.say(key, PeerMessage::NotFound { file: open.file });
        }
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if std::mem::replace(&mut session.opened, true) {
            return;
        }
        let (hash, size, chunk_size) = ours;
        let open = Open { file: HANDLE, hash, size, chunk_size, holdings: self.holdings() };
        self.say(key, PeerMessage::Open(open));
        match self.behaviour {
            Behaviour::SendsUnasked => self.send_chunk(key, 0),
            Behaviour::AnnouncesBeyondTheEnd => {
                let chunks = vec![self.info.geometry().chunk_count()];
                self.say(key, PeerMessage::Have { file: HANDLE, chunks });
            }
            _ => {}
        }
    }

    fn holdings(&self) -> Holdings {
        let mut bits = self.held.to_bytes();
        if self.behaviour == Behaviour::SetsSpareBits {
            if let Some(last) = bits.last_mut() {
                *last |= 0x80;
            }
            return Holdings::Bitmap(bits);
        }
        if self.held.is_full() { Holdings::Full } else { Holdings::Bitmap(bits) }
    }

    fn on_close(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.waiting.clear();
        if std::mem::replace(&mut session.opened, false) {
            self.say(key, PeerMessage::Close { file: HANDLE });
        }
    }

    fn on_request(&mut self, key: SessionKey, chunk: u32) {
        self.count(|counters| *counters.requests.entry(chunk).or_default() += 1);
        let held = self.info.geometry().chunk(chunk).is_some_and(|chunk| self.held.contains(chunk));
        if !held || self.behaviour == Behaviour::Refuses {
            return self.say(key, PeerMessage::Refused { file: HANDLE, chunk });
        }
        if self.behaviour == Behaviour::NeverSends {
            return;
        }
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if !self.supply.take() {
            session.waiting.insert(chunk);
            return self.say(key, PeerMessage::Busy { file: HANDLE, chunk, load: 1 });
        }
        session.waiting.remove(&chunk);
        self.send_chunk(key, chunk);
    }

    fn send_chunk(&mut self, key: SessionKey, chunk: u32) {
        let geometry = *self.info.geometry();
        let named = match self.behaviour {
            Behaviour::SendsAnother => (chunk + 1) % geometry.chunk_count(),
            _ => chunk,
        };
        let Some(index) = geometry.chunk(named) else { return };
        let mut bytes = crate::payload::part(&geometry, &self.content, index).to_vec();
        let mut delivery_is_whole = true;
        let mut rate = None;
        match self.behaviour {
            behaviour if behaviour.flips(chunk) => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                self.count(|counters| counters.flipped += 1);
            }
            Behaviour::Drips { bytes_per_second } => rate = Some(bytes_per_second),
            Behaviour::WithholdsLastByte => {
                bytes.pop();
                delivery_is_whole = false;
            }
            Behaviour::SendsTooMuch => bytes.push(0),
            _ => {}
        }
        let counted_in = delivery_is_whole.then(|| self.counters.clone());
        let delivery = Delivery { chunk: named, bytes: Bytes::from(bytes), rate, counted_in };
        self.write(key, Line::Send(delivery));
    }

    fn on_info_request(&mut self, key: SessionKey, hash: [u8; 32], first: u32) {
        if hash != *self.info.hash().as_bytes() || self.description == Description::Denied {
            return self.say(key, PeerMessage::InfoNotFound { hash });
        }
        let told = match self.description {
            Description::Forged => {
                let mut other = self.content.to_vec();
                other.iter_mut().for_each(|byte| *byte = !*byte);
                describe(&other, self.info.geometry().chunk_size())
            }
            _ => self.info.clone(),
        };
        let sums =
            told.sums().iter().skip(first as usize).take(MAX_INFO_SUMS).map(|sum| *sum.as_bytes());
        let info = Info {
            hash,
            size: told.size(),
            chunk_size: told.geometry().chunk_size().get(),
            tail_leaf: told.tail().leaf.clone(),
            tail_path: told.tail().path.clone(),
            first,
            sums: sums.collect(),
        };
        self.count(|counters| counters.described += 1);
        self.say(key, PeerMessage::Info(info));
    }

    fn on_allow(&mut self, more: u64) {
        self.supply = match self.supply {
            Supply::Left(left) => Supply::Left(left + more),
            Supply::Unlimited => Supply::Left(more),
        };
        self.wake();
    }

    fn on_allow_all(&mut self) {
        self.supply = Supply::Unlimited;
        self.wake();
    }

    /// Sends `Ready` to all that were answered with `Busy`; one that comes too late is busy again.
    fn wake(&mut self) {
        let keys: Vec<SessionKey> = self.sessions.keys().copied().collect();
        for key in keys {
            let waiting =
                self.sessions.get_mut(&key).map(|session| std::mem::take(&mut session.waiting));
            for chunk in waiting.into_iter().flatten() {
                self.say(key, PeerMessage::Ready { file: HANDLE, chunk });
            }
        }
    }

    fn on_gain(&mut self, chunks: &[ChunkIndex]) {
        chunks.iter().for_each(|chunk| {
            self.held.insert(*chunk);
        });
        let told: Vec<u32> = chunks.iter().map(|chunk| chunk.get()).collect();
        let opened: Vec<SessionKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.opened)
            .map(|(key, _)| *key)
            .collect();
        for key in opened {
            for chunks in told.chunks(tnet_proto::MAX_HAVE_CHUNKS) {
                self.say(key, PeerMessage::Have { file: HANDLE, chunks: chunks.to_vec() });
            }
        }
    }

    fn say(&mut self, key: SessionKey, message: PeerMessage) {
        self.write(key, Line::Say(message));
    }

    fn write(&mut self, key: SessionKey, line: Line) {
        let full =
            self.sessions.get(&key).is_some_and(|session| session.lines.try_send(line).is_err());
        if full {
            self.on_left(key);
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.counters.send_modify(change);
    }
}
