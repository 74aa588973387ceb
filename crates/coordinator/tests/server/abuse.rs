//! Over real sockets: limits are enforced and reported, misbehaving peers lose their connection in
//! time, and other peers are not affected.

use std::time::Duration;

use futures_util::SinkExt;
use tnet_coordinator::{Config, TableLimits};
use tnet_proto::{
    Availability, CoordinatorReply, CoordinatorRequest, Limit, MAX_FRAME_LEN, MessageCodec,
    PREAMBLE_LEN, Protocol, preamble,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Framed;

use crate::client::*;

/// Short, but long enough for a hello on a busy machine.
const HELLO_DEADLINE: Duration = Duration::from_millis(500);

fn hasty() -> Config {
    Config { hello_deadline: HELLO_DEADLINE, ..config() }
}

/// Sends `bytes`, then waits for the coordinator to end the connection.
async fn is_cut_after(coordinator: std::net::SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(coordinator).await.expect("the coordinator listens");
    stream.write_all(bytes).await.expect("it takes the first bytes");
    let mut heard = Vec::new();
    // It may end with a reset, for it did not read everything.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("an end in time");
    assert!(heard.len() <= PREAMBLE_LEN, "it said more than its preamble: {heard:?}");
}

#[tokio::test]
async fn a_connection_without_a_hello_is_closed_at_the_deadline() {
    let coordinator = start(hasty());
    let address = coordinator.local_addr();
    let ours = preamble(Protocol::Coordinator);
    let started_hello = [&ours[..], &[31, 0, 0, 0, 0]].concat();
    tokio::join!(
        is_cut_after(address, b""),
        is_cut_after(address, &ours[..5]),
        is_cut_after(address, &ours),
        is_cut_after(address, &started_hello),
    );
    until("all four are counted", async || {
        coordinator.stats().await.expect("it runs").without_hello == 4
    })
    .await;
}

#[tokio::test]
async fn connections_of_other_protocols_are_closed() {
    let coordinator = start(config()); // five seconds for a hello: these are closed for what they send
    let address = coordinator.local_addr();
    let (ours, theirs) = (preamble(Protocol::Coordinator), preamble(Protocol::Peer));
    let frame_above_the_limit_before_hello = [&ours[..], &8192u32.to_le_bytes()].concat();
    let not_a_hello = [&ours[..], &[4, 0, 0, 0, 6, 0, 0, 0]].concat(); // a bye
    let garbage = [&ours[..], &[1, 0, 0, 0, 99]].concat();
    timeout(Duration::from_secs(4), async {
        tokio::join!(
            is_cut_after(address, b"GET / HTTP/1.1\r\n\r\n"),
            is_cut_after(address, &theirs),
            is_cut_after(address, &frame_above_the_limit_before_hello),
            is_cut_after(address, &not_a_hello),
            is_cut_after(address, &garbage),
        );
    })
    .await
    .expect("before the deadline for the hello");
    until("three violations are counted", async || {
        coordinator.stats().await.expect("it runs").violations == 3
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_loses_its_connection_but_not_its_entries() {
    let coordinator = start(config());
    let address = coordinator.local_addr();
    let too_long = u32::try_from(MAX_FRAME_LEN + 1).expect("small").to_le_bytes();
    let garbage = [2, 0, 0, 0, 7, 7];
    for (port, bytes) in [(7001, &too_long[..]), (7002, &garbage[..])] {
        let mut peer = Client::holding(address, port, 1, Availability::Full).await;
        peer.send_raw(bytes).await;
        peer.hear_end().await;
    }
    let mut twice = Client::holding(address, 7003, 1, Availability::Full).await;
    twice.say(hello(7003, 3, LONG)).await;
    twice.hear_end().await;

    let mut asker = Client::join(address, 7004, 4, LONG).await.0;
    assert_eq!(asker.lookup(1).await.ports(), [7001, 7002, 7003]);
    until("all are counted", async || coordinator.stats().await.expect("it runs").violations == 3)
        .await;
}

#[tokio::test]
async fn an_unknown_message_is_answered_and_the_connection_goes_on() {
    let coordinator = start(config());
    let mut peer = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;
    let mut unknown = 12u32.to_le_bytes().to_vec();
    unknown.extend(4711u32.to_le_bytes());
    unknown.extend([1; 8]); // whatever it carries
    peer.send_raw(&unknown).await;
    assert_eq!(peer.hear().await, CoordinatorReply::Unsupported { message: 4711 });
    peer.say(CoordinatorRequest::Extension { kind: 77, body: vec![1, 2, 3] }).await; // ignored
    peer.say(CoordinatorRequest::Unsupported { message: 5 }).await; // ignored
    assert_eq!(peer.heartbeat().await, CoordinatorReply::Renewed);
}

#[tokio::test]
async fn entries_above_the_limit_are_left_out_and_not_requested_again() {
    let table = TableLimits { max_entries_per_peer: 2, max_entries: 3, ..TableLimits::default() };
    let coordinator = start(Config { table, ..config() });
    let address = coordinator.local_addr();
    let (mut first, _) = Client::join(address, 7001, 1, LONG).await;
    let files = [1, 2, 3].map(|file| entry(file, Availability::Full));
    first.report(true, &files).await;
    let per_peer = CoordinatorReply::LimitReached { limit: Limit::EntriesPerPeer, value: 2 };
    assert_eq!(first.hear().await, per_peer);
    assert_eq!(coordinator.stats().await.expect("it runs").table.entries, 2);
    // The digest includes the entries left out. A resync would only reach the same limit.
    assert_eq!(first.heartbeat().await, per_peer);

    let (mut second, _) = Client::join(address, 7002, 2, LONG).await;
    second.report(true, &files[..2]).await;
    let total = CoordinatorReply::LimitReached { limit: Limit::EntriesTotal, value: 3 };
    assert_eq!(second.hear().await, total);
    // Deleting always works, and makes room.
    first.report(false, &[entry(2, Availability::None)]).await;
    first.expect_accepted().await;
    second.report(false, &files[1..2]).await;
    second.expect_accepted().await;
    assert_eq!(coordinator.stats().await.expect("it runs").table.entries, 3);
}

#[tokio::test]
async fn one_connection_too_many_gets_the_reason_and_is_closed() {
    let coordinator = start(Config { max_connections_per_ip: 1, ..config() });
    let address = coordinator.local_addr();
    let mut first = Client::holding(address, 7001, 1, Availability::Full).await;
    let mut second = Client::connect(address).await;
    second.say(hello(7002, 2, LONG)).await;
    let per_ip = CoordinatorReply::LimitReached { limit: Limit::ConnectionsPerIp, value: 1 };
    assert_eq!(second.hear().await, per_ip);
    second.hear_end().await;
    assert_eq!(first.heartbeat().await, CoordinatorReply::Renewed);

    // A permit that becomes free is given to another connection.
    drop(first);
    until("the seat is free", async || {
        let mut third = Client::connect(address).await;
        third.say(hello(7003, 3, LONG)).await;
        matches!(third.hear().await, CoordinatorReply::Welcome { .. })
    })
    .await;
}

#[tokio::test]
async fn the_limit_of_all_connections_holds_too() {
    let coordinator = start(Config { max_connections: 1, ..config() });
    let _first = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;
    let mut second = Client::connect(coordinator.local_addr()).await;
    second.say(hello(7002, 2, LONG)).await;
    let total = CoordinatorReply::LimitReached { limit: Limit::ConnectionsTotal, value: 1 };
    assert_eq!(second.hear().await, total);
    assert_eq!(coordinator.stats().await.expect("it runs").limits.connections_total, 1);
}

#[tokio::test]
async fn a_new_identity_for_each_connection_does_not_fill_the_table() {
    let table = TableLimits { max_peers_per_ip: 3, ..TableLimits::default() };
    let coordinator = start(Config { table, ..config() });
    for port in 7001..=7003 {
        drop(Client::holding(coordinator.local_addr(), port, 1, Availability::Full).await);
    }
    until("their ends are noticed", async || {
        coordinator.stats().await.expect("it runs").connections == 0
    })
    .await;
    // Only peers without a connection are evicted, for peers with one.
    let mut living = Vec::new();
    for port in 7004..=7006 {
        living.push(Client::holding(coordinator.local_addr(), port, 1, Availability::Full).await);
        assert_eq!(coordinator.stats().await.expect("it runs").table.peers, 3);
    }
    let mut seventh = Client::connect(coordinator.local_addr()).await;
    seventh.say(hello(7007, 7, LONG)).await;
    let per_ip = CoordinatorReply::LimitReached { limit: Limit::ConnectionsPerIp, value: 3 };
    assert_eq!(seventh.hear().await, per_ip);
    seventh.hear_end().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_and_does_not_slow_others() {
    let coordinator = start(Config { write_deadline: Duration::from_millis(200), ..config() });
    let address = coordinator.local_addr();
    let mut swarm = Vec::new();
    for port in 7100..7160 {
        swarm.push(Client::holding(address, port, 1, Availability::Full).await);
    }
    // Sends requests and never reads: the answers, 1.3 kB each, fill every buffer on the way.
    let (deaf, _) = Client::join(address, 7001, 1, LONG).await;
    let flood = async {
        let codec = MessageCodec::<CoordinatorRequest, CoordinatorReply>::new();
        let mut messages = Framed::new(deaf.into_stream(), codec);
        while messages.send(CoordinatorRequest::Lookup { hash: [1; 32] }).await.is_ok() {}
    };
    let others = async {
        loop {
            assert_eq!(swarm[0].heartbeat().await, CoordinatorReply::Renewed);
            if coordinator.stats().await.expect("it runs").slow_peers == 1 {
                break;
            }
        }
    };
    timeout(PATIENCE, async { tokio::join!(flood, others) }).await.expect("it is cut in time");
}

#[tokio::test]
async fn a_peer_that_does_not_finish_a_message_is_cut_long_before_its_lease_ends() {
    let coordinator = start(Config { message_deadline: Duration::from_millis(50), ..config() });
    let address = coordinator.local_addr();
    let mut slow = Client::holding(address, 7001, 1, Availability::Full).await;
    slow.send_raw(&[20, 0, 0, 0, 2, 0]).await; // six bytes of a heartbeat's 24
    slow.hear_end().await;
    until("it is counted", async || coordinator.stats().await.expect("it runs").slow_peers == 1)
        .await;
}

#[tokio::test]
async fn a_peer_with_nothing_to_say_is_not_cut_before_its_lease_ends() {
    let message_deadline = Duration::from_millis(10);
    let coordinator = start(Config { message_deadline, ..config() });
    let mut quiet = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;
    sleep(20 * message_deadline).await; // there is no event to wait for
    assert_eq!(quiet.heartbeat().await, CoordinatorReply::Renewed);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_cut_when_its_queue_is_full() {
    // No write ends by its deadline here: only the queue can be the reason.
    let (write_deadline, push_interval) = (LONG, Duration::ZERO);
    let coordinator = start(Config { max_unsent: 2, write_deadline, push_interval, ..config() });
    let address = coordinator.local_addr();
    let mut swarm = Vec::new();
    for port in 7100..7160 {
        swarm.push(Client::holding(address, port, 1, Availability::Full).await);
    }
    let (mut deaf, _) = Client::join(address, 7001, 1, LONG).await;
    deaf.watch(1).await;
    // It fills its own queue with answers that it does not read.
    let clog = async {
        let codec = MessageCodec::<CoordinatorRequest, CoordinatorReply>::new();
        let mut messages = Framed::new(deaf.into_stream(), codec);
        while messages.send(CoordinatorRequest::Lookup { hash: [1; 32] }).await.is_ok() {}
    };
    // Another peer connects and disconnects, and each time is a new holder for the watcher.
    let news = async {
        let mut restless = Client::holding(address, 8000, 1, Availability::Full).await;
        while coordinator.stats().await.expect("it runs").slow_peers == 0 {
            restless.report(false, &[entry(1, Availability::None)]).await;
            restless.expect_accepted().await;
            restless.report(false, &[entry(1, Availability::Full)]).await;
            restless.expect_accepted().await;
        }
        coordinator.stats().await.expect("it runs")
    };
    let cut = async {
        tokio::select! {
            () = clog => panic!("its connection waits in a write that nothing ends"),
            stats = news => stats,
        }
    };
    let stats = timeout(PATIENCE, cut).await.expect("it is cut in time");
    assert_eq!((stats.slow_peers, stats.watches), (1, 0));
}
