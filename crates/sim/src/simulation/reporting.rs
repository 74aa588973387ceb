//! The hosts' connections to the coordinator: what each session decides is sent, and what the
//! coordinator answers comes in. These messages do not compete with chunks for the wires.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use tnet_coordinator::{Arrival, Epoch};
use tnet_fileinfo::ChunkSet;
use tnet_proto::{CoordinatorReply, CoordinatorRequest, WireMessage};
use tnet_swarm::{Input, Swarm};

use super::coordinator::Letter;
use super::{FILE, Simulation};
use crate::check::{Breach, table_differs};
use crate::event::Event;
use crate::host::{CALL_PAUSE, ChunkBody, Line};
use crate::tally::Count;
use crate::units::{HostId, Nanos, SECOND, moment, nanos, number};
use crate::wire::encoded_len;

/// Longest pause between calls.
const CALL_PAUSE_AT_MOST: Nanos = 10 * SECOND;

/// Letters under way, and what they came to.
#[derive(Debug, Default)]
pub(super) struct Post {
    letters: Vec<Option<Mail>>,
    free: Vec<u32>,
    last_epoch: u64,
    timeout_at: Option<Nanos>,
    /// By the name of the message.
    pub(super) traffic: BTreeMap<&'static str, Count>,
}

#[derive(Debug)]
enum Mail {
    Hello { host: HostId, epoch: Epoch, arrival: Arrival },
    Request { epoch: Epoch, request: CoordinatorRequest },
    Ended { epoch: Epoch },
    Reply { host: HostId, epoch: Epoch, reply: CoordinatorReply },
    HungUp { host: HostId, epoch: Epoch },
}

impl Post {
    /// The host that a letter is for, if it is not the coordinator.
    pub(super) fn receiver(&self, letter: u32) -> Option<HostId> {
        match self.letters.get(letter as usize)?.as_ref()? {
            Mail::Reply { host, .. } | Mail::HungUp { host, .. } => Some(*host),
            Mail::Hello { .. } | Mail::Request { .. } | Mail::Ended { .. } => None,
        }
    }

    fn put(&mut self, mail: Mail) -> u32 {
        match &mail {
            Mail::Request { request, .. } => self.count(request),
            Mail::Reply { reply, .. } => self.count(reply),
            Mail::Hello { .. } | Mail::Ended { .. } | Mail::HungUp { .. } => {}
        }
        match self.free.pop() {
            Some(place) => {
                self.letters[place as usize] = Some(mail);
                place
            }
            None => {
                self.letters.push(Some(mail));
                number(self.letters.len() - 1)
            }
        }
    }

    fn count<M: WireMessage>(&mut self, message: &M) {
        let count = self.traffic.entry(message.name()).or_default();
        count.messages += 1;
        count.bytes += encoded_len(message);
    }

    fn take(&mut self, letter: u32) -> Option<Mail> {
        self.free.push(letter);
        self.letters[letter as usize].take()
    }
}

impl Simulation {
    fn is_coordinator_up(&self) -> bool {
        let now = self.queue.now();
        !self.world.outages.iter().any(|(down, up)| (*down..*up).contains(&now))
    }

    pub(super) fn call_coordinator(&mut self, host: HostId, life: u32) {
        let now = self.queue.now();
        let is_up = self.is_coordinator_up();
        let state = &mut self.hosts[host as usize];
        if state.life != life {
            return;
        }
        let Some(core) = state.core.as_mut().filter(|core| core.desk.line == Line::Down) else {
            return;
        };
        if !is_up {
            let pause = core.desk.pause;
            core.desk.pause = (pause * 2).min(CALL_PAUSE_AT_MOST);
            let again = now + jittered(pause, &mut self.rng);
            return self.queue.push(again, Event::CallCoordinator { host, life });
        }
        self.post.last_epoch += 1;
        let epoch = Epoch(self.post.last_epoch);
        core.desk.line = Line::Calling(epoch);
        let arrival = Arrival::seen_at(
            self.address(host),
            self.peer_id(host),
            Duration::from_nanos(self.world.report_interval),
        );
        // Three packets of TCP, the last one with the hello.
        self.mail(3 * self.world.coordinator_delay, Mail::Hello { host, epoch, arrival });
    }

    pub(super) fn on_mail(&mut self, letter: u32) {
        let Some(mail) = self.post.take(letter) else { return };
        let now = self.queue.now();
        match mail {
            Mail::Reply { host, epoch, reply } => return self.on_reply(host, epoch, reply),
            Mail::HungUp { host, epoch } => return self.on_hung_up(host, epoch),
            _ if !self.is_coordinator_up() => {}
            Mail::Hello { host, epoch, arrival } => {
                let observed = self.address(host);
                self.coordinator.on_hello(now, (host, observed), epoch, arrival);
            }
            Mail::Request { epoch, request } => self.coordinator.on_request(now, epoch, request),
            Mail::Ended { epoch } => self.coordinator.on_ended(now, epoch),
        }
        self.after_coordinator();
    }

    pub(super) fn on_coordinator_timeout(&mut self) {
        self.post.timeout_at = None;
        if self.is_coordinator_up() {
            self.coordinator.on_timeout(self.queue.now());
            self.after_coordinator();
        }
    }

    fn after_coordinator(&mut self) {
        while let Some(letter) = self.coordinator.poll_letter() {
            let mail = match letter {
                Letter::Reply { host, epoch, reply } => Mail::Reply { host, epoch, reply },
                Letter::Close { host, epoch } => Mail::HungUp { host, epoch },
            };
            self.mail(self.world.coordinator_delay, mail);
        }
        let Some(due) = self.coordinator.next_timeout() else { return };
        let due = due.max(self.queue.now());
        if self.post.timeout_at.is_none_or(|planned| due < planned) {
            self.post.timeout_at = Some(due);
            self.queue.push(due, Event::CoordinatorTimeout);
        }
    }

    /// The coordinator goes down, or is back and knows nothing.
    pub(super) fn on_coordinator_turns(&mut self) {
        self.coordinator.restart();
        if self.is_coordinator_up() {
            return;
        }
        for host in 0..number(self.hosts.len()) {
            self.lose_coordinator(host);
        }
    }

    fn on_hung_up(&mut self, host: HostId, epoch: Epoch) {
        let line = self.hosts[host as usize].core.as_ref().map(|core| core.desk.line);
        if line == Some(Line::Up(epoch)) {
            self.lose_coordinator(host);
        }
    }

    fn lose_coordinator(&mut self, host: HostId) {
        let state = &mut self.hosts[host as usize];
        let life = state.life;
        let Some(core) = state.core.as_mut().filter(|core| core.desk.line != Line::Down) else {
            return;
        };
        core.desk.line = Line::Down;
        core.session.on_disconnect();
        core.desk.pause = CALL_PAUSE;
        let again =
            self.queue.now() + self.world.coordinator_delay + jittered(CALL_PAUSE, &mut self.rng);
        self.queue.push(again, Event::CallCoordinator { host, life });
    }

    fn on_reply(&mut self, host: HostId, epoch: Epoch, reply: CoordinatorReply) {
        let now = moment(self.queue.now());
        let Some(core) = self.hosts[host as usize].core.as_mut() else { return };
        match (&reply, core.desk.line) {
            (CoordinatorReply::Welcome { lease_ms, digest, .. }, Line::Calling(called))
                if called == epoch =>
            {
                core.desk.line = Line::Up(epoch);
                core.desk.pause = CALL_PAUSE;
                core.session.on_welcome(now, Duration::from_millis(u64::from(*lease_ms)), *digest);
            }
            (_, Line::Up(up)) if up == epoch => core.session.on_reply(&reply),
            _ => return,
        }
        core.desk.is_stirred = true;
        if let CoordinatorReply::Holders { holders, .. } = reply {
            let addresses = holders.iter().map(|holder| holder.address).collect();
            self.feed(host, Input::Holders { file: FILE, addresses });
            self.unwatch_if_settled(host);
        }
        self.send_reports(host);
    }

    /// Ends the watch of a host that needs no more neighbours.
    pub(super) fn unwatch_if_settled(&mut self, host: HostId) {
        let hash = self.world.hash();
        let state = &mut self.hosts[host as usize];
        if let Some(core) =
            state.core.as_mut().filter(|core| !needs_holders(&core.swarm, &state.disk))
        {
            core.session.unwatch(hash);
        }
    }

    pub(super) fn on_report_due(&mut self, host: HostId) {
        if let Some(core) = self.hosts[host as usize].core.as_mut() {
            core.report_at = None;
            core.desk.is_stirred = true;
            self.send_reports(host);
        }
    }

    /// Sends what is due.
    pub(super) fn send_reports(&mut self, host: HostId) {
        let now = moment(self.queue.now());
        let state = &mut self.hosts[host as usize];
        let Some(core) = state.core.as_mut() else { return };
        if !std::mem::take(&mut core.desk.is_stirred) {
            return;
        }
        let Line::Up(epoch) = core.desk.line else { return };
        let is_watched = needs_holders(&core.swarm, &state.disk);
        let requests: Vec<_> =
            std::iter::from_fn(|| core.session.poll(now, |_| is_watched)).collect();
        if let Some(due) = core.session.next_timeout().map(nanos)
            && core.report_at.is_none_or(|planned| due < planned)
        {
            core.report_at = Some(due);
            self.queue.push(due, Event::Report(host));
        }
        for request in requests {
            self.request(epoch, request);
        }
    }

    fn request(&mut self, epoch: Epoch, request: CoordinatorRequest) {
        self.mail(self.world.coordinator_delay, Mail::Request { epoch, request });
    }

    pub(super) fn say_bye_to_coordinator(&mut self, host: HostId) {
        let line = self.hosts[host as usize].core.as_ref().map(|core| core.desk.line);
        if let Some(Line::Up(epoch)) = line {
            self.request(epoch, CoordinatorRequest::Bye);
        }
    }

    /// The host's process is gone without a word.
    pub(super) fn hang_up(&mut self, host: HostId, notice: Nanos) {
        let line = self.hosts[host as usize].last_line;
        if let Line::Up(epoch) | Line::Calling(epoch) = line {
            self.mail(self.world.coordinator_delay + notice, Mail::Ended { epoch });
        }
    }

    fn mail(&mut self, after: Nanos, mail: Mail) {
        let letter = self.post.put(mail);
        self.queue.push(self.queue.now() + after, Event::Mail(letter));
    }

    /// Whether the table is not who is there.
    pub(super) fn table_breach(&self) -> Option<Breach> {
        self.coordinator.table().check();
        let table = self.coordinator.table().swarm(&self.world.hash()).unwrap_or_default();
        let alive = || self.hosts.iter().filter(|host| host.is_up());
        let full = number(alive().filter(|host| host.disk.is_full()).count());
        let partial = number(alive().filter(|host| !host.disk.is_full()).count());
        table_differs(table, full, partial)
    }
}

fn needs_holders(swarm: &Swarm<ChunkBody>, disk: &ChunkSet) -> bool {
    !disk.is_full() && !swarm.has_enough_neighbours(FILE)
}

/// Between three quarters and five quarters, as the real client waits.
fn jittered(pause: Nanos, rng: &mut rand::rngs::StdRng) -> Nanos {
    pause / 4 * 3 + rng.random_range(0..=pause / 2)
}
