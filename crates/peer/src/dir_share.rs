//! Keeps the peer's shares in step with a directory.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tnet_fileinfo::{ScanError, explain, shown_path};
use tnet_net::{Descriptors, wall_clock};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;

use crate::api::ShareError;
use crate::engine::Command;
use crate::poll_interval::{idle_pause_after, pause_after};
use crate::share::{Change, DirWatch, LeftOut, LeftOutKind, Notices, ShareDirError, WatchOptions};
use crate::sharing::Scanner;
use crate::store::{self, Cost, FileFingerprint, SharedRoot, WatchLink};

pub(crate) async fn open(dir: PathBuf, options: WatchOptions) -> Result<DirWatch, ShareDirError> {
    let shown = dir.clone();
    let opened = tokio::task::spawn_blocking(move || DirWatch::new(&dir, options)).await;
    opened.unwrap_or_else(|error| {
        Err(ShareDirError::Io { dir: shown, source: std::io::Error::other(error) })
    })
}

/// inotify tells nothing of what is written through another name or a mapping, nor of a file system
/// mounted below. So all files are compared with what the last look saw, this time after it; with
/// the check itself such a change in a directory of usual size is noticed within 30 s.
const CHECK_ALL: Duration = Duration::from_secs(28);

/// The same where a check takes long: a directory of a million files must not keep a processor busy
/// for what is rare.
const CHECK_ALL_PER_CHECK: u32 = 100;
const CHECK_ALL_AT_MOST: Duration = Duration::from_secs(300);

/// How often it is asked whether the shared directory has its place still: one of those above it
/// may have got another name, or a link may lead elsewhere.
const LOOK_AT_ROOT: Duration = Duration::from_secs(5);

/// Files that could not be shared after one look, of which the log has a line each.
const FAILURES_SAID: u64 = 8;

/// While many files are read, it is said so often how far that is.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A file for which there is no descriptor is tried again after this, or when there are some.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A directory whose files a peer shares.
pub(crate) struct DirShare {
    pub(crate) watch: DirWatch,
    pub(crate) interval: Duration,
    pub(crate) scanner: Scanner,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) descriptors: Descriptors,
}

impl DirShare {
    /// Looks again and again, and tells the engine. Files are read one after the other: each is
    /// read by all cores.
    pub(crate) async fn run(self) {
        let DirShare { mut watch, interval, scanner, commands, descriptors } = self;
        let watched = WatchLink::default();
        let follower = Follower { root: watch.root(), watched, scanner, commands, descriptors };
        let mut said = Said::default();
        loop {
            for path in follower.watched.take_missed() {
                watch.look_again_at(&path);
            }
            let looked = tokio::task::spawn_blocking(move || {
                let cost = Cost::begin();
                let changes = watch.poll(wall_clock());
                (watch, changes, cost.so_far())
            });
            let Ok((same, changes, took)) = looked.await else { return };
            watch = same;
            follower.watched.set(changes.is_ok() && watch.has_seen_all());
            let mut notices = watch.take_notices();
            let mut applied = match changes {
                Err(error) => {
                    said.trouble(&error);
                    let gone = if error.is_gone() { watch.take_reported() } else { Vec::new() };
                    follower
                        .apply(gone.into_iter().map(|path| Change::Deleted { path }).collect())
                        .await
                }
                Ok(changes) => {
                    said.no_trouble();
                    follower.apply(changes).await
                }
            };
            let Ok(AppliedChanges { look_again, unread, .. }) = &mut applied else { return };
            for path in look_again.drain(..) {
                watch.look_again_at(&path);
                notices = None;
            }
            for path in unread.drain(..) {
                watch.could_not_read(path);
            }
            let Ok(applied) = applied else { return };
            said.changes(&watch, &applied);
            if let Some(left_out) = said.left_out(&watch)
                && follower.leave_out(&watch, left_out).await.is_err()
            {
                return;
            }
            let Some(notices) = notices else {
                let is_idle = applied.is_nothing() && watch.is_settled();
                let pause = if is_idle { idle_pause_after } else { pause_after };
                tokio::time::sleep(pause(took, interval)).await;
                continue;
            };
            let word = async {
                tokio::select! {
                    () = heard(notices) => {}
                    // A file that was missed is forgotten first.
                    () = follower.watched.missed() => tokio::time::sleep(interval).await,
                }
            };
            tokio::pin!(word);
            let mut pause = Pause::after(took, interval);
            loop {
                let check = match pause.next(word.as_mut()).await {
                    Next::Look => break,
                    Next::CheckPlace => DirWatch::is_in_place,
                    Next::CheckAll => DirWatch::is_as_seen,
                };
                let checked = tokio::task::spawn_blocking(move || {
                    let cost = Cost::begin();
                    (check(&watch), cost.so_far(), watch)
                });
                let Ok((is_same, took, same)) = checked.await else { return };
                watch = same;
                if !is_same {
                    break;
                }
                pause.checked(took);
            }
        }
    }
}

/// The time from one look to the next where the system has word of changes.
struct Pause {
    /// When everything was last looked at or checked.
    looked: tokio::time::Instant,
    /// Until then word is not listened to: so long a pause has to follow so long a look.
    deaf: Duration,
    /// From one check of everything to the next.
    check_after: Duration,
    next: Next,
}

/// What a pause ends with, or is interrupted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// There is word of a change.
    Look,
    /// Whether the shared directory has its place still.
    CheckPlace,
    /// Whether all files look as they did.
    CheckAll,
}

impl Pause {
    fn after(took: Duration, interval: Duration) -> Pause {
        let deaf = pause_after(took, interval);
        let check_after = check_after(took).max(deaf);
        Pause { looked: tokio::time::Instant::now(), deaf, check_after, next: Next::Look }
    }

    async fn next(&mut self, word: Pin<&mut impl Future<Output = ()>>) -> Next {
        let passed = self.looked.elapsed();
        let is_deaf = passed < self.deaf;
        let left = if is_deaf { self.deaf } else { self.check_after }.saturating_sub(passed);
        self.next = tokio::select! {
            () = word, if !is_deaf => Next::Look,
            () = tokio::time::sleep(left.min(LOOK_AT_ROOT)) => {
                if self.looked.elapsed() >= self.check_after { Next::CheckAll } else { Next::CheckPlace }
            }
        };
        self.next
    }

    /// What was to be checked took so long and found no difference.
    fn checked(&mut self, took: Duration) {
        if self.next == Next::CheckAll {
            self.looked = tokio::time::Instant::now();
            self.check_after = check_after(took);
        }
    }
}

fn check_after(took: Duration) -> Duration {
    took.saturating_mul(CHECK_ALL_PER_CHECK).clamp(CHECK_ALL, CHECK_ALL_AT_MOST)
}

/// The peer is gone.
struct Gone;

/// What became of the changes that a look found.
#[derive(Debug, Default)]
struct AppliedChanges {
    new: u64,
    changed: u64,
    gone: u64,
    /// Files that could not be read or described, and why the first could not.
    failed: u64,
    /// Names that led to something else when they were to be opened; they may not at the next look.
    look_again: Vec<PathBuf>,
    /// Files that will not be read again before they change.
    unread: Vec<PathBuf>,
}

impl AppliedChanges {
    fn is_nothing(&self) -> bool {
        self.new + self.changed + self.gone + self.failed == 0
    }
}

/// What has been said in the log, so that it is said once.
#[derive(Debug, Default)]
struct Said {
    trouble: Option<String>,
    left_out: Option<Vec<LeftOut>>,
}

impl Said {
    fn trouble(&mut self, error: &ShareDirError) {
        let trouble = explain(error).to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(error = %trouble, "shared directory");
        }
        self.trouble = Some(trouble);
    }

    fn no_trouble(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!("the shared directory can be read again");
        }
    }

    /// One line for all changes.
    fn changes(&self, watch: &DirWatch, applied: &AppliedChanges) {
        if applied.is_nothing() {
            return;
        }
        let AppliedChanges { new, changed, gone, failed, .. } = applied;
        let (files, bytes) = watch.reported();
        let dir = shown_path(watch.dir());
        tracing::info!(%dir, files, bytes, new, changed, gone, failed, "shared directory");
    }

    /// What is left out now, if that is news.
    fn left_out(&mut self, watch: &DirWatch) -> Option<Vec<LeftOut>> {
        let now = watch.left_out();
        if self.left_out.as_deref().unwrap_or_default() == now {
            return None;
        }
        let is_first = self.left_out.is_none();
        let before = self.left_out.replace(now.to_vec()).unwrap_or_default();
        for left_out in now {
            let same_count =
                |other: &&LeftOut| (other.kind, other.count) == (left_out.kind, left_out.count);
            if before.iter().find(same_count).is_none() {
                let LeftOut { kind, count, example } = left_out;
                let (noun, example) = (kind.noun(*count), shown_path(example));
                // Later ones are mostly those of downloads into the directory, which come and go.
                if *kind == LeftOutKind::Companion && !is_first {
                    tracing::debug!("not shared: {count} {noun}, as {example}");
                } else {
                    tracing::info!("not shared: {count} {noun}, as {example}");
                }
            }
        }
        Some(now.to_vec())
    }
}

/// Tells the engine of changes.
struct Follower {
    root: Arc<SharedRoot>,
    watched: WatchLink,
    scanner: Scanner,
    commands: mpsc::Sender<Command>,
    descriptors: Descriptors,
}

impl Follower {
    async fn apply(&self, changes: Vec<Change>) -> Result<AppliedChanges, Gone> {
        let (total, mut said) = (changes.len(), Instant::now());
        let mut applied = AppliedChanges::default();
        for (number, change) in changes.into_iter().enumerate() {
            self.apply_one(change, &mut applied).await?;
            if said.elapsed() >= SAY_EVERY {
                tracing::info!(
                    done = number + 1,
                    of = total,
                    "files of the shared directory are being read"
                );
                said = Instant::now();
            }
        }
        Ok(applied)
    }

    async fn apply_one(&self, change: Change, applied: &mut AppliedChanges) -> Result<(), Gone> {
        match change {
            Change::Appeared { path, fingerprint } => {
                applied.new += 1;
                self.share(path, fingerprint, applied).await?;
            }
            Change::Changed { path, fingerprint } => {
                applied.changed += 1;
                self.unshare(path.clone()).await?;
                self.share(path, fingerprint, applied).await?;
            }
            Change::Changing { path } => {
                tracing::debug!(path = %shown_path(&path), "not shared while it is written to");
                self.unshare(path).await?;
            }
            Change::Deleted { path } => {
                applied.gone += 1;
                self.unshare(path).await?;
            }
            // Counted, and said with others of their kind.
            Change::Unreadable { path, kind } => {
                tracing::debug!(path = %shown_path(&path), %kind, "not shared: cannot be read");
            }
            Change::HardLink { path } => {
                tracing::debug!(path = %shown_path(&path), "not shared: a hard link that another user may have made")
            }
            Change::TooDeep { path } => {
                tracing::debug!(path = %shown_path(&path), "not shared: too deep")
            }
            Change::TooMany { limit } => {
                tracing::warn!(limit, "not everything is shared: too many files");
            }
        }
        Ok(())
    }

    async fn leave_out(&self, watch: &DirWatch, left_out: Vec<LeftOut>) -> Result<(), Gone> {
        let dir = watch.dir().to_owned();
        self.commands.send(Command::LeavesOut { dir, left_out }).await.map_err(|_| Gone)
    }

    async fn share(
        &self,
        path: PathBuf,
        seen: FileFingerprint,
        applied: &mut AppliedChanges,
    ) -> Result<(), Gone> {
        let scan = || self.scanner.inside(Arc::clone(&self.root), path.clone(), seen);
        let mut scanned = scan().await;
        // What could not be opened for that reason would not be looked at again before it changes.
        while let Err(error) = &scanned
            && self.descriptors.note_cause(error)
        {
            self.descriptors.available(AGAIN_AFTER).await;
            scanned = scan().await;
        }
        match scanned {
            Ok(file) => {
                let file = Box::new(file.watched_by(&self.watched));
                self.commands.send(Command::Share { file }).await.map_err(|_| Gone)?;
            }
            Err(error) => {
                applied.failed += 1;
                let why = explain(&error);
                if applied.failed <= FAILURES_SAID {
                    tracing::warn!(path = %shown_path(&path), error = %why, "not shared");
                } else {
                    tracing::debug!(path = %shown_path(&path), error = %why, "not shared");
                }
                let passes = match &error {
                    ShareError::Scan(error) => matches!(error, ScanError::Changed),
                    ShareError::Store(error) => store::is_transient(error),
                    ShareError::Tree(_) | ShareError::Dir(_) | ShareError::PeerGone(_) => false,
                };
                if passes {
                    applied.look_again.push(path);
                } else {
                    applied.unread.push(path);
                }
            }
        }
        Ok(())
    }

    async fn unshare(&self, path: PathBuf) -> Result<(), Gone> {
        self.commands.send(Command::UnsharePath { path }).await.map_err(|_| Gone)
    }
}

/// Until there is word, or until it is clear that there will be none.
async fn heard(notices: Notices) {
    // The runtime's safe way to wait for any descriptor that does not block; it need not be a
    // pipe's.
    match Receiver::from_owned_fd_unchecked(notices.into_fd()) {
        // A failure is no reason not to look.
        Ok(queue) => drop(queue.readable().await),
        Err(error) => tracing::debug!(%error, "inotify unavailable; polling"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);
    /// Of ten thousand files.
    const USUAL_LOOK: Duration = Duration::from_millis(35);

    /// How long after a look the next one comes, if something changed that inotify does not tell.
    async fn next_look(
        took: Duration,
        word: impl Future<Output = ()>,
        is_in_place: impl Fn(Duration) -> bool,
    ) -> Duration {
        let looked = tokio::time::Instant::now();
        let mut pause = Pause::after(took, INTERVAL);
        tokio::pin!(word);
        loop {
            match pause.next(word.as_mut()).await {
                Next::CheckPlace if is_in_place(looked.elapsed()) => {}
                // The check of everything finds what inotify does not tell.
                Next::Look | Next::CheckPlace | Next::CheckAll => return looked.elapsed(),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_system_has_no_word_of_is_seen_within_half_a_minute() {
        for took in [Duration::ZERO, USUAL_LOOK, 2 * USUAL_LOOK] {
            let waited = next_look(took, std::future::pending(), |_| true).await;
            assert!(waited + took < Duration::from_secs(30), "{waited:?} after {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_loses_its_place_is_looked_at_soon_however_long_a_look_takes() {
        let moved = Duration::from_secs(1);
        for took in [Duration::ZERO, USUAL_LOOK, 20 * USUAL_LOOK] {
            let waited = next_look(took, std::future::pending(), |passed| passed < moved).await;
            assert!(waited <= moved + LOOK_AT_ROOT, "{waited:?} after {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn word_brings_a_look_when_the_pause_is_over() {
        let waited = next_look(USUAL_LOOK, async {}, |_| true).await;
        assert_eq!(waited, pause_after(USUAL_LOOK, INTERVAL));
    }

    #[test]
    fn small_directories_are_looked_at_as_often_as_asked_and_large_ones_less_often() {
        let interval = Duration::from_secs(2);
        for (took_ms, pause_s) in [(0, 2), (6, 2), (40, 12), (5000, 25)] {
            let pause = pause_after(Duration::from_millis(took_ms), interval);
            assert_eq!(pause, Duration::from_secs(pause_s), "after a look of {took_ms} ms");
        }
        assert_eq!(
            pause_after(Duration::from_secs(5), Duration::from_secs(60)),
            Duration::from_secs(60)
        );
    }
}
