//! Over real sockets: lookups find what peers report, as long as the peers are alive.

use std::time::Duration;

use tnet_coordinator::SwarmSize;
use tnet_proto::{
    Availability, CallResult, CoordinatorReply, CoordinatorRequest, Holder, MAX_REPORT_ENTRIES,
    ReportDigest,
};
use tokio::time::{Instant, interval};

use crate::client::*;

#[tokio::test]
async fn a_reported_file_is_found_at_the_observed_ip_and_the_declared_port() {
    let coordinator = start(config());
    let _full = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;
    let _partial = Client::holding(coordinator.local_addr(), 7002, 1, Availability::Partial).await;
    let (mut asker, welcome) = Client::join(coordinator.local_addr(), 7003, 3, LONG).await;
    assert_eq!(welcome.listed, listed(local(7003)));
    // Three intervals, but two minutes at most.
    assert_eq!(welcome.lease, Duration::from_secs(120));

    let mut found = asker.lookup(1).await;
    found.holders.sort_by_key(|holder| holder.address);
    let holders = vec![
        Holder { address: local(7001), availability: Availability::Full },
        Holder { address: local(7002), availability: Availability::Partial },
    ];
    assert_eq!(found, Found { full: 1, partial: 1, holders });
    assert_eq!(asker.lookup(2).await, Found { full: 0, partial: 0, holders: vec![] });
}

#[tokio::test]
async fn the_asker_is_counted_but_not_named() {
    let coordinator = start(config());
    let mut asker = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Partial).await;
    let _other = Client::holding(coordinator.local_addr(), 7002, 1, Availability::Partial).await;
    let found = asker.lookup(1).await;
    assert_eq!((found.partial, found.ports()), (2, vec![7002]));
}

#[tokio::test]
async fn a_peer_that_accepts_no_connections_is_counted_but_not_named() {
    let coordinator = start(config());
    let (mut first, _) = Client::join(coordinator.local_addr(), 0, 1, LONG).await;
    first.report(true, &[entry(1, Availability::Full)]).await;
    first.expect_accepted().await;
    // Another one from the same address is another peer.
    let (mut second, _) = Client::join(coordinator.local_addr(), 0, 2, LONG).await;
    second.report(true, &[entry(1, Availability::Full)]).await;
    second.expect_accepted().await;
    assert_eq!(second.lookup(1).await, Found { full: 2, partial: 0, holders: vec![] });
}

#[tokio::test]
async fn a_full_report_replaces_and_a_delta_adds_changes_and_deletes() {
    let coordinator = start(config());
    let mut peer = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;
    peer.report(true, &[entry(2, Availability::Partial), entry(3, Availability::Full)]).await;
    peer.expect_accepted().await;
    peer.report(false, &[entry(2, Availability::Full), entry(3, Availability::None)]).await;
    peer.expect_accepted().await;
    assert_eq!(coordinator.swarm(hash(1)).await, Ok(None));
    assert_eq!(coordinator.swarm(hash(2)).await, Ok(Some(SwarmSize { full: 1, partial: 0 })));
    assert_eq!(coordinator.swarm(hash(3)).await, Ok(None));
    let files = coordinator.files().await.expect("it runs");
    assert_eq!(
        files.iter().map(|file| (file.hash, file.size)).collect::<Vec<_>>(),
        [(hash(2), 1 << 20)]
    );
}

#[tokio::test]
async fn a_full_report_may_come_in_parts_of_the_largest_size() {
    let coordinator = start(config());
    let (mut peer, _) = Client::join(coordinator.local_addr(), 7001, 1, LONG).await;
    for part in 0..3u8 {
        let mut entries = vec![entry(0, Availability::Full); MAX_REPORT_ENTRIES];
        for (number, entry) in (0u32..).zip(&mut entries) {
            entry.hash[..5].copy_from_slice(&[
                part,
                9,
                number.to_le_bytes()[0],
                number.to_le_bytes()[1],
                1,
            ]);
        }
        peer.report(part == 0, &entries).await;
        peer.expect_accepted().await;
    }
    let stats = coordinator.stats().await.expect("it runs");
    assert_eq!(stats.table.entries as usize, 3 * MAX_REPORT_ENTRIES);
    assert_eq!(peer.heartbeat().await, CoordinatorReply::Renewed);
}

#[tokio::test]
async fn a_repeated_report_is_ignored_and_a_gap_asks_for_a_full_one() {
    let coordinator = start(config());
    let (mut peer, _) = Client::join(coordinator.local_addr(), 7001, 1, LONG).await;
    peer.report_as(1, true, &[entry(1, Availability::Full)]).await;
    assert_eq!(peer.hear().await, CoordinatorReply::Accepted { seq: 1 });
    peer.report_as(1, true, &[entry(2, Availability::Full)]).await; // ignored, without an answer
    peer.report_as(3, false, &[entry(3, Availability::Full)]).await;
    assert_eq!(peer.hear().await, CoordinatorReply::Resync);
    assert_eq!(coordinator.swarm(hash(1)).await, Ok(Some(SwarmSize { full: 1, partial: 0 })));
    assert_eq!(coordinator.swarm(hash(2)).await, Ok(None));
    assert_eq!(coordinator.swarm(hash(3)).await, Ok(None));
    peer.report_as(4, true, &[entry(4, Availability::Full)]).await;
    assert_eq!(peer.hear().await, CoordinatorReply::Accepted { seq: 4 });
}

#[tokio::test]
async fn a_silent_peer_leaves_the_table_and_loses_its_connection() {
    let coordinator = start(config());
    let (mut silent, welcome) =
        Client::join(coordinator.local_addr(), 7001, 1, Duration::from_millis(100)).await;
    let begun = Instant::now();
    silent.report(true, &[entry(1, Availability::Full)]).await;
    silent.expect_accepted().await;
    silent.hear_end().await;
    assert!(begun.elapsed() >= welcome.lease, "{:?}", begun.elapsed());
    assert_eq!(coordinator.swarm(hash(1)).await, Ok(None));
    assert_eq!(coordinator.stats().await.expect("it runs").expired, 1);
}

#[tokio::test]
async fn heartbeats_keep_a_peer_beyond_its_lease() {
    let coordinator = start(config());
    let (mut peer, welcome) =
        Client::join(coordinator.local_addr(), 7001, 1, Duration::from_millis(400)).await;
    peer.report(true, &[entry(1, Availability::Full)]).await;
    peer.expect_accepted().await;
    let begun = Instant::now();
    let mut beats = interval(Duration::from_millis(100));
    while begun.elapsed() < welcome.lease * 2 {
        beats.tick().await;
        assert_eq!(peer.heartbeat().await, CoordinatorReply::Renewed);
        assert_eq!(coordinator.swarm(hash(1)).await, Ok(Some(SwarmSize { full: 1, partial: 0 })));
    }
}

#[tokio::test]
async fn a_heartbeat_with_another_digest_asks_for_a_full_report() {
    let coordinator = start(config());
    let mut peer = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;
    assert_eq!(peer.heartbeat().await, CoordinatorReply::Renewed);
    peer.digest.toggle(&entry(2, Availability::Full));
    assert_eq!(peer.heartbeat().await, CoordinatorReply::Resync);
    peer.report(true, &[entry(1, Availability::Full), entry(2, Availability::Full)]).await;
    peer.expect_accepted().await;
    assert_eq!(peer.heartbeat().await, CoordinatorReply::Renewed);
}

#[tokio::test]
async fn heartbeats_with_another_digest_do_not_keep_a_peer() {
    let coordinator = start(config());
    let (mut peer, _) =
        Client::join(coordinator.local_addr(), 7001, 1, Duration::from_millis(100)).await;
    peer.report(true, &[entry(1, Availability::Full)]).await;
    peer.expect_accepted().await;
    peer.digest = ReportDigest([9; 16]);
    let mut beats = interval(Duration::from_millis(20));
    let (mut swarm, begun) = (coordinator.swarm(hash(1)).await, Instant::now());
    while swarm != Ok(None) {
        assert!(begun.elapsed() < PATIENCE, "it is still there");
        beats.tick().await;
        // The connection ends with the lease, so a late heartbeat may go nowhere.
        let alive = coordinator.stats().await.expect("it runs").connections == 1;
        if alive {
            peer.say(CoordinatorRequest::Heartbeat { digest: peer.digest }).await;
        }
        swarm = coordinator.swarm(hash(1)).await;
    }
}

#[tokio::test]
async fn a_peer_that_reconnects_within_its_lease_keeps_its_entries() {
    let coordinator = start(config());
    let (mut peer, welcome) = Client::join(coordinator.local_addr(), 7001, 1, LONG).await;
    assert_eq!(welcome.digest, ReportDigest::default());
    peer.report(true, &[entry(1, Availability::Full)]).await;
    peer.expect_accepted().await;
    let digest = peer.digest;
    drop(peer);
    until("the connection's end is noticed", async || {
        coordinator.stats().await.expect("it runs").connections == 0
    })
    .await;
    assert_eq!(coordinator.swarm(hash(1)).await, Ok(Some(SwarmSize { full: 1, partial: 0 })));

    let (mut again, welcome) = Client::join(coordinator.local_addr(), 7001, 1, LONG).await;
    assert_eq!(welcome.digest, digest);
    again.digest = digest;
    assert_eq!(again.heartbeat().await, CoordinatorReply::Renewed);
    // Reports count from 1 again.
    again.report(false, &[entry(2, Availability::Full)]).await;
    again.expect_accepted().await;
}

#[tokio::test]
async fn a_lost_peer_stays_until_its_lease_ends() {
    let coordinator = start(config());
    let (mut peer, welcome) =
        Client::join(coordinator.local_addr(), 7001, 1, Duration::from_millis(100)).await;
    let begun = Instant::now();
    peer.report(true, &[entry(1, Availability::Full)]).await;
    peer.expect_accepted().await;
    drop(peer);
    until("the lost peer is gone", async || coordinator.swarm(hash(1)).await == Ok(None)).await;
    assert!(begun.elapsed() >= welcome.lease, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_claim_to_the_address_of_a_living_peer_takes_nothing_from_it() {
    let coordinator = start(config());
    let address = coordinator.local_addr();
    let mut living = Client::holding(address, 7001, 1, Availability::Full).await;
    // With another id, and with the same one: to have seen an id proves nothing.
    for id in [200, u8::try_from(7001 % 251).expect("below 251")] {
        let (mut claimant, welcome) = Client::join(address, 7001, id, LONG).await;
        assert_eq!(
            (welcome.listed, welcome.digest),
            (listed(local(7001)), ReportDigest::default())
        );
        claimant.report(true, &[]).await;
        claimant.expect_accepted().await;
        claimant.report(false, &[entry(1, Availability::None)]).await;
        claimant.expect_accepted().await;
        claimant.say(CoordinatorRequest::Bye).await;
        claimant.hear_end().await;
        assert_eq!(living.heartbeat().await, CoordinatorReply::Renewed);
    }
    let mut asker = Client::join(address, 7003, 3, LONG).await.0;
    assert_eq!(asker.lookup(1).await.ports(), [7001]);
}

#[tokio::test]
async fn a_restarted_peer_is_listed_at_once_despite_other_claims_to_its_address() {
    let coordinator = start(config());
    let address = coordinator.local_addr();
    // The earlier process lost power: its connection still seems to be open.
    let _dead = Client::holding(address, 7001, 1, Availability::Full).await;
    let mut squatter = Client::join(address, 7001, 66, LONG).await.0;
    let (mut again, _) = Client::join(address, 7001, 2, LONG).await;
    again.report(true, &[entry(2, Availability::Full)]).await;
    again.expect_accepted().await;
    let mut asker = Client::join(address, 7003, 3, LONG).await.0;
    assert_eq!(asker.lookup(2).await.ports(), [7001]);
    // An address is named once, even if several peers claim it with the same report.
    squatter.report(true, &[entry(2, Availability::Partial)]).await;
    squatter.expect_accepted().await;
    assert_eq!(asker.lookup(2).await.ports(), [7001]);
    // A handout does not name the asker.
    assert_eq!(squatter.lookup(2).await.ports(), [0; 0]);
}

#[tokio::test]
async fn reports_on_the_older_of_two_connections_are_its_own() {
    let coordinator = start(config());
    let (mut older, _) = Client::join(coordinator.local_addr(), 7001, 1, LONG).await;
    let (mut newer, _) = Client::join(coordinator.local_addr(), 7001, 1, LONG).await;
    newer.report(true, &[entry(1, Availability::Full)]).await;
    newer.expect_accepted().await;
    older.report(true, &[entry(2, Availability::Full)]).await;
    older.expect_accepted().await;
    for peer in [&mut older, &mut newer] {
        assert_eq!(peer.heartbeat().await, CoordinatorReply::Renewed);
    }
    drop(older);
    until("the older one is gone", async || {
        coordinator.stats().await.expect("it runs").connections == 1
    })
    .await;
    assert_eq!(newer.heartbeat().await, CoordinatorReply::Renewed);
    assert_eq!(coordinator.swarm(hash(1)).await, Ok(Some(SwarmSize { full: 1, partial: 0 })));
}

#[tokio::test]
async fn results_of_calls_get_no_answer() {
    let coordinator = start(config());
    let mut peer = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;
    for address in ["10.0.0.1:7401", "[2001:db8::1]:7401"] {
        let result = CallResult { address: address.parse().expect("an address"), reached: false };
        // The second is too soon after the first, and ignored.
        for _ in 0..2 {
            peer.say(CoordinatorRequest::Calls { results: vec![result; 50] }).await;
        }
        assert_eq!(peer.heartbeat().await, CoordinatorReply::Renewed);
    }
}

#[tokio::test]
async fn a_bye_deletes_at_once() {
    let coordinator = start(config());
    let mut peer = Client::holding(coordinator.local_addr(), 7001, 1, Availability::Full).await;
    peer.say(CoordinatorRequest::Bye).await;
    peer.hear_end().await;
    assert_eq!(coordinator.swarm(hash(1)).await, Ok(None));
    assert_eq!(coordinator.stats().await.expect("it runs").table.peers, 0);
}

#[tokio::test]
async fn a_false_size_cannot_keep_others_out() {
    let coordinator = start(config());
    let (mut liar, _) = Client::join(coordinator.local_addr(), 7001, 1, LONG).await;
    let mut lie = entry(1, Availability::Full);
    lie.size = 5;
    liar.report(true, &[lie]).await;
    liar.expect_accepted().await;
    let mut honest = Client::holding(coordinator.local_addr(), 7002, 1, Availability::Full).await;
    assert_eq!(honest.heartbeat().await, CoordinatorReply::Renewed);
    assert_eq!(coordinator.swarm(hash(1)).await, Ok(Some(SwarmSize { full: 2, partial: 0 })));
    assert_eq!(coordinator.stats().await.expect("it runs").table.size_conflicts, 1);
}
