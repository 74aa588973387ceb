//! Over real sockets: a watcher is told of new holders soon, not too often, and never of itself.

use std::time::Duration;

use tnet_coordinator::Config;
use tnet_proto::{Availability, CoordinatorReply, CoordinatorRequest, Limit, MAX_HOLDERS};
use tokio::time::Instant;

use crate::client::*;

const PUSH_INTERVAL: Duration = Duration::from_millis(300);

fn pushing() -> Config {
    Config { push_interval: PUSH_INTERVAL, ..config() }
}

#[tokio::test]
async fn a_watcher_hears_of_the_first_new_holder_at_once_and_of_the_next_together() {
    let coordinator = start(pushing());
    let address = coordinator.local_addr();
    let (mut watcher, _) = Client::join(address, 7001, 1, LONG).await;
    assert_eq!(watcher.watch(1).await, Found { full: 0, partial: 0, holders: vec![] });

    let begun = Instant::now();
    let _first = Client::holding(address, 7002, 1, Availability::Full).await;
    assert_eq!(watcher.hear_holders(1).await.ports(), [7002]);

    let _second = Client::holding(address, 7003, 1, Availability::Partial).await;
    let _third = Client::holding(address, 7004, 1, Availability::Partial).await;
    // If this machine takes longer than the interval for the two, they arrive one by one.
    let mut push = watcher.hear_holders(1).await;
    while push.ports() != [7002, 7003, 7004] {
        push = watcher.hear_holders(1).await;
    }
    assert!(begun.elapsed() >= PUSH_INTERVAL, "two pushes within {:?}", begun.elapsed());
    assert_eq!((push.full, push.partial), (1, 2));
}

#[tokio::test]
async fn a_push_names_the_new_holder_among_many_old_ones() {
    let coordinator = start(pushing());
    let address = coordinator.local_addr();
    let mut swarm = Vec::new();
    for port in 7100..7300 {
        swarm.push(Client::holding(address, port, 1, Availability::Full).await);
    }
    let (mut watcher, _) = Client::join(address, 7001, 1, LONG).await;
    assert_eq!(watcher.watch(1).await.holders.len(), MAX_HOLDERS);
    let _new = Client::holding(address, 7002, 1, Availability::Partial).await;
    let push = watcher.hear_holders(1).await;
    assert_eq!(push.holders.len(), MAX_HOLDERS);
    assert!(push.ports().contains(&7002), "{push:?}");
}

#[tokio::test]
async fn a_watcher_is_not_told_of_itself_nor_after_it_stopped_watching() {
    let coordinator = start(Config { push_interval: Duration::ZERO, ..config() });
    let address = coordinator.local_addr();
    let (mut watcher, _) = Client::join(address, 7001, 1, LONG).await;
    watcher.watch(1).await;
    watcher.report(true, &[entry(1, Availability::Partial)]).await;
    watcher.expect_accepted().await;
    // A push about itself would come before these answers.
    assert_eq!(watcher.lookup(2).await.holders, []);
    assert_eq!(watcher.heartbeat().await, CoordinatorReply::Renewed);

    watcher.say(CoordinatorRequest::Unwatch { hash: [1; 32] }).await;
    assert_eq!(watcher.heartbeat().await, CoordinatorReply::Renewed);
    let _other = Client::holding(address, 7002, 1, Availability::Full).await;
    assert_eq!(watcher.heartbeat().await, CoordinatorReply::Renewed);
    let stats = coordinator.stats().await.expect("it runs");
    assert_eq!((stats.watches, stats.pushes), (0, 0));
}

#[tokio::test]
async fn watches_end_with_their_connection() {
    let coordinator = start(pushing());
    let (mut watcher, _) = Client::join(coordinator.local_addr(), 7001, 1, LONG).await;
    watcher.watch(1).await;
    assert_eq!(coordinator.stats().await.expect("it runs").watches, 1);
    drop(watcher);
    until("the watch is gone", async || coordinator.stats().await.expect("it runs").watches == 0)
        .await;
}

#[tokio::test]
async fn one_watch_too_many_is_refused_and_the_others_go_on() {
    let coordinator = start(Config { max_watches_per_connection: 1, ..pushing() });
    let address = coordinator.local_addr();
    let (mut watcher, _) = Client::join(address, 7001, 1, LONG).await;
    watcher.watch(1).await;
    watcher.say(CoordinatorRequest::Watch { hash: [2; 32] }).await;
    let refused = CoordinatorReply::LimitReached { limit: Limit::WatchesPerPeer, value: 1 };
    assert_eq!(watcher.hear().await, refused);
    let _holder = Client::holding(address, 7002, 1, Availability::Full).await;
    assert_eq!(watcher.hear_holders(1).await.ports(), [7002]);
}
