//! Several files in one `tnet get`: named on the command line, in a list, through a pipe; some of
//! them not to be had.

use std::io::Write;
use std::process::Stdio;

use tnet_testkit::{Cli, Content, Finished, Network, payload};

/// Five chunks of 16 KiB.
const LEN: u64 = 5 * 16 * 1024;

/// In this process, ending as soon as all is there.
const FOREGROUND: [&str; 6] = ["get", "--foreground", "--linger", "0s", "--listen", "127.0.0.1:0"];

/// Files that a peer shares, and a user who has their descriptions, as `0.fileinfo` and so on, and
/// a directory `out`.
async fn shared(network: &Network, files: u64) -> (Cli, Vec<Content>) {
    let cli = network.user("ann");
    std::fs::create_dir(cli.path("out")).expect("writable");
    let mut contents = Vec::new();
    for number in 0..files {
        let content = Content::of(payload(LEN, number));
        network.peer("seed").shares_as(&content, &format!("{number}")).await;
        content
            .write_info_named(&cli.path(&format!("{number}.fileinfo")), &format!("file {number}"));
        contents.push(content);
    }
    (cli, contents)
}

fn events(finished: &Finished, name: &str) -> Vec<serde_json::Value> {
    finished.json_lines().into_iter().filter(|event| event["event"] == name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_named_arrives_and_is_accounted_for() {
    let network = Network::builder().peer("seed").start().await;
    let (cli, contents) = shared(&network, 5).await;
    let infos = ["0.fileinfo", "1.fileinfo", "2.fileinfo", "3.fileinfo", "4.fileinfo"];
    let got = cli
        .run([&FOREGROUND[..], &infos, &["-o", "out", "--json", "--parallel", "2"]].concat())
        .await;
    let got = got.with_code(0);
    for (number, content) in contents.iter().enumerate() {
        content.is_at(&cli.path(&format!("out/file {number}"))).await;
    }
    let report = got.result();
    assert_eq!(
        (&report["files"], &report["complete"], &report["failed"]),
        (&5.into(), &5.into(), &0.into())
    );
    assert_eq!(
        (&report["bytes_total"], &report["bytes_downloaded"]),
        (&(5 * LEN).into(), &(5 * LEN).into())
    );
    assert_eq!(events(&got, "complete").len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_comes_through_a_pipe_and_the_server_gets_it() {
    let network = Network::builder().peer("seed").start().await;
    let (cli, contents) = shared(&network, 3).await;
    // One is named twice; one by its hash, as a file of that name.
    let list = format!("# wanted\n0.fileinfo\n\n{}\n0.fileinfo\n", contents[1].hash());
    let mut command =
        cli.command(["get", "-i", "-", "2.fileinfo", "-o", "out/", "--listen", "127.0.0.1:0"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    network.coordinator_counts(contents[1].hash(), 1, 0).await;
    let mut child = command.spawn().expect("the command starts");
    child.stdin.take().expect("piped").write_all(list.as_bytes()).expect("it reads");
    let output =
        tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("no panic");
    let output = output.expect("it ends");
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let pid = errors.split("pid ").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
    let _server = cli.guard(pid);
    assert!(output.status.success(), "{out}{errors}");
    assert!(out.lines().last().is_some_and(|last| last.starts_with("3 of 3 files: ")), "{out}");
    contents[0].is_at(&cli.path("out/file 0")).await;
    contents[1].is_at(&cli.path(&format!("out/{}", contents[1].hash()))).await;
    contents[2].is_at(&cli.path("out/file 2")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_without_holder_are_named_and_the_rest_arrives() {
    let network = Network::builder().peer("seed").start().await;
    let (cli, contents) = shared(&network, 2).await;
    let unknown = "ab".repeat(32);
    let wanted = ["0.fileinfo", &unknown, "1.fileinfo", "-o", "out", "--timeout", "1s", "--json"];
    let got = cli.run([&FOREGROUND[..], &wanted].concat()).await.with_code(4);
    assert!(
        got.stderr.contains(&unknown) && got.stderr.contains("1 of 3 files failed"),
        "{}",
        got.stderr
    );
    let failed = events(&got, "failed");
    assert!(failed.len() == 1 && failed[0]["hash"] == unknown, "{failed:?}");
    assert_eq!(failed[0]["error"]["exit_code"], 4);
    assert_eq!(events(&got, "summary")[0]["complete"], 2);
    contents[0].is_at(&cli.path("out/file 0")).await;
    contents[1].is_at(&cli.path("out/file 1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_content_under_two_names_is_downloaded_once() {
    let network = Network::builder().peer("seed").start().await;
    let (cli, contents) = shared(&network, 1).await;
    contents[0].write_info_named(&cli.path("copy.fileinfo"), "the copy");
    let wanted = ["0.fileinfo", "copy.fileinfo", "-o", "out", "--json"];
    let got = cli.run([&FOREGROUND[..], &wanted].concat()).await.with_code(0);
    assert_eq!(got.result()["bytes_downloaded"], LEN);
    contents[0].is_at(&cli.path("out/file 0")).await;
    contents[0].is_at(&cli.path("out/the copy")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_files_that_would_be_one_the_second_is_refused_and_named() {
    let network = Network::builder().peer("seed").start().await;
    let (cli, contents) = shared(&network, 2).await;
    contents[1].write_info_named(&cli.path("same.fileinfo"), "file 0");
    for more in [&[][..], &["--overwrite"], &["--overwrite", "--parallel", "1"]] {
        let wanted = ["0.fileinfo", "same.fileinfo", "-o", "out"];
        let got = cli.run([&FOREGROUND[..], &wanted, more].concat()).await.with_code(9);
        assert!(got.stderr.contains("would both be"), "{}", got.stderr);
        contents[0].is_at(&cli.path("out/file 0")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_command_line_is_refused_before_anything_begins() {
    let network = Network::builder().peer("seed").start().await;
    let (cli, _) = shared(&network, 2).await;
    let cases: [(&[&str], u8, &str); 4] = [
        (&["0.fileinfo", "1.fileinfo", "-o", "out/x"], 2, "name a directory"),
        (&["not-there.fileinfo", "neither.fileinfo", "-o", "out"], 3, "neither.fileinfo"),
        (&["-i", "no-list", "-o", "out"], 3, "no-list"),
        (&[], 2, "FILEINFO_OR_HASH"),
    ];
    for (wanted, code, says) in cases {
        let refused = cli.run([&FOREGROUND[..], wanted].concat()).await.with_code(code.into());
        assert!(refused.stderr.contains(says), "{wanted:?}: {}", refused.stderr);
    }
    std::fs::write(cli.path("empty"), "# nothing\n").expect("writable");
    let _ = cli.run([&FOREGROUND[..], &["-i", "empty"]].concat()).await.with_code(2);
    assert_eq!(std::fs::read_dir(cli.path("out")).expect("it is there").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_file_argument_is_named_and_the_others_arrive() {
    let network = Network::builder().peer("seed").start().await;
    let (cli, contents) = shared(&network, 2).await;
    contents[1].write_info_named(&cli.path("dot.fileinfo"), ".bashrc");
    std::fs::write(cli.path("none.fileinfo"), "no description").expect("writable");
    for (bad, code, says) in [
        ("not-there.fileinfo", 3, "not-there.fileinfo"),
        ("dot.fileinfo", 2, "dot.fileinfo"),
        ("none.fileinfo", 6, "none.fileinfo"),
    ] {
        let got =
            cli.run([&FOREGROUND[..], &["0.fileinfo", bad, "-o", "out", "--json"]].concat()).await;
        let got = got.with_code(code);
        assert!(
            got.stderr.contains(says) && got.stderr.contains("1 of 2 files failed"),
            "{}",
            got.stderr
        );
        let failed = events(&got, "failed");
        assert_eq!((failed.len(), &failed[0]["wanted"]), (1, &bad.into()), "{failed:?}");
        assert_eq!(failed[0]["error"]["exit_code"], code);
        contents[0].is_at(&cli.path("out/file 0")).await;
        std::fs::remove_file(cli.path("out/file 0")).expect("it is there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_only_this_system_allows_is_taken_from_the_description_file() {
    let network = Network::builder().peer("seed").start().await;
    let (cli, _) = shared(&network, 1).await;
    let content = Content::of(payload(LEN, 9));
    content.write(&cli.path("log-10:00:00")).await;
    network.peer("seed").shares_as(&content, "log").await;
    let _ = cli.run(["create", "log-10:00:00"]).await.with_code(0);
    let wanted = ["0.fileinfo", "log-10:00:00.fileinfo", "-o", "out"];
    let _ = cli.run([&FOREGROUND[..], &wanted].concat()).await.with_code(0);
    content.is_at(&cli.path("out/log-10:00:00")).await;
}
