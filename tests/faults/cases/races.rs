//! Directories and files that are exchanged while they are read or written.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tnet_fileinfo::{ChunkSize, FileHash};
use tnet_peer::share::WatchOptions;
use tnet_proto::{FileHandle, Holdings, Open, PeerMessage};
use tnet_testkit::{Content, Network, RawClient, SOON, describe, eventually, payload};

use crate::support::case::cases;
use crate::support::exchange::Exchanger;
use crate::support::soak::at_length;

cases![
    69 "what is in a shared directory is exchanged for links, pipes and other files while it is shared" files_exchanged_for_links_are_not_shared .works() .lasts(15);
    69 "the directories above a download are exchanged for links while it runs" directories_exchanged_for_links_lead_no_download_elsewhere .works();
];

/// Bytes of the secret, and of each file that takes its place: size and time must not give it away.
const LEN: u64 = 100_000;

/// In which one of the files must have been closed and opened again.
const REOPENED_WITHIN: Duration = Duration::from_secs(90);

/// Files are exchanged for so long, and left alone until most of them are closed.
const ROUND: Duration = Duration::from_secs(4);

/// Of each kind of exchange.
const PAIRS: u64 = 4;

async fn files_exchanged_for_links_are_not_shared() -> String {
    let for_long = at_length(Duration::from_secs(8), Duration::from_secs(60));
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let (seed, ann) = (network.peer("seed"), network.peer("ann"));
    let secret = Content::of(payload(LEN, 1));
    let outside = network.dir().join("outside");
    fs::create_dir(&outside).expect("writable");
    secret.write(&outside.join("file")).await;
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o700)).expect("ours");

    let shared = seed.path("shared");
    fs::create_dir(&shared).expect("writable");
    let (pairs, decoys) = scene(&shared, &outside).await;
    age(&outside);
    age(&shared);
    let race = || pairs.iter().cloned().map(Exchanger::start).collect::<Vec<_>>();
    let (mut racers, mut times) = (race(), 0);
    let options = WatchOptions { max_depth: 8, max_files: 1000, settle: Duration::ZERO };
    seed.share_dir(&shared, options).await.expect("the directory is there");

    let began = Instant::now();
    let (mut shares, mut looks, mut fetched, mut reopened) = (BTreeSet::new(), 0, 0, 0);
    let mut round = Instant::now();
    while began.elapsed() < for_long || reopened == 0 && began.elapsed() < REOPENED_WITHIN {
        if round.elapsed() >= ROUND {
            // Files that are not read are closed in between: the next round begins with those.
            times += racers.drain(..).map(Exchanger::stop).sum::<u64>();
            eventually("files that are not read are closed", SOON, async || {
                let open = open_files();
                let closed = decoys.iter().filter(|decoy| !open.contains(&decoy.inode)).count();
                if closed > decoys.len() / 2 { Ok(()) } else { Err(closed) }
            })
            .await;
            racers = race();
            round = Instant::now();
        }
        let after = began.elapsed();
        let mut shared_now = BTreeSet::new();
        for file in seed.status().await.expect("the peer runs").files {
            shared_now.insert(file.hash.clone());
            assert_ne!(
                file.hash,
                secret.hash().to_string(),
                "shared after {after:.1?} as {:?}",
                file.path
            );
            shares.insert(file.hash);
        }
        assert_eq!(network.swarm(secret.hash()).await, (0, 0), "reported after {after:.1?}");
        is_unknown(seed.local_addr(), &secret).await;
        looks += 1;
        // Shared files are closed when they are not read, and opened again for a request, in the
        // race too.
        let open = open_files();
        let is_closed = |decoy: &&Decoy| {
            shared_now.contains(&decoy.content.hash().to_string()) && !open.contains(&decoy.inode)
        };
        let closed: Vec<&Decoy> = decoys.iter().filter(is_closed).collect();
        let any = &decoys[looks % decoys.len()];
        let decoy = &closed.get(looks % closed.len().max(1)).unwrap_or(&any).content;
        let options = tnet_peer::DownloadOptions {
            give_up_after: Some(Duration::from_millis(300)),
            ..Default::default()
        };
        let copy = ann.path(&format!("copy{looks}"));
        if let Ok(mut download) = ann.download_with(decoy.info().clone(), &copy, options).await {
            if download.finished().await.is_ok() {
                decoy.is_at(&copy).await;
                fetched += 1;
                reopened += u32::from(!closed.is_empty());
            } else {
                assert_eq!(
                    download.progress().traffic.bytes_wasted,
                    0,
                    "bytes of something else were served"
                );
            }
            ann.unshare(decoy.hash()).await.expect("it runs");
        }
    }
    let lasted = began.elapsed();
    times += racers.into_iter().map(Exchanger::stop).sum::<u64>();
    // What stays is shared as what it is, whatever a scan saw before.
    for decoy in &decoys {
        network.coordinator_counts(decoy.content.hash(), 1, 0).await;
    }
    assert!(reopened > 0, "{fetched} fetched, and all were open");
    assert_eq!(network.swarm(secret.hash()).await, (0, 0));
    assert!(ann.status().await.expect("it runs").bans.is_empty(), "no wrong bytes were served");
    format!(
        "{:.0} s, {times} exchanges, {looks} looks: bytes from outside = 0; {} of {} files inside shared meanwhile, {fetched} fetched, of which {reopened} were opened for that",
        lasted.as_secs_f64(),
        shares.len(),
        decoys.len(),
    )
}

/// A file that belongs here.
struct Decoy {
    content: Content,
    inode: u64,
}

/// The inodes that this process, in which all peers are, has open.
fn open_files() -> BTreeSet<u64> {
    let open = fs::read_dir("/proc/self/fd").expect("the system has it").flatten();
    open.filter_map(|entry| fs::metadata(entry.path()).ok()).map(|file| file.ino()).collect()
}

/// What is exchanged for what, a list for each racer, and what the files are that belong here.
async fn scene(shared: &Path, outside: &Path) -> (Vec<Vec<(PathBuf, PathBuf)>>, Vec<Decoy>) {
    let secret = outside.join("file");
    let (mut files, mut directories, mut decoys) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..PAIRS {
        let names = |kind: &str| {
            (shared.join(format!("{kind}{number}")), shared.join(format!(".{kind}{number}")))
        };
        let mut decoy = async |path: &Path, kind: u64| {
            let content = Content::of(payload(LEN, 1000 * kind + number));
            content.write(path).await;
            let inode = fs::metadata(path).expect("just written").ino();
            decoys.push(Decoy { content, inode });
        };
        let (file, hidden) = names("link");
        decoy(&file, 1).await;
        symlink(&secret, &hidden).expect("a link");
        files.push((file, hidden));

        let (file, hidden) = names("pipe");
        decoy(&file, 2).await;
        mknodat(CWD, &hidden, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        files.push((file, hidden));

        let (directory, hidden) = names("dir");
        fs::create_dir(&directory).expect("writable");
        decoy(&directory.join("file"), 3).await;
        symlink(outside, &hidden).expect("a link");
        directories.push((directory, hidden));

        let (directory, hidden) = names("deep");
        fs::create_dir_all(directory.join("inner")).expect("writable");
        decoy(&directory.join("inner/file"), 4).await;
        fs::create_dir(&hidden).expect("writable");
        symlink(outside, hidden.join("inner")).expect("a link");
        directories.push((directory, hidden));
    }
    (vec![files, directories], decoys)
}

/// Gives all files below one time of modification, long ago.
fn age(directory: &Path) {
    for path in tnet_testkit::files_below(directory).expect("readable") {
        let path = directory.join(path);
        if fs::symlink_metadata(&path).expect("there").is_file() {
            let file = fs::File::options().write(true).open(&path).expect("ours");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("settable");
        }
    }
}

/// Asks for it by its hash, as a peer that guesses what it is.
async fn is_unknown(seed: SocketAddr, secret: &Content) {
    let mut caller = RawClient::call(seed).await.expect("it listens").handshake(SOON).await;
    let (hash, file) = (*secret.hash().as_bytes(), FileHandle(1));
    let geometry = *secret.info().geometry();
    let open = Open {
        file,
        hash,
        size: geometry.size(),
        chunk_size: geometry.chunk_size().get(),
        holdings: Holdings::Bitmap(tnet_fileinfo::ChunkSet::empty(&geometry).to_bytes()),
    };
    caller.say(PeerMessage::Open(open)).await;
    caller.say(PeerMessage::InfoRequest { hash, first: 0 }).await;
    let mut answers = 0;
    let heard = caller.hear_until(SOON, |message| {
        answers += match message {
            PeerMessage::NotFound { file: asked } if asked == file => 1,
            PeerMessage::InfoNotFound { .. } => 1,
            PeerMessage::Open(_) | PeerMessage::Info { .. } => panic!("it is known: {message:?}"),
            _ => 0,
        };
        (answers == 2).then_some(())
    });
    heard.await.expect("the peer stays");
}

async fn directories_exchanged_for_links_lead_no_download_elsewhere() -> String {
    let for_long = at_length(Duration::from_secs(8), Duration::from_secs(60));
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 2));
    network.peer("seed").shares(&content).await;
    let user = network.user("ann");
    content.write_info(&user.path("it.fileinfo"));
    // All users may write above the directory that is named, as where users work together.
    let (above, outside) = (user.path("above"), network.dir().join("outside"));
    fs::create_dir_all(above.join("dir/inner")).expect("writable");
    fs::create_dir_all(outside.join("inner")).expect("writable");
    fs::set_permissions(&above, fs::Permissions::from_mode(0o777)).expect("ours");
    let kept = Content::of(payload(LEN, 3));
    for name in ["file", "inner/file", "file.partial", "inner/file.partial"] {
        kept.write(&outside.join(name)).await;
    }
    symlink(&outside, above.join(".dir")).expect("a link");
    let before = look(&outside);
    // The program may have to be built first.
    user.run_within(Duration::from_secs(600), ["--version"]).await.with_code(0);
    let racer = Exchanger::start(vec![(above.join("dir"), above.join(".dir"))]);
    let began = Instant::now();
    let (mut done, mut refused) = (0, 0);
    while began.elapsed() < for_long {
        for out in ["above/dir/file", "above/dir/inner/file"] {
            let get =
                ["get", "it.fileinfo", "-o", out, "--overwrite", "--foreground", "--linger", "0s"];
            let finished =
                user.run_within(SOON, get.into_iter().chain(["--listen", "127.0.0.1:0"])).await;
            assert_eq!(
                look(&outside),
                before,
                "changed after {:.1?}: {}",
                began.elapsed(),
                finished.stderr
            );
            match finished.code {
                Some(0) => done += 1,
                Some(10) => refused += 1,
                code => panic!("{code:?}: {}", finished.stderr),
            }
        }
    }
    let times = racer.stop();
    assert!(done > 0, "{refused} were refused, and none was downloaded");
    let out = user.path("above/dir/file");
    eventually("the file is where it was named", SOON, async || {
        if out.is_file() { Ok(()) } else { Err(()) }
    })
    .await;
    content.is_at(&out).await;
    format!(
        "{:.0} s, {times} exchanges: {done} downloads in place, {refused} refused with code 10; changed outside = 0",
        for_long.as_secs_f64()
    )
}

/// All that is in there, with what tells whether it was touched.
fn look(directory: &Path) -> Vec<(PathBuf, SystemTime, FileHash)> {
    let files = tnet_testkit::files_below(directory).expect("readable");
    let look = |path: PathBuf| {
        let metadata = fs::metadata(directory.join(&path)).expect("there");
        let bytes = fs::read(directory.join(&path)).expect("readable");
        let hash = describe(&bytes, ChunkSize::default_for(LEN)).hash();
        (path, metadata.modified().expect("known"), hash)
    };
    files.into_iter().map(look).collect()
}
