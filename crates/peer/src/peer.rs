//! A peer: what embeds the whole engine in somebody's process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rand::RngExt;
use tnet_fileinfo::{FileHash, FileInfo};
use tnet_infosearch::{Askers, InfoSearch};
use tnet_net::{
    Advertise, Clock, ConnectionLimits, Connector, CoordinatorAddress, Descriptors, NarrowPaths,
    OwnReach, Resolver, listen,
};
use tnet_proto::PeerId;
use tnet_session::SessionContext;
use tnet_swarm::Time;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::adopt_local;
use crate::api::{
    CoordinatorState, DownloadError, FetchInfoError, FileChange, FileCursor, FilesPage, Limits,
    LimitsChange, PeerGone, ShareError, SpawnError, Status, Unfit,
};
use crate::config::{Config, DownloadOptions};
use crate::coordinator_client::CoordinatorClient;
use crate::dialer::Dialer;
use crate::dir_share::{self, DirShare};
use crate::download::Download;
use crate::engine::{
    Command, ENGINE_QUEUE, Engine, Inbox, Parts, StartDownload, UNFIT_WITHIN, is_long,
};
use crate::listener::Listener;
use crate::share::WatchOptions;
use crate::sharing::Scanner;
use crate::store::{self, Opened, ScanCache};
use crate::thread_pool::{blocking, go_on_until};

/// How long goodbyes may take.
const FAREWELL: Duration = Duration::from_millis(1500);

/// A target for which there is no descriptor is opened again after this, or when there are some.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Pauses between looks at whether patience with a search is over.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const LOOK_AGAIN_AT_LEAST: Duration = Duration::from_millis(20);

/// Without any pause between two looks there would be no time for anything else.
const LEAST_REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// A running peer. Downloads and serves until it is shut down or dropped; then nothing of it is
/// left but the files.
///
/// Dropping it is like pulling the plug: connections break without a word, and what a download had
/// not synced is looked at again when it is resumed. [`shutdown`](Peer::shutdown) says goodbye and
/// saves.
#[derive(Debug)]
pub struct Peer {
    commands: mpsc::Sender<Command>,
    listen: SocketAddr,
    config: Config,
    scans: Option<ScanCache>,
    disks: store::Disks,
    askers: Askers,
    clock: Clock,
    descriptors: Descriptors,
    /// Sessions and the coordinator connection, which end by themselves after a goodbye.
    connections: TaskTracker,
    /// Everything else.
    services: TaskTracker,
    stop: CancellationToken,
    /// Ends calls and connections on which nobody has said hello; a part of `stop`.
    stop_calls: CancellationToken,
    _stop_on_drop: DropGuard,
}

/// Prepares a [`Peer`].
#[derive(Debug, Clone, Default)]
pub struct PeerBuilder {
    config: Config,
}

impl PeerBuilder {
    /// Whom to report to and ask for holders. Without one, files come only from peers that call.
    #[must_use]
    pub fn coordinator(mut self, address: impl Into<CoordinatorAddress>) -> Self {
        self.config.coordinator = Some(address.into());
        self
    }

    /// Where to accept peers; port 0 takes any free one. Default: `[::]:7401`, over IPv4 and IPv6.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.config.listen = address;
        self
    }

    /// How often to report to the coordinator. Default: 10 s; at least 100 ms.
    #[must_use]
    pub fn report_interval(mut self, interval: Duration) -> Self {
        self.config.report_interval = interval;
        self
    }

    /// All other settings.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts the peer on the current tokio runtime.
    ///
    /// # Errors
    /// It cannot listen where it should.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(self) -> Result<Peer, SpawnError> {
        Peer::spawn(self.config)
    }
}

impl Peer {
    /// A peer with default settings, to be adjusted.
    pub fn builder() -> PeerBuilder {
        PeerBuilder::default()
    }

    fn spawn(mut config: Config) -> Result<Peer, SpawnError> {
        let limits =
            ConnectionLimits::within_descriptors(config.swarm.max_peers, config.max_strangers);
        config.swarm.max_peers = limits.peers;
        config.max_strangers = limits.strangers;
        config.report_interval = config.report_interval.max(LEAST_REPORT_INTERVAL);
        let socket =
            listen(config.listen, None).map_err(|source| listen_error(config.listen, source))?;
        let listen = socket.local_addr().map_err(|source| listen_error(config.listen, source))?;
        let (stop, connections, services) =
            (CancellationToken::new(), TaskTracker::new(), TaskTracker::new());

        let descriptors = Descriptors::new();
        let looking_after = descriptors.clone().look_after();
        services.spawn(stop.clone().run_until_cancelled_owned(looking_after));
        let (commands, command_queue) = mpsc::channel(ENGINE_QUEUE);
        let (session_events, session_queue) = mpsc::channel(ENGINE_QUEUE);
        let (dialed, dialed_queue) = mpsc::channel(ENGINE_QUEUE);
        let (coordinator_events, coordinator_queue) = mpsc::channel(ENGINE_QUEUE);
        let (work, work_queue) = Inbox::work_channel();
        let inbox = Inbox {
            commands: command_queue,
            sessions: session_queue,
            dialed: dialed_queue,
            coordinator: coordinator_queue,
            work: work_queue,
        };

        let mut random = rand::rng();
        let peer_id = PeerId(random.random());
        let reach = OwnReach::new(listen, config.advertise);
        let clock = Clock::new();
        let connector = Connector::new(NarrowPaths::default(), descriptors.clone())
            .with_timeout(config.connect_within)
            .with_loopback_from(config.loopback_from);
        let context = SessionContext::new(
            session_events,
            config.chunk_memory,
            clock.clone(),
            connections.clone(),
            stop.clone(),
        )
        .with_lingering(limits.farewells)
        .with_demo_delay(config.demo_delay);
        let stop_calls = stop.child_token();
        let dialer = Dialer {
            peer_id,
            reach,
            connector: connector.clone(),
            results: dialed,
            next: Arc::new(AtomicU64::new(0)),
            context: context.clone(),
            stop: stop_calls.clone(),
        };
        let listener = Listener {
            socket,
            dialer: dialer.clone(),
            max_strangers: config.max_strangers,
            descriptors: descriptors.clone(),
        };
        services.spawn(stop.clone().run_until_cancelled_owned(listener.run()));
        let hurry = Arc::new(Notify::new());
        if let Some(address) = config.coordinator.clone() {
            let client = CoordinatorClient {
                address,
                resolver: Resolver::default(),
                connector: connector.clone(),
                secret_id: PeerId(random.random()),
                reach,
                declares_reach: false,
                report_interval: config.report_interval,
                events: coordinator_events,
                clock: clock.clone(),
                hurry: Arc::clone(&hurry),
            };
            connections.spawn(stop.clone().run_until_cancelled_owned(client.run()));
        }
        let seed = random.random();
        let scans = config.scans.clone().map(ScanCache::at);
        let engine = Engine::new(Parts {
            config: config.clone(),
            scans: scans.clone(),
            hurry,
            descriptors: descriptors.clone(),
            peer_id,
            seed,
            listen,
            context,
            dialer,
            work,
        });
        services.spawn(engine.run(inbox));
        let _stop_on_drop = stop.clone().drop_guard();
        let askers = Askers::new(connector, clock.clone(), services.clone(), stop.clone());
        Ok(Peer {
            commands,
            listen,
            config,
            scans,
            disks: store::Disks::default(),
            askers,
            clock,
            descriptors,
            connections,
            services,
            stop,
            stop_calls,
            _stop_on_drop,
        })
    }

    /// Where its user says that others reach it.
    pub fn advertise(&self) -> Option<Advertise> {
        self.config.advertise
    }

    /// Where peers are accepted, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Reads a file, describes it, and serves it until it is changed or removed.
    ///
    /// # Errors
    /// The file cannot be read, or changed while it was.
    pub async fn share(&self, path: impl AsRef<Path>) -> Result<FileInfo, ShareError> {
        let store = self.scanner().named(path.as_ref().to_owned()).await?;
        let info = store.info().clone();
        self.send(Command::Share { file: Box::new(store) }).await?;
        Ok(info)
    }

    /// A token that is cancelled with the peer, and may be cancelled before it.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.child_token()
    }

    /// Serves every file in a directory, and keeps noticing new, changed and deleted ones until the
    /// peer ends.
    ///
    /// # Errors
    /// The directory is not there, cannot be read, or others could put files into it; or the peer
    /// has been shut down.
    pub async fn share_dir(
        &self,
        dir: impl AsRef<Path>,
        options: WatchOptions,
    ) -> Result<(), ShareError> {
        let most_files = options.max_files as u64;
        let watch = dir_share::open(dir.as_ref().to_owned(), options).await?;
        self.send(Command::SharesDir { most_files }).await?;
        let sharing = DirShare {
            watch,
            interval: self.config.share_interval,
            scanner: self.scanner(),
            commands: self.commands.clone(),
            descriptors: self.descriptors.clone(),
        };
        self.services.spawn(self.stop.clone().run_until_cancelled_owned(sharing.run()));
        Ok(())
    }

    /// Stops serving or downloading a content. The file stays where it is, or what of it arrived.
    /// Answers whether it was known.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn unshare(&self, hash: FileHash) -> Result<bool, PeerGone> {
        // When this is answered, what arrived is saved and its target is free.
        let was_running = self.ask(|done| Command::Running { hash, done }).await?.is_some();
        if was_running {
            self.ask(|done| Command::CancelDownload { hash, done }).await?;
        }
        Ok(self.ask(|done| Command::Unshare { hash, done }).await? || was_running)
    }

    /// New rates of the whole peer, from now on. Answers what they are then.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn limit(&self, change: LimitsChange) -> Result<Limits, PeerGone> {
        self.ask(|done| Command::Limit { change, done }).await
    }

    /// Changes the settings of a content: its rate limits, its priority, a pause. Answers whether
    /// it is known.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn update_file(&self, hash: FileHash, change: FileChange) -> Result<bool, PeerGone> {
        self.ask(|done| Command::UpdateFile { hash, change, done }).await
    }

    /// Downloads a file to `out`, with default options.
    ///
    /// # Errors
    /// See [`download_with`](Peer::download_with).
    pub async fn download(
        &self,
        info: FileInfo,
        out: impl AsRef<Path>,
    ) -> Result<Download, DownloadError> {
        self.download_with(info, out, DownloadOptions::default()).await
    }

    /// Downloads a file to `out`; until it is whole it lives in `OUT.partial`, and chunks that are
    /// there already are not fetched again. Goes on even if the handle is dropped, and serves the
    /// file when it is whole.
    ///
    /// # Errors
    /// The target cannot be written, or exists with another content and is not to be replaced.
    /// Later errors come from [`Download::finished`].
    pub async fn download_with(
        &self,
        info: FileInfo,
        out: impl AsRef<Path>,
        options: DownloadOptions,
    ) -> Result<Download, DownloadError> {
        self.download_until(info, out.as_ref(), options, &self.stop).await
    }

    /// The same, if it has begun by the time of `stop`, a [token](Self::stop_token) of this peer. If
    /// not, nobody uses the target any more when that is answered.
    pub async fn download_until(
        &self,
        info: FileInfo,
        out: &Path,
        options: DownloadOptions,
        stop: &CancellationToken,
    ) -> Result<Download, DownloadError> {
        let (hash, began) = (info.hash(), self.clock.now());
        if let Some(out) = self.ask(|done| Command::Running { hash, done }).await? {
            return Err(DownloadError::AlreadyRunning { hash, out });
        }
        let out = out.to_owned();
        let existing =
            if options.overwrite { store::OnExisting::Replace } else { store::OnExisting::Refuse };
        let target = || store::DownloadOptions {
            existing,
            directory: options.directory.clone(),
            mode: options.mode,
            disks: self.disks.clone(),
        };
        let open = || open_target(info.clone(), out.clone(), target(), stop.clone());
        let mut opened = open().await;
        while let Err(error) = &opened
            && self.descriptors.note_cause(error)
        {
            let patience = options
                .give_up_after
                .unwrap_or(Duration::MAX)
                .saturating_sub(self.clock.now() - began);
            if let Some(shortage) = self.descriptors.shortage().filter(|_| patience.is_zero()) {
                return Err(DownloadError::OutOfDescriptors(shortage));
            }
            let available = self.descriptors.available(patience.min(OPEN_AGAIN_AFTER));
            stop.run_until_cancelled(available).await.ok_or(DownloadError::Cancelled)?;
            opened = open().await;
        }
        let download = match opened? {
            Opened::Complete(file) => {
                let path = file.path().to_path_buf();
                self.send(Command::Share { file: Box::new(file) }).await?;
                return Ok(Download::complete(
                    info,
                    out,
                    path,
                    self.clock.now() - began,
                    self.commands.clone(),
                ));
            }
            Opened::Partial(download, _) => Arc::new(download),
        };
        // The content may be on this machine already, under another name.
        if let Some(source) = self.ask(|done| Command::Find { hash, done }).await?
            && let Some(file) = adopt_local::copy(source, Arc::clone(&download), stop.clone()).await
        {
            let path = file.path().to_path_buf();
            self.send(Command::Share { file: Box::new(file) }).await?;
            return Ok(Download::complete(
                info,
                out,
                path,
                self.clock.now() - began,
                self.commands.clone(),
            ));
        }
        if stop.is_cancelled() {
            // What was copied is kept. What cannot be saved is copied again.
            let _ = blocking(move || Ok::<_, PeerGone>(download.abandon())).await;
            return Err(DownloadError::Cancelled);
        }
        let start = |done| {
            Command::Download(Box::new(StartDownload {
                info: info.clone(),
                store: download,
                options,
                done,
            }))
        };
        let handle = self.ask(start).await??;
        Ok(Download::new(info, out, handle, self.commands.clone()))
    }

    /// Gets the description of a file from those who hold it, knowing only its hash.
    ///
    /// # Errors
    /// Nobody holds it, or nobody gave a description that proves itself, within the given time.
    pub async fn fetch_info(
        &self,
        hash: FileHash,
        within: Duration,
    ) -> Result<FileInfo, FetchInfoError> {
        if let Some(source) = self.ask(|done| Command::Find { hash, done }).await?
            && let Some(info) = source.info()
        {
            return Ok(info.clone());
        }
        let Some(coordinator) = self.config.coordinator.clone() else {
            return Err(FetchInfoError::NoCoordinator { hash });
        };
        let (asked, began) = (AtomicUsize::new(0), self.clock.now());
        let mut search = InfoSearch::new(hash, self.askers.clone());
        let searching = search.run(&asked, || self.ask(|done| Command::FindHolders { hash, done }));
        tokio::select! {
            found = searching => return Ok(found?),
            over = self.no_more_patience(&asked, began, within) => over?,
        }
        if let Some(shortage) = self.descriptors.shortage() {
            return Err(FetchInfoError::OutOfDescriptors(shortage));
        }
        let (holders, waited) = (search.useless(), (self.clock.now() - began).min(within));
        if let Some(holders) = search.unreached() {
            return Err(FetchInfoError::Unreachable { hash, waited, holders });
        }
        if holders.asked() > 0 {
            return Err(FetchInfoError::NoneValid { hash, holders });
        }
        let Status { coordinator_state: state, coordinator_contact: contact, .. } =
            self.status_of(0).await?;
        Err(match (state, Unfit::of(state)) {
            (_, Some(fault)) => FetchInfoError::CoordinatorUnfit { address: coordinator, fault },
            (CoordinatorState::Connected, None) => FetchInfoError::NoHolder { hash, waited },
            (_, None) => {
                let cause = contact.last_error;
                FetchInfoError::CoordinatorUnreachable { address: coordinator, waited, cause }
            }
        })
    }

    /// Returns when somebody who began then has looked for a description for long enough: as for a
    /// download, patience with a coordinator that is away begins when it was lost, and who answers
    /// and is no coordinator of ours will hardly become one. Who has asked somebody does not need
    /// it any more.
    async fn no_more_patience(
        &self,
        asked: &AtomicUsize,
        began: Time,
        within: Duration,
    ) -> Result<(), PeerGone> {
        let (mut looked, mut lost, mut absent) = (began, Some(began), Duration::ZERO);
        loop {
            let wait = LOOK_AGAIN.min((began + within) - self.clock.now()).max(LOOK_AGAIN_AT_LEAST);
            self.clock.sleep(wait).await;
            let status = self.status_of(0).await?;
            let state = status.coordinator_state;
            let now = self.clock.now();
            let quiet = now - began;
            if state == CoordinatorState::Connected {
                lost = None;
            } else {
                absent += now - looked;
                lost = lost.or(Some(looked));
            }
            looked = now;
            let is_short = self.descriptors.shortage().is_some();
            if is_short || asked.load(Ordering::Relaxed) > 0 {
                if quiet >= within {
                    return Ok(());
                }
                continue;
            }
            let is_over = match (lost, Unfit::of(state)) {
                (_, Some(_)) => {
                    quiet >= within || status.coordinator_contact.since.min(quiet) >= UNFIT_WITHIN
                }
                (Some(lost), None) => now - lost >= within || quiet >= within.saturating_mul(2),
                (None, None) => is_long(within, quiet, absent),
            };
            if is_over {
                return Ok(());
            }
        }
    }

    /// What time it is for deadlines.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A picture of everything.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn status(&self) -> Result<Status, PeerGone> {
        self.status_of(usize::MAX).await
    }

    /// A picture of everything but the files, and at most so many of those: what is being
    /// downloaded, then what was sent or received last, then others. It takes no longer with more
    /// files, so it may be asked for again and again.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn status_of(&self, most_files: usize) -> Result<Status, PeerGone> {
        self.ask(|done| Command::Status { most_files, done }).await
    }

    /// At most `most` files, from the one after `after` on.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn files_page(
        &self,
        after: Option<FileCursor>,
        most: usize,
    ) -> Result<FilesPage, PeerGone> {
        let after = after.map(|cursor| cursor.0);
        self.ask(|done| Command::Files { after, most, done }).await
    }

    /// Until nothing can be asked of it any more: it ended by itself.
    pub async fn gone(&self) {
        self.commands.closed().await;
    }

    /// Saves downloads for resuming, says goodbye, and waits until nothing is left, for a bounded
    /// time.
    pub async fn shutdown(self) {
        let _ = self.ask(|done| Command::Shutdown { done }).await;
        self.stop_calls.cancel();
        self.connections.close();
        let _ = timeout(FAREWELL, self.connections.wait()).await;
        self.stop.cancel();
        self.services.close();
        let all = async {
            self.connections.wait().await;
            self.services.wait().await;
        };
        let _ = timeout(self.config.shutdown_within, all).await;
    }

    /// Has the engine end as by a fault of ours.
    #[cfg(any(test, feature = "testing"))]
    #[doc(hidden)]
    pub async fn panic(&self) {
        let _ = self.send(Command::Panic).await;
    }

    fn scanner(&self) -> Scanner {
        Scanner { scans: self.scans.clone(), stop: self.stop.clone() }
    }

    async fn send(&self, command: Command) -> Result<(), PeerGone> {
        self.commands.send(command).await.map_err(|_| PeerGone)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, PeerGone> {
        let (done, answer) = oneshot::channel();
        self.send(command(done)).await?;
        answer.await.map_err(|_| PeerGone)
    }
}

fn listen_error(address: SocketAddr, source: std::io::Error) -> SpawnError {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => SpawnError::AddressInUse { address },
        std::io::ErrorKind::AddrNotAvailable => SpawnError::AddressNotHere { address },
        _ => SpawnError::Listen { address, source },
    }
}

async fn open_target(
    info: FileInfo,
    out: std::path::PathBuf,
    options: store::DownloadOptions,
    stop: CancellationToken,
) -> Result<Opened, DownloadError> {
    blocking(move || Ok(store::Download::open(&info, &out, options, &|_| go_on_until(&stop))?))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_without_a_pause_are_none() {
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let peer = Peer::builder()
            .listen(at)
            .report_interval(Duration::ZERO)
            .spawn()
            .expect("a free port");
        assert_eq!(peer.config.report_interval, LEAST_REPORT_INTERVAL);
        peer.shutdown().await;
    }
}
