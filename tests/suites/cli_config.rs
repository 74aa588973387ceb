//! Settings: from a flag, the environment, a file, or nowhere.

use serde_json::Value;
use tnet_testkit::{Cli, Content, Network, payload};

/// The value and the origin of a setting.
async fn setting(cli: &Cli, args: &[&str], key: &str) -> (String, String) {
    let shown = cli.run([args, &["config", "show", "--json"]].concat()).await.with_code(0).result();
    let all = shown["settings"].as_array().expect("a list");
    let found = all.iter().find(|setting| setting["key"] == key).expect("it is listed");
    let text = |field: &Value| field.as_str().expect("text").to_owned();
    (text(&found["value"]), text(&found["from"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_says_where_it_comes_from() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let file = cli.path("c.toml");
    std::fs::write(&file, "# mine\nlimit-up = \"10M\"\nlisten = \"127.0.0.1:9\"\n").expect("writable");
    let named = ["--config", "c.toml"];
    assert_eq!(setting(&cli, &[], "limit-up").await, ("none".to_owned(), "default".to_owned()));
    let (value, from) = setting(&cli, &named, "limit-up").await;
    assert!(value == "10M" && from.ends_with("c.toml:2"), "{value} {from}");
    let flag = [&named[..], &["--listen", "127.0.0.1:8"]].concat();
    assert_eq!(setting(&cli, &flag, "listen").await, ("127.0.0.1:8".to_owned(), "--listen".to_owned()));
    assert_eq!(setting(&cli, &named, "coordinator").await.1, "TNET_COORDINATOR");
    let text = cli.run(["config", "show", "--config", "c.toml"]).await.with_code(0).stdout;
    assert!(text.lines().any(|line| line.starts_with("limit-up ") && line.contains("10M")), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_does_what_its_file_says() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = Content::of(payload(100_000, 1));
    std::fs::create_dir(cli.path("shared")).expect("writable");
    content.write(&cli.path("shared/a")).await;
    let settings = "dir = \"shared\"\nlimit-down = \"5M\"\nmax-peers = 20\n";
    std::fs::write(cli.path("c.toml"), settings).expect("writable");
    let _server = cli.server(["--config", "c.toml", "--max-peers", "30"]).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let status = cli.run(["status", "--json"]).await.with_code(0).result();
    assert_eq!(status["status"]["limits"]["down"], 5 << 20);
    assert_eq!(status["status"]["bounds"]["connections"]["most"], 30, "a flag comes first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_in_a_file_is_named_before_anything_is_done() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    for (text, code, says) in [
        ("colour = 1\n", 2, "c.toml:1: there is no setting \"colour\""),
        ("\nlisten = \"nowhere\"\n", 2, "c.toml:2: listen = \"nowhere\" makes no sense"),
        ("dir =\n", 2, "c.toml:1: "),
    ] {
        std::fs::write(cli.path("c.toml"), text).expect("writable");
        let refused = cli.run(["status", "--config", "c.toml"]).await.with_code(code);
        assert!(refused.stderr.contains(says), "{text}: {}", refused.stderr);
    }
    let _ = cli.run(["status", "--config", "none.toml"]).await.with_code(3);
}
