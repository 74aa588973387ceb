//! Downloads in this process: it downloads, then serves the files for a while, then ends. However
//! it ends, what arrived is written down first, for the next attempt.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tnet_control::Source;
use tnet_fileinfo::FileInfo;
use tnet_peer::{Download, Peer, Progress, Shortage, Summary};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::job::Job;
use super::same_command;
use crate::args::Global;
use crate::command::fileinfo::{self, blocking};
use crate::command::peer::{self, OnTaken};
use crate::exit::{Exit, Failure};
use crate::render::Output;
use crate::render::output::fields;
use crate::render::progress::DownloadView;
use crate::render::units::{duration, percent, shown_path, size};

/// How often what is shown is brought up to date.
const REFRESH: Duration = Duration::from_millis(200);

/// Longest that files are served afterwards when the user did not say: peers that never finish must
/// not hold us up.
const LINGER_AT_MOST: Duration = Duration::from_secs(60);

/// Of so many files it is followed who still needs them: each costs a little, and those that were
/// whole first have been served longest. All are served until the end.
const MOST_FOLLOWED: usize = 256;

/// How long the description of a file is looked for when the user sets no limit; longer than
/// anybody waits.
const UNLIMITED: Duration = Duration::from_secs(365 * 24 * 3600);

/// A peer of this process.
pub(super) struct Foreground {
    peer: Arc<Peer>,
    linger: Option<Duration>,
    /// What is done for each file is not told.
    of_several: bool,
    /// What others may still want from us, the latest first.
    seeding: RefCell<VecDeque<Download>>,
}

impl Foreground {
    pub(super) async fn start(
        global: &Global,
        linger: Option<Duration>,
        of_several: bool,
    ) -> Result<Self, Failure> {
        // Nobody has to know our port in advance, so a taken default one is no reason to fail; a
        // port that was named is.
        let on_taken = if global.listen.is_some() { OnTaken::Fail } else { OnTaken::AnyPort };
        let peer = Arc::new(peer::start(global, on_taken, &global.bounds, None).await?);
        Ok(Self { peer, linger, of_several, seeding: RefCell::default() })
    }

    /// Downloads one file.
    pub(super) async fn fetch(
        &self,
        job: &Job,
        view: &mut DownloadView,
        output: Output,
        stop: &CancellationToken,
    ) -> Result<Summary, Failure> {
        let request = &job.request;
        let info = self.describe(job, output, stop).await?;
        let opening = self.peer.download_with(info, &request.out, request.download_options());
        let mut download = tokio::select! {
            opened = opening => opened?,
            // It may be hashing what an earlier attempt left.
            () = stop.cancelled() => return Err(interrupted(None, &request.out)),
        };
        let summary = match follow(&mut download, view, stop).await {
            Some(summary) => summary?,
            None => {
                let progress = download.progress();
                let Some(summary) = download.cancel().await else {
                    return Err(interrupted(Some(&progress), &request.out));
                };
                return found(summary).await;
            }
        };
        let summary = found(summary).await?;
        // Of a file that was here nobody can know yet that we have it, so nobody waits for us.
        if self.linger.is_some() || summary.traffic.arrived > 0 {
            let mut seeding = self.seeding.borrow_mut();
            seeding.truncate(MOST_FOLLOWED - 1);
            seeding.push_front(download);
        }
        Ok(summary)
    }

    async fn describe(
        &self,
        job: &Job,
        output: Output,
        stop: &CancellationToken,
    ) -> Result<FileInfo, Failure> {
        let hash = match &job.request.source {
            Source::Fileinfo(path) => return fileinfo::read(path).await,
            Source::Hash(hash) => *hash,
        };
        if !self.of_several {
            output.note(&format!("asking peers for the description of {}", hash.short()));
        }
        tokio::select! {
            info = self.peer.fetch_info(hash, job.request.timeout.unwrap_or(UNLIMITED)) => Ok(info?),
            () = stop.cancelled() => Err(interrupted(None, &job.request.out)),
        }
    }

    pub(super) async fn shortage(&self) -> Option<Shortage> {
        self.peer.status_of(0).await.ok()?.shortage
    }

    /// Serves what is whole, if all went well, and ends the peer.
    pub(super) async fn end(self, all_well: bool, output: Output, stop: &CancellationToken) {
        let seeding = self.seeding.into_inner();
        if all_well && !seeding.is_empty() {
            seed(&seeding, self.linger, output, stop).await;
        }
        drop(seeding);
        peer::end(self.peer).await;
    }
}

/// Shows how it goes until it ends; none if a signal comes first.
async fn follow(
    download: &mut Download,
    view: &mut DownloadView,
    stop: &CancellationToken,
) -> Option<Result<Summary, Failure>> {
    loop {
        tokio::select! {
            finished = timeout(REFRESH, download.finished()) => {
                view.show(Instant::now(), &download.progress());
                if let Ok(result) = finished {
                    return Some(result.map_err(Failure::from));
                }
            }
            () = stop.cancelled() => return None,
        }
    }
}

/// Serves whole files: as long as the user said, or until nobody needs them. A signal ends it; the
/// work is done.
async fn seed(
    downloads: &VecDeque<Download>,
    linger: Option<Duration>,
    output: Output,
    stop: &CancellationToken,
) {
    let limit = linger.unwrap_or(LINGER_AT_MOST);
    let nobody_needs_them = async {
        for download in downloads {
            download.swarm_done().await;
        }
    };
    let needless = linger.is_none() && timeout(Duration::ZERO, nobody_needs_them).await.is_ok();
    if limit.is_zero() || needless {
        return;
    }
    let what = if downloads.len() == 1 { "it" } else { "them" };
    let until = match linger {
        Some(_) => format!("for {}", duration(limit)),
        None => format!("until every known peer has {what}, at most {}", duration(limit)),
    };
    output.note(&format!("seeding {until}; Ctrl-C stops"));
    output.event("seeding", fields(serde_json::json!({ "at_most_seconds": limit.as_secs_f64() })));
    let nobody_needs_them = async {
        for download in downloads {
            download.swarm_done().await;
        }
        if linger.is_some() {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = nobody_needs_them => {}
        () = sleep(limit) => {}
        () = stop.cancelled() => {}
    }
}

/// Only what is there is done.
async fn found(summary: Summary) -> Result<Summary, Failure> {
    let (path, size) = (summary.path.clone(), summary.bytes_total);
    let is_there = blocking(move || {
        Ok(match fs::metadata(&path) {
            Ok(metadata) => metadata.len() == size,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        })
    });
    if is_there.await? {
        return Ok(summary);
    }
    let message = format!(
        "{} is whole, and not there: it was removed meanwhile, or something was mounted over its directory; run the \
         same command again, or choose another directory with -o",
        shown_path(&summary.path)
    );
    Err(Failure::new(Exit::NotFound, message))
}

fn interrupted(progress: Option<&Progress>, out: &Path) -> Failure {
    let (out, again) = (shown_path(out), same_command());
    let message = match progress {
        Some(progress) => format!(
            "interrupted with {} of {} ({} %) kept in {out}.partial; continue with: {again}",
            size(progress.bytes_done),
            size(progress.bytes_total),
            percent(progress.bytes_done, progress.bytes_total),
        ),
        None => format!("interrupted; start again with: {again}"),
    };
    Failure::interrupted(message)
}
