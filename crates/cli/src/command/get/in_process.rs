//! Downloads in this process: it downloads, then seeds the files for a while, then ends. However it
//! ends, what arrived is saved first, for the next attempt.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tnet_control::{Fault, GetRequest, Source};
use tnet_fileinfo::tree::Manifest;
use tnet_fileinfo::{Described, FileInfo};
use tnet_peer::{
    Download, DownloadError, Peer, Progress, Shortage, Summary, TreeError, WantedTree,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::job::Job;
use super::rerun::same_command;
use crate::command::fileinfo::{self, blocking};
use crate::config::Config;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local_peer::{self, PortConflict};
use crate::render::output::fields;
use crate::render::progress::DownloadView;
use crate::render::units::{duration, percent, shown_path, size};

/// How often the progress is updated.
const REFRESH: Duration = Duration::from_millis(200);

/// How long files are seeded at most without --linger: peers that never finish must not keep this
/// process running.
const LINGER_AT_MOST: Duration = Duration::from_secs(60);

/// For how many files it is tracked whether peers still need them: each costs a little, and the
/// files that completed first have been seeded longest. All are seeded until the end.
const MOST_FOLLOWED: usize = 256;

/// What is known when a download can begin.
enum Known {
    File(FileInfo),
    Tree(Arc<Manifest>),
}

fn tree_failure(error: TreeError, out: &Path) -> Failure {
    match error {
        TreeError::Download(error) => Fault::of_download(&error, out).into(),
        error => Fault::from(error).into(),
    }
}

/// A peer of this process.
pub(super) struct InProcess {
    peer: Arc<Peer>,
    linger: Option<Duration>,
    /// Suppresses notes about single files.
    of_several: bool,
    /// Files that other peers may still need, the latest first.
    seeding: RefCell<VecDeque<Download>>,
}

impl InProcess {
    pub(super) async fn start(
        config: &Config,
        linger: Option<Duration>,
        of_several: bool,
    ) -> Result<Self, Failure> {
        // Others learn the port from the coordinator, so the default one may be in use; a port that
        // the user named may not.
        let on_conflict =
            if config.listen.is_some() { PortConflict::Fail } else { PortConflict::UseAnyPort };
        let peer = Arc::new(local_peer::start(config, on_conflict, None)?);
        Ok(Self { peer, linger, of_several, seeding: RefCell::default() })
    }

    /// Downloads one file or tree.
    pub(super) async fn fetch(
        &self,
        job: &Job,
        view: &mut DownloadView,
        context: &Context,
    ) -> Result<Summary, Failure> {
        let request = &job.request;
        let failed = |error| Failure::from(Fault::of_download(&error, &request.out));
        let described = self.describe(job, context).await?;
        let mut download = tokio::select! {
            opened = self.begin(described, request) => opened?,
            // It may be hashing what an earlier attempt left.
            () = context.stop.cancelled() => return Err(interrupted(None, &request.out)),
        };
        let summary = match follow(&mut download, view, &context.stop).await {
            Some(summary) => summary.map_err(failed)?,
            None => {
                let progress = download.progress();
                let Some(summary) = download.cancel().await else {
                    return Err(interrupted(Some(&progress), &request.out));
                };
                return found(summary).await;
            }
        };
        let summary = found(summary).await?;
        // No peer knows yet that we have a file that was here before, so none waits for it.
        if self.linger.is_some() || summary.traffic.arrived > 0 {
            let mut seeding = self.seeding.borrow_mut();
            seeding.truncate(MOST_FOLLOWED - 1);
            seeding.push_front(download);
        }
        Ok(summary)
    }

    async fn describe(&self, job: &Job, context: &Context) -> Result<Known, Failure> {
        let request = &job.request;
        let described = match &request.source {
            Source::Fileinfo(path) => match fileinfo::read_any(path).await? {
                Described::File(info) => return Ok(Known::File(info)),
                Described::Tree(manifest) => WantedTree::from(manifest),
            },
            Source::Tree(tree) => WantedTree::from(*tree),
            Source::Hash(hash) => {
                self.note_asking(&hash.short(), context);
                return tokio::select! {
                    info = self.peer.fetch_info(*hash, request.timeout) => match info {
                        Ok(info) => Ok(Known::File(info)),
                        Err(error) => Err(Fault::from(error).into()),
                    },
                    () = context.stop.cancelled() => Err(interrupted(None, &request.out)),
                };
            }
        };
        self.note_asking(&described.tree.to_string(), context);
        let (options, stop) = (request.download_options(), self.peer.stop_token());
        let fetching = self.peer.fetch_manifest(described, &request.out, options, &stop);
        tokio::select! {
            manifest = fetching => match manifest {
                Ok(manifest) => Ok(Known::Tree(manifest)),
                Err(error) => Err(tree_failure(error, &request.out)),
            },
            () = context.stop.cancelled() => Err(interrupted(None, &request.out)),
        }
    }

    fn note_asking(&self, what: &str, context: &Context) {
        if !self.of_several {
            context.output.note(&format!("asking peers for the description of {what}"));
        }
    }

    async fn begin(&self, known: Known, request: &GetRequest) -> Result<Download, Failure> {
        let (out, options) = (&request.out, request.download_options());
        match known {
            Known::File(info) => self
                .peer
                .download_with(info, out, options)
                .await
                .map_err(|error| Fault::of_download(&error, out).into()),
            Known::Tree(manifest) => self
                .peer
                .download_payload(manifest, out, options, &self.peer.stop_token())
                .await
                .map_err(|error| tree_failure(error, out)),
        }
    }

    pub(super) async fn shortage(&self) -> Option<Shortage> {
        self.peer.status_of(0).await.ok()?.shortage
    }

    /// Seeds the complete files, if all went well, and ends the peer.
    pub(super) async fn end(self, all_well: bool, context: &Context) {
        let seeding = self.seeding.into_inner();
        if all_well && !seeding.is_empty() {
            seed(&seeding, self.linger, context).await;
        }
        drop(seeding);
        local_peer::end(self.peer).await;
    }
}

/// Shows the progress until the download ends; none if a signal comes first.
async fn follow(
    download: &mut Download,
    view: &mut DownloadView,
    stop: &CancellationToken,
) -> Option<Result<Summary, DownloadError>> {
    loop {
        tokio::select! {
            finished = timeout(REFRESH, download.finished()) => {
                view.show(Instant::now(), &download.progress());
                if let Ok(result) = finished {
                    return Some(result);
                }
            }
            () = stop.cancelled() => return None,
        }
    }
}

/// Seeds complete files for --linger, or until no known peer needs them. A signal ends it, as a
/// success.
async fn seed(downloads: &VecDeque<Download>, linger: Option<Duration>, context: &Context) {
    let output = context.output;
    let limit = linger.unwrap_or(LINGER_AT_MOST);
    let not_needed = async {
        for download in downloads {
            download.swarm_done().await;
        }
    };
    let is_done = linger.is_none() && timeout(Duration::ZERO, not_needed).await.is_ok();
    if limit.is_zero() || is_done {
        return;
    }
    let what = if downloads.len() == 1 { "it" } else { "them" };
    let until = match linger {
        Some(_) => format!("for {}", duration(limit)),
        None => format!("until every known peer has {what}, at most {}", duration(limit)),
    };
    output.note(&format!("seeding {until}; Ctrl-C stops"));
    output.event("seeding", fields(serde_json::json!({ "at_most_seconds": limit.as_secs_f64() })));
    let not_needed = async {
        for download in downloads {
            download.swarm_done().await;
        }
        if linger.is_some() {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = not_needed => {}
        () = sleep(limit) => {}
        () = context.stop.cancelled() => {}
    }
}

/// Checks that the file is at its path: only then the download is done.
async fn found(summary: Summary) -> Result<Summary, Failure> {
    let (path, size) = (summary.path.clone(), summary.bytes_total);
    let is_there = blocking(move || {
        Ok(match fs::metadata(&path) {
            Ok(metadata) => metadata.is_dir() || metadata.len() == size,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        })
    });
    if is_there.await? {
        return Ok(summary);
    }
    let cause = format!(
        "{} is whole, and not there: it was removed meanwhile, or something was mounted over \
         its directory",
        shown_path(&summary.path)
    );
    Err(Failure::new(Exit::NotFound, cause)
        .about(summary.path)
        .or_hint("run the same command again, or choose another directory with -o"))
}

fn interrupted(progress: Option<&Progress>, out: &Path) -> Failure {
    let (shown, again) = (shown_path(out), same_command());
    match progress {
        Some(progress) => Failure::interrupted(format!(
            "interrupted with {} of {} ({} %) kept in {shown}.partial",
            size(progress.bytes_done),
            size(progress.bytes_total),
            percent(progress.bytes_done, progress.bytes_total),
        ))
        .about(out)
        .or_hint(format!("continue with: {again}")),
        None => Failure::interrupted("interrupted").or_hint(format!("start again with: {again}")),
    }
}
