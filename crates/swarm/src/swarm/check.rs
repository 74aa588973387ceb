//! Recounts everything that is kept twice. Tests run it after every input.

use super::Swarm;
use super::connections::{FormerHandles, Peer};
use crate::chunks::ChunkState;
use crate::file::{File, Incomplete};
use crate::io::Direction;
use crate::link::{MAX_UNANSWERED, PeerHas};
use crate::request_book::FileRequests;
use crate::{FileKey, PeerKey};
use tnet_sources::Trust;

impl<B> Swarm<B> {
    /// Panics, naming what is wrong, unless every counter and index is what a recount gives.
    pub fn check(&self) {
        for file in self.files.iter() {
            self.check_file(file.key, file);
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
            let is_finished = !self.files.is_incomplete(key) && link.held.is_full();
            assert_eq!(self.peers[peer].links.is_finished(key), is_finished, "{key:?} at {peer:?}");
            let unanswered = self.requests.of_link(*peer, key).unanswered();
            assert!(unanswered <= MAX_UNANSWERED, "{unanswered} answers are due from {peer:?}");
        }
        assert!(!file.is_paused || file.links.is_empty(), "{key:?} is paused");
        let may_be_incomplete = !file.is_paused && file.is_wanted && file.download.is_some();
        assert!(!self.files.is_incomplete(key) || may_be_incomplete, "{key:?} is not fetched");
        if let Some(download) = &file.download {
            check_download(file, download, self.requests.of_file(key));
        }
    }

    fn check_peers(&self) {
        for (key, peer) in &self.peers {
            peer.links.check();
            let trusted = self.requests.trust_in(*key);
            assert!(trusted.is_none_or(|trust| trust == peer.trust()), "trust in {key:?}");
            for file in peer.links.iter() {
                assert_eq!(self.files[&file].links[key].trust, peer.trust(), "trust in {key:?}");
            }
            let kept = usize::from(self.uploads.reservation(*key).is_some());
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
        self.caller_admission.check(callers.map(|(peer, _)| *peer));
        assert!(self.peers.len() <= self.config.max_peers, "{} peers", self.peers.len());
        self.addresses.check();
        self.check_trust();
    }

    fn check_trust(&self) {
        let of_trust = |trust: Trust| self.peers.values().filter(move |peer| peer.trust() == trust);
        assert_eq!(self.proven as usize, of_trust(Trust::Proven).count(), "proven connections");
        let is_proven = |peer: &Peer| peer.trust() == Trust::Proven;
        let probes = |(key, peer): (&PeerKey, &Peer)| {
            let open = if is_proven(peer) { 0 } else { self.requests.open_at(*key).chunks };
            (peer.source, open, peer.trust() == Trust::Late)
        };
        self.sources.check(self.peers.iter().map(probes));
    }

    fn check_slots(&self) {
        for peer in self.uploads.peers() {
            assert!(self.peers.contains_key(&peer), "{peer:?} is gone and has a slot or waits");
        }
        self.uploads.slots().check(0);
        self.requests.slots().check(self.config.extra_offer_slots_per_mille);
        let storing = self.files.iter().map(|file| {
            let senders = file.download.iter().flat_map(|download| download.senders.keys());
            senders.map(|chunk| u64::from(file.geometry.chunk_len(*chunk))).sum::<u64>()
        });
        assert_eq!(self.files.storing_bytes(), storing.sum::<u64>(), "bytes being stored");
    }
}

fn check_download(file: &File, download: &Incomplete, requests: &FileRequests) {
    download.chunks.check();
    download.rarity.check();
    let mut copies = vec![0; file.geometry.chunk_count() as usize];
    for link in file.links.values() {
        if let PeerHas::Part(chunks) = &link.held {
            chunks.iter().for_each(|chunk| copies[chunk.index()] += 1);
        }
    }
    download.rarity.check_copies(&copies);
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
        let asked = requests.of_chunk(chunk);
        assert_eq!(state == ChunkState::Requested, !asked.is_empty(), "chunk {chunk}: {state:?}");
        assert!(asked.len() <= 2, "chunk {chunk} is asked for too often");
        for asked in asked {
            assert!(file.links.contains_key(&asked.peer), "a request without its link");
        }
        let is_sent = download.senders.contains_key(&chunk);
        assert_eq!(state == ChunkState::Storing, is_sent, "the sender of chunk {chunk}");
    }
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
