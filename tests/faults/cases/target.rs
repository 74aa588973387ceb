//! Where the file is to go, nothing may be written, or another user writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Gid, Uid};
use tnet_testkit::{Network, SOON};

use crate::support::case::cases;
use crate::support::getting::{
    Getting, MIB, fetched_again, has_stored, on_small_disk, says, small_chunks,
};
use crate::support::mounts::Mount;
use crate::support::needs::Need;
use crate::support::wrap::wrapped;

cases![
    60 "read-only, no permission, two file systems" an_unwritable_target_is_reported.needing(&[Need::Root]);
    62 "two processes with one target" the_second_process_with_one_target_ends_at_once;
];

async fn an_unwritable_target_is_reported() -> String {
    let network = Network::builder().start().await;
    let content = small_chunks(8, 60);
    let seed = network.raw_seed(&content).await;
    let (getting, mount) = on_small_disk(&network, "ann", &content, MIB);
    // The directory of the file is one file system, home and state directory another.
    getting.completes(&[]).await;
    let served = seed.counters().served_in_all();

    let view = Mount::read_only(mount.path(), &getting.cli.path("view"));
    fs::remove_file(getting.out()).expect("it is ours");
    let mut command =
        getting.cli.command(["get", "a.fileinfo", "--foreground", "--listen", "127.0.0.1:0", "-o"]);
    command.arg(view.path().join("b"));
    let refused = getting.start(command).ends(SOON).await.with_code(10);
    says(&refused, &["read-only file system", "choose another directory"]);
    assert!(getting.names().is_empty());

    // Another user than root, in a directory of root's.
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
    assert_eq!(seed.counters().served_in_all(), 2 * served, "nothing was asked for in vain");
    "read-only and no permission: exit code 10, the path and what to do; home, state and target on different file systems: complete".to_owned()
}

/// Others may find the way to what the user has.
fn open_to_others(getting: &Getting) {
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
    let began = Instant::now();
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
    format!(
        "exit code 9 after {} ms: another {said} ...; the first one completes",
        took.as_millis()
    )
}
