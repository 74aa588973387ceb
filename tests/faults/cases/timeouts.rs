//! Waiting for a coordinator, for a description or for another process's download: what counts
//! towards the time-out, and what does not.

use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::Signal;
use tnet_testkit::{Content, SOON, eventually, get_args, payload};
use tokio::time::{Instant, sleep};

use crate::support::case::cases;
use crate::support::lan::Lan;
use crate::support::machine::Machine;
use crate::support::needs::Need;

const MIB: u64 = 1024 * 1024;

/// Ten seconds without an answer to something large, and time to call again.
const LARGE_IS_MISSED_WITHIN: Duration = Duration::from_secs(14);

cases![
    100 "the coordinator goes away while no peer has the file" time_without_a_coordinator_does_not_count .lasts(20);
    101 "large packets to the coordinator vanish, without a word" a_report_goes_out_in_small_packets
        .needing(&[Need::Namespaces]) .lasts(15);
    102 "large packets vanish while a description is fetched" a_description_comes_in_small_packets
        .needing(&[Need::Namespaces]);
    103 "a coordinator's name leads to another address, and the old one is silent" a_name_is_resolved_again
        .needing(&[Need::Namespaces]) .lasts(40);
    104 "a client, then its server do not run (SIGSTOP) for longer than the time-out"
        a_stopped_client_loses_no_download .lasts(40);
];

const SEED: usize = 1;

async fn time_without_a_coordinator_does_not_count() -> String {
    let content = Content::of(payload(MIB, 100));
    let network = tnet_testkit::Network::builder().start().await;
    let hub = Machine::new(network.user("hub"), Ipv4Addr::LOCALHOST);
    let coordinator = hub.coordinates(0).await;
    let address = coordinator.address;
    let user = |name: &str| {
        let cli = network.user(name).with_coordinator(address);
        Machine::new(cli, Ipv4Addr::LOCALHOST)
    };
    let (described, named) = (user("described"), user("named"));
    let hash = content.hash().to_string();
    let more = ["--linger", "0s", "--timeout", "12s"];
    let by_info = described.gets(&content, 0, &more);
    let get = get_args(&hash, &[]);
    let by_hash = named.start(&[&get[..], &more].concat());
    sleep(Duration::from_secs(6)).await;
    coordinator.process.terminate();
    let _ = coordinator.process.ends(SOON).await;
    sleep(Duration::from_millis(6500)).await;
    let _hub = hub.coordinates(address.port()).await;
    // More than twelve seconds after the start, six of them without a coordinator.
    let _seed = user("seed").seeds(&content, 0).await;
    for (machine, get) in [(&described, by_info), (&named, by_hash)] {
        let _ = get.ends(SOON).await.with_code(0);
        content.is_at(&machine.cli().path("a")).await;
    }
    "six seconds without a coordinator did not count towards a time-out of 12 s".to_owned()
}

async fn a_report_goes_out_in_small_packets() -> String {
    let content = Content::of(payload(MIB, 101));
    let lan = Lan::new(1, 1);
    let hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let seed = lan.machine(SEED);
    std::fs::create_dir_all(seed.cli().path("shared")).expect("a home of our own is writable");
    for number in 0..100 {
        std::fs::write(seed.cli().path(&format!("shared/{number}")), format!("{number}"))
            .expect("as above");
    }
    let _seed = seed.seeds_as(&content, &["--listen", "7401"]).await;
    is_listed(&lan, &content, SOON).await;
    lan.narrow_trunk(1400);
    // To a new coordinator everything is reported at once.
    hub.process.terminate();
    let _ = hub.process.ends(SOON).await;
    let _hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let took = is_listed(&lan, &content, LARGE_IS_MISSED_WITHIN).await;
    format!("101 files are listed {:.1} s after the restart of the coordinator", took.as_secs_f64())
}

/// Waits until the coordinator names the seed to a user on its machine.
async fn is_listed(lan: &Lan, content: &Content, within: Duration) -> Duration {
    is_listed_for(&lan.machine(0), lan, content, within).await
}

/// Waits until this user's coordinator names the seed.
async fn is_listed_for(user: &Machine, lan: &Lan, content: &Content, within: Duration) -> Duration {
    let (began, hash) = (Instant::now(), content.hash().to_string());
    eventually("the seed is listed", within, async || {
        let who = user.start(&["who", &hash]).ends(SOON).await;
        if who.stdout.contains(&lan.host(SEED).ip().to_string()) { Ok(()) } else { Err(who) }
    })
    .await;
    began.elapsed()
}

async fn a_description_comes_in_small_packets() -> String {
    let content = Content::of(payload(16 * MIB, 102));
    let lan = Lan::new(1, 1);
    let _hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let _seed = lan.machine(SEED).seeds(&content, Machine::PEER_PORT).await;
    is_listed(&lan, &content, SOON).await;
    lan.narrow_trunk(1400);
    let (began, hash) = (Instant::now(), content.hash().to_string());
    let get = ["get", &hash, "-o", "a", "--foreground", "--linger", "0s", "--timeout", "30s"];
    let _ = lan.machine(0).start(&get).ends(2 * SOON).await.with_code(0);
    content.is_at(&lan.machine(0).cli().path("a")).await;
    format!("whole after {:.1} s", began.elapsed().as_secs_f64())
}

async fn a_name_is_resolved_again() -> String {
    let content = Content::of(payload(MIB, 103));
    let lan = Lan::new(3, 0);
    let (old, new) = (lan.host(0).ip(), Ipv4Addr::new(10, 77, 1, 1));
    lan.host(0).is_also(new.into());
    let _old = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let _new = lan.user(0, 1, new.into(), new.into()).coordinates(Machine::COORDINATOR_PORT).await;
    lan.host(SEED).knows("coordinator.lan", old);
    let named = ["-c", "coordinator.lan", "--listen", "7401"];
    let _seed = lan.machine(SEED).seeds_as(&content, &named).await;
    is_listed(&lan, &content, SOON).await;
    lan.host(SEED).knows("coordinator.lan", new);
    // Nothing comes from the old one any more, nor does it take anything.
    lan.host(0).is_silent_at(old);
    // Three intervals and 5 s, and the call.
    let asker = lan.user(2, 0, lan.host(2).ip().into(), new.into());
    let took = is_listed_for(&asker, &lan, &content, Duration::from_secs(40)).await;
    format!("listed at the new address {:.0} s after the old one fell silent", took.as_secs_f64())
}

async fn a_stopped_client_loses_no_download() -> String {
    let pause = Duration::from_secs(12);
    let content = Content::of(payload(16 * MIB, 104));
    let network = tnet_testkit::Network::builder().start().await;
    let hub = Machine::new(network.user("hub"), Ipv4Addr::LOCALHOST);
    let coordinator = hub.coordinates(0).await;
    let user = |name: &str| {
        let cli = network.user(name).with_coordinator(coordinator.address);
        Machine::new(cli, Ipv4Addr::LOCALHOST)
    };
    let _seed = user("seed").seeds_with(&content, 0, &["--limit-up", "1M"]).await;
    let ann = user("ann");
    let server = ann.serves(&["start-server", "--foreground"], 0).await;
    content.write_info(&ann.cli().path("a.fileinfo"));
    let follows = |out| ann.start(&["get", "a.fileinfo", "-o", out, "--timeout", "8s", "--json"]);
    let first = follows("first");
    sleep(Duration::from_secs(1)).await;
    // It waits for the other one, whose content it is.
    let second = follows("second");
    sleep(Duration::from_secs(1)).await;
    server.process.signal(Signal::STOP);
    sleep(pause).await;
    server.process.signal(Signal::CONT);
    sleep(Duration::from_secs(1)).await;
    first.signal(Signal::STOP);
    sleep(pause).await;
    first.signal(Signal::CONT);
    for (get, out) in [(first, "first"), (second, "second")] {
        let _ = get.ends(2 * SOON).await.with_code(0);
        content.is_at(&ann.cli().path(out)).await;
    }
    format!(
        "each stopped for {} s with a time-out of 8 s: both downloads ended well",
        pause.as_secs()
    )
}
