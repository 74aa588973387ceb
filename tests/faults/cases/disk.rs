//! The disk fails, or cuts writes short.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tnet_testkit::{Content, Network, RawPeer, SOON, eventually};

use crate::support::boundaries::{Before, Boundary, each};
use crate::support::case::cases;
use crate::support::getting::{
    CHUNK, Getting, KIB, MIB, chunks_of, chunks_written, has_stored, on_small_disk, says,
    small_chunks,
};
use crate::support::needs::Need;
use crate::support::soak::at_length;
use crate::support::strace::{Strace, calls};

cases![
    55 "a write, a sync or another call for the disk fails" a_call_that_fails_is_tried_again_or_ends_it_with_nothing_lost
        .needing(&[Need::Strace]) .lasts(15);
    57 "interrupted calls and short writes" interrupted_and_short_writes_go_on
        .needing(&[Need::Root, Need::Strace]);
];

async fn a_call_that_fails_is_tried_again_or_ends_it_with_nothing_lost() -> String {
    let network = Network::builder().start().await;
    let content = small_chunks(4, 55);
    let _seed = network.raw_seed(&content).await;
    let (mut tried, survived) = (0, AtomicUsize::new(0));
    for before in Before::ALL {
        for how in at_length(&ONCE_AND_FOR_GOOD[..2], &ONCE_AND_FOR_GOOD[..]) {
            let attempt =
                async |boundary| fails(&network, &content, boundary, how, &survived).await;
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
const ONCE_AND_FOR_GOOD: [(&str, &str); 4] =
    [("EIO", ""), ("EIO", "+"), ("ENOSPC", ""), ("ENOSPC", "+")];

/// Has this call fail, or this one and all later ones of the kind, looks at what is there, and goes
/// on. False if there was no such call.
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
    // What went through to the file is there, and not one chunk more: it is read back before it
    // counts.
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
    text.lines()
        .filter(|line| line.contains(&format!(" {kind}(")) && line.contains("(INJECTED)"))
        .count()
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
    let strace = Strace::of(kinds, &log)
        .on(getting.paths())
        .inject(&format!("{kinds}:error=EINTR:when=1+3"));
    let running = getting.start(strace.run(&getting.command(&[])));
    seed.allow_all().await;
    getting.is_complete(running.ends(SOON).await).await;
    let interrupted = failures(&log);
    assert!(interrupted >= 10, "{interrupted} calls were interrupted");

    seed.hold().await;
    let short = short_write(&network, &content, &seed).await;
    format!(
        "{interrupted} interrupted calls and a write of {short} instead of 65536 bytes: complete"
    )
}

/// A real short write: the file system has room for a part of it, and for the rest while the
/// process still waits for the answer. Answers its length.
async fn short_write(network: &Network, content: &Content, seed: &RawPeer) -> i64 {
    let (getting, mount) = on_small_disk(network, "short", content, MIB);
    let log = getting.cli.path("trace");
    let strace = Strace::of("fallocate,pwrite64", &log).on(getting.paths());
    let strace = strace.inject("fallocate:error=EOPNOTSUPP").inject("pwrite64:delay_exit=400000");
    seed.allow(2).await;
    let mut running = getting.start(strace.run(&getting.command(&[])));
    has_stored(&mut running, 2).await;
    let filler = mount.fill_but("filler", 2 * 64 * KIB + 8 * KIB);
    // One more than there is room for. With two more, one would find no room at all.
    seed.allow(3).await;
    eventually("the disk is full", SOON, async || match mount.free() {
        0 => Ok(()),
        free => Err(free),
    })
    .await;
    fs::remove_file(filler).expect("it is ours");
    seed.allow_all().await;
    getting.is_complete(running.ends(SOON).await).await;
    let calls = calls(&fs::read_to_string(&log).expect("the log"));
    let short = calls
        .iter()
        .filter_map(|call| call.returned)
        .find(|returned| (8 * KIB as i64..64 * KIB as i64).contains(returned));
    short.expect("a write was cut short")
}
