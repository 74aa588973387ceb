//! Rates, priorities and pauses that the user sets, for the whole process and for single files.

use super::{Content, Swarm};
use crate::Time;
use crate::io::{FileKey, PeerKey};
use crate::limits::{Limits, Paces, Priority};
use crate::pace::Pace;
use crate::timers::Timer;
use tnet_proto::PeerMessage;

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

impl Way {
    fn of(self, paces: &Paces) -> Option<&Pace> {
        match self {
            Way::Up => paces.up.as_ref(),
            Way::Down => paces.down.as_ref(),
        }
    }

    fn of_mut(self, paces: &mut Paces) -> Option<&mut Pace> {
        match self {
            Way::Up => paces.up.as_mut(),
            Way::Down => paces.down.as_mut(),
        }
    }
}

impl Swarm {
    /// New limits of a file, or of the whole process.
    pub(super) fn on_limit(&mut self, now: Time, file: Option<FileKey>, limits: Limits) {
        let paces = Paces::new(limits, now);
        match file {
            None => self.paces = paces,
            Some(file) if paces.is_none() => drop(self.file_paces.remove(&file)),
            Some(file) if self.files.contains_key(&file) => {
                self.file_paces.insert(file, paces);
            }
            Some(_) => {}
        }
        self.on_pace(now);
    }

    /// Something may begin that was held back.
    pub(super) fn on_pace(&mut self, now: Time) {
        let all = std::iter::once(&self.paces).chain(self.file_paces.values());
        let moments = all.flat_map(|paces| [&paces.up, &paces.down]).flatten().map(Pace::next);
        if let Some(next) = moments.filter(|next| *next > now).min() {
            self.timers.arm(Timer::Pace, next);
        }
        self.grant_slots(now);
        self.fill_downloads(now);
    }

    /// Whether the limits let one more chunk of the file begin.
    pub(super) fn is_in_time(&self, now: Time, way: Way, file: FileKey) -> bool {
        let of_file = || self.file_paces.get(&file).and_then(|paces| way.of(paces));
        way.of(&self.paces).is_none_or(|pace| pace.next() <= now)
            && of_file().is_none_or(|pace| pace.next() <= now)
    }

    /// Whether the limits of the process alone let anything be asked for.
    pub(super) fn may_ask_now(&self, now: Time) -> bool {
        self.paces.down.as_ref().is_none_or(|pace| pace.next() <= now)
    }

    /// A chunk begins.
    pub(super) fn spend(&mut self, now: Time, way: Way, file: FileKey, len: u32) {
        let of_file = self.file_paces.get_mut(&file);
        for paces in of_file.into_iter().chain([&mut self.paces]) {
            if let Some(pace) = way.of_mut(paces) {
                pace.take(now, len);
                if pace.next() > now {
                    self.timers.arm(Timer::Pace, pace.next());
                }
            }
        }
    }

    /// It did not come to that.
    pub(super) fn unspend(&mut self, way: Way, file: FileKey, len: u32) {
        let of_file = self.file_paces.get_mut(&file);
        for pace in
            of_file.into_iter().chain([&mut self.paces]).filter_map(|paces| way.of_mut(paces))
        {
            pace.give_back(len);
        }
    }

    /// Whether a limit holds up the download of this file now.
    pub fn is_held_back(&self, file: FileKey, now: Time) -> bool {
        !self.is_in_time(now, Way::Down, file)
    }

    pub(super) fn on_priority(&mut self, now: Time, file: FileKey, priority: Priority) {
        let Some(state) = self.files.get_mut(&file) else { return };
        state.priority = priority;
        self.priorities_differ |= priority != Priority::default();
        self.grant_slots(now);
        self.fill_downloads(now);
    }

    /// Whether a file that comes first is being downloaded.
    pub(super) fn is_outranked(&self, file: FileKey) -> bool {
        let Some(state) = self.files.get(&file).filter(|_| self.priorities_differ) else {
            return false;
        };
        self.incomplete.iter().map(|other| &self.files[other]).any(|other| {
            let is_moving =
                other.download.as_ref().is_some_and(|download| !download.requests.is_empty());
            other.priority > state.priority && is_moving
        })
    }

    /// Leaves the file's swarm and keeps what is known of its chunks.
    pub(super) fn on_pause(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get_mut(&file) else { return };
        state.is_paused = true;
        let content = Content::of(&state.hash, &state.geometry);
        let peers: Vec<PeerKey> = state.links.keys().copied().collect();
        for peer in peers {
            self.send(peer, PeerMessage::Close { file: file.handle() });
            self.drop_link(now, peer, file);
        }
        self.by_content.remove(&content);
        self.incomplete.remove(&file);
        self.addresses.forget_file(file);
        self.timers.disarm_file(file);
        self.grant_slots(now);
        self.fill_downloads(now);
    }

    /// Takes part in the file's swarm again.
    pub(super) fn on_resume(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get_mut(&file).filter(|state| state.is_paused) else { return };
        state.is_paused = false;
        self.by_content.insert(Content::of(&state.hash, &state.geometry), file);
        if let Some(download) = &mut state.download {
            // There is nobody to whom it was not announced.
            download.unannounced.clear();
            download.lookups = 0;
            if state.is_wanted {
                self.begin_download(now, file);
                self.on_retry(now, file);
            }
        }
    }
}
