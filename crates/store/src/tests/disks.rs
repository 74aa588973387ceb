//! Downloads that share a disk too small for all of them, on small ones mounted for the test.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tnet_fileinfo::scan::unwatched;

use super::Disks;
use crate::tests::disk_full::{Mount, fill};
use crate::tests::{CHUNK, Sample, partial, scratch, skipped};
use crate::{Download, DownloadOptions, NoRoom, OpenError, Opened};

const CHUNKS: u32 = 28;
const LEN: u64 = CHUNKS as u64 * CHUNK;

fn samples() -> [Sample; 3] {
    [b"one", b"two", b"the"].map(|seed| Sample::of_seed(LEN, seed))
}

/// Room for two of the files and their journals, not for three.
fn room_for_two() -> Option<Mount> {
    Mount::new(&format!("size={}k", (2 * LEN + LEN / 2) / 1024))
}

fn open(sample: &Sample, out: &Path, disks: &Disks) -> Result<Opened, OpenError> {
    let options = DownloadOptions { disks: disks.clone(), ..DownloadOptions::default() };
    Download::open(&sample.info, out, options, &unwatched)
}

fn is_full(refused: &Result<Opened, OpenError>) -> bool {
    matches!(refused, Err(OpenError::DiskFull { why: NoRoom::Space, .. }))
}

#[test]
fn room_that_others_still_need_counts_as_taken() {
    let Some(mount) = room_for_two() else { return };
    let (disks, outs) = (Disks::default(), ["a", "b", "c"].map(|name| mount.path().join(name)));
    let [one, two, three] = samples();
    let (first, _) = partial(open(&one, &outs[0], &disks));
    let (second, _) = partial(open(&two, &outs[1], &disks));
    // Hardly anything is written yet.
    assert!(is_full(&open(&three, &outs[2], &disks)));
    assert!(!mount.path().join("c.partial").exists());
    for (sample, download) in [(&one, first), (&two, second)] {
        sample.write_all(&download);
        download.finish().expect("it was promised");
    }
    assert!(is_full(&open(&three, &outs[2], &disks)), "each time");
    fs::remove_file(&outs[1]).expect("ours");
    let (third, _) = partial(open(&three, &outs[2], &disks));
    three.write_all(&third);
    third.finish().expect("it was promised");
}

#[test]
fn a_download_that_ended_gives_its_promise_back() {
    let Some(mount) = room_for_two() else { return };
    let (disks, outs) = (Disks::default(), ["a", "b", "c"].map(|name| mount.path().join(name)));
    let [one, two, three] = samples();
    let (first, _) = partial(open(&one, &outs[0], &disks));
    let (_second, _) = partial(open(&two, &outs[1], &disks));
    first.discard().expect("ours");
    drop(first);
    partial(open(&three, &outs[2], &disks));
}

#[test]
fn a_refused_download_gives_way_only_to_one_that_can_finish() {
    let Some(mount) = room_for_two() else { return };
    let outs = ["a", "b", "c"].map(|name| mount.path().join(name));
    let samples = samples();
    // As an earlier version left it: with parts of all three there, none of them fits.
    for (sample, out) in samples.iter().zip(&outs) {
        let part = usize::try_from(LEN * 4 / 5).expect("small");
        fs::write(out.with_extension("partial"), &sample.content[..part]).expect("there is room");
    }
    let disks = Disks::default();
    let refused = open(&samples[0], &outs[0], &disks);
    assert!(is_full(&refused), "{refused:?}");
    assert!(outs[0].with_extension("partial").exists(), "its room is not needed yet");
    for (sample, out) in samples.iter().zip(&outs).skip(1) {
        let (download, kept) = partial(open(sample, out, &disks));
        assert!(kept.count() > CHUNKS / 2, "nothing of its own is lost");
        sample.write_all(&download);
        download.finish().expect("it was promised");
    }
    assert!(!outs[0].with_extension("partial").exists());
}

#[test]
fn a_download_that_finds_no_room_keeps_its_chunks_and_no_more_and_even_those_give_way() {
    const MIB: u64 = 1 << 20;
    // A memory file system reserves the first 4 MiB at once and the rest later.
    let Some(mount) = Mount::new("size=12m") else { return };
    let disks = Disks::default();
    let [first, second] = ["a", "b"].map(|name| mount.path().join(name));
    let (one, two) = (Sample::of_seed(8 * MIB, b"one"), Sample::of_seed(4 * MIB - CHUNK, b"two"));
    let (download, _) = partial(open(&one, &first, &disks));
    fill(&mount.path().join("filler"));
    one.write(&download, &[0, 1]);
    let full = download.reserve_rest().expect_err("others took it");
    assert!(full.is_disk_full(), "{full}");
    download.abandon().expect("the disk works");
    let left = fs::metadata(first.with_extension("partial")).expect("there").blocks() * 512;
    assert_eq!(left, 2 * CHUNK, "chunks 0 and 1");
    // A restart has them still, and finds no room.
    drop(download);
    assert!(is_full(&open(&one, &first, &disks)));
    assert_eq!(
        fs::metadata(first.with_extension("partial")).expect("there").blocks() * 512,
        2 * CHUNK
    );
    // Another that fits with their room and not without gets it.
    let (other, _) = partial(open(&two, &second, &disks));
    two.write_all(&other);
    other.finish().expect("it was promised");
    assert!(!first.with_extension("partial").exists());
}

#[test]
fn one_file_is_not_written_by_two_downloads_of_a_process() {
    let dir = scratch();
    let disks = Disks::default();
    let file = std::sync::Arc::new(fs::File::create(dir.path().join("x")).expect("writable"));
    let promise = disks.promise(&file, &dir.path().join("a"), 1, 1).expect("open");
    assert!(promise.is_ok());
    let second = disks.promise(&file, &dir.path().join("b"), 1, 1).expect("open");
    assert!(matches!(second, Err(super::Refused::Busy)), "{second:?}");
    drop(promise);
    assert!(disks.promise(&file, &dir.path().join("b"), 1, 1).expect("open").is_ok());
}

/// A file system in a file, unmounted when dropped; none where that is not allowed.
struct Loop(tempfile::TempDir);

fn runs(command: &str, args: &[&std::ffi::OsStr]) -> bool {
    let ran = std::process::Command::new(command).args(args).output();
    ran.is_ok_and(|output| output.status.success())
}

impl Loop {
    fn new(make: &str, options: &[&str]) -> Option<Self> {
        let dir = scratch();
        let (image, at) = (dir.path().join("image"), dir.path().join("at"));
        fs::create_dir(&at).expect("writable");
        fs::File::create(&image)
            .and_then(|image| image.set_len(256 << 20))
            .expect("a hole costs nothing");
        let options: Vec<_> =
            options.iter().map(std::ffi::OsStr::new).chain([image.as_os_str()]).collect();
        if !runs(make, &options)
            || !runs("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), at.as_ref()])
        {
            skipped("no such file system can be made and mounted here");
            return None;
        }
        Some(Self(dir))
    }

    fn at(&self) -> std::path::PathBuf {
        self.0.path().join("at")
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.at()).status();
    }
}

#[test]
fn subvolumes_take_their_room_from_one_pool() {
    const MIB: u64 = 1 << 20;
    let Some(mount) = Loop::new("mkfs.btrfs", &["-q", "--mixed"]) else { return };
    for name in ["one", "two"] {
        let at = mount.at().join(name);
        assert!(runs("btrfs", &["subvolume".as_ref(), "create".as_ref(), at.as_ref()]));
    }
    let disks = Disks::default();
    let file = |name: &str| {
        std::sync::Arc::new(fs::File::create(mount.at().join(name)).expect("writable"))
    };
    let (one, two) = (file("one/a"), file("two/b"));
    let free = super::sys::free_space(&*one).expect("it says").bytes;
    let most = free / 10 * 6;
    let device = |file: &fs::File| file.metadata().expect("open").dev();
    assert_ne!(device(&one), device(&two));
    let _first =
        disks.promise(&one, Path::new("/a"), most, 0).expect("open").expect("there is room");
    let second = disks.promise(&two, Path::new("/b"), most, 0).expect("open");
    assert!(matches!(second, Err(super::Refused::NoRoom)), "{second:?} of {} MiB", free / MIB);
    disks
        .promise(&two, Path::new("/b"), free / 10, 0)
        .expect("open")
        .expect("that is not promised");
}

#[test]
fn the_superuser_is_promised_the_reserved_blocks() {
    // A fifth.
    let Some(mount) = Loop::new("mkfs.ext4", &["-q", "-m", "20"]) else { return };
    let file = std::sync::Arc::new(fs::File::create(mount.at().join("a")).expect("writable"));
    let stat = rustix::fs::fstatvfs(&*file).expect("it says");
    assert!(stat.f_bfree > stat.f_bavail);
    let more = (stat.f_bavail + (stat.f_bfree - stat.f_bavail) / 2) * stat.f_frsize;
    let promised = Disks::default().promise(&file, Path::new("/a"), more, 0).expect("open");
    assert_eq!(promised.is_ok(), rustix::process::geteuid().is_root());
}
