//! Recounts everything that is kept twice. Tests run it after every input.

use std::collections::BTreeSet;

use super::connections::{FormerHandles, Peer};
use super::requests::MAX_ABANDONED;
use super::{Content, Swarm};
use crate::chunks::ChunkState;
use crate::file::{Download, File};
use crate::io::{Direction, FileKey};
use crate::link::{MAX_UNANSWERED, PeerHas, Trust};
use crate::slots::InFlight;

impl Swarm {
    /// Panics, naming what is wrong, unless every counter and index is what a recount gives.
    pub fn check(&self) {
        for (key, file) in &self.files {
            self.check_file(*key, file);
        }
        self.check_peers();
        self.check_link_memory();
        self.check_slots();
    }

    fn check_file(&self, key: FileKey, file: &File) {
        for (peer, link) in &file.links {
            assert!(
                self.peers[peer].links.contains(key),
                "{key:?} is linked to {peer:?} one way only"
            );
            if let Some(handle) = link.handle {
                assert_eq!(self.peers[peer].handles.get(&handle), Some(&key), "number of {peer:?}");
            }
            let is_finished = !self.incomplete.contains(&key) && link.held.is_full();
            assert_eq!(self.peers[peer].links.is_finished(key), is_finished, "{key:?} at {peer:?}");
            for chunk in &link.open {
                let asked =
                    file.download.as_ref().and_then(|download| download.requests.get(chunk));
                let asked =
                    asked.is_some_and(|asked| asked.iter().any(|asked| asked.peer == *peer));
                assert!(asked, "{chunk} is open at {peer:?} and not on the books");
            }
            let asked: BTreeSet<_> =
                link.open.iter().chain(link.withdrawn.iter().map(|(chunk, _)| chunk)).collect();
            assert_eq!(asked.len(), link.unanswered(), "a chunk is asked of {peer:?} twice");
            assert!(asked.len() <= MAX_UNANSWERED, "{} answers are due from {peer:?}", asked.len());
        }
        let of_content = self.by_content.get(&Content::of(&file.hash, &file.geometry));
        assert_eq!(of_content, (!file.is_paused).then_some(&key), "whoever opens {key:?}");
        assert!(
            !file.is_paused || file.links.is_empty() && !self.incomplete.contains(&key),
            "{key:?} is paused"
        );
        assert!(
            !self.incomplete.contains(&key) || file.download.is_some(),
            "a whole file lacks nothing"
        );
        if let Some(download) = &file.download {
            check_download(file, download);
        }
    }

    fn check_peers(&self) {
        for (key, peer) in &self.peers {
            peer.links.check();
            let links = peer.links.iter().map(|file| &self.files[&file].links[key]);
            let open: usize = links.map(|link| link.open.len()).sum();
            assert_eq!(peer.open.chunks as usize, open, "requests open at {key:?}");
            for file in peer.links.iter() {
                assert_eq!(self.files[&file].links[key].trust, peer.trust(), "trust in {key:?}");
            }
            let kept = usize::from(self.uploads.reserved.contains_key(key));
            assert_eq!(
                peer.slots as usize,
                self.uploads.active_of(*key).count() + kept,
                "slots of {key:?}"
            );
            for (handle, file) in &peer.handles {
                let link = self.files[file].links.get(key);
                assert_eq!(
                    link.and_then(|link| link.handle),
                    Some(*handle),
                    "a number without its link"
                );
            }
            assert!(
                peer.abandoned.len() <= MAX_ABANDONED,
                "{} abandoned requests",
                peer.abandoned.len()
            );
            assert!(
                peer.links.len() <= self.config.max_links_per_peer,
                "{} files open",
                peer.links.len()
            );
            assert!(
                peer.former.len() <= FormerHandles::MOST,
                "{} former numbers",
                peer.former.len()
            );
        }
        let callers = self.peers.iter().filter(|(_, peer)| peer.direction == Direction::Inbound);
        self.places.check(callers.map(|(peer, _)| *peer));
        assert!(self.peers.len() <= self.config.max_peers, "{} peers", self.peers.len());
        self.addresses.check();
        self.check_trust();
    }

    fn check_trust(&self) {
        let of_trust = |trust: Trust| self.peers.values().filter(move |peer| peer.trust() == trust);
        let held_at = |is_meant: fn(Trust) -> bool| {
            let peers = self.peers.values().filter(|peer| is_meant(peer.trust()));
            peers.fold(InFlight::default(), |held, peer| InFlight {
                chunks: held.chunks + peer.open.chunks,
                bytes: held.bytes + peer.open.bytes,
            })
        };
        assert_eq!(self.late, held_at(|trust| trust == Trust::Late), "what keeps us waiting");
        assert_eq!(
            self.probes,
            held_at(|trust| trust != Trust::Proven),
            "under way at the unproven"
        );
        assert_eq!(self.proven as usize, of_trust(Trust::Proven).count(), "proven connections");
        let is_proven = |peer: &Peer| peer.trust() == Trust::Proven;
        let probes = |peer: &Peer| if is_proven(peer) { 0 } else { peer.open.chunks };
        self.sources.check(
            self.peers
                .values()
                .map(|peer| (peer.source, probes(peer), peer.trust() == Trust::Late)),
        );
    }

    fn check_slots(&self) {
        let open = self.files.values().flat_map(|file| {
            let chunks = file.links.values().flat_map(|link| link.open.iter());
            chunks.map(|chunk| u64::from(file.geometry.chunk_len(*chunk)))
        });
        let (count, bytes) = open.fold((0, 0), |(count, bytes), len| (count + 1, bytes + len));
        assert_eq!(
            (self.downloads.used(), self.downloads.used_bytes()),
            (count, bytes),
            "download slots"
        );

        let active = self.uploads.active.values().map(|active| &active.len);
        let kept = self.uploads.reserved.values().map(|kept| &kept.len);
        let (count, bytes) = active
            .chain(kept)
            .fold((0, 0), |(count, bytes), len| (count + 1, bytes + u64::from(*len)));
        let used = (self.uploads.slots.used(), self.uploads.slots.used_bytes());
        assert_eq!(used, (count, bytes), "upload slots");

        for peer in
            self.uploads.active.keys().map(|(peer, ..)| peer).chain(self.uploads.reserved.keys())
        {
            assert!(self.peers.contains_key(peer), "a slot is held for a peer that is gone");
        }
        self.uploads.slots.check(0);
        self.downloads.check(self.config.accepted_beyond_per_mille);
        let line: BTreeSet<_> = self.uploads.line.iter().collect();
        assert!(line.iter().copied().eq(self.uploads.waiting.keys()), "the line is not who waits");
        assert_eq!(line.len(), self.uploads.line.len(), "somebody is in line twice");
        for peer in line {
            assert!(self.peers.contains_key(peer), "somebody who is gone waits");
        }
        let storing: u64 = self
            .files
            .values()
            .filter_map(|file| file.download.as_ref())
            .map(|d| d.storing_bytes)
            .sum();
        assert_eq!(self.storing_bytes, storing, "bytes being stored");
    }
}

fn check_download(file: &File, download: &Download) {
    download.chunks.check();
    download.rarity.check();
    let mut copies = vec![0; file.geometry.chunk_count() as usize];
    for link in file.links.values() {
        if let PeerHas::Part(chunks) = &link.held {
            chunks.iter().for_each(|chunk| copies[chunk.index()] += 1);
        }
    }
    download.rarity.check_copies(&copies);
    let (mut storing, mut senders) = (0, 0);
    for chunk in file.geometry.chunks() {
        let state = download.chunks.state(chunk);
        let queues = [
            download.rarity.is_listed(chunk),
            download.retry.contains(&chunk),
            download.paused.contains_key(&chunk),
        ];
        let queued = queues.into_iter().filter(|queued| *queued).count();
        assert_eq!(
            queued,
            usize::from(state == ChunkState::Missing),
            "chunk {chunk}: {state:?}, {queues:?}"
        );
        let asked = download.requests.get(&chunk);
        assert_eq!(state == ChunkState::Requested, asked.is_some(), "chunk {chunk}: {state:?}");
        assert!(
            asked.is_none_or(|asked| (1..=2).contains(&asked.len())),
            "chunk {chunk} is asked for too often"
        );
        for asked in asked.into_iter().flatten() {
            assert!(file.links[&asked.peer].open.contains(&chunk), "a request without its link");
        }
        if state == ChunkState::Storing {
            storing += u64::from(file.geometry.chunk_len(chunk));
            senders += usize::from(download.senders.contains_key(&chunk));
        }
    }
    assert_eq!(download.storing_bytes, storing);
    assert_eq!(download.senders.len(), senders, "a sender is remembered for nothing");
    for (peer, link) in &file.links {
        let missing = |chunk: &_| download.chunks.state(*chunk) == ChunkState::Missing;
        let wanted = file
            .geometry
            .chunks()
            .filter(|chunk| link.held.contains(*chunk))
            .filter(missing)
            .count();
        assert_eq!(link.wanted as usize, wanted, "chunks wanted of {peer:?}");
    }
}
