//! Holders whose descriptions are false, slow or endless.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tnet_proto::{Availability, ReportEntry};
use tnet_testkit::{Content, FakeReporter, Network, RawPeer, SOON, eventually, get_args, payload};
use tokio::time::Instant;

use crate::support::case::cases;
use crate::support::false_holder::{FalseHolder, Trick};
use crate::support::getting::{MIB, says, small_chunks};
use crate::support::soak::at_length;

cases![
    73 "30 of 31 holders give no true description, each in its own way" one_true_description_among_thirty_false_ones_is_found .alone();
    73 "all holders give no true description" the_failure_names_what_the_holders_sent;
];

/// From the command to its first file.
const FOUND_WITHIN: Duration = Duration::from_secs(3);

/// How often holders report.
const INTERVAL: Duration = Duration::from_secs(1);

/// Holders that do this, as a coordinator knows them.
async fn false_holders(
    network: &Network,
    content: &Content,
    tricks: &[Trick],
    ip: IpAddr,
) -> Vec<(FalseHolder, FakeReporter)> {
    let entry = ReportEntry {
        hash: *content.hash().as_bytes(),
        size: content.info().size(),
        availability: Availability::Full,
    };
    let holders = tricks.iter().map(async |trick| {
        let holder = FalseHolder::at(ip, *trick, content.info().clone()).await;
        let port = holder.address.port();
        let reporter =
            FakeReporter::announce(network.coordinator(), port, INTERVAL, vec![entry]).await;
        (holder, reporter)
    });
    futures_util::future::join_all(holders).await
}

async fn one_true_description_among_thirty_false_ones_is_found() -> String {
    const FALSE: usize = 30;
    // Building the command, if it must be built, is not measured.
    Network::builder().start().await.user("builder").run(["--version"]).await.with_code(0);
    let mixed: Vec<Trick> = Trick::ALL.into_iter().cycle().take(FALSE).collect();
    let (local, local_v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let mut kinds =
        vec![(mixed.clone(), local, at_length(5, 20)), (mixed, local_v6, at_length(1, 10))];
    for trick in [Trick::Silent, Trick::EndlessSlowly, Trick::Dribbles, Trick::Endless] {
        kinds.push((vec![trick; FALSE], local, at_length(1, 10)));
    }
    // In two parts.
    let content = small_chunks(4200, 73);
    let mut figures = Vec::new();
    for (number, (tricks, ip, runs)) in kinds.into_iter().enumerate() {
        let network = if ip.is_ipv6() { Network::builder().ipv6() } else { Network::builder() };
        let network = network.start().await;
        let _false = false_holders(&network, &content, &tricks, ip).await;
        let mut honest: RawPeer = content.raw_peer().on(ip).start().await.expect("a free port");
        honest.report_to(network.coordinator(), INTERVAL).await;
        network.coordinator_counts(content.hash(), 31, 0).await;
        let listen = SocketAddr::new(ip, 0).to_string();
        for run in 0..runs {
            let user = network.user(&format!("ann{number}-{run}"));
            let hash = content.hash().to_string();
            let get = ["get", &hash, "-o", "a", "--foreground", "--json", "--listen", &listen];
            let began = Instant::now();
            let mut running = user.start(get);
            let (file, part) = (user.path("a"), user.path("a.partial"));
            eventually("there is a description", 4 * SOON, async || {
                assert!(
                    running.is_running() || file.exists(),
                    "{}{}",
                    running.stdout(),
                    running.stderr()
                );
                if file.exists() || part.exists() { Ok(()) } else { Err(running.stderr()) }
            })
            .await;
            figures.push((number, began.elapsed().as_secs_f64()));
        }
    }
    let most = figures.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
    assert!(most < FOUND_WITHIN.as_secs_f64(), "{figures:?}");
    let mut mixed: Vec<f64> =
        figures.iter().filter(|(number, _)| *number == 0).map(|(_, s)| *s).collect();
    mixed.sort_by(f64::total_cmp);
    format!(
        "a description after {:.1} s (median), at most {most:.1} s ({} runs, 30 of 31 false)",
        mixed[mixed.len() / 2],
        figures.len()
    )
}

async fn the_failure_names_what_the_holders_sent() -> String {
    let network = Network::builder().start().await;
    let content = Content::of(payload(MIB, 74));
    let local = Ipv4Addr::LOCALHOST.into();
    let tricks = [
        Trick::Mute,
        Trick::Mute,
        Trick::Forges,
        Trick::Endless,
        Trick::Refuses,
        Trick::Full,
        Trick::Closes,
    ];
    let _false = false_holders(&network, &content, &tricks, local).await;
    network.coordinator_counts(content.hash(), 7, 0).await;
    let user = network.user("ann");
    let hash = content.hash().to_string();
    let get = get_args(&hash, &["--timeout", "9s"]);
    let finished = user.run_within(2 * SOON, get).await.with_code(6);
    says(
        &finished,
        &[
            "7 peers were asked",
            "2 did not answer in time",
            "2 sent a false description",
            "1 did not have it",
            "1 took no more connections",
            "1 closed the connection",
        ],
    )
}
