//! The one owner of all state of a peer: the core that decides, the open files, the sessions, what
//! the coordinator is told. Everybody else sends it events or commands; it never waits for any of
//! them.

mod accounting;
mod activity;
mod blocking;
mod checking;
mod command;
mod damage;
mod doubts;
mod downloads;
mod entry;
mod file_settings;
mod files;
mod info_server;
mod inspecting;
mod messages;
mod misbehaviour;
mod named_holders;
mod patience;
mod perform;
mod progress;
mod rate;
mod recuts;
mod reporting;
mod shedding;
mod snapshot;
mod stall;
mod stopwatch;
mod swarm_watch;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
mod touched;
mod trees;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{ChunkIndex, FileHash, explain, shown_path};
use tnet_net::{CLOCK_INTERVAL, Clock, Descriptors, descriptors};
use tnet_proto::PeerId;
use tnet_session::{ChunkBody, Session, SessionContext, SessionEvent};
use tnet_swarm::{CoordinatorSession, Direction, FileKey, Input, PeerKey, Swarm, Time, UploadEnd};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::api::Limits;
use crate::config::Config;
use crate::coordinator_client::CoordinatorEvent;
use crate::dialer::{Connected, Dialed, Dialer};
use crate::share::LeftOut;
use crate::store::{FdCache, ScanCache};

use accounting::Totals;
use activity::RecentFiles;
pub(crate) use blocking::Finished;
use blocking::{Arrival, WorkDone};
use checking::Checks;
pub(crate) use command::{Command, StartDownload};
pub(crate) use downloads::DownloadHandle;
use entry::FileEntries;
use inspecting::Integrity;
use misbehaviour::Bans;
use patience::WaitingSearch;
use recuts::Recuts;
use reporting::CoordinatorLink;
use swarm_watch::SwarmWatches;

/// Events waiting for the engine, for each kind. When full, sessions stop reading and TCP slows the
/// senders.
pub(crate) const ENGINE_QUEUE: usize = 1024;

/// Session events taken in at once, before outputs that have become due are looked at.
const BATCH: usize = 64;

/// How often it is looked whether what is open was deleted.
const OPEN_FILES_INTERVAL: Duration = Duration::from_millis(500);

/// How often progress is published and deadlines of downloads are checked, while there are
/// downloads.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) struct Engine {
    config: Config,
    peer_id: PeerId,
    listen: SocketAddr,
    started: Instant,
    clock: Clock,
    /// As of the beginning of this round of events: one look at the clock does for all of them.
    now: Time,
    swarm: Swarm<ChunkBody>,
    /// What performing an output led to at once: inputs for after the last output.
    follow_ups: VecDeque<Input<ChunkBody>>,
    /// Connections that the core has just been told of. The first output that concerns one tells
    /// whether it is kept; without any it is.
    undecided: HashMap<PeerKey, Box<Connected>>,
    sessions: HashMap<PeerKey, OpenSession>,
    context: SessionContext,
    dialer: Dialer,
    files: FileEntries,
    by_hash: HashMap<FileHash, BTreeSet<FileKey>>,
    /// Where whole files are.
    by_path: HashMap<Arc<Path>, FileKey>,
    /// The manifests of trees, by where the tree is.
    manifests: HashMap<Arc<Path>, FileKey>,
    next_file: u32,
    scans: Option<ScanCache>,
    open_files: FdCache,
    descriptors: Descriptors,
    /// Between two looks at the shared files.
    poll_interval: Duration,
    /// A look at what is open is under way.
    is_comparing_open_files: bool,
    /// When idle files were closed last.
    rested: Time,
    /// Files that are being downloaded.
    followed: BTreeSet<FileKey>,
    /// Those of which a part is served that no download adds to.
    parts: BTreeSet<FileKey>,
    /// Files with chunks that are still to be verified on the disk.
    checks: Checks,
    swarm_watches: SwarmWatches,
    /// Searches for descriptions.
    searches: Vec<WaitingSearch>,
    coordinator: CoordinatorLink,
    totals: Totals,
    recent: RecentFiles,
    recuts: Recuts,
    /// Files that are taken from shared directories at most.
    dir_files_most: u64,
    /// What is in each of them and is not shared.
    left_out: BTreeMap<PathBuf, Vec<LeftOut>>,
    bans: Bans,
    integrity: Integrity,
    /// Rates of the whole process.
    limits: Limits,
    /// When large packets last seemed to get lost on the way to a peer.
    narrow_since: Option<Time>,
    work: mpsc::Sender<WorkDone>,
    /// Chunks that the core wants and that a session writes, by their sender, until their outcome.
    written_by_session: HashMap<(PeerKey, FileKey, ChunkIndex), Arrival>,
}

struct OpenSession {
    session: Session,
    /// Where the other side accepts peers.
    address: Option<SocketAddr>,
    round_trip: Option<Duration>,
    totals: Totals,
    /// Chunks of ours that it reported as corrupt, and that are right.
    false_corruption_reports: u32,
}

/// The engine's inboxes.
pub(crate) struct Inbox {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) sessions: mpsc::Receiver<(PeerKey, SessionEvent)>,
    pub(crate) dialed: mpsc::Receiver<Dialed>,
    pub(crate) coordinator: mpsc::Receiver<CoordinatorEvent>,
    pub(crate) work: mpsc::Receiver<WorkDone>,
}

impl Inbox {
    pub(crate) fn work_channel() -> (mpsc::Sender<WorkDone>, mpsc::Receiver<WorkDone>) {
        mpsc::channel(ENGINE_QUEUE)
    }
}

/// What begins a round of the engine.
enum Heard {
    Command(Command),
    /// Events, which are in the batch.
    Sessions,
    Dialed(Dialed),
    Coordinator(CoordinatorEvent),
    Work(WorkDone),
    /// It was time to look.
    Nothing,
}

/// What an engine is made from.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) scans: Option<ScanCache>,
    /// Has the coordinator called without a pause.
    pub(crate) hurry: Arc<Notify>,
    pub(crate) descriptors: Descriptors,
    pub(crate) peer_id: PeerId,
    pub(crate) seed: u64,
    pub(crate) listen: SocketAddr,
    pub(crate) context: SessionContext,
    pub(crate) dialer: Dialer,
    pub(crate) work: mpsc::Sender<WorkDone>,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Engine {
        let Parts {
            config,
            scans,
            hurry,
            descriptors,
            peer_id,
            seed,
            listen,
            context,
            dialer,
            work,
        } = parts;
        Engine {
            peer_id,
            listen,
            started: Instant::now(),
            clock: context.clock.clone(),
            now: Time::ZERO,
            swarm: Swarm::new(config.swarm.clone(), peer_id, seed),
            follow_ups: VecDeque::new(),
            undecided: HashMap::new(),
            sessions: HashMap::new(),
            context,
            dialer,
            files: FileEntries::default(),
            by_hash: HashMap::new(),
            by_path: HashMap::new(),
            manifests: HashMap::new(),
            next_file: 0,
            scans,
            open_files: FdCache::new(descriptors::for_files()),
            descriptors,
            poll_interval: config.report_interval,
            is_comparing_open_files: false,
            rested: Time::ZERO,
            followed: BTreeSet::new(),
            parts: BTreeSet::new(),
            checks: Checks::default(),
            swarm_watches: SwarmWatches::default(),
            searches: Vec::new(),
            coordinator: CoordinatorLink::new(
                config.coordinator.clone(),
                CoordinatorSession::new(config.report_interval),
                hurry,
            ),
            totals: Totals::default(),
            recent: RecentFiles::default(),
            recuts: Recuts::default(),
            dir_files_most: 0,
            left_out: BTreeMap::new(),
            bans: Bans::default(),
            integrity: Integrity::default(),
            limits: Limits::default(),
            narrow_since: None,
            work,
            written_by_session: HashMap::new(),
            config,
        }
    }

    /// Until told to shut down, or until all senders of commands are gone.
    pub(crate) async fn run(mut self, mut inbox: Inbox) {
        let stop = self.context.stop.clone();
        let mut batch = Vec::with_capacity(BATCH);
        let (mut next_beat, mut next_look) = (Time::ZERO, Time::ZERO + self.poll_interval);
        let mut next_open_look = Time::ZERO + OPEN_FILES_INTERVAL;
        self.limit(self.config.limits.into());
        let farewell = loop {
            let next_looks =
                if self.has_open() { next_look.min(next_open_look) } else { next_look };
            let wake = self.clock.instant_of(self.next_wake(next_beat, next_looks));
            let wake = wake.min(Instant::now() + CLOCK_INTERVAL);
            let heard = tokio::select! {
                () = stop.cancelled() => break None,
                command = inbox.commands.recv() => match command {
                    None => break None,
                    Some(Command::Shutdown { done }) => break Some(done),
                    Some(command) => Heard::Command(command),
                },
                _ = inbox.sessions.recv_many(&mut batch, BATCH) => Heard::Sessions,
                Some(dialed) = inbox.dialed.recv() => Heard::Dialed(dialed),
                Some(event) = inbox.coordinator.recv() => Heard::Coordinator(event),
                Some(done) = inbox.work.recv() => Heard::Work(done),
                () = sleep_until(wake) => Heard::Nothing,
            };
            self.now = self.clock.beat();
            match heard {
                Heard::Command(command) => self.on_command(command),
                Heard::Sessions => {
                    for (peer, event) in batch.drain(..) {
                        self.on_session_event(peer, event);
                    }
                }
                Heard::Dialed(dialed) => self.on_dialed(dialed),
                Heard::Coordinator(event) => self.on_coordinator(event),
                Heard::Work(done) => self.on_work_done(done),
                Heard::Nothing => {}
            }
            if self.swarm.next_timeout().is_some_and(|due| due <= self.now) {
                self.feed(Input::Tick);
            }
            if self.has_beat() && next_beat <= self.now {
                self.beat();
                next_beat = self.now + PROGRESS_INTERVAL;
            }
            if next_open_look <= self.now && self.has_open() {
                self.compare_open_files();
                next_open_look = self.now + OPEN_FILES_INTERVAL;
            }
            if next_look <= self.now {
                self.recuts.note_leaving();
                self.compare_metadata();
                next_look = self.now + self.poll_interval;
            }
            self.free_recuts();
            self.look_at_doubtful();
            self.watch_downloads();
            self.send_reports();
        };
        if let Some(done) = farewell {
            self.say_goodbye(done).await;
        }
    }

    /// Whether a download or a search waits for the next beat.
    fn has_beat(&self) -> bool {
        !(self.followed.is_empty() && self.swarm_watches.is_empty() && self.searches.is_empty())
    }

    /// Whether something may be open that can be looked at.
    fn has_open(&self) -> bool {
        !self.is_comparing_open_files
            && (self.open_files.in_use().0 > 0
                || !self.followed.is_empty()
                || !self.parts.is_empty())
    }

    fn next_wake(&self, next_beat: Time, next_look: Time) -> Time {
        let beat = self.has_beat().then_some(next_beat);
        let due = [
            self.swarm.next_timeout(),
            self.coordinator.session.next_timeout(),
            self.next_inspection(),
            beat,
        ];
        due.into_iter().flatten().fold(next_look, Time::min)
    }

    /// Gives the core an input and performs its outputs. Must not be called while outputs are
    /// performed; `follow_ups` is for that.
    fn feed(&mut self, input: Input<ChunkBody>) {
        self.swarm.handle_input(self.now, input);
        self.perform_all();
    }

    fn perform_all(&mut self) {
        loop {
            while let Some(output) = self.swarm.poll_output() {
                self.perform(output);
            }
            let Some(input) = self.follow_ups.pop_front() else { return };
            self.swarm.handle_input(self.now, input);
        }
    }

    fn on_dialed(&mut self, dialed: Dialed) {
        match dialed {
            Dialed::Failed { address, failure: None } => self.feed(Input::NotCalled { address }),
            Dialed::Failed { address, failure } => {
                self.coordinator.session.on_failed(address);
                self.note_call(address, failure);
                self.feed(Input::ConnectFailed { address });
            }
            Dialed::Connected(connected) => self.on_connected(connected),
        }
    }

    fn on_connected(&mut self, connected: Box<Connected>) {
        let Connected { peer, address, direction, .. } = *connected;
        if let (Direction::Outbound, Some(address)) = (direction, address) {
            self.coordinator.session.on_reached(address);
            self.note_call(address, None);
        }
        let (id, source) = (connected.greeted.hello.peer_id, connected.remote.ip());
        let local = connected.greeted.input.local_addr().ok();
        self.undecided.insert(peer, connected);
        self.feed(Input::PeerConnected { peer, id, source, local, address, direction });
        self.start_session(peer);
    }

    /// The session of a connection that the core keeps: it has not ended it, or has a use for it.
    fn start_session(&mut self, peer: PeerKey) {
        let Some(connected) = self.undecided.remove(&peer) else { return };
        let Connected { remote, address, direction, round_trip, greeted, .. } = *connected;
        let session = Session::start(&self.context, peer, remote, greeted);
        let totals = Totals::default();
        self.sessions.insert(
            peer,
            OpenSession { session, address, round_trip, totals, false_corruption_reports: 0 },
        );
        tracing::info!(%remote, ?direction, "peer connected");
    }

    fn on_session_event(&mut self, peer: PeerKey, event: SessionEvent) {
        match event {
            SessionEvent::Message(message) => self.on_message(peer, message),
            SessionEvent::LongMessage(long) => {
                let (message, _share) = *long;
                self.on_message(peer, message);
            }
            SessionEvent::DataReceived { bytes } => {
                self.count_received(peer, bytes);
                self.feed(Input::DataReceived { peer, bytes });
            }
            SessionEvent::ReadingPaused => self.feed(Input::ReadingPaused { peer }),
            SessionEvent::ReadingResumed => self.feed(Input::ReadingResumed { peer }),
            SessionEvent::ChunkArrived { handle, chunk, last_part, body } => {
                self.count_received(peer, last_part);
                self.feed(Input::DataReceived { peer, bytes: last_part });
                self.feed(Input::ChunkArrived { peer, handle, chunk, body });
            }
            SessionEvent::ChunkWritten { file, chunk, outcome } => {
                // Otherwise the core did not want the chunk.
                if let Some(arrival) = self.written_by_session.remove(&(peer, file, chunk)) {
                    let _entered = self.files.span(file).entered();
                    self.on_written(arrival, outcome);
                }
            }
            SessionEvent::UploadEnded { file, chunk, end, failed } => {
                if end == UploadEnd::Sent {
                    self.count_sent(peer, file, chunk);
                    self.note_readable(file);
                }
                self.feed(Input::UploadEnded { peer, file, chunk, end });
                if let Some(error) = failed {
                    self.on_unreadable(file, &error);
                }
            }
            SessionEvent::Violated => self.feed(Input::Violated { peer }),
            SessionEvent::Ended => {
                self.integrity.leaving.remove(&peer);
                if let Some(open) = self.sessions.remove(&peer) {
                    tracing::info!(remote = %open.session.remote, "peer lost");
                }
                self.feed(Input::PeerLost { peer });
                self.recuts.note_leaving();
            }
        }
    }

    /// Leaves no download unsynced, and tells everybody.
    async fn say_goodbye(mut self, done: oneshot::Sender<()>) {
        let stores = self.end_all_downloads();
        for (_, open) in self.sessions.drain() {
            open.session.close(tnet_proto::ByeReason::SHUTDOWN);
        }
        self.coordinator.say_bye();
        let saved = tokio::task::spawn_blocking(move || {
            for store in stores {
                if let Err(error) = store.abandon() {
                    tracing::warn!(path = %shown_path(&store.partial_path()), error = %explain(&error), "not all of a download could be saved");
                }
            }
        });
        let _ = tokio::time::timeout(self.config.shutdown_within, saved).await;
        let _ = done.send(());
    }
}

/// What a shared file is known by to others.
fn keys_of(by_hash: &HashMap<FileHash, BTreeSet<FileKey>>, hash: &FileHash) -> Vec<FileKey> {
    by_hash.get(hash).into_iter().flatten().copied().collect()
}
