//! The server as a process: on its own, one for each state directory, and heard by a service
//! manager.

#![expect(
    clippy::disallowed_methods,
    reason = "what a test shows, its own files included, is for developers"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tnet_testkit::{Cli, Content, Network, SOON, eventually, get_args, is, payload};

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
async fn a_background_server_inherits_nothing() {
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
    assert!(cli.path("state/control.sock").exists(), "the killed server removed nothing");
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

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_processes_that_start_a_server_at_once_one_wins_and_all_use_it() {
    let network = Network::builder().peer("seed").start().await;
    let cli = network.user("ann");
    let mut contents = Vec::new();
    for number in 0..12 {
        let content = Content::of(payload(100_000, number));
        network.peer("seed").shares_as(&content, &format!("{number}")).await;
        content.write_info(&cli.path(&format!("{number}.fileinfo")));
        contents.push(content);
    }
    let start = |number: usize| {
        let (info, out) = (format!("{number}.fileinfo"), format!("{number}"));
        cli.start(["get", &info, "-o", &out, "--json", "--listen", "127.0.0.1:0"])
    };
    let getting: Vec<_> = (0..contents.len()).map(start).collect();
    let mut servers = BTreeSet::new();
    for (number, get) in getting.into_iter().enumerate() {
        let got = get.ends(SOON).await.with_code(0);
        let started = got.json_lines().into_iter().find(|event| event["event"] == "started");
        servers.insert(started.expect("it started")["pid"].as_u64());
        contents[number].is_at(&cli.path(&format!("{number}"))).await;
    }
    let _server = cli.guard(servers.first().copied().flatten());
    assert_eq!(servers.len(), 1, "{servers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_inherits_no_descriptor_and_no_variable() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let (lock, tnet) = (cli.path("lock"), cli.command::<&str>([]).get_program().to_owned());
    // As flock(1) in cron: descriptors without the flag, one with many digits.
    let script = "umask 077; exec 5>>\"$LOCK\" 123>>\"$LOCK\"; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(tnet).args([
        "start-server",
        "--json",
        "--listen",
        "127.0.0.1:0",
    ]);
    command.current_dir(cli.home()).env_clear().env("HOME", cli.home()).env("LOCK", &lock);
    command
        .env("NOTIFY_SOCKET", "/another/service")
        .env("SECRET", "of the starter")
        .env("PATH", "/usr/bin:/bin");
    command.env("TNET_STATE_DIR", cli.path("state"));
    let started = cli.start_command(command).ends(SOON).await.with_code(0);
    let server = cli.guard(started.result()["pid"].as_u64());
    let of_process = |name: &str| Path::new("/proc").join(server.pid().to_string()).join(name);
    for entry in fs::read_dir(of_process("fd")).expect("it runs") {
        let target = fs::read_link(entry.expect("an entry").path()).unwrap_or_default();
        assert_ne!(target, lock);
    }
    let points_to =
        |descriptor: &str| fs::read_link(of_process("fd").join(descriptor)).expect("open");
    assert_eq!((points_to("0"), points_to("1")), ("/dev/null".into(), "/dev/null".into()));
    let environment = fs::read(of_process("environ")).expect("ours");
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("HOME=") && !environment.contains("SECRET"), "{environment}");
    assert!(
        !environment.contains("NOTIFY_SOCKET") && !environment.contains("TNET_"),
        "{environment}"
    );
    let status = fs::read_to_string(of_process("status")).expect("it runs");
    assert!(status.contains("Umask:\t0022"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_gets_the_umask_of_the_user_who_requested_it() {
    let network = Network::builder().peer("seed").start().await;
    let cli = network.user("ann");
    let content = Content::of(payload(100_000, 3));
    network.peer("seed").shares(&content).await;
    content.write_info(&cli.path("a.fileinfo"));
    let _server = cli.server::<&str>([]).await;
    for (umask, expected) in [("077", 0o600), ("002", 0o664), ("022", 0o644)] {
        let tnet = cli.command(["get", "a.fileinfo", "-o", umask]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(tnet.get_program());
        command
            .args(tnet.get_args())
            .current_dir(cli.home())
            .env("TNET_STATE_DIR", cli.path("state"));
        let _ = cli.start_command(command).ends(SOON).await.with_code(0);
        assert_eq!(mode(&cli.path(umask)), expected, "{umask}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_without_a_meaning_end_no_server_and_those_that_end_it_end_it_well() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let log = || fs::read_to_string(cli.path("state/server.log")).unwrap_or_default();
    let none = [
        Signal::USR2,
        Signal::PIPE,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::XFSZ,
        Signal::IO,
    ];
    for end in [Signal::QUIT, Signal::TERM, Signal::INT, Signal::XCPU] {
        let server = cli.server::<&str>([]).await;
        for other in none {
            signal(server.pid(), other);
        }
        signal(server.pid(), Signal::USR1);
        eventually("it says how it does", SOON, async || {
            if log().contains(" status files=0") { Ok(()) } else { Err(log()) }
        })
        .await;
        let _ = cli.run(["status"]).await.with_code(0);
        signal(server.pid(), end);
        eventually("it ends", SOON, async || is(server.is_running(), false)).await;
        assert!(log().contains("server stopped"), "{end:?}: {}", log());
        fs::remove_file(cli.path("state/server.log")).expect("it is there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_goes_away_ends_a_download_unless_nohup_was_asked_for() {
    let network = Network::builder().start().await;
    let content = Content::of(payload(40 * 16 * 1024, 4));
    let seed = network.raw(content.raw_peer().allowing(10)).await;
    let cli = network.user_with_info("ann", &content);
    let get = get_args("a.fileinfo", &["--json"]);
    let begun = |text: &str| text.contains("\"chunks_done\":10").then_some(());
    let mut running = cli.start(&get);
    running.prints("chunks", SOON, begun).await;
    running.signal(Signal::HUP);
    let ended = running.ends(SOON).await.with_code(130);
    assert!(ended.stderr.contains("continue with: "), "{}", ended.stderr);

    let tnet = cli.command(get);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(tnet.get_program())
        .args(tnet.get_args());
    command
        .current_dir(cli.home())
        .env_clear()
        .envs(tnet.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let mut running = cli.start_command(command);
    running.prints("chunks", SOON, begun).await;
    running.signal(Signal::HUP);
    seed.allow_all().await;
    eventually("it goes on", SOON, async || is(cli.path("a").exists(), true)).await;
    running.terminate();
    let _ = running.ends(SOON).await.with_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_ends_with_the_terminal_it_runs_in_wherever_its_log_goes() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let master =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&master).expect("a terminal of our own");
    unlockpt(&master).expect("a terminal of our own");
    let name = ptsname(&master, Vec::new()).expect("a terminal has a name");
    let slave = name.to_str().expect("plain ASCII");
    let slave = fs::File::options().read(true).write(true).open(slave).expect("it is there");
    let tnet = cli.command(["start-server", "--foreground", "--listen", "127.0.0.1:0"]);
    // A session of its own, with the terminal at its input for its own.
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(tnet.get_program()).args(tnet.get_args());
    command
        .current_dir(cli.home())
        .env_clear()
        .envs(tnet.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let log = fs::File::create(cli.path("log")).expect("writable");
    command.stdin(slave).stdout(Stdio::null()).stderr(log);
    let mut child = command.spawn().expect("it starts");
    drop(command);
    let log = || fs::read_to_string(cli.path("log")).unwrap_or_default();
    eventually("it runs", SOON, async || {
        if log().contains("control socket open") { Ok(()) } else { Err(log()) }
    })
    .await;
    // The window is closed: the system sends HUP.
    drop(master);
    eventually("it ends", SOON, async || match child.try_wait() {
        Ok(Some(_)) => Ok(()),
        running => Err((running, log())),
    })
    .await;
    assert!(log().contains("server stopped"), "{}", log());
}
