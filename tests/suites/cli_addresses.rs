//! Addresses on the command line: names that are not known, ports of every address, what is
//! advertised.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;
use tnet_testkit::{Cli, Content, Network, SOON, eventually, get_args, payload};
use tokio::net::{TcpListener, TcpStream};

const LEN: u64 = 4 * 16 * 1024;

/// No name service knows it, by RFC 6761.
const UNKNOWN: &str = "not-yet.invalid";

async fn status(cli: &Cli) -> Value {
    cli.run(["status", "--json"]).await.with_code(0).result()["status"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_though_its_coordinators_name_is_not_known_yet() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let _server = cli.server(["-c", UNKNOWN]).await;
    let called = async || {
        let status = status(&cli).await;
        if status["coordinator_state"] == "unreachable" { Ok(status) } else { Err(status) }
    };
    let status = eventually("it says that it cannot be reached", SOON, called).await;
    assert_eq!(status["coordinator"], format!("{UNKNOWN}:7400"));
    let error = status["coordinator_contact"]["last_error"].to_string();
    assert!(error.contains(UNKNOWN), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_waits_for_an_unknown_name_as_for_a_coordinator_that_does_not_answer() {
    let network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 1));
    let cli = network.user_with_info("ann", &content);
    let hash = content.hash().to_string();
    for wanted in ["a.fileinfo", &hash] {
        let began = Instant::now();
        let get = get_args(wanted, &["-c", UNKNOWN]);
        let get = [&get[..], &["--timeout", "8s"]].concat();
        let ended = cli.start(get).ends(2 * SOON).await.with_code(5);
        assert!(ended.stderr.contains(UNKNOWN), "{ended:?}");
        assert!(began.elapsed() >= Duration::from_secs(5), "it waited {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_text_that_is_no_address_is_refused_by_name() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    for (flag, value, words) in [
        ("--coordinator", "http://host:80", "host.lan"),
        ("--coordinator", "fe80::1", "fe80::1%eth0"),
        ("--coordinator", "fe80::1%nothere0", "no network interface \"nothere0\""),
        ("--listen", "[fe80::1%nothere0]:7401", "no network interface \"nothere0\""),
        ("--listen", "localhost", "[::]:7401"),
        ("--advertise", "0.0.0.0", "not the address of one machine"),
        ("--advertise", "host.lan", "10.0.0.5"),
    ] {
        let ended = cli.run(["start-server", "--foreground", flag, value]).await.with_code(2);
        assert!(ended.stderr.contains(words), "{flag} {value}: {}", ended.stderr);
    }
    let ended = cli.run(["coordinator", "--allow-advertise", "lan"]).await.with_code(2);
    assert!(ended.stderr.contains("10.0.0.0/8"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_alone_is_that_port_of_every_address() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let port = {
        let free = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await;
        let Ok(free) = free else { return }; // no IPv6 on this machine
        free.local_addr().expect("bound").port().to_string()
    };
    let args = ["start-server", "--json", "--listen", &port];
    let started = cli.start(args).ends(SOON).await.with_code(0).result();
    let _server = cli.guard(started["pid"].as_u64());
    assert_eq!(started["listen"], format!("[::]:{port}"));
    let port: u16 = port.parse().expect("a port");
    for address in
        [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()]
    {
        TcpStream::connect(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_sent_to_the_advertised_address() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    std::fs::write(cli.path("settings.toml"), "advertise = \"10.9.9.9:9000\"\n").expect("writable");
    let _server = cli.server(["--config", "settings.toml"]).await;
    let listed = async || {
        let listing = status(&cli).await["coordinator_contact"]["listing"].clone();
        if listing["at"] == "10.9.9.9:9000" { Ok(()) } else { Err(listing) }
    };
    eventually("it is listed there", SOON, listed).await;
    let text = cli.run(["status"]).await.with_code(0).stdout;
    assert!(text.contains("others are sent to 10.9.9.9:9000"), "{text}");
}
