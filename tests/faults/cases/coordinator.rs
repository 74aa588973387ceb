//! Abuse of the coordinator: addresses of others, floods of reports, replays, strangers at its
//! door.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_proto::{CoordinatorReply, CoordinatorRequest, MAX_REPORT_ENTRIES, PeerId};
use tnet_testkit::{Content, Network, RawClient, SOON, eventually, get_args, is, payload, stays};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::support::case::cases;
use crate::support::needs::Need;
use crate::support::process::memory;
use crate::support::raw_reporter::{RawReporter, full};
use crate::support::service::Service;
use crate::support::soak::at_length;

cases![
    63 "a report for the address of another peer" an_address_of_another_peer_cannot_be_reported;
    64 "one client reports millions of files, and comes as thousands of peers" a_flood_of_reports_stays_within_its_limits .measures();
    65 "reports replayed, out of order, and repeated from an earlier connection" old_reports_change_nothing;
    67 "unproven connections at the ports, and at the control socket of another user" unproven_peers_get_no_more_than_they_sent .needing(&[Need::Root]);
];

const INTERVAL: Duration = Duration::from_secs(10);

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

async fn an_address_of_another_peer_cannot_be_reported() -> String {
    let network = Network::builder().start().await;
    let content = Content::of(payload(300_000, 63));
    // The victim listens on one address; the attacker reports the victim's port from another.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are free ports");
    let victim = listener.local_addr().expect("bound");
    let called = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&called);
    let _victim = AbortOnDropHandle::new(tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let coordinator = network.coordinator_handle().local_addr();
    let mut attacker = RawReporter::call(coordinator, loopback(66)).await;
    assert!(attacker.is_welcome(PeerId([66; 16]), victim.port(), INTERVAL).await);
    let (hash, size) = (*content.hash().as_bytes(), content.info().size());
    attacker
        .say(CoordinatorRequest::Report { seq: 1, replace: true, entries: vec![full(hash, size)] })
        .await;
    let own = SocketAddr::new(loopback(66), victim.port());
    assert_eq!(attacker.holders(hash).await, [own; 0], "the asker is not named to itself");
    let mut other = RawReporter::call(coordinator, loopback(1)).await;
    assert!(other.is_welcome(PeerId([1; 16]), 0, INTERVAL).await);
    assert_eq!(other.holders(hash).await, [own], "the address is the one it was seen at");
    // Downloads call the peers that the coordinator names.
    content.write_info(&network.user("ann").path("a.fileinfo"));
    let get = get_args("a.fileinfo", &["--timeout", "2s"]);
    network.user("ann").run(get).await.with_code(5);
    let calls = called.load(Ordering::Relaxed);
    assert_eq!(calls, 0, "no peer was sent to the victim");
    format!("{calls} connections at the victim")
}

async fn a_flood_of_reports_stays_within_its_limits() -> String {
    let network = Network::builder().start().await;
    let service = Service::coordinator(&network.user("coordinator")).await;
    let before = memory(service.running.id()).peak_kib;
    // An honest peer that asks all the time.
    let shared: [u8; 32] = [7; 32];
    let mut honest = RawReporter::call(service.address, loopback(3)).await;
    assert!(honest.is_welcome(PeerId([3; 16]), 7401, INTERVAL).await);
    honest
        .say(CoordinatorRequest::Report {
            seq: 1,
            replace: true,
            entries: vec![full(shared, 1000)],
        })
        .await;
    // Its lease must not end, however long the flood lasts.
    let _honest = AbortOnDropHandle::new(tokio::spawn(async move {
        for seq in 2.. {
            tokio::time::sleep(INTERVAL).await;
            honest
                .say(CoordinatorRequest::Report { seq, replace: false, entries: Vec::new() })
                .await;
        }
    }));
    let address = service.address;
    let (flooded, is_flooded) = watch::channel(false);
    let asking = tokio::spawn(async move {
        let mut asker = RawReporter::call(address, loopback(4)).await;
        assert!(asker.is_welcome(PeerId([4; 16]), 0, INTERVAL).await);
        let mut times = Vec::new();
        while !*is_flooded.borrow() {
            let began = Instant::now();
            assert_eq!(asker.holders(shared).await.len(), 1, "the honest are still found");
            times.push(began.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times
    });
    // Files that do not exist, more than one peer may report.
    let mut flood = RawReporter::call(service.address, loopback(66)).await;
    assert!(flood.is_welcome(PeerId([66; 16]), 7401, INTERVAL).await);
    let (mut random, mut files, mut refused) = (StdRng::seed_from_u64(64), 0, 0);
    for seq in 1..=at_length(64, 2500) {
        let entries: Vec<_> = (0..MAX_REPORT_ENTRIES).map(|_| full(random.random(), 1)).collect();
        files += entries.len();
        flood.say(CoordinatorRequest::Report { seq, replace: seq == 1, entries }).await;
        loop {
            match flood.hear().await.expect("the line stays") {
                CoordinatorReply::Accepted { .. } => break,
                CoordinatorReply::LimitReached { .. } => {
                    refused += 1;
                    break;
                }
                _ => {}
            }
        }
    }
    // The same machine as thousands of peers.
    let (mut held, mut identities) = (Vec::new(), 0);
    for number in 0..at_length(2_500_u64, 10_000) {
        let mut caller = RawReporter::call(service.address, loopback(66)).await;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let port = u16::try_from(number % 60_000 + 1000).expect("a port");
        if caller.is_welcome(PeerId(id), port, INTERVAL).await {
            identities += 1;
            held.push(caller);
        }
    }
    let grown = memory(service.running.id()).peak_kib - before;
    flooded.send_replace(true);
    let mut times = asking.await.expect("the honest are served throughout");
    times.sort_unstable();
    let worst = times[times.len() * 99 / 100].as_millis();
    assert!(identities <= 2_000, "{identities} connections from one address");
    let bytes_each = grown * 1024 / files as u64;
    assert!(bytes_each < 600, "{bytes_each} bytes for each reported file");
    format!(
        "{files} files ({refused} reports refused) and {identities} peers of one address: {} MiB more; honest lookups' \
         99th percentile {worst} ms",
        grown / 1024
    )
}

async fn old_reports_change_nothing() -> String {
    let network = Network::builder().start().await;
    let coordinator = network.coordinator_handle().local_addr();
    let (old, new) = ([1; 32], [2; 32]);
    let report = |seq, replace, hash| CoordinatorRequest::Report {
        seq,
        replace,
        entries: vec![full(hash, 10)],
    };
    let counts = async |hash| network.swarm(tnet_fileinfo::FileHash::from_bytes(hash)).await.0;
    let mut first = RawReporter::call(coordinator, loopback(5)).await;
    assert!(first.is_welcome(PeerId([5; 16]), 7401, INTERVAL).await);
    first.say(report(1, true, old)).await;
    assert_eq!(first.hear().await, Some(CoordinatorReply::Accepted { seq: 1 }));
    first.say(report(2, true, new)).await;
    assert_eq!(first.hear().await, Some(CoordinatorReply::Accepted { seq: 2 }));
    let mut stale = 0;
    // The first once more, as a replay, and one from the future that skips some.
    for (seq, hash) in [(1, old), (2, old), (9, old)] {
        first.say(report(seq, false, hash)).await;
        // The answer to a question comes after the report was looked at.
        first.holders(old).await;
        stale += counts(old).await;
    }
    assert_eq!((stale, counts(new).await), (0, 1), "nothing out of turn is in the table");
    // A second connection has reports of its own: what the first said before changes nothing when
    // it comes again.
    let mut second = RawReporter::call(coordinator, loopback(5)).await;
    assert!(second.is_welcome(PeerId([5; 16]), 7401, INTERVAL).await);
    second.say(report(1, true, new)).await;
    assert_eq!(second.hear().await, Some(CoordinatorReply::Accepted { seq: 1 }));
    for replace in [true, false] {
        second.say(report(1, replace, old)).await;
        second.holders(old).await;
        stale += counts(old).await;
    }
    assert_eq!((stale, counts(new).await), (0, 2), "what was said before is not heard again");
    // Nor does what the first still says of itself.
    first.say(report(3, true, old)).await;
    eventually("the earlier connection replaces its own", SOON, async || is(counts(old).await, 1))
        .await;
    let unchanged = async || is(counts(new).await, 1);
    stays("the later connection keeps what it said", Duration::from_millis(500), unchanged).await;
    format!("{stale} stale entries after 5 reports out of turn")
}

async fn unproven_peers_get_no_more_than_they_sent() -> String {
    let network = Network::builder().start().await;
    let user = network.user("ann");
    let coordinator = Service::coordinator(&network.user("coordinator")).await;
    let peer = Service::peer(&user, &[]).await;
    let tls: Vec<u8> = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat();
    let greetings: [&[u8]; 4] = [
        b"GET /admin/peers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n",
        &tls,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    let mut longest = 0;
    for service in [&coordinator, &peer] {
        for greeting in greetings {
            let mut stranger = RawClient::call(service.address).await.expect("it listens");
            stranger.send(greeting).await;
            let (after, answer) = stranger.until_closed(SOON).await;
            assert!(after < Duration::from_secs(7), "closed only after {after:?}");
            longest = longest.max(answer.len());
        }
    }
    // TCP has proven a stranger's address by then, there is no UDP, and it is less than the packets
    // that proved it.
    assert!(longest <= 64, "{longest} bytes for a stranger");
    // The control socket is its owner's: no other user can connect.
    let state = user.path("state");
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777
    };
    let sockets: Vec<_> =
        std::fs::read_dir(&state).expect("readable").filter_map(Result::ok).collect();
    assert!(sockets.iter().all(|entry| mode(&entry.path()) & 0o077 == 0), "{sockets:?}");
    let status = user.command(["status"]);
    let refused = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(status.get_program())
        .arg("status")
        .env_clear()
        .envs(status.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .output()
        .expect("setpriv is part of every system");
    assert!(!refused.status.success(), "{refused:?}");
    format!(
        "at most {longest} bytes for a stranger whose address TCP has proven, nothing over UDP; control socket refused with {}",
        refused.status
    )
}
