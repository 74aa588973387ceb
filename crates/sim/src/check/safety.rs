//! Safety: no chunk is lost, none is stored or served unverified, and no honest host is blamed.
//! Receives each action as it happens.

use tnet_fileinfo::ChunkSet;

use super::Breach;
use crate::net::Taint;
use crate::units::HostId;
use crate::world::Character;

/// Breaches kept; the first ones are the most useful.
const KEPT: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Safety {
    breaches: Vec<Breach>,
}

impl Safety {
    pub(crate) fn breaches(self) -> Vec<Breach> {
        self.breaches
    }

    /// An honest host begins to send a chunk.
    pub(crate) fn serves(&mut self, host: HostId, chunk: u32, is_on_disk: bool) {
        if !is_on_disk {
            self.note(Breach::ServedWithoutHaving { host, chunk });
        }
    }

    /// The core wants a chunk verified and stored.
    pub(crate) fn fetched(&mut self, host: HostId, chunk: u32, is_on_disk: bool) {
        if is_on_disk {
            self.note(Breach::FetchedAgain { host, chunk });
        }
    }

    /// A chunk is on the disk.
    pub(crate) fn stored(&mut self, host: HostId, chunk: u32, taint: Taint) {
        if taint == Taint::Forged {
            self.note(Breach::StoredForged { host, chunk });
        }
    }

    /// The core says that the file is whole.
    pub(crate) fn done(&mut self, host: HostId, disk: &ChunkSet) {
        if !disk.is_full() {
            self.note(Breach::DoneTooEarly { host, missing: disk.len() - disk.count() });
        }
    }

    /// The number of chunks that the core of a host counts as stored.
    pub(crate) fn believes(&mut self, host: HostId, core: u32, disk: &ChunkSet) {
        if core != disk.count() {
            self.note(Breach::Lost { host, disk: disk.count(), core });
        }
    }

    pub(crate) fn blames(
        &mut self,
        by: HostId,
        host: HostId,
        character: Character,
        what: &'static str,
    ) {
        if character == Character::Honest {
            self.note(Breach::HonestBlamed { by, host, what });
        }
    }

    fn note(&mut self, breach: Breach) {
        if self.breaches.len() < KEPT {
            self.breaches.push(breach);
        }
    }
}

#[cfg(test)]
mod tests {
    use tnet_fileinfo::{ChunkSize, Geometry};

    use super::*;

    fn disk(stored: u32) -> ChunkSet {
        let size = ChunkSize::new(16 * 1024).expect("a power of two");
        let geometry = Geometry::new(10 * 16 * 1024, size).expect("ten chunks");
        let mut disk = ChunkSet::empty(&geometry);
        geometry.chunks().take(stored as usize).for_each(|chunk| {
            disk.insert(chunk);
        });
        disk
    }

    #[test]
    fn right_deeds_leave_no_trace() {
        let mut safety = Safety::default();
        safety.serves(1, 2, true);
        safety.fetched(1, 2, false);
        safety.stored(1, 2, Taint::Genuine);
        safety.done(1, &disk(10));
        safety.believes(1, 4, &disk(4));
        safety.blames(1, 2, Character::Mute, "refusing");
        assert_eq!(safety.breaches(), []);
    }

    #[test]
    fn every_wrong_deed_is_a_breach_of_its_own() {
        let mut safety = Safety::default();
        safety.serves(1, 2, false);
        safety.fetched(1, 2, true);
        safety.stored(1, 2, Taint::Forged);
        safety.done(1, &disk(9));
        safety.believes(1, 5, &disk(4));
        safety.blames(1, 2, Character::Honest, "refusing");
        let expected = [
            Breach::ServedWithoutHaving { host: 1, chunk: 2 },
            Breach::FetchedAgain { host: 1, chunk: 2 },
            Breach::StoredForged { host: 1, chunk: 2 },
            Breach::DoneTooEarly { host: 1, missing: 1 },
            Breach::Lost { host: 1, disk: 4, core: 5 },
            Breach::HonestBlamed { by: 1, host: 2, what: "refusing" },
        ];
        assert_eq!(safety.breaches(), expected);
    }
}
