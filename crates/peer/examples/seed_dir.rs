//! A service that seeds a directory until Ctrl-C: `seed_dir COORDINATOR DIR [RATE]`.
//!
//! New, changed and deleted files are noticed. RATE limits what is sent, in bytes per second. Says
//! each ten seconds what it has sent.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its user")]

use std::process::ExitCode;
use std::time::Duration;

use tnet_peer::share::WatchOptions;
use tnet_peer::{CoordinatorAddress, LimitsChange, Peer};
use tokio::time::interval;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (coordinator, dir, rate) = match arguments.as_slice() {
        [coordinator, dir] => (coordinator, dir, None),
        [coordinator, dir, rate] => (coordinator, dir, Some(rate.parse()?)),
        _ => {
            eprintln!("usage: seed_dir COORDINATOR DIR [RATE]");
            return Ok(ExitCode::from(2));
        }
    };
    let peer = Peer::builder()
        .coordinator(coordinator.parse::<CoordinatorAddress>()?)
        .listen("0.0.0.0:0".parse()?)
        .spawn()?;
    peer.limit(LimitsChange { up: rate, down: None }).await?;
    peer.share_dir(dir, WatchOptions::default()).await?;
    println!("peers on {}", peer.local_addr());

    let mut tick = interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let status = peer.status().await?;
                println!("{} files, {} bytes sent, {} peers", status.files_total, status.sent_bytes, status.peers.len());
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    // Says goodbye, so that nobody looks for us.
    peer.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
