//! Settings: from a flag, the environment, a file, or nowhere.

use rustix::process::Signal;
use serde_json::Value;
use tnet_peer::fileinfo::shown_path;
use tnet_testkit::{Cli, Content, Network, SOON, eventually, is, payload};

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
    std::fs::write(&file, "# mine\nlimit-up = \"10M\"\nlisten = \"127.0.0.1:9\"\n")
        .expect("writable");
    let named = ["--config", "c.toml"];
    assert_eq!(setting(&cli, &[], "limit-up").await, ("none".to_owned(), "default".to_owned()));
    let (value, from) = setting(&cli, &named, "limit-up").await;
    assert!(value == "10M" && from.ends_with("c.toml:2"), "{value} {from}");
    let flag = [&named[..], &["--listen", "127.0.0.1:8"]].concat();
    assert_eq!(
        setting(&cli, &flag, "listen").await,
        ("127.0.0.1:8".to_owned(), "--listen".to_owned())
    );
    assert_eq!(setting(&cli, &named, "coordinator").await.1, "TNET_COORDINATOR");
    let text = cli.run(["config", "show", "--config", "c.toml"]).await.with_code(0).stdout;
    assert!(
        text.lines().any(|line| line.starts_with("limit-up ") && line.contains("10M")),
        "{text}"
    );
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
async fn an_invalid_setting_in_a_file_is_named_before_anything_is_done() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    for (text, code, says) in [
        ("colour = 1\n", 2, "c.toml:1: there is no setting \"colour\""),
        ("\nlisten = \"nowhere\"\n", 2, "c.toml:2: listen = \"nowhere\" is invalid"),
        ("dir =\n", 2, "c.toml:1: "),
    ] {
        std::fs::write(cli.path("c.toml"), text).expect("writable");
        let refused = cli.run(["status", "--config", "c.toml"]).await.with_code(code);
        assert!(refused.stderr.contains(says), "{text}: {}", refused.stderr);
    }
    let _ = cli.run(["status", "--config", "none.toml"]).await.with_code(3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_default_config_file_is_ignored() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    std::fs::write(cli.path("file"), "content").expect("writable");
    // To root everything can be read, so what stands there is no file.
    std::fs::create_dir_all(cli.path(".config/tnet/config.toml")).expect("writable");
    let created = cli.run(["create", "file"]).await.with_code(0);
    assert_eq!(created.stderr.matches("config.toml").count(), 1, "{}", created.stderr);
    let named = ["create", "file", "--overwrite", "--config", ".config/tnet/config.toml"];
    let _ = cli.run(named).await.with_code(2);
    // Below a file nothing can be.
    std::fs::remove_dir_all(cli.path(".config")).expect("it is there");
    std::fs::write(cli.path(".config"), "").expect("writable");
    let created = cli.run(["create", "file", "--overwrite"]).await.with_code(0);
    assert_eq!(created.stderr.matches("config.toml").count(), 1, "{}", created.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_that_is_empty_is_not_set() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let mut command = cli.command(["config", "show", "--json"]);
    for variable in [
        "TNET_COORDINATOR",
        "TNET_STATE_DIR",
        "TNET_CONFIG",
        "TNET_DEMO_DELAY",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
    ] {
        command.env(variable, "");
    }
    let shown = cli.start_command(command).ends(SOON).await.with_code(0).result();
    for setting in shown["settings"].as_array().expect("a list") {
        assert_eq!(setting["from"], "default", "{setting}");
    }
    let state_dir =
        shown["settings"].as_array().into_iter().flatten().find(|s| s["key"] == "state-dir");
    assert_eq!(
        state_dir.expect("listed")["value"],
        shown_path(&cli.path(".local/state/tnet")).to_string()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_reads_its_file_again_when_it_is_told_to() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    std::fs::write(cli.path("c.toml"), "limit-down = \"5M\"\nlimit-up = \"1M\"\n")
        .expect("writable");
    let server = cli.server(["--config", "c.toml", "--limit-up", "2M"]).await;
    let limits = async || {
        let status = cli.run(["status", "--json"]).await.with_code(0).result();
        let limits = &status["status"]["limits"];
        (limits["up"].as_u64(), limits["down"].as_u64())
    };
    assert_eq!(limits().await, (Some(2 << 20), Some(5 << 20)));
    let hang_up = || {
        let pid = i32::try_from(server.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a pid");
        rustix::process::kill_process(pid, Signal::HUP).expect("it runs");
    };
    let settings = "limit-down = \"7M\"\nlimit-up = \"3M\"\nmax-peers = 9\n";
    std::fs::write(cli.path("c.toml"), settings).expect("writable");
    hang_up();
    // A flag stays what it was.
    eventually("the rate is the new one", SOON, async || {
        is(limits().await, (Some(2 << 20), Some(7 << 20)))
    })
    .await;
    let log = || std::fs::read_to_string(cli.path("state/server.log")).expect("there");
    assert!(log().contains("max-peers too, which needs a restart"), "{}", log());
    std::fs::write(cli.path("c.toml"), "limit-down = ").expect("writable");
    hang_up();
    eventually("it says what is wrong", SOON, async || {
        if log().contains("settings unchanged") { Ok(()) } else { Err(log()) }
    })
    .await;
    assert_eq!(limits().await, (Some(2 << 20), Some(7 << 20)));
}
