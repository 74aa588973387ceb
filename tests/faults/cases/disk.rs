//! The disk is full, fails, cuts writes short, or may not be written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Gid, Uid};
use tnet_testkit::{Content, Network, RawPeer, Running, SOON, eventually, stored};

use crate::support::boundaries::{Before, Boundary, each};
use crate::support::case::cases;
use crate::support::getting::{CHUNK, Getting, chunks_of, chunks_said, chunks_written, says, small_chunks};
use crate::support::mounts::Mount;
use crate::support::needs::Need;
use crate::support::soak::{at_length, is_soak};
use crate::support::strace::{Strace, calls};
use crate::support::wrap::wrapped;

cases![
    53 "no space before the first byte" without_space_nothing_is_fetched.needing(&[Need::Root]);
    54 "the disk fills up half-way" a_disk_that_fills_up_keeps_what_is_verified
        .needing(&[Need::Root, Need::Strace]);
    55 "a write or a sync fails" a_call_that_fails_is_tried_again_or_ends_it_with_nothing_lost.needing(&[Need::Strace]);
    57 "interrupted calls and short writes" interrupted_and_short_writes_go_on
        .needing(&[Need::Root, Need::Strace]);
    60 "read-only, no permission, two file systems" where_nothing_may_be_written_it_says_so.needing(&[Need::Root]);
    62 "two processes with one target" the_second_process_with_one_target_ends_at_once;
];

const KIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;

/// A user whose directory is on a file system of so many bytes.
fn on_small_disk(network: &Network, name: &str, content: &Content, bytes: u64) -> (Getting, Mount) {
    let cli = network.user(name);
    let mount = Mount::of_bytes(&cli.path("to"), bytes);
    (Getting::with(cli, content), mount)
}

/// No chunk went over the wire a second time, but for so many that were lost on the way to the disk.
fn fetched_again(seed: &RawPeer, content: &Content) -> u32 {
    seed.tally().served_in_all().checked_sub(content.chunk_count()).expect("every chunk came")
}

async fn without_space_nothing_is_fetched() -> String {
    let network = Network::builder().start().await;
    // Where all is reserved at once, and where only the beginning is.
    let mut line = String::new();
    for (disk, file) in [(MIB, 4 * MIB), (8 * MIB, 12 * MIB)] {
        let content = chunks_of(64 * KIB, file / (64 * KIB), file);
        let seed = network.raw_seed(&content).await;
        let (getting, mount) = on_small_disk(&network, &format!("ann{disk}"), &content, disk);
        let free = mount.free();
        let full = getting.start(getting.command(&[])).ends(SOON).await.with_code(8);
        line = says(&full, &["not enough space", "make room or choose another disk"]);
        assert_eq!(seed.tally().requests_in_all(), 0, "not one chunk was asked for");
        assert_eq!((getting.names(), mount.free()), (Vec::new(), free), "nothing is left");
    }
    let said = line.rsplit_once("a.partial").map_or("", |(_, said)| said).trim_start_matches(['"', ':', ' ']);
    format!("0 bytes downloaded before the error; exit code 8: {said}")
}

async fn a_disk_that_fills_up_keeps_what_is_verified() -> String {
    let network = Network::builder().peer("bob").start().await;
    let content = chunks_of(64 * KIB, 32, 54);
    let seed = network.raw(content.raw_peer().allowing(16)).await;
    let (getting, mount) = on_small_disk(&network, "ann", &content, 4 * MIB);
    // A file system that cannot promise space: only then can it run out half-way.
    let strace = Strace::of("fallocate", &getting.cli.path("trace")).inject("fallocate:error=EOPNOTSUPP");
    let mut running = getting.start(strace.run(&getting.command(&[])));
    has_stored(&mut running, 16).await;
    let filler = mount.fill_but("filler", 5 * 64 * KIB + 8 * KIB);
    seed.allow_all().await;
    let full = running.ends(SOON).await.with_code(8);
    says(&full, &["disk full", "make room"]);
    fs::remove_file(filler).expect("it is ours");
    assert!(!getting.out().exists());
    let kept = chunks_said(&full.stdout);
    let report = getting.completes(&[]).await;
    let resumed = report["bytes_resumed"].as_u64().expect("a number") / (64 * KIB);
    assert!(
        resumed >= kept && (20..=21).contains(&resumed),
        "{resumed} chunks kept of 21 that fitted, {kept} said"
    );
    let again = fetched_again(&seed, &content);
    drop(seed);
    a_part_is_served_until_there_is_space(&network).await;
    assert!(again <= 11, "{again} chunks again, where 11 had no place");
    format!(
        "exit code 8; 21 chunks fitted, {resumed} kept, 0 bytes lost, and served by a server meanwhile; {again} fetched again that no disk had taken"
    )
}

/// The same in a server: who asked is told, and others get what is there. The same command goes on.
async fn a_part_is_served_until_there_is_space(network: &Network) {
    let content = chunks_of(64 * KIB, 32, 540);
    let (getting, mount) = on_small_disk(network, "server", &content, 4 * MIB);
    let cli = &getting.cli;
    let server = cli.command(["start-server", "--foreground", "--listen", "127.0.0.1:0"]);
    let strace = Strace::of("fallocate", &cli.path("trace")).inject("fallocate:error=EOPNOTSUPP");
    let mut server = getting.start(strace.run(&server));
    eventually("the server answers", SOON, async || {
        let asked = cli.run(["status"]).await;
        if asked.code == Some(0) { Ok(()) } else { Err(asked) }
    })
    .await;
    let filler = fills_up(network, &getting, &mount, &content).await;
    if is_soak() {
        // Its space is free when the user deletes it, which the server looks for now and then.
        fs::remove_file(getting.partial()).expect("it is there");
        network.coordinator_counts(content.hash(), 0, 0).await;
        fs::remove_file(getting.journal()).expect("it is there");
        assert!(mount.free() >= 21 * 64 * KIB, "{} bytes are free", mount.free());
        fs::remove_file(&filler).expect("it is ours");
        let _filler = fills_up(network, &getting, &mount, &content).await;
    }
    let bob = network.peer("bob");
    let download = bob.begins(&content).await;
    stored(&download, 21).await;
    fs::remove_file(filler).expect("it is ours");
    let _seed = network.raw_seed(&content).await;
    let report = getting.start(getting.server_command()).ends(SOON).await.with_code(0).result();
    assert_eq!(report["bytes_resumed"], 21 * 64 * KIB);
    content.is_at(&getting.out()).await;
    bob.completes(download, &content, SOON).await;
    network.coordinator_counts(content.hash(), 3, 0).await;
    let _ = cli.run(["kill-server"]).await.with_code(0);
    eventually("the server ends", SOON, async || if server.is_running() { Err(()) } else { Ok(()) }).await;
}

/// A download through the server, on a disk that has room for 21 chunks. Answers with what else is on the disk.
async fn fills_up(network: &Network, getting: &Getting, mount: &Mount, content: &Content) -> PathBuf {
    let seed = network.raw(content.raw_peer().allowing(16)).await;
    let mut running = getting.start(getting.server_command());
    has_stored(&mut running, 16).await;
    let filler = mount.fill_but("filler", 5 * 64 * KIB + 8 * KIB);
    seed.allow_all().await;
    says(&running.ends(SOON).await.with_code(8), &["disk full", "make room"]);
    network.coordinator_counts(content.hash(), 1, 1).await;
    drop(seed);
    network.coordinator_counts(content.hash(), 0, 1).await;
    filler
}

/// Waits until the command says that so many chunks are stored.
async fn has_stored(running: &mut Running, chunks: u64) {
    let what = format!("{chunks} chunks are stored");
    running.prints(&what, SOON, |text| (chunks_said(text) == chunks).then_some(())).await;
}

async fn a_call_that_fails_is_tried_again_or_ends_it_with_nothing_lost() -> String {
    let network = Network::builder().start().await;
    let content = small_chunks(4, 55);
    let _seed = network.raw_seed(&content).await;
    let (mut tried, survived) = (0, AtomicUsize::new(0));
    for before in Before::ALL {
        for how in at_length(&ONCE_AND_FOR_GOOD[..2], &ONCE_AND_FOR_GOOD[..]) {
            let attempt = async |boundary| fails(&network, &content, boundary, how, &survived).await;
            tried += each(&network, &content, before, attempt).await;
        }
    }
    let survived = survived.into_inner();
    format!(
        "{tried} calls that write, sync, reserve, open, rename or remove failed: {survived} made up for, {} with exit \
         code 8; 0 chunks marked but lost",
        tried - survived
    )
}

/// With which error, and whether only once.
const ONCE_AND_FOR_GOOD: [(&str, &str); 4] = [("EIO", ""), ("EIO", "+"), ("ENOSPC", ""), ("ENOSPC", "+")];

/// Has this call fail, or this one and all later ones of the kind, looks at what is there, and goes on. False if there
/// was no such call.
async fn fails(
    network: &Network,
    content: &Content,
    boundary: Boundary,
    (error, lasting): &(&str, &str),
    survived: &AtomicUsize,
) -> bool {
    let Boundary { before, kind, nth } = &boundary;
    let (getting, strace) = boundary.prepared(network, &format!("{error}{lasting}"), content);
    let strace = strace.inject(&format!("{kind}:error={error}:when={nth}{lasting}"));
    let ended = getting.start(strace.run(&getting.command(before.arguments()))).ends(SOON).await;
    let log = getting.cli.path("trace");
    let failed = failures_of(&log, kind);
    if failed == 0 {
        getting.is_complete(ended).await;
        return false;
    }
    if ended.code == Some(0) {
        survived.fetch_add(1, Ordering::Relaxed);
        content.is_at(&getting.out()).await;
    } else {
        says(&ended.with_code(8), &["; "]);
    }
    before.is_old_or_new(&getting, content).await;
    let written = chunks_written(&log);
    let report = getting.completes(before.arguments()).await;
    // What went through to the file is there, and not one chunk more: it is read back before it counts.
    assert_eq!(
        report["bytes_resumed"],
        (written + before.chunks()) * CHUNK,
        "{boundary:?} {error}{lasting}: {report}"
    );
    fs::remove_dir_all(getting.cli.home()).expect("it is ours");
    true
}

/// Calls of this kind that were made to fail.
fn failures_of(log: &Path, kind: &str) -> usize {
    let text = fs::read_to_string(log).expect("the log");
    text.lines().filter(|line| line.contains(&format!(" {kind}(")) && line.contains("(INJECTED)")).count()
}

fn failures(log: &Path) -> usize {
    let text = fs::read_to_string(log).expect("the log");
    let calls = calls(&text);
    calls.iter().filter(|call| !call.name.starts_with("clone") && call.returned == Some(-1)).count()
}

async fn interrupted_and_short_writes_go_on() -> String {
    let network = Network::builder().start().await;
    let content = chunks_of(64 * KIB, 8, 57);
    let seed = network.raw(content.raw_peer().allowing(2)).await;
    let _generous = seed.address();
    // Every third call, of every kind that the system lets a signal interrupt.
    let getting = Getting::new(&network, "interrupted", &content);
    let log = getting.cli.path("trace");
    let kinds = "openat,flock,fallocate,ftruncate,pwrite64,fsync,fdatasync";
    let strace = Strace::of(kinds, &log).on(getting.paths()).inject(&format!("{kinds}:error=EINTR:when=1+3"));
    let running = getting.start(strace.run(&getting.command(&[])));
    seed.allow_all().await;
    getting.is_complete(running.ends(SOON).await).await;
    let interrupted = failures(&log);
    assert!(interrupted >= 10, "{interrupted} calls were interrupted");

    seed.hold().await;
    let short = short_write(&network, &content, &seed).await;
    format!("{interrupted} interrupted calls and a write of {short} instead of 65536 bytes: complete")
}

/// A real short write: the file system has room for a part of it, and for the rest while the process still waits for
/// the answer. Answers its length.
async fn short_write(network: &Network, content: &Content, seed: &RawPeer) -> i64 {
    let (getting, mount) = on_small_disk(network, "short", content, MIB);
    let log = getting.cli.path("trace");
    let strace = Strace::of("fallocate,pwrite64", &log).on(getting.paths());
    let strace = strace.inject("fallocate:error=EOPNOTSUPP").inject("pwrite64:delay_exit=400000");
    seed.allow(2).await;
    let mut running = getting.start(strace.run(&getting.command(&[])));
    has_stored(&mut running, 2).await;
    let filler = mount.fill_but("filler", 2 * 64 * KIB + 8 * KIB);
    seed.allow_all().await;
    eventually("the disk is full", SOON, async || match mount.free() {
        0 => Ok(()),
        free => Err(free),
    })
    .await;
    fs::remove_file(filler).expect("it is ours");
    getting.is_complete(running.ends(SOON).await).await;
    let calls = calls(&fs::read_to_string(&log).expect("the log"));
    let short = calls
        .iter()
        .filter_map(|call| call.returned)
        .find(|returned| (8 * KIB as i64..64 * KIB as i64).contains(returned));
    short.expect("a write was cut short")
}

async fn where_nothing_may_be_written_it_says_so() -> String {
    let network = Network::builder().start().await;
    let content = small_chunks(8, 60);
    let seed = network.raw_seed(&content).await;
    let (getting, mount) = on_small_disk(&network, "ann", &content, MIB);
    // The directory of the file is one file system, home and state directory another.
    getting.completes(&[]).await;
    let served = seed.tally().served_in_all();

    let view = Mount::read_only(mount.path(), &getting.cli.path("view"));
    fs::remove_file(getting.out()).expect("it is ours");
    let mut command =
        getting.cli.command(["get", "a.fileinfo", "--foreground", "--listen", "127.0.0.1:0", "-o"]);
    command.arg(view.path().join("b"));
    let refused = getting.start(command).ends(SOON).await.with_code(10);
    says(&refused, &["read-only file system", "choose another directory"]);
    assert!(getting.names().is_empty());

    // Somebody else than root, in a directory of root's.
    let nobody = || {
        let command = getting.command(&[]);
        wrapped("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups"], &command)
    };
    open_to_others(&getting);
    let refused = getting.start(nobody()).ends(SOON).await.with_code(10);
    says(&refused, &["no permission", "choose another directory"]);
    assert!(getting.names().is_empty());
    // In a directory of their own it works.
    rustix::fs::chown(getting.dir(), Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534)))
        .expect("root may");
    getting.is_complete(getting.start(nobody()).ends(SOON).await).await;
    assert_eq!(seed.tally().served_in_all(), 2 * served, "nothing was asked for in vain");
    "read-only and no permission: exit code 10, the path and what to do; home, state and target on different file systems: complete".to_owned()
}

/// Others may find the way to what the user has.
fn open_to_others(getting: &Getting) {
    use std::os::unix::fs::PermissionsExt;
    let mut dirs: Vec<&Path> = getting.dir().ancestors().collect();
    dirs.retain(|dir| dir.starts_with(std::env::temp_dir()) && *dir != std::env::temp_dir());
    for dir in dirs {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("root may");
    }
}

async fn the_second_process_with_one_target_ends_at_once() -> String {
    let network = Network::builder().start().await;
    let content = small_chunks(40, 62);
    let seed = network.raw(content.raw_peer().allowing(5)).await;
    let getting = Getting::new(&network, "ann", &content);
    let mut first = getting.start(getting.command(&[]));
    has_stored(&mut first, 5).await;
    let began = std::time::Instant::now();
    let second = getting.start(getting.command(&[])).ends(SOON).await.with_code(9);
    let took = began.elapsed();
    let line = says(&second, &["another download is writing"]);
    // Also where it would replace what is there, and for another file.
    let second = getting.start(getting.command(&["--overwrite"])).ends(SOON).await.with_code(9);
    says(&second, &["another download is writing"]);
    seed.allow_all().await;
    getting.is_complete(first.ends(SOON).await).await;
    assert_eq!(fetched_again(&seed, &content), 0);
    assert_eq!(getting.completes(&[]).await["already_complete"], true);
    let said = line.split_once("another").map_or("", |(_, said)| said);
    let said = said.split_once('"').map_or(said, |(said, _)| said).trim();
    format!("exit code 9 after {} ms: another {said} ...; the first one completes", took.as_millis())
}
