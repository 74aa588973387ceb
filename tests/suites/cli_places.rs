//! Where a file goes, as the command and the server see it: other file systems under one path,
//! something mounted in between, a file that is replaced.

#![expect(
    clippy::disallowed_methods,
    reason = "what a test shows, its own files included, is for developers"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tnet_testkit::{Cli, Content, Network, SOON, payload};

/// 40 chunks of 16 KiB: more than are ever under way at once.
const LEN: u64 = 40 * 16 * 1024;

const FOREGROUND: [&str; 5] = ["--foreground", "--linger", "0s", "--listen", "127.0.0.1:0"];

#[expect(
    clippy::print_stderr,
    reason = "a test that was skipped must not look like one that passed"
)]
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: mounting needs root");
    }
    is_root
}

/// The command in a mount namespace of its own, in which `prepare` was run before.
fn elsewhere(prepare: &str, command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "--propagation", "private", "sh", "-c"]);
    wrapped
        .arg(format!("{prepare}\nexec \"$0\" \"$@\""))
        .arg(command.get_program())
        .args(command.get_args());
    wrapped.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

async fn get(cli: &Cli, arguments: &[&str], further: &[&str]) -> tnet_testkit::Finished {
    cli.run(["get", "--json"].iter().chain(arguments).chain(further)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_sees_another_directory_under_the_path_puts_the_file_where_the_user_sees_it()
{
    if !is_root() {
        return;
    }
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 1));
    network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let cli = network.user("ann");
    fs::create_dir(cli.path("tmp")).expect("writable");
    content.write_info(&cli.path("tmp/a.fileinfo"));
    let start = cli.command(["start-server", "--json", "--listen", "127.0.0.1:0"]);
    let private = format!("mount -t tmpfs none '{}'", cli.path("tmp").display());
    let started = cli.start_command(elsewhere(&private, &start)).ends(SOON).await.with_code(0);
    let server = cli.guard(started.result()["pid"].as_u64());
    let below = format!("/proc/{}/root{}", server.pid(), cli.path("tmp").display());
    assert!(!Path::new(&below).join("a.fileinfo").exists(), "the server sees the same directory");

    let got = get(&cli, &["tmp/a.fileinfo", "-o", "tmp/a"], &[]).await.with_code(0);
    assert_eq!(got.result()["path"], cli.path("tmp/a").to_str().expect("text"));
    content.is_at(&cli.path("tmp/a")).await;
    assert!(!Path::new(&below).join("a").exists());
    // And again, over what is there.
    let _ = get(&cli, &["tmp/a.fileinfo", "-o", "tmp/a", "--overwrite"], &[]).await.with_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_over_whose_directory_something_was_mounted_is_not_called_done() {
    if !is_root() {
        return;
    }
    for by_server in [false, true] {
        let network = Network::builder().start().await;
        let content = Content::of(payload(LEN, 2));
        let seed = network.raw(content.raw_peer().allowing(10)).await;
        let cli = network.user_with_info("ann", &content);
        fs::create_dir(cli.path("to")).expect("writable");
        let mut command = cli.command(["get", "--json", "a.fileinfo", "-o", "to/a"]);
        command.args(if by_server { &["--listen", "127.0.0.1:0"][..] } else { &FOREGROUND[..] });
        let mut running = cli.start_command(elsewhere("", &command));
        let stored = |text: &str| text.contains("\"chunks_done\":10").then_some(());
        running.prints("10 chunks are stored", SOON, stored).await;
        let mounted = Command::new("nsenter")
            .args(["--mount", "--target", &running.id().to_string()])
            .args(["mount", "-t", "tmpfs", "none"])
            .arg(cli.path("to"))
            .status();
        assert!(mounted.expect("util-linux is everywhere").success());
        seed.allow_all().await;
        let ended = running.ends(SOON).await.with_code(3);
        assert!(ended.stderr.contains("mounted over"), "{}", ended.stderr);
        content.is_at(&cli.path("to/a")).await;
        if by_server {
            let _ = cli.run(["kill-server"]).await.with_code(0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_replaced_keeps_its_mode() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 3));
    network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let cli = network.user_with_info("ann", &content);
    let _server = cli.server::<&str>([]).await;
    for further in [&FOREGROUND[..], &[]] {
        for kept in [0o600, 0o640, 0o444, 0o644, 0o755, 0o4755, 0o2750] {
            let out = cli.path("a");
            let _ = fs::remove_file(&out);
            fs::write(&out, "old").expect("writable");
            fs::set_permissions(&out, Permissions::from_mode(kept)).expect("ours");
            let _ =
                get(&cli, &["a.fileinfo", "-o", "a", "--overwrite"], further).await.with_code(0);
            assert_eq!(mode(&out), kept, "{kept:o} {further:?}");
            assert_eq!(fs::metadata(&out).expect("there").len(), LEN);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stdout_is_refused_and_no_file_is_called_so() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    fs::write(cli.path("file"), "content").expect("writable");
    let _ = cli.run(["create", "file"]).await.with_code(0);
    for command in [&["create", "file", "-o", "-"][..], &["get", "file.fileinfo", "-o", "-"]] {
        let refused = cli.run(command).await.with_code(2);
        assert!(refused.stderr.contains("stdout"), "{}", refused.stderr);
    }
    assert!(!cli.path("-").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_state_directory_names_the_reason_and_the_remedy() {
    if !is_root() {
        return;
    }
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    fs::create_dir(cli.path("state")).expect("writable");
    fs::set_permissions(cli.path("state"), Permissions::from_mode(0o700)).expect("ours");
    std::os::unix::fs::chown(cli.path("state"), Some(65534), None).expect("root may");
    for command in [&["status"][..], &["start-server", "--listen", "127.0.0.1:0"]] {
        let refused = cli.run(command).await.with_code(10);
        assert!(refused.stderr.contains("run this as that user"), "{}", refused.stderr);
        assert!(!refused.stderr.contains("kill-server"), "{}", refused.stderr);
    }
    let refused = cli.run(["get", &"ab".repeat(32)]).await.with_code(10);
    assert!(refused.stderr.contains("--foreground"), "{}", refused.stderr);
}
