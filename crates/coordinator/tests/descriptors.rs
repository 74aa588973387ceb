//! A coordinator out of file descriptors keeps the connections it has, and accepts again once there
//! are some. One test in this file: the limit is that of the whole process.

#![cfg(unix)]

mod client;

use std::fs::File;
use std::time::Duration;

use client::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tnet_proto::{Availability, CoordinatorReply};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The limit of descriptors, low so that it is soon reached.
const DESCRIPTORS: u64 = 64;

#[tokio::test]
async fn without_descriptors_connections_go_on_and_with_some_again_new_ones_are_served() {
    let coordinator = start(config());
    let mut served = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;

    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum })
        .expect("less is always allowed");
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    drop(taken.pop()); // for the connecting side, so that none is left for the coordinator
    let mut stream =
        TcpStream::connect(coordinator.local_addr()).await.expect("the kernel takes the call");

    let mut preamble = [0; 1];
    let unanswered = timeout(Duration::from_millis(300), stream.read_exact(&mut preamble)).await;
    assert!(unanswered.is_err(), "it was accepted, so descriptors were left: {unanswered:?}");
    assert_eq!(served.heartbeat().await, CoordinatorReply::Renewed);

    drop(taken);
    timeout(PATIENCE, stream.read_exact(&mut preamble))
        .await
        .expect("served in time")
        .expect("a preamble");
    Client::join(coordinator.local_addr(), 7002, 2, LONG).await;
}
