//! Does what the core decided.

use std::net::SocketAddr;
use std::time::Duration;

use tnet_fileinfo::ChunkIndex;
use tnet_net::Narrow;
use tnet_session::{ChunkBody, Order, Upload};
use tnet_swarm::{Event, FileKey, Input, Output, PeerKey, UploadEnd};

use super::Engine;
use crate::dialer::Connected;

impl Engine {
    pub(super) fn perform(&mut self, output: Output<ChunkBody>) {
        match output {
            Output::Connect { address } => self.dialer.call(address),
            Output::Send { peer, message } => self.order(peer, Order::Send(message)),
            Output::Upload { peer, file, chunk } => self.upload(peer, file, chunk),
            Output::StopUpload { peer, file, chunk } => {
                self.order(peer, Order::StopUpload { file, chunk })
            }
            Output::Store { peer, file, chunk, body } => self.store_chunk(peer, file, chunk, body),
            Output::Disconnect { peer, reason } => {
                self.recuts.note_leaving();
                if let Some(refused) = self.undecided.remove(&peer) {
                    let Connected { greeted, introduced, .. } = *refused;
                    drop(introduced);
                    tnet_session::reject(&self.context, greeted, reason);
                } else if let Some(open) = self.sessions.remove(&peer) {
                    tracing::info!(remote = %open.session.remote, %reason, "connection closed");
                    open.session.close(reason);
                }
            }
            Output::Lookup { file } => self.look_up(file),
            Output::Event(event) => self.on_event(event),
        }
    }

    /// A session that takes no more orders ends; its end is an event like any other.
    pub(super) fn order(&mut self, peer: PeerKey, order: Order) {
        self.start_session(peer);
        let Some(open) = self.sessions.get(&peer) else { return };
        if !open.session.order(order) {
            tracing::debug!(remote = %open.session.remote, "send queue full; closing");
            // What it said last may not have been heard yet.
            self.integrity.leaving.insert(peer, open.session.remote.ip());
            self.sessions.remove(&peer);
        }
        if self.context.backlog_exceeds_limit() {
            self.shed_backlog();
        }
    }

    fn upload(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        self.recuts.note_use(file, self.now);
        let Some(entry) = self.files.get(&file) else { return };
        let (len, source, spares) =
            (entry.geometry().chunk_len(chunk), entry.source.clone(), entry.spares.clone());
        let upload = Upload { file, chunk, len, source, spares };
        self.start_session(peer);
        if self.sessions.contains_key(&peer) {
            self.order(peer, Order::Upload(upload));
        } else {
            let end = UploadEnd::Stopped;
            self.follow_ups.push_back(Input::UploadEnded { peer, file, chunk, end });
        }
    }

    fn note_ban(&mut self, address: Option<SocketAddr>, reason: String, duration: Duration) {
        let now = self.now;
        if let Some(address) = address {
            self.bans.note(now, address, reason, duration);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Complete { file } => self.on_complete(file),
            Event::CorruptChunk { file, chunk, address } => {
                if let Some(running) = self.files.running_mut(file) {
                    running.corrupt_peers.count(address);
                }
                tracing::warn!(%chunk, ?address, "peer sent a corrupt chunk; downloading it from another peer");
            }
            Event::Doubted { peer, file, chunk } => self.on_doubted(peer, file, chunk),
            Event::Banned { address } => {
                tracing::warn!(?address, "peer banned");
                for file in &self.followed {
                    if let Some(running) = self.files.running_mut(*file) {
                        running.corrupt_peers.ban(address);
                    }
                }
                self.note_ban(address, "sent wrong bytes".to_owned(), self.config.swarm.ban);
            }
            Event::FellSilent { source, received } => {
                tracing::info!(%source, received, "connection timed out; reconnecting");
                match self.dialer.connector.paths().fell_silent(source, received > 0) {
                    None => return,
                    Some(Narrow::Suspected) => {
                        tracing::info!(%source, "large packets may get lost (path MTU); trying small ones");
                    }
                    Some(Narrow::Likely) => tracing::warn!(
                        %source,
                        "large packets seem to get lost (path MTU); using small ones"
                    ),
                }
                self.narrow_since = Some(self.now);
            }
            Event::Cut { address, violation } => {
                tracing::warn!(?address, %violation, "peer disconnected: protocol violation");
                self.note_ban(address, violation.to_string(), self.config.swarm.violation_ban);
            }
        }
    }
}
