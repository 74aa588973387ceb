//! A picture of the whole peer, for `status`.

use std::net::SocketAddr;

use tnet_swarm::{Direction, FileKey};

use super::Engine;
use crate::api::{ConnectionStatus, FileStatus, SlotStatus, Status, SwarmMember};

impl Engine {
    pub(super) fn status(&self) -> Status {
        let slots = self.swarm.slot_status();
        Status {
            peer_id: self.peer_id.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            listen: self.listen,
            coordinator: self.coordinator.address,
            coordinator_state: self.coordinator.state,
            uptime: self.started.elapsed(),
            sent_bytes: self.totals.sent_bytes,
            received_bytes: self.totals.received_bytes,
            files: self.files.keys().filter_map(|file| self.file_picture(*file)).collect(),
            peers: self.connections(),
            slots: SlotStatus {
                uploads: slots.uploads,
                waiting: slots.waiting,
                downloads: slots.downloads,
                storing_bytes: slots.storing_bytes,
            },
            bans: self.bans.at(self.now()),
        }
    }

    fn file_picture(&self, file: FileKey) -> Option<FileStatus> {
        let entry = self.files.get(&file)?;
        let picture = self.swarm.file_status(file, self.now())?;
        let members = self.swarm.holdings(file).into_iter();
        let swarm = members.map(|(peer, chunks)| SwarmMember { address: self.address_of(peer), chunks });
        Some(FileStatus {
            hash: entry.info.hash().to_string(),
            path: entry.source.path(),
            size: entry.info.size(),
            chunk_size: entry.info.geometry().chunk_size().get(),
            chunks_total: picture.chunks,
            chunks_done: picture.stored,
            peers: picture.peers,
            download: self.progress(file),
            traffic: self.traffic(file),
            sent_bytes: entry.sent_bytes,
            swarm: swarm.collect(),
        })
    }

    fn address_of(&self, peer: tnet_swarm::PeerKey) -> Option<SocketAddr> {
        self.sessions.get(&peer).and_then(|open| open.address)
    }

    fn connections(&self) -> Vec<ConnectionStatus> {
        let pictures = self.swarm.peer_status().into_iter();
        let connections = pictures.map(|picture| ConnectionStatus {
            address: picture.address,
            outbound: picture.direction == Direction::Outbound,
            files: picture.files,
            open_requests: picture.open_requests,
            bytes_received: picture.received,
            chunks_sent: picture.sent_chunks,
            corrupt: picture.corrupt,
            stalled: picture.stalled,
        });
        connections.collect()
    }
}
