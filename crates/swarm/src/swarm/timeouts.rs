//! What happens when a moment has come. The due times are set where the waiting begins.

use super::Swarm;
use crate::Time;
use crate::timers::Timer;

impl<B> Swarm<B> {
    pub(super) fn on_tick(&mut self, now: Time) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Announce(file) => self.announce(file),
                Timer::Reopen(file) => self.on_reopen(now, file),
                Timer::Lookup(file) => self.ask_coordinator(now, file),
                Timer::Retry(file) => self.on_retry(now, file),
                Timer::Hedge(_) => self.fill_downloads(now),
                Timer::Rest => {
                    self.watch_rests(now);
                    self.fill_downloads(now);
                }
                Timer::Exchange(file) => self.exchange_all(now, file),
                Timer::Progress(peer) => self.check_progress(now, peer),
                Timer::Recover(peer) => self.on_recover(now, peer),
                Timer::Patience(peer, file) => self.on_patience_over(now, peer, file),
                Timer::Unanswered(peer, file) => self.on_unanswered(now, peer, file),
                Timer::Reservation(peer) => {
                    self.note_offered_in_vain(now, peer);
                    self.on_reservation_over(now, peer);
                }
                Timer::Idle(peer) => self.on_idle(now, peer),
                Timer::Probe(peer) => self.on_probe_over(now, peer),
                Timer::Finished(peer, file) => self.on_finished(now, peer, file),
                Timer::Addresses => self.connect_more_all(now),
                Timer::RateLimit => self.on_rate_limit(now),
            }
        }
    }
}
