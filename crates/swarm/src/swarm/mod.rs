//! The decisions of one process, for all its files.
//!
//! The core receives events as [`Input`] and emits actions as [`Output`]. The caller drives it with
//! one loop:
//!
//! ```text
//! loop {
//!     let input = events.next().or_at(swarm.next_timeout(), Input::Tick);
//!     swarm.handle_input(now, input);
//!     while let Some(output) = swarm.poll_output() {
//!         perform(output);
//!     }
//! }
//! ```
//!
//! - `perform` must do each output, in this order, and must not call `handle_input`: what it finds
//!   out at once is queued as an input for after the last output. A debug assertion holds this.
//! - Times never go backwards. The same inputs, times and seed give the same outputs.

mod answers;
mod arrivals;
mod caller_admission;
mod connections;
mod corruption_reports;
mod discovery;
mod eligibility;
mod exchange;
mod file_settings;
mod files;
mod link_memory;
mod link_order;
mod links;
mod offers;
mod picking;
mod probing;
mod progress;
mod requests;
mod status;
mod timeouts;
mod trust;
mod upload;
mod uploads;

#[cfg(any(test, feature = "check"))]
mod check;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_fileinfo::ChunkIndex;
use tnet_proto::{FileHandle, PeerId, PeerMessage};

use crate::Time;
use crate::config::Config;
use crate::file_table::FileTable;
use crate::io::{Input, Output, Violation};
use crate::rate_limiter::RateLimiter;
use crate::request_book::RequestBook;
use crate::throughput::Throughput;
use crate::timers::Timers;
use crate::uplink::Uplink;
use crate::{FileKey, PeerKey};
use tnet_sources::AddressBook;
use tnet_sources::Sources;

pub use status::{FileSnapshot, PeerSnapshot, SlotSnapshot};

use caller_admission::CallerAdmission;
use connections::{Newcomer, Peer};
use exchange::Members;
use files::ChunksOnDisk;
use link_memory::LinkMemory;
use uploads::Uploads;

/// The core. `B` is the body of a chunk: whatever the caller has of one that arrived. It comes with
/// [`Input::ChunkArrived`] and leaves with the [`Output::Store`] of that chunk; the body of a chunk
/// that is not wanted is dropped.
#[derive(Debug)]
pub struct Swarm<B = ()> {
    config: Config,
    own_id: PeerId,
    rng: StdRng,
    files: FileTable,
    peers: BTreeMap<PeerKey, Peer>,
    /// Callers, and which of them make room.
    caller_admission: CallerAdmission,
    link_memory: LinkMemory,
    members: Option<Members>,
    requests: RequestBook,
    /// Connections that have proven themselves.
    proven: u32,
    sources: Sources,
    /// Our own addresses, as far as connections have shown them.
    own_ips: BTreeSet<IpAddr>,
    uploads: Uploads,
    /// When a slot was kept last for a peer that did not want it.
    offered_in_vain: Option<Time>,
    uplink: Uplink,
    /// Chunks that arrived, and that were sent.
    received: Throughput,
    sent: Throughput,
    addresses: AddressBook,
    timers: Timers,
    outputs: VecDeque<Output<B>>,
    /// The incomplete file that chooses its next chunk first.
    turn: FileKey,
    rate_limiter: RateLimiter,
    /// Some file has had another priority than the usual one.
    priorities_differ: bool,
}

impl<B> Swarm<B> {
    /// A process without files and peers. `seed` decides every random choice.
    pub fn new(config: Config, own_id: PeerId, seed: u64) -> Swarm<B> {
        Swarm {
            own_id,
            rng: StdRng::seed_from_u64(seed),
            files: FileTable::default(),
            peers: BTreeMap::new(),
            caller_admission: CallerAdmission::new(config.max_callers()),
            link_memory: LinkMemory::default(),
            members: None,
            requests: RequestBook::new(config.download_slots),
            proven: 0,
            sources: Sources::default(),
            own_ips: BTreeSet::new(),
            uploads: Uploads::new(config.upload_slots),
            offered_in_vain: None,
            uplink: Uplink::new(config.upload_slots, config.slow_uplink_per_mille),
            addresses: AddressBook::new(config.max_addresses),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            turn: FileKey(0),
            received: Throughput::new(),
            sent: Throughput::new(),
            rate_limiter: RateLimiter::default(),
            priorities_differ: false,
            config,
        }
    }

    /// Takes in what happened at `now`, which must not be earlier than in the call before. No
    /// output may be left of the call before.
    pub fn handle_input(&mut self, now: Time, input: Input<B>) {
        debug_assert!(self.outputs.is_empty(), "outputs are left when {now:?} brings an input");
        match input {
            Input::AddFile { file, hash, geometry, stored, vouched, goal } => {
                self.on_add_file(now, file, hash, geometry, ChunksOnDisk { stored, vouched }, goal);
            }
            Input::RemoveFile { file } => self.on_remove_file(now, file),
            Input::PeerConnected { peer, id, source, local, address, direction } => {
                self.on_peer_connected(
                    now,
                    Newcomer { peer, id, source, local, address, direction },
                );
            }
            Input::PeerLost { peer } => self.on_peer_lost(now, peer),
            Input::ConnectFailed { address } => self.on_connect_failed(now, address),
            Input::NotCalled { address } => self.on_not_called(now, address),
            Input::Message { peer, message } => self.on_message(now, peer, message),
            Input::Violated { peer } if self.peers.contains_key(&peer) => {
                self.cut(now, peer, Violation::Malformed)
            }
            Input::Violated { .. } => {}
            Input::DataReceived { peer, bytes } => self.on_data_received(now, peer, bytes),
            Input::ReadingPaused { peer } => self.on_reading_paused(peer),
            Input::ReadingResumed { peer } => self.on_reading_resumed(now, peer),
            Input::ChunkArrived { peer, handle, chunk, body } => {
                self.on_chunk_arrived(now, peer, handle, chunk, body)
            }
            Input::UploadEnded { peer, file, chunk, end } => {
                self.on_upload_ended(now, peer, file, chunk, end)
            }
            Input::ChunkStored { file, chunk } => self.on_chunk_stored(now, file, chunk),
            Input::ChunksVerified { file, chunks } => self.on_chunks_verified(now, file, &chunks),
            Input::ChunkCorrupt { file, chunk, peer } => {
                self.on_chunk_corrupt(now, file, chunk, peer)
            }
            Input::ChunksLost { file, chunks } => self.on_chunks_lost(now, file, &chunks),
            Input::ChunksWithdrawn { file, chunks } => self.on_chunks_withdrawn(now, file, &chunks),
            Input::ChunksRestored { file, chunks } => self.on_chunks_restored(now, file, &chunks),
            Input::Holders { file, addresses } => self.on_holders(now, file, &addresses),
            Input::Limit { file, limits } => self.on_limit(now, file, limits),
            Input::Prioritise { file, priority } => self.on_priority(now, file, priority),
            Input::Pause { file } => self.on_pause(now, file),
            Input::Resume { file } => self.on_resume(now, file),
            Input::Tick => self.on_tick(now),
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output<B>> {
        self.outputs.pop_front()
    }

    /// When to give the next [`Input::Tick`].
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    fn on_message(&mut self, now: Time, peer: PeerKey, message: PeerMessage) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.heard = now;
        match message {
            PeerMessage::Open(open) => self.on_open(now, peer, &open),
            PeerMessage::NotFound { file } => self.on_not_found(now, peer, FileKey(file.0)),
            PeerMessage::Close { file } => self.on_close(now, peer, file),
            PeerMessage::Have { file, chunks } => self.on_have(now, peer, file, &chunks),
            PeerMessage::Peers { file, peers } => self.on_peers(now, peer, file, &peers),
            PeerMessage::Request { file, chunk } => self.on_request(now, peer, file, chunk),
            PeerMessage::Cancel { file, chunk } => self.on_cancel(now, peer, file, chunk),
            PeerMessage::Busy { file, chunk, load } => self.on_busy(now, peer, file, chunk, load),
            PeerMessage::Ready { file, chunk } => self.on_ready(now, peer, file, chunk),
            PeerMessage::Suggest { file, chunk } => self.on_suggest(now, peer, file, chunk),
            PeerMessage::Stopped { file, chunk } => self.on_stopped(now, peer, file, chunk),
            PeerMessage::Refused { file, chunk } => self.on_refused(now, peer, file, chunk),
            PeerMessage::Corrupt { file, chunk } => self.on_corrupt(now, peer, file, chunk),
            PeerMessage::Bye { reason } => self.on_bye(now, peer, reason),
            PeerMessage::Hello(_) | PeerMessage::Data { .. } => {
                self.cut(now, peer, Violation::OutOfPlace)
            }
            PeerMessage::InfoRequest { .. }
            | PeerMessage::Info(_)
            | PeerMessage::InfoNotFound { .. }
            | PeerMessage::Ping { .. }
            | PeerMessage::Pong { .. }
            | PeerMessage::Unsupported { .. }
            | PeerMessage::Extension { .. } => {}
        }
    }

    fn output(&mut self, output: Output<B>) {
        self.outputs.push_back(output);
    }

    fn send(&mut self, peer: PeerKey, message: PeerMessage) {
        self.output(Output::Send { peer, message });
    }

    /// A duration between three quarters and five quarters of the given one, so that peers do not
    /// act in step.
    fn jitter(&mut self, duration: Duration) -> Duration {
        duration.mul_f64(self.rng.random_range(0.75..1.25))
    }

    /// Our file and chunk for what a peer said, or a violation. None for a file that we do not take
    /// part in.
    fn resolve(
        &self,
        peer: PeerKey,
        handle: FileHandle,
        chunk: u32,
    ) -> Result<Option<(FileKey, ChunkIndex)>, Violation> {
        let Some(file) = self.file_of(peer, handle)? else { return Ok(None) };
        let chunk =
            self.files[&file].geometry.chunk(chunk).ok_or(Violation::ChunkOutOfRange(chunk))?;
        Ok(Some((file, chunk)))
    }

    fn file_of(&self, peer: PeerKey, handle: FileHandle) -> Result<Option<FileKey>, Violation> {
        let peer = self.peers.get(&peer).expect("only messages of connected peers are dispatched");
        match peer.handles.get(&handle) {
            Some(file) => Ok(Some(*file)),
            None if peer.former.may_contain(handle) => Ok(None),
            None => Err(Violation::UnknownHandle(handle)),
        }
    }

    /// As `resolve`; a violation costs the peer its connection at once.
    fn resolve_or_cut(
        &mut self,
        now: Time,
        peer: PeerKey,
        handle: FileHandle,
        chunk: u32,
    ) -> Option<(FileKey, ChunkIndex)> {
        self.resolve(peer, handle, chunk).unwrap_or_else(|violation| {
            self.cut(now, peer, violation);
            None
        })
    }
}
