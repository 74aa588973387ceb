//! Crowds of one source: silent, dripping, lying, or sending others against a third.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tnet_fileinfo::ChunkSize;
use tnet_testkit::{Content, Network, SOON, eventually, payload};
use tokio_util::sync::CancellationToken;

use crate::support::case::cases;
use crate::support::crowd::{Crowd, Manner, Seen};
use crate::support::lan::Lan;
use crate::support::needs::Need;
use crate::support::soak::{at_length, is_soak};

cases![
    72 "a crowd of 200 that holds the slots, from one source and from 16" a_crowd_of_few_sources_does_not_hold_the_slots
        .needing(&[Need::Namespaces]) .alone();
];

/// Of the file: as many chunks as a file of a hundred MiB has.
const CHUNKS: u32 = 1024;
const CHUNK: u32 = 32 * 1024;
const LEN: u64 = CHUNKS as u64 * CHUNK as u64;

/// The seed's uplink, so that a download takes seconds in which to disturb it.
const RATE: u64 = 12 * 1024 * 1024;

const CROWD: usize = 200;

/// How a download went.
#[derive(Debug)]
struct Ran {
    took: Duration,
    /// Per cent of the file.
    wasted: f64,
}

/// A download from one seed, both on `ip`, within a crowd that is there first.
async fn within_crowd(ip: IpAddr, crowd: Option<Crowd>) -> Ran {
    let content = Content::chunked(payload(LEN, 72), ChunkSize::new(CHUNK).expect("a power of two in range"));
    let mut network = Network::builder().on(ip).peer("ann").start().await;
    let mut config = network.peer_config();
    config.limits.up = NonZeroU64::new(RATE);
    let ann = network.peer("ann");
    let download = ann.begins(&content).await;
    let (stop, seen) = (CancellationToken::new(), Arc::new(Seen::default()));
    let _stops = stop.clone().drop_guard();
    if let Some(crowd) = crowd {
        let (to, content, seeing) = (ann.local_addr(), content.clone(), Arc::clone(&seen));
        let surrounding = async move { crowd.surrounds(to, &content, seeing, stop).await };
        tokio::spawn(surrounding);
        eventually("the crowd is in", SOON, async || {
            let inside = seen.inside();
            if inside >= CROWD * 9 / 10 { Ok(()) } else { Err(inside) }
        })
        .await;
    }
    network.start_peer_with("seed", config).await.shares(&content).await;
    let began = Instant::now();
    let ann = network.peer("ann");
    let fetched = ann.completes(download, &content, 4 * SOON).await;
    let took = began.elapsed();
    let traffic = fetched.summary.traffic;
    let wasted = 100.0 * traffic.bytes_wasted as f64 / LEN as f64;
    eprintln!("{took:?} {wasted:.2} % {} asked {:?}", seen.asked(), traffic);
    Ran { took, wasted }
}

async fn a_crowd_of_few_sources_does_not_hold_the_slots() -> String {
    let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
    let alone = within_crowd(ip, None).await;
    let mut figures = vec![format!("alone {:.1} s", alone.took.as_secs_f64())];
    let manners = [Manner::Silent, Manner::Drips, Manner::Lies, Manner::BreaksOff];
    for sources in [1_u8, 16] {
        for manner in manners {
            let sources = (1..=sources).map(|last| IpAddr::from([127, 0, 1, last])).collect();
            let ran = within_crowd(ip, Some(Crowd { size: CROWD, sources, manners: vec![manner] })).await;
            figures.push(format!("{manner:?} {:.1} s {:.1} %", ran.took.as_secs_f64(), ran.wasted));
        }
    }
    figures.join("; ")
}
