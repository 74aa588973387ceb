//! A download in this process: downloads, then serves the file for a while, then ends. However it ends, what arrived is
//! written down first, for the next attempt.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tnet_fileinfo::FileInfo;
use tnet_peer::control::GetRequest;
use tnet_peer::{Download, Peer, Progress, Summary};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Described, same_command};
use crate::args::Global;
use crate::command::peer::{self, OnTaken};
use crate::exit::Failure;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::progress::{DownloadView, show_summary, summary_report};
use crate::render::units::{duration, percent, shown_path, size};

/// How often what is shown is brought up to date.
const REFRESH: Duration = Duration::from_millis(200);

/// Longest that a file is served afterwards when the user did not say: peers that never finish must not hold us up.
const LINGER_AT_MOST: Duration = Duration::from_secs(60);

/// How long the description of a file is looked for when the user sets no limit; longer than anybody waits.
const UNLIMITED: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) async fn run(
    request: GetRequest,
    wanted: Described,
    linger: Option<Duration>,
    global: &Global,
    output: Output,
    stop: CancellationToken,
) -> Result<Report, Failure> {
    // Nobody has to know our port in advance, so a taken default one is no reason to fail; a port that was named is.
    let on_taken = if global.listen.is_some() { OnTaken::Fail } else { OnTaken::AnyPort };
    let peer = Arc::new(peer::start(global, on_taken, None).await?);
    let result = Box::pin(get(&peer, &request, wanted, linger, output, &stop)).await;
    peer::end(peer).await;
    result
}

async fn get(
    peer: &Peer,
    request: &GetRequest,
    wanted: Described,
    linger: Option<Duration>,
    output: Output,
    stop: &CancellationToken,
) -> Result<Report, Failure> {
    let info = describe(peer, request, wanted, output, stop).await?;
    let opening = peer.download_with(info, &request.out, request.download_options());
    let mut download = tokio::select! {
        opened = opening => opened?,
        // It may be hashing what an earlier attempt left.
        () = stop.cancelled() => return Err(interrupted(None, &request.out)),
    };
    match follow(&mut download, output, stop).await {
        Some(summary) => {
            let summary = summary?;
            show_summary(output, &summary);
            output.event("complete", summary_report(&summary));
            // Of a file that was here nobody can know yet that we have it, so nobody waits for us.
            if linger.is_some() || summary.traffic.arrived > 0 {
                seed(&download, linger, output, stop).await;
            }
            Ok(summary_report(&summary))
        }
        None => {
            let progress = download.progress();
            download.cancel().await;
            Err(interrupted(Some(&progress), &request.out))
        }
    }
}

async fn describe(
    peer: &Peer,
    request: &GetRequest,
    wanted: Described,
    output: Output,
    stop: &CancellationToken,
) -> Result<FileInfo, Failure> {
    let hash = match wanted {
        Described::Info(info) => return Ok(*info),
        Described::Hash(hash) => hash,
    };
    output.note(&format!("asking peers for the description of {}", hash.short()));
    tokio::select! {
        info = peer.fetch_info(hash, request.timeout.unwrap_or(UNLIMITED)) => Ok(info?),
        () = stop.cancelled() => Err(interrupted(None, &request.out)),
    }
}

/// Shows how it goes until it ends; none if a signal comes first.
async fn follow(
    download: &mut Download,
    output: Output,
    stop: &CancellationToken,
) -> Option<Result<Summary, Failure>> {
    let mut view = DownloadView::new(output);
    loop {
        tokio::select! {
            finished = timeout(REFRESH, download.finished()) => match finished {
                Ok(result) => {
                    view.show(Instant::now(), &download.progress());
                    view.clear();
                    return Some(result.map_err(Failure::from));
                }
                Err(_) => view.show(Instant::now(), &download.progress()),
            },
            () = stop.cancelled() => {
                view.clear();
                return None;
            }
        }
    }
}

/// Serves the whole file: as long as the user said, or until nobody needs it. A signal ends it; the work is done.
async fn seed(download: &Download, linger: Option<Duration>, output: Output, stop: &CancellationToken) {
    let limit = linger.unwrap_or(LINGER_AT_MOST);
    let needless = linger.is_none() && timeout(Duration::ZERO, download.swarm_done()).await.is_ok();
    if limit.is_zero() || needless {
        return;
    }
    let until = match linger {
        Some(_) => format!("for {}", duration(limit)),
        None => format!("until every known peer has it, at most {}", duration(limit)),
    };
    output.note(&format!("seeding {until}; Ctrl-C stops"));
    output.event("seeding", fields(serde_json::json!({ "at_most_seconds": limit.as_secs_f64() })));
    let nobody_needs_it = async {
        match linger {
            Some(_) => std::future::pending().await,
            None => download.swarm_done().await,
        }
    };
    tokio::select! {
        () = nobody_needs_it => {}
        () = sleep(limit) => {}
        () = stop.cancelled() => {}
    }
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
