//! Our files: added, removed, announced chunk by chunk, complete, and, when the disk fails,
//! incomplete again.

use std::collections::BTreeMap;

use tnet_fileinfo::{ChunkIndex, ChunkSet, FileHash, Geometry};
use tnet_proto::{FileHandle, MAX_HAVE_CHUNKS, PeerMessage};

use super::Swarm;
use crate::FileKey;
use crate::Time;
use crate::file::{File, FileStats, Incomplete};
use crate::io::{Event, Goal, Output, Priority};
use crate::timers::Timer;

/// Which chunks of a new file are on disk.
pub(super) struct ChunksOnDisk {
    pub(super) stored: ChunkSet,
    /// Not verified yet.
    pub(super) vouched: ChunkSet,
}

impl<B> Swarm<B> {
    pub(super) fn on_add_file(
        &mut self,
        now: Time,
        file: FileKey,
        hash: FileHash,
        geometry: Geometry,
        on_disk: ChunksOnDisk,
        goal: Goal,
    ) {
        let ChunksOnDisk { stored, vouched } = on_disk;
        let is_complete = stored.is_full();
        assert!(is_complete || goal != Goal::Seed, "only a complete file can be seeded");
        let download = (!is_complete)
            .then(|| Box::new(Incomplete::new(&geometry, stored, &vouched, &mut self.rng)));
        let links = BTreeMap::new();
        let state = File {
            key: file,
            hash,
            geometry,
            links,
            download,
            suggest: None,
            stats: FileStats::default(),
            priority: Priority::default(),
            is_wanted: goal == Goal::Download,
            no_reopen_before: Time::ZERO,
            is_paused: false,
        };
        self.files.insert(state);
        match goal {
            Goal::Download if is_complete => self.output(Output::Event(Event::Complete { file })),
            Goal::Download => self.begin_download(now, file),
            Goal::Seed | Goal::ServePart => {}
        }
    }

    /// Also goes on with one, unless it is paused.
    pub(super) fn begin_download(&mut self, now: Time, file: FileKey) {
        if !self.files.want(file) {
            return;
        }
        self.weigh_links(now, file);
        self.timers.arm(Timer::Exchange(file), now + self.config.exchange_every);
        self.ask_coordinator(now, file);
    }

    pub(super) fn on_remove_file(&mut self, now: Time, file: FileKey) {
        if !self.files.contains(file) {
            return;
        }
        for peer in self.files.peers(file) {
            self.close(now, peer, file);
        }
        self.files.remove(file);
        self.rate_limiter.forget_file(file);
        self.peers.values_mut().for_each(|peer| {
            peer.taken.remove(&file);
        });
        self.addresses.forget_file(file);
        self.timers.disarm_file(file);
        self.grant_slots(now);
        self.fill_downloads(now);
    }

    /// Announces what was stored since the last time, to peers that lack it.
    pub(super) fn announce(&mut self, file: FileKey) {
        let Some(state) = self.files.get_mut(file) else { return };
        let Some(download) = &mut state.download else { return };
        let fresh = std::mem::take(&mut download.unannounced);
        for (peer, link) in &state.links {
            let lacking: Vec<u32> = fresh
                .iter()
                .filter(|chunk| !link.held.contains(**chunk))
                .map(|chunk| chunk.get())
                .collect();
            for chunks in lacking.chunks(MAX_HAVE_CHUNKS) {
                let message =
                    PeerMessage::Have { file: FileHandle(file.0), chunks: chunks.to_vec() };
                self.outputs.push_back(Output::Send { peer: *peer, message });
            }
        }
    }

    /// The file is whole: tells all peers, and closes links to those that need nothing either.
    pub(super) fn on_complete(&mut self, now: Time, file: FileKey) {
        self.files.complete(file);
        self.timers.disarm_file(file);
        // No peer is called for a whole file; those that want it call us.
        self.addresses.forget_file(file);
        self.open_again(file);
        self.output(Output::Event(Event::Complete { file }));
        self.weigh_links(now, file);
        for peer in self.files.peers(file) {
            self.let_go_if_useless(now, peer);
        }
    }

    /// A file that was whole lacks chunks: the disk lost them.
    pub(super) fn on_incomplete(&mut self, now: Time, file: FileKey, lost: &[ChunkIndex]) {
        let Some(state) = self.files.get_mut(file) else { return };
        let mut stored = ChunkSet::full(&state.geometry);
        lost.iter().for_each(|chunk| {
            stored.remove(*chunk);
        });
        if stored.is_full() {
            return;
        }
        state.reopen(stored, &mut self.rng);
        // A partial holder suggests nothing.
        self.uploads.forget_suggestions(file);
        self.open_again(file);
        self.begin_download(now, file);
    }

    /// Tells all peers of the file's swarm anew what we hold.
    pub(super) fn open_again(&mut self, file: FileKey) {
        let Some(state) = self.files.get(file) else { return };
        let open = state.open_message();
        for peer in self.files.peers(file) {
            self.send(peer, PeerMessage::Open(open.clone()));
        }
    }

    /// Whether any peer is in the file's swarm with us.
    pub fn is_linked(&self, file: FileKey) -> bool {
        self.files.get(file).is_some_and(|state| !state.links.is_empty())
    }

    /// Whether every peer we know in the file's swarm has it whole. Also true when we know none.
    pub fn is_swarm_done(&self, file: FileKey) -> bool {
        self.files
            .get(file)
            .is_some_and(|state| state.links.values().all(|link| link.held.is_full()))
    }
}
