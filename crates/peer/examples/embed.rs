//! A coordinator, a seed and some downloaders in one process: `cargo run --release -p tnet-peer --example embed -- FILE [PEERS]`.
//!
//! Copies FILE to as many temporary places as there are downloaders, and prints how each of them fared.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its user")]

use std::path::PathBuf;
use std::process::ExitCode;

use tnet_coordinator::Coordinator;
use tnet_peer::Peer;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(file) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: embed FILE [PEERS]");
        return Ok(ExitCode::from(2));
    };
    let peers: usize = arguments.next().and_then(|count| count.to_str()?.parse().ok()).unwrap_or(3);

    let config = tnet_coordinator::Config { listen: "127.0.0.1:0".parse()?, ..Default::default() };
    let coordinator = Coordinator::bind(config)?.spawn();
    let seed = spawn(&coordinator).await?;
    let info = seed.share(&file).await?;

    let directory = tempfile::tempdir()?;
    let mut running = Vec::new();
    for number in 0..peers {
        let peer = spawn(&coordinator).await?;
        let download = peer.download(info.clone(), directory.path().join(number.to_string())).await?;
        running.push((peer, download));
    }
    for (_, download) in &mut running {
        let summary = download.finished().await?;
        println!(
            "{} bytes in {:.2?} from {} peers: {}",
            summary.bytes_total,
            summary.elapsed,
            summary.traffic.sources,
            summary.path.display()
        );
    }
    for (peer, _) in running {
        peer.shutdown().await;
    }
    seed.shutdown().await;
    coordinator.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

async fn spawn(coordinator: &tnet_coordinator::CoordinatorHandle) -> Result<Peer, Error> {
    Ok(Peer::builder().coordinator(coordinator.local_addr()).listen("127.0.0.1:0".parse()?).spawn().await?)
}
