//! A downloader with a display of its own: `download COORDINATOR HASH OUT`.
//!
//! Asks peers for the description of the file with that hash, downloads it, and serves it for a
//! moment to those who still need it. Ctrl-C keeps what arrived; the same command goes on from
//! there.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its user")]

use std::process::ExitCode;
use std::time::Duration;
use tnet_fileinfo::shown_path;

use tnet_peer::fileinfo::FileHash;
use tnet_peer::{CoordinatorAddress, DownloadOptions, Peer, Progress};
use tokio::time::{interval, timeout};

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [coordinator, hash, out] = arguments.as_slice() else {
        eprintln!("usage: download COORDINATOR HASH OUT");
        return Ok(ExitCode::from(2));
    };
    let hash: FileHash = hash.parse()?;
    let peer = Peer::builder()
        .coordinator(coordinator.parse::<CoordinatorAddress>()?)
        .listen("0.0.0.0:0".parse()?)
        .spawn()?;
    let info = peer.fetch_info(hash, Duration::from_secs(30)).await?;
    let options =
        DownloadOptions { give_up_after: Some(Duration::from_secs(60)), ..Default::default() };
    let mut download = peer.download_with(info, out, options).await?;

    let mut tick = interval(Duration::from_millis(500));
    let summary = loop {
        tokio::select! {
            finished = download.finished() => break finished?,
            _ = tick.tick() => show(&download.progress()),
            _ = tokio::signal::ctrl_c() => {
                download.cancel().await;
                peer.shutdown().await;
                return Ok(ExitCode::FAILURE);
            }
        }
    };
    println!(
        "{}: {} bytes in {:.2?} from {} peers, {} wasted",
        shown_path(&summary.path),
        summary.bytes_total,
        summary.elapsed,
        summary.traffic.sources,
        summary.traffic.bytes_wasted
    );
    // Others may be in the middle of it.
    let _ = timeout(Duration::from_secs(5), download.swarm_done()).await;
    peer.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

fn show(progress: &Progress) {
    let filled = (progress.bytes_done * 30).checked_div(progress.bytes_total).unwrap_or(30);
    let bar: String = (0..30).map(|place| if place < filled { '#' } else { '.' }).collect();
    let waiting = progress.waiting.map_or_else(String::new, |waiting| format!(", {waiting}"));
    println!("[{bar}] {:?}, {} peers{waiting}", progress.phase, progress.peers);
}
