//! `tnet demo`: a coordinator, seeds and downloaders in one process, over real sockets of this
//! machine. It needs nothing else and leaves nothing behind.

mod swarm;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tnet_control::FaultKind;
use tnet_fileinfo::{FileInfo, scan_file};
use tnet_peer::Summary;
use tokio::time::sleep;

use self::swarm::{Downloader, Swarm};
use super::fileinfo::blocking;
use super::hashing::hash;
use crate::config::typed::Demo;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, file_failure};
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::swarm_view::SwarmView;
use crate::render::table::aligned;
use crate::render::units::{count, duration, rate, shown_path, size};

/// Peers that have the file from the start.
const SEEDS: usize = 2;

/// Peers that want it.
const DOWNLOADERS: usize = 3;

/// How often the view is updated. A local swarm takes seconds.
const REFRESH: Duration = Duration::from_millis(50);

pub(crate) async fn run(args: Demo, context: &Context) -> Result<Report, Failure> {
    let dir = tempfile::Builder::new()
        .prefix("tnet-demo-")
        .tempdir()
        .map_err(|error| file_failure("make a directory in", &std::env::temp_dir(), &error))?;
    let result = tokio::select! {
        result = Box::pin(demo(args, dir.path(), context)) => result,
        () = context.stop.cancelled() => Err(Failure::interrupted("interrupted").or_hint("nothing is left behind")),
    };
    // Best effort: it is in the directory for temporary files.
    let _ = blocking(move || Ok(dir.close())).await?;
    result
}

async fn demo(args: Demo, dir: &Path, context: &Context) -> Result<Report, Failure> {
    let file = match args.file {
        Some(file) => file,
        None => generate(dir, args.size, context.output).await?,
    };
    let info = describe(&file, context).await?;
    let swarm = Swarm::start(SEEDS, DOWNLOADERS, dir).await?;
    context.output.note(&format!(
        "coordinator on {}, {} with the file, {} without, all on this machine",
        swarm.coordinator(),
        count(SEEDS as u64, "peer"),
        count(DOWNLOADERS as u64, "peer")
    ));
    let result = distribute(&swarm, &file, &info, context).await;
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
    let kind = FaultKind::of_io(error).unwrap_or(FaultKind::Other);
    with_room(kind, file_failure("write", path, error))
}

fn with_room(kind: FaultKind, failure: Failure) -> Failure {
    match kind {
        FaultKind::Disk => Failure { hint: Some(ROOM.to_owned()), ..failure },
        _ => failure,
    }
}

/// The hint for a full disk: every downloader has its own copy.
const ROOM: &str = "the demo writes copies to the directory for temporary files: name one with room in TMPDIR, or a smaller --size";

async fn describe(file: &Path, context: &Context) -> Result<FileInfo, Failure> {
    let (asked, len) = (file.to_owned(), file.to_owned());
    let len = blocking(move || {
        let metadata =
            std::fs::metadata(&len).map_err(|error| file_failure("read", &len, &error))?;
        if !metadata.is_file() {
            let cause = format!("{} is no regular file", shown_path(&len));
            return Err(Failure::new(Exit::Usage, cause).or_hint("name one"));
        }
        Ok(metadata.len())
    })
    .await?;
    hash("hashing", len, context, move |progress| scan_file(&asked, None, progress))
        .await
        .map_err(|failure| failure.of(file))
}

async fn distribute(
    swarm: &Swarm,
    file: &Path,
    info: &FileInfo,
    context: &Context,
) -> Result<Report, Failure> {
    let output = context.output;
    swarm.share(file).await?;
    output.note(&format!(
        "{}, {}, {}",
        shown_path(file),
        size(info.size()),
        count(info.geometry().chunk_count().into(), "chunk")
    ));
    let began = Instant::now();
    let downloads = swarm.download(info).await.map_err(|error| {
        let kind = FaultKind::from(&error);
        with_room(kind, error.into())
    })?;
    let done = watch(downloads, output).await?;
    let elapsed = began.elapsed();
    verify(&done, info, context).await?;
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

/// Reads every copy from disk again and compares its hash with the original's.
async fn verify(done: &[Finished], info: &FileInfo, context: &Context) -> Result<(), Failure> {
    for Finished { name, summary } in done {
        let copy = summary.path.clone();
        let copied = hash("verifying", info.size(), context, move |progress| {
            scan_file(&copy, None, progress)
        })
        .await
        .map_err(|failure| failure.of(&summary.path))?;
        if copied.hash() != info.hash() {
            let message =
                format!("the copy of {name} has the hash {}, not {}", copied.hash(), info.hash());
            return Err(Failure::new(Exit::Integrity, message));
        }
    }
    Ok(())
}

/// Bytes received by each downloader (rows) from each peer (columns), with the sums in the last
/// row.
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
