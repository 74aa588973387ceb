//! Over real sockets: a coordinator starts, stops, and leaves nothing behind.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tnet_coordinator::{BindError, Config, Coordinator};
use tnet_proto::{Availability, CoordinatorReply};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::*;

#[tokio::test]
async fn a_shutdown_says_bye_and_frees_the_port() {
    let coordinator = start(config());
    let address = coordinator.local_addr();
    let mut peer = Client::holding(address, 7001, 1, Availability::Full).await;
    let _silent = tokio::net::TcpStream::connect(address).await.expect("it listens"); // never says hello
    let begun = Instant::now();
    let (bye, ()) = tokio::join!(
        async {
            let bye = peer.hear().await;
            peer.hear_end().await;
            bye
        },
        coordinator.shutdown(),
    );
    assert_eq!(bye, CoordinatorReply::Bye);
    // Every `Bye` is read, so it does not wait for the grace of a second.
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    Coordinator::bind(Config { listen: address, ..config() }).expect("the port is free");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_peer_that_does_not_listen() {
    let coordinator = start(Config { shutdown_grace: Duration::from_millis(100), ..config() });
    let _deaf = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;
    timeout(PATIENCE, coordinator.shutdown()).await.expect("it ends");
}

#[tokio::test]
async fn dropping_the_handle_ends_everything() {
    let coordinator = start(config());
    let address = coordinator.local_addr();
    let peer = Client::holding(address, 7001, 1, Availability::Full).await;
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(alive >= 3, "run, registrar, connection: {alive}");
    drop(coordinator);
    peer.hear_end().await;
    until("the port is free", async || {
        Coordinator::bind(Config { listen: address, ..config() }).is_ok()
    })
    .await;
    until("no task is left", async || {
        tokio::runtime::Handle::current().metrics().num_alive_tasks() == 0
    })
    .await;
}

#[tokio::test]
async fn run_ends_when_it_is_told_to() {
    let coordinator = Coordinator::bind(config()).expect("a free port");
    let stop = CancellationToken::new();
    stop.cancel();
    timeout(PATIENCE, coordinator.run(stop)).await.expect("it ends");
}

#[tokio::test]
async fn an_address_in_use_is_reported_as_such() {
    let coordinator = start(config());
    let listen = coordinator.local_addr();
    let error = Coordinator::bind(Config { listen, ..config() }).expect_err("it is taken");
    assert!(matches!(error, BindError::InUse { address } if address == listen), "{error}");
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_reported_as_such() {
    let listen = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0)); // reserved for documentation
    let error = Coordinator::bind(Config { listen, ..config() }).expect_err("no machine has it");
    assert!(matches!(error, BindError::NotAvailable { address } if address == listen), "{error}");
}

#[tokio::test]
async fn a_peer_over_ipv4_is_the_same_on_a_socket_that_takes_both() {
    let listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let Ok(coordinator) = Coordinator::bind(Config { listen, ..config() }) else {
        return; // no IPv6 on this machine
    };
    let coordinator = coordinator.spawn();
    let port = coordinator.local_addr().port();
    let (_four, welcome) = Client::join(local(port), 7001, 1, LONG).await;
    assert_eq!(welcome.listed, listed(local(7001)));
    let (_six, welcome) =
        Client::join(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), 7002, 2, LONG).await;
    assert_eq!(welcome.listed, listed(SocketAddr::from((Ipv6Addr::LOCALHOST, 7002))));
}
