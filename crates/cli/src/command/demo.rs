//! `tnet demo`: a coordinator, seeds and downloaders in one process, over real sockets of this
//! machine. It needs nothing else and leaves nothing behind.

mod swarm;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tnet_fileinfo::{FileInfo, scan_file};
use tnet_peer::Summary;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::swarm::{Downloader, Swarm};
use super::fileinfo::{blocking, hash};
use crate::args::Demo;
use crate::exit::{Exit, Failure, file_failure};
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::swarm_view::SwarmView;
use crate::render::table::aligned;
use crate::render::units::{count, duration, rate, shown_path, size};

/// Peers that have the file from the start.
const SEEDS: usize = 2;

/// Peers that want it.
const DOWNLOADERS: usize = 3;

/// How often what is shown is brought up to date. A local swarm is over in an eye's blink.
const REFRESH: Duration = Duration::from_millis(50);

pub(crate) async fn run(
    args: Demo,
    output: Output,
    stop: CancellationToken,
) -> Result<Report, Failure> {
    let dir = tempfile::Builder::new()
        .prefix("tnet-demo-")
        .tempdir()
        .map_err(|error| file_failure("make a directory in", &std::env::temp_dir(), &error))?;
    let result = tokio::select! {
        result = Box::pin(demo(args, dir.path(), output, &stop)) => result,
        () = stop.cancelled() => Err(Failure::interrupted("interrupted; nothing is left behind")),
    };
    // Best effort beyond this: the directory for temporary files is for what is left there.
    let _ = blocking(move || Ok(dir.close())).await?;
    result
}

async fn demo(
    args: Demo,
    dir: &Path,
    output: Output,
    stop: &CancellationToken,
) -> Result<Report, Failure> {
    let file = match args.file {
        Some(file) => file,
        None => generate(dir, args.size, output).await?,
    };
    let info = describe(&file, output, stop).await?;
    let swarm = Swarm::start(SEEDS, DOWNLOADERS, dir).await?;
    output.note(&format!(
        "coordinator on {}, {} with the file, {} without, all on this machine",
        swarm.coordinator(),
        count(SEEDS as u64, "peer"),
        count(DOWNLOADERS as u64, "peer")
    ));
    let result = distribute(&swarm, &file, &info, output, stop).await;
    swarm.end().await;
    result
}

async fn generate(dir: &Path, len: u64, output: Output) -> Result<PathBuf, Failure> {
    output.note(&format!("generating a file of {}", size(len)));
    let path = dir.join("generated");
    let made = path.clone();
    blocking(move || swarm::write_noise(&made, len).map_err(|error| room_hint(&made, &error)))
        .await?;
    Ok(path)
}

fn room_hint(path: &Path, error: &std::io::Error) -> Failure {
    let failure = file_failure("write", path, error);
    if failure.exit == Exit::Disk {
        return Failure::new(
            failure.exit,
            format!("{}; {ROOM}", failure.message.replace("; check the disk", "")),
        );
    }
    failure
}

/// Every downloader has a copy of its own.
const ROOM: &str = "the demo writes copies to the directory for temporary files: name one with room in TMPDIR, or a smaller --size";

async fn describe(
    file: &Path,
    output: Output,
    stop: &CancellationToken,
) -> Result<FileInfo, Failure> {
    let (asked, len) = (file.to_owned(), file.to_owned());
    let len = blocking(move || {
        let metadata =
            std::fs::metadata(&len).map_err(|error| file_failure("read", &len, &error))?;
        if !metadata.is_file() {
            let message = format!("{} is no regular file; name one", shown_path(&len));
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(metadata.len())
    })
    .await?;
    hash("hashing", len, output, stop, move |progress| scan_file(&asked, None, progress))
        .await
        .map_err(|failure| failure.of_file(file))
}

async fn distribute(
    swarm: &Swarm,
    file: &Path,
    info: &FileInfo,
    output: Output,
    stop: &CancellationToken,
) -> Result<Report, Failure> {
    swarm.share(file).await?;
    output.note(&format!(
        "{}, {}, {}",
        shown_path(file),
        size(info.size()),
        count(info.geometry().chunk_count().into(), "chunk")
    ));
    let began = Instant::now();
    let downloads = swarm.download(info).await.map_err(|failure| match failure.exit {
        Exit::Disk => failure.or_hint(ROOM),
        _ => failure,
    })?;
    let done = watch(downloads, output).await?;
    let elapsed = began.elapsed();
    verify(&done, info, output, stop).await?;
    let lines = table(&done, swarm);
    output.outcome("");
    for line in lines {
        output.outcome(&line);
    }
    let total = info.size().saturating_mul(DOWNLOADERS as u64);
    output.outcome("");
    output.outcome(&format!(
        "verified: {DOWNLOADERS} of {DOWNLOADERS} copies are right; {} in {} ({})",
        size(total),
        duration(elapsed),
        rate(total, elapsed)
    ));
    Ok(report(&done, swarm, info, elapsed))
}

/// Shows all downloads until each has ended.
async fn watch(mut running: Vec<Downloader>, output: Output) -> Result<Vec<Finished>, Failure> {
    let names: Vec<String> = running.iter().map(|downloader| downloader.name.clone()).collect();
    let mut view = SwarmView::new(output, &names);
    let mut finished: Vec<Option<Finished>> = names.iter().map(|_| None).collect();
    loop {
        let latest: Vec<_> =
            running.iter().map(|downloader| downloader.download.progress()).collect();
        view.show(Instant::now(), &latest);
        for (downloader, finished) in running.iter_mut().zip(&mut finished) {
            if finished.is_some() {
                continue;
            }
            if let Some(result) = downloader.if_finished().await {
                let summary = result.map_err(|failure| failure.during(&downloader.name))?;
                output.event(
                    "complete",
                    fields(json!({
                        "peer": downloader.name,
                        "seconds": summary.elapsed.as_secs_f64(),
                        "sources": summary.traffic.sources,
                    })),
                );
                *finished = Some(Finished { name: downloader.name.clone(), summary });
            }
        }
        if finished.iter().all(Option::is_some) {
            let latest: Vec<_> =
                running.iter().map(|downloader| downloader.download.progress()).collect();
            view.show(Instant::now(), &latest);
            view.finish();
            return Ok(finished.into_iter().flatten().collect());
        }
        sleep(REFRESH).await;
    }
}

struct Finished {
    name: String,
    summary: Summary,
}

/// Reads every copy from disk again and holds its hash against the original's.
async fn verify(
    done: &[Finished],
    info: &FileInfo,
    output: Output,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    for Finished { name, summary } in done {
        let copy = summary.path.clone();
        let copied = hash("verifying", info.size(), output, stop, move |progress| {
            scan_file(&copy, None, progress)
        })
        .await
        .map_err(|failure| failure.of_file(&summary.path))?;
        if copied.hash() != info.hash() {
            let message =
                format!("the copy of {name} has the hash {}, not {}", copied.hash(), info.hash());
            return Err(Failure::new(Exit::Integrity, message));
        }
    }
    Ok(())
}

/// Who received how much from whom: a row for each downloader, a column for each peer, and a last
/// row that adds up.
fn table(done: &[Finished], swarm: &Swarm) -> Vec<String> {
    let members: Vec<(&str, SocketAddr)> = swarm.members().collect();
    let mut head = vec![String::new(), "time".to_owned()];
    head.extend(members.iter().map(|(name, _)| format!("from {name}")));
    head.extend(["received", "wasted"].map(str::to_owned));
    let mut rows = vec![head];
    let mut sent = vec![0; members.len()];
    for Finished { name, summary } in done {
        let mut row = vec![name.clone(), duration(summary.elapsed)];
        for ((member, address), sent) in members.iter().zip(&mut sent) {
            let bytes = received_from(summary, *address);
            *sent += bytes;
            row.push(if member == name { "-".to_owned() } else { size(bytes) });
        }
        row.push(size(summary.bytes_total - summary.bytes_resumed));
        row.push(size(summary.traffic.bytes_wasted));
        rows.push(row);
    }
    let mut last = vec!["sent".to_owned(), String::new()];
    last.extend(sent.iter().map(|bytes| size(*bytes)));
    last.push(size(sent.iter().sum()));
    rows.push(last);
    let right: Vec<usize> = (1..rows[0].len()).collect();
    aligned(&rows, &right)
}

fn received_from(summary: &Summary, address: SocketAddr) -> u64 {
    summary
        .sources
        .iter()
        .filter(|source| source.address == Some(address))
        .map(|source| source.bytes)
        .sum()
}

fn report(done: &[Finished], swarm: &Swarm, info: &FileInfo, elapsed: Duration) -> Report {
    let download = |Finished { name, summary }: &Finished| {
        let received = swarm
            .members()
            .map(|(member, address)| (member.to_owned(), received_from(summary, address).into()))
            .collect::<Report>();
        json!({
            "peer": name,
            "seconds": summary.elapsed.as_secs_f64(),
            "sources": summary.traffic.sources,
            "received_from": received,
            "bytes_wasted": summary.traffic.bytes_wasted,
            "verified": true,
        })
    };
    fields(json!({
        "hash": info.hash().to_string(),
        "size": info.size(),
        "chunks": info.geometry().chunk_count(),
        "coordinator": swarm.coordinator(),
        "seconds": elapsed.as_secs_f64(),
        "downloads": done.iter().map(download).collect::<Vec<Value>>(),
    }))
}
