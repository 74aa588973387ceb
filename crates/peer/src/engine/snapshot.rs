//! A picture of the whole peer, for `status`. With a bound on the files it takes no longer with
//! more of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};

use tnet_swarm::{Direction, FileKey, PeerKey, PeerSnapshot, Time};

use super::{Engine, OpenSession};
use crate::api::{
    Bound, Bounds, ChunkMap, ConnectionStatus, FileCursor, FileStatus, FilesPage, Phase,
    SlotStatus, Status, SwarmMember,
};
use crate::store;

impl Engine {
    pub(super) fn status(&self, most_files: usize) -> Status {
        let (now, slots) = (self.now, self.swarm.slot_status());
        Status {
            peer_id: self.peer_id.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            listen: self.listen,
            coordinator: self.coordinator.address.clone(),
            coordinator_state: self.coordinator.state,
            uptime: self.started.elapsed(),
            sent_bytes: self.totals.sent_bytes,
            received_bytes: self.totals.received_bytes,
            files: self
                .chosen_files(most_files)
                .filter_map(|file| self.file_picture(now, file))
                .collect(),
            peers: self.connections(now),
            slots: SlotStatus {
                uploads: slots.uploads,
                waiting: slots.waiting,
                downloads: slots.downloads,
                storing_bytes: slots.storing_bytes,
                uploads_most: slots.uploads_most,
                downloads_most: slots.downloads_most,
                upload_bytes: slots.upload_bytes,
                download_bytes: slots.download_bytes,
            },
            bans: self.bans.at(now),
            down_per_second: self.totals.down.per_second(now),
            up_per_second: self.totals.up.per_second(now),
            files_total: self.files.len() as u64,
            downloads_total: self.downloads().count() as u64,
            coordinator_contact: self
                .coordinator
                .contact(now, self.coordinator.session.files_reported() as u64),
            bounds: self.bounds(slots.storing_bytes),
            limits: self.limits,
            left_out: self.left_out.values().flatten().cloned().collect(),
            shortage: self.descriptors.shortage(),
        }
    }

    /// The files after this one, in no order that means anything.
    pub(super) fn files_page(&self, after: Option<FileKey>, most: usize) -> FilesPage {
        let now = self.now;
        let mut rest =
            self.files.range((after.map_or(Unbounded, Excluded), Unbounded)).map(|(file, _)| *file);
        let keys: Vec<FileKey> = rest.by_ref().take(most).collect();
        let last = keys.last().copied().filter(|_| rest.next().is_some());
        let files = keys.into_iter().filter_map(|file| self.file_picture(now, file)).collect();
        FilesPage { files, last: last.map(FileCursor) }
    }

    /// Files to show if there may be no more: downloads, those that were active last, any others.
    /// Looks at no more of the others than it needs.
    fn chosen_files(&self, most: usize) -> impl Iterator<Item = FileKey> + '_ {
        let active = self.recent.iter().filter(|file| self.is_downloading(*file));
        let in_order = active
            .chain(self.downloads())
            .chain(self.recent.iter())
            .chain(self.files.keys().copied());
        let mut seen = BTreeSet::new();
        in_order.filter(move |file| seen.insert(*file)).take(most)
    }

    fn downloads(&self) -> impl Iterator<Item = FileKey> + '_ {
        self.followed.iter().copied().filter(|file| self.is_downloading(*file))
    }

    fn is_downloading(&self, file: FileKey) -> bool {
        let running = self.files.running(file);
        running.is_some_and(|running| !matches!(running.phase, Phase::Complete | Phase::Failed))
    }

    fn file_picture(&self, now: Time, file: FileKey) -> Option<FileStatus> {
        let entry = self.files.get(&file)?;
        let picture = self.swarm.file_status(file, now)?;
        let members = self.swarm.holdings(file).into_iter();
        let swarm =
            members.map(|(peer, chunks)| SwarmMember { address: self.address_of(peer), chunks });
        let activity = entry.activity.as_deref();
        Some(FileStatus {
            hash: entry.info.hash().to_string(),
            tree: entry.tree().map(|tree| tree.to_string()),
            is_manifest: entry.wholes().any(|store| store.manifest().is_some())
                || store::is_manifest_path(&entry.source.path()),
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
            chunk_map: self.swarm.chunk_map(file, ChunkMap::MOST_CELLS).map(ChunkMap::from_iter),
            down_per_second: activity.map_or(0, |activity| activity.down.per_second(now)),
            up_per_second: activity.map_or(0, |activity| activity.up.per_second(now)),
            idle: activity.map(|activity| now - activity.last),
            damaged: self.damaged_files(entry),
            paused: entry.settings.is_paused,
            priority: entry.settings.priority,
            limits: entry.settings.limits,
        })
    }

    fn address_of(&self, peer: PeerKey) -> Option<SocketAddr> {
        self.sessions.get(&peer).and_then(|open| open.address)
    }

    fn connections(&self, now: Time) -> Vec<ConnectionStatus> {
        let pictures = self.swarm.peer_status().into_iter();
        let connection = |picture: PeerSnapshot| {
            let open = self.sessions.get(&picture.peer);
            let totals = open.map(|open: &OpenSession| open.totals).unwrap_or_default();
            ConnectionStatus {
                address: picture.address,
                outbound: picture.direction == Direction::Outbound,
                files: picture.files,
                open_requests: picture.open_requests,
                bytes_received: picture.received,
                chunks_sent: picture.sent_chunks,
                corrupt: picture.corrupt,
                stalled: picture.stalled,
                bytes_sent: totals.sent_bytes,
                down_per_second: totals.down.per_second(now),
                up_per_second: totals.up.per_second(now),
                round_trip: open.and_then(|open| open.round_trip),
            }
        };
        pictures.map(connection).collect()
    }

    fn bounds(&self, storing_bytes: u64) -> Bounds {
        let bound = |used: usize, most: usize| Bound { used: used as u64, most: most as u64 };
        let (open_files, open_files_most) = self.open_files.in_use();
        let dir_files = Bound { used: self.files.len() as u64, most: self.dir_files_most };
        let memory = self.config.chunk_memory;
        Bounds {
            connections: bound(self.swarm.connections(), self.config.swarm.max_peers),
            known_peers: bound(self.swarm.known_addresses(), self.config.swarm.max_addresses),
            open_files: bound(open_files, open_files_most),
            files: (dir_files.most > 0).then_some(dir_files),
            storing_bytes: Bound { used: storing_bytes, most: self.config.swarm.storing_bytes },
            chunk_memory_bytes: Bound { used: self.context.ingest.used_bytes(), most: memory },
        }
    }
}
