//! The server as a process: on its own, one for each state directory, and heard by a service manager.

#![allow(clippy::disallowed_methods, reason = "what a test shows, its own files included, is for developers")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use tnet_testkit::{Cli, Network, SOON, eventually, is};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// A field of `/proc/PID/stat` after the name: 1 is the parent, 3 the session.
fn stat_field(pid: u32, field: usize) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let rest = stat.rsplit_once(')').expect("a name in parentheses").1;
    rest.split_whitespace().nth(field).and_then(|text| text.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_in_the_background_holds_on_to_nothing_of_who_started_it() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let server = cli.server::<&str>([]).await;
    let pid = server.pid();
    assert_eq!(stat_field(pid, 3), pid, "a session of its own");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("it runs"), Path::new("/"));
    let points_to = |descriptor: u32| {
        let target = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).expect("it is open");
        target.to_string_lossy().into_owned()
    };
    assert_eq!(points_to(0), "/dev/null");
    assert!(points_to(2).ends_with("/server.log"), "{}", points_to(2));
    assert_eq!((mode(&cli.path("state")), mode(&cli.path("state/control.sock"))), (0o700, 0o600));
    assert_eq!(mode(&cli.path("state/server.log")), 0o600);
    let second = cli.run(["start-server", "--listen", "127.0.0.1:0"]).await.with_code(9);
    assert!(second.stderr.contains(&format!("pid {pid}")), "{}", second.stderr);
    let _ = cli.run(["kill-server"]).await.with_code(0);
    assert!(!server.is_running() && !cli.path("state/control.sock").exists(), "a clean end");
    let _ = cli.run(["kill-server"]).await.with_code(3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_leaves_nothing_that_keeps_the_next_one_out() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let killed = cli.server::<&str>([]).await;
    killed.kill();
    eventually("it is gone", SOON, async || is(killed.is_running(), false)).await;
    assert!(cli.path("state/control.sock").exists(), "nobody tidied up");
    let _ = cli.run(["status"]).await.with_code(3);
    let next = cli.server::<&str>([]).await;
    assert_ne!(next.pid(), killed.pid());
    let _ = cli.run(["status"]).await.with_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_hears_when_it_is_ready_and_when_it_ends() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    for command in [
        &["coordinator", "--listen", "127.0.0.1:0"][..],
        &["start-server", "--foreground", "--listen", "127.0.0.1:0"],
    ] {
        let path = cli.path("notify");
        let _ = fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).expect("a socket");
        manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        let running = start(&cli, command, &path);
        assert!(heard(&manager).await.starts_with("READY=1\nSTATUS="), "{command:?}");
        running.terminate();
        let mut last = heard(&manager).await;
        // How it is may be told once more before.
        while last.starts_with("STATUS=") {
            last = heard(&manager).await;
        }
        assert_eq!(last, "STOPPING=1\n", "{command:?}");
        let _ = running.ends(SOON).await;
    }
}

fn start(cli: &Cli, args: &[&str], notify: &Path) -> tnet_testkit::Running {
    let mut command = cli.command(args);
    command.env("NOTIFY_SOCKET", notify);
    cli.start_command(command)
}

async fn heard(manager: &UnixDatagram) -> String {
    let manager = manager.try_clone().expect("another handle");
    let received = tokio::task::spawn_blocking(move || {
        let mut bytes = [0; 256];
        let len = manager.recv(&mut bytes).expect("something is said in time");
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    });
    received.await.expect("no panic")
}
