//! The disk is full, before the first byte or half-way.

use std::fs::{self, File};
use std::path::PathBuf;

use tnet_testkit::{Content, Network, SOON, eventually, payload, stored};

use crate::support::case::cases;
use crate::support::getting::{
    Getting, KIB, MIB, chunks_of, chunks_said, fetched_again, has_stored, on_small_disk, says,
};
use crate::support::mounts::Mount;
use crate::support::needs::Need;
use crate::support::soak::is_soak;
use crate::support::strace::Strace;
use crate::support::wrap::wrapped;

cases![
    53 "no space before the first byte" without_space_nothing_is_fetched.needing(&[Need::Root]);
    53 "three files into room for two" three_files_into_room_for_two_are_two_whole_ones.needing(&[Need::Root]);
    53 "a target that the system takes no more for: inodes, file size, a fixed directory" each_refusal_of_the_file_system_has_its_own_message
        .needing(&[Need::Root]);
    54 "the disk fills up half-way" a_disk_that_fills_up_keeps_what_is_verified
        .needing(&[Need::Root, Need::Strace]);
];

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
        assert_eq!(seed.counters().requests_in_all(), 0, "not one chunk was asked for");
        assert_eq!((getting.names(), mount.free()), (Vec::new(), free), "nothing is left");
    }
    let said = line
        .rsplit_once("a.partial")
        .map_or("", |(_, said)| said)
        .trim_start_matches(['"', ':', ' ']);
    format!("0 bytes downloaded before the error; exit code 8: {said}")
}

async fn three_files_into_room_for_two_are_two_whole_ones() -> String {
    let network = Network::builder().start().await;
    let contents = [1, 2, 3].map(|seed| chunks_of(64 * KIB, 32, 530 + seed));
    let mut seeds = Vec::new();
    for content in &contents {
        seeds.push(network.raw_seed(content).await);
    }
    let mut tries = 0;
    for at_once in ["8", "1"] {
        let cli = network.user(&format!("ann{at_once}"));
        for (content, name) in contents.iter().zip(["1", "2", "3"]) {
            content.write_info_named(&cli.path(&format!("{name}.fileinfo")), name);
        }
        let mount = Mount::of_bytes(&cli.path("to"), 5 * MIB);
        // Nothing there; two that are there; parts of all three that leave no room for the rest of
        // any.
        for there in [0, 0, 1600 * KIB] {
            if there > 0 {
                for name in ["1", "2", "3"] {
                    let _ = fs::remove_file(mount.path().join(name));
                    let _ = fs::remove_file(mount.path().join(format!("{name}.partial")));
                }
                // A process that another case starts shares our open files for a moment.
                eventually("the space of deleted files is free", SOON, async || {
                    let free = mount.free();
                    if free >= 3 * there { Ok(()) } else { Err(free) }
                })
                .await;
                for (name, seed) in [("1", 1), ("2", 2), ("3", 3)] {
                    let part = usize::try_from(there).expect("small");
                    let partial = mount.path().join(format!("{name}.partial"));
                    let bytes = payload(2 * MIB, 530 + seed).bytes();
                    fs::write(&partial, &bytes[..part]).expect("there is room");
                }
            }
            let wanted =
                ["1.fileinfo", "2.fileinfo", "3.fileinfo", "-o", "to", "--parallel", at_once];
            let args = ["get", "--foreground", "--listen", "127.0.0.1:0", "--linger", "0s"];
            let full = cli.run([&args[..], &wanted].concat()).await.with_code(8);
            assert!(full.stderr.contains("not enough space"), "{}", full.stderr);
            let mut whole = 0;
            for (content, name) in contents.iter().zip(["1", "2", "3"]) {
                if mount.path().join(name).exists() {
                    content.is_at(&mount.path().join(name)).await;
                    whole += 1;
                }
            }
            assert_eq!(
                whole, 2,
                "with {there} bytes of each there, {at_once} at once: {}",
                full.stderr
            );
            tries += 1;
        }
    }
    format!(
        "{tries} times, with parts of an earlier attempt and without, 8 at once and 1: two whole, exit code 8"
    )
}

async fn each_refusal_of_the_file_system_has_its_own_message() -> String {
    let network = Network::builder().start().await;
    let content = chunks_of(64 * KIB, 8, 535);
    let seed = network.raw_seed(&content).await;
    let getting = Getting::new(&network, "ann", &content);
    let limited = || wrapped("prlimit", ["--fsize=100000"], &getting.command(&[]));
    let refused = getting.start(limited()).ends(SOON).await.with_code(8);
    says(&refused, &["may write only 100000 into one file", "ulimit -f"]);

    let few = Mount::with_files(&getting.cli.path("few"), MIB, 2);
    File::create(few.path().join("last")).expect("there is one inode");
    let mut command =
        getting.cli.command(["get", "a.fileinfo", "--foreground", "--listen", "127.0.0.1:0", "-o"]);
    command.arg(few.path().join("a"));
    let refused = getting.start(command).ends(SOON).await.with_code(8);
    let line = says(&refused, &["no inodes left", "delete files there"]);
    assert!(!line.contains("make room"), "{line}");

    let chattr = |flag: &str| {
        let changed = std::process::Command::new("chattr").arg(flag).arg(getting.dir()).output();
        changed.is_ok_and(|output| output.status.success())
    };
    let mut fixed = 0;
    for (fix, free) in [("+i", "-i"), ("+a", "-a")] {
        if !chattr(fix) {
            continue; // not on this file system
        }
        let refused = getting.start(getting.command(&[])).ends(SOON).await;
        assert!(chattr(free));
        says(&refused.with_code(10), &["immutable or append-only", "chattr"]);
        fixed += 1;
    }
    assert!(getting.names().is_empty(), "{:?}", getting.names());
    assert_eq!(seed.counters().requests_in_all(), 0, "not one chunk was asked for");
    format!(
        "file size limit, inodes, {fixed} fixed directories: 0 bytes downloaded, each told by its name"
    )
}

async fn a_disk_that_fills_up_keeps_what_is_verified() -> String {
    let network = Network::builder().peer("bob").start().await;
    let content = chunks_of(64 * KIB, 32, 54);
    let seed = network.raw(content.raw_peer().allowing(16)).await;
    let (getting, mount) = on_small_disk(&network, "ann", &content, 4 * MIB);
    // A file system that cannot promise space: only then can it run out half-way.
    let strace =
        Strace::of("fallocate", &getting.cli.path("trace")).inject("fallocate:error=EOPNOTSUPP");
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

/// The same in a server: the client is told, others get what is there, the same command goes on.
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
    eventually(
        "the server ends",
        SOON,
        async || if server.is_running() { Err(()) } else { Ok(()) },
    )
    .await;
}

/// A download through the server, on a disk that has room for 21 chunks. Answers with what else is
/// on the disk.
async fn fills_up(
    network: &Network,
    getting: &Getting,
    mount: &Mount,
    content: &Content,
) -> PathBuf {
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
