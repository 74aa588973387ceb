//! Files on disk, against plain hashing of the same bytes in memory.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::{NamedTempFile, TempDir};

use super::*;
use crate::chunk_size::MIN_CHUNK_SIZE;
use crate::testing::{BOUNDARY_SIZES, bytes, info};

const CHUNK: usize = MIN_CHUNK_SIZE as usize;

fn smallest() -> Option<ChunkSize> {
    Some(ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest size"))
}

fn file_with(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(content).expect("written");
    file
}

/// The progress of a call, which must succeed, and its result.
fn counted<T>(call: impl FnOnce(ProgressFn<'_>) -> Result<T, ScanError>) -> (u64, T) {
    let done = AtomicU64::new(0);
    let result = call(&|bytes| {
        done.fetch_add(bytes, Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    (done.into_inner(), result.expect("nothing is wrong with the file"))
}

#[test]
fn a_scan_finds_the_description_and_reports_every_byte_at_every_boundary() {
    for size in BOUNDARY_SIZES {
        let file = file_with(&bytes(size));
        let (done, scanned) = counted(|progress| scan_file(file.path(), smallest(), progress));
        assert_eq!(scanned.clone().with_name(None), info(size), "{size}");
        assert_eq!(done, size as u64);
    }
}

#[test]
fn chunks_of_every_size_are_hashed_alike_split_or_whole() {
    // Chunks above 256 KiB are split. Sizes: a single short chunk, exact chunks, and a short last
    // one cut within a unit and at the boundary of one.
    for shift in [14, 18, 19, 20, 22] {
        let chunk_size = 1_usize << shift;
        for size in [
            chunk_size - 5,
            chunk_size,
            3 * chunk_size,
            2 * chunk_size + 70_000,
            2 * chunk_size + chunk_size / 2,
        ] {
            let content = bytes(size);
            let file = file_with(&content);
            let wanted = ChunkSize::new(1 << shift).expect("a power of two");
            let scanned = scan_file(file.path(), Some(wanted), &unwatched).expect("a good file");
            assert_eq!(
                scanned.hash().as_bytes(),
                blake3::hash(&content).as_bytes(),
                "{size} in 2^{shift}"
            );
        }
    }
}

#[test]
fn many_chunks_are_hashed_whole_and_right() {
    // More than the few that are split, and not a multiple of anything.
    let content = bytes(700 * CHUNK + 12_345);
    let file = file_with(&content);
    let scanned = scan_file(file.path(), smallest(), &unwatched).expect("a good file");
    assert_eq!(scanned.hash().as_bytes(), blake3::hash(&content).as_bytes());
    let verified = verify_file(file.as_file(), &scanned, None, &unwatched).expect("readable");
    assert!(verified.is_full());
}

#[test]
fn the_name_is_that_of_the_path_if_it_is_valid() {
    let dir = TempDir::new().expect("a directory");
    for (name, expected) in [("a.img", Some("a.img")), ("a:b", None), ("nul", None)] {
        let path = dir.path().join(name);
        fs::write(&path, b"x").expect("written");
        let scanned = scan_file(&path, None, &unwatched).expect("a good file");
        assert_eq!(scanned.name().map(FileName::as_str), expected);
    }
}

#[test]
fn the_chunk_size_is_the_default_for_the_size_unless_given() {
    let file = file_with(&bytes(100_000));
    let scanned = scan_file(file.path(), None, &unwatched).expect("a good file");
    assert_eq!(scanned.geometry().chunk_size(), ChunkSize::default_for(100_000));
}

#[test]
fn a_special_file_is_refused_at_once() {
    let dir = TempDir::new().expect("a directory");
    assert!(matches!(scan_file(dir.path(), None, &unwatched), Err(ScanError::NotAFile)));
    let missing = scan_file(&dir.path().join("missing"), None, &unwatched);
    assert!(
        matches!(missing, Err(ScanError::Open(error)) if error.kind() == io::ErrorKind::NotFound)
    );
    #[cfg(unix)]
    assert!(matches!(
        scan_file(Path::new("/dev/null"), None, &unwatched),
        Err(ScanError::NotAFile)
    ));
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_the_system_makes_up_as_it_is_read_is_not_described_wrongly() {
    // One has no length and the other a page, as they say.
    for path in [
        "/proc/self/status",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/uevent_seqnum",
    ] {
        if fs::read(path).is_ok_and(|content| !content.is_empty()) {
            let scanned = scan_file(Path::new(path), None, &unwatched);
            assert!(
                matches!(scanned, Err(ScanError::UnknownLength | ScanError::Changed)),
                "{path}: {scanned:?}"
            );
        }
    }
}

#[test]
fn a_sparse_file_too_large_for_its_chunks_is_refused_before_it_is_read() {
    let file = file_with(b"");
    file.as_file().set_len((u64::from(crate::MAX_CHUNKS) << 14) + 1).expect("sparse");
    let refused = scan_file(file.path(), smallest(), &|_| panic!("nothing may be read"));
    assert!(matches!(refused, Err(ScanError::Geometry(GeometryError::TooManyChunks { .. }))));
}

#[test]
fn a_file_cut_while_it_is_scanned_has_changed() {
    let file = file_with(&bytes(600 * CHUNK));
    let cut = |_| {
        file.as_file().set_len(CHUNK as u64).expect("cut");
        ControlFlow::Continue(())
    };
    assert!(matches!(scan_file(file.path(), smallest(), &cut), Err(ScanError::Changed)));
}

#[test]
fn a_file_that_grows_while_it_is_scanned_has_changed() {
    let file = file_with(&bytes(3 * CHUNK));
    let grow = |_| {
        file.as_file().set_len(4 * CHUNK as u64).expect("grown");
        ControlFlow::Continue(())
    };
    assert!(matches!(scan_file(file.path(), smallest(), &grow), Err(ScanError::Changed)));
}

#[test]
fn a_file_rewritten_at_the_same_length_while_it_is_scanned_has_changed() {
    let file = file_with(&bytes(3 * CHUNK));
    let before =
        file.as_file().metadata().and_then(|metadata| metadata.modified()).expect("kept here");
    let later = before + std::time::Duration::from_secs(1);
    let touch = |_| {
        file.as_file().set_modified(later).expect("our own file");
        ControlFlow::Continue(())
    };
    assert!(matches!(scan_file(file.path(), smallest(), &touch), Err(ScanError::Changed)));
}

#[test]
fn a_scan_stops_when_it_is_told_to() {
    let file = file_with(&bytes(900 * CHUNK));
    let done = AtomicU64::new(0);
    let limit = 10 * CHUNK as u64;
    let stop_early = |bytes| match done.fetch_add(bytes, Ordering::Relaxed) {
        before if before + bytes >= limit => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    assert!(matches!(scan_file(file.path(), smallest(), &stop_early), Err(ScanError::Cancelled)));
    // Each of at most 64 threads may finish the unit it is at.
    assert!(done.load(Ordering::Relaxed) <= limit + 2 * 64 * CHUNK as u64);
    let info = info(900 * CHUNK);
    let stopped = verify_file(file.as_file(), &info, None, &|_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(ScanError::Cancelled)));
}

#[test]
fn a_file_that_may_not_be_read_is_an_error_not_a_wrong_chunk() {
    let dir = TempDir::new().expect("a directory");
    let write_only = File::create(dir.path().join("out")).expect("created");
    write_only.set_len(10).expect("grown");
    let refused = verify_file(&write_only, &info(10), None, &unwatched);
    assert!(matches!(refused, Err(ScanError::Read { offset: 0, .. })));
}

#[test]
fn a_file_that_is_too_long_has_all_its_chunks() {
    let file = file_with(&bytes(2 * CHUNK + 10));
    let verified =
        verify_file(file.as_file(), &info(2 * CHUNK), None, &unwatched).expect("readable");
    assert!(verified.is_full());
}

#[test]
fn an_empty_file_verifies_to_the_set_of_no_chunks() {
    let file = file_with(b"");
    let (done, verified) =
        counted(|progress| verify_file(file.as_file(), &info(0), None, progress));
    assert_eq!((done, verified.len()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn exactly_the_right_candidates_are_found(
        size in 1_usize..12 * CHUNK,
        damaged in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        candidates in proptest::option::of(any::<u16>()),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let info = info(size);
        let geometry = info.geometry();
        let mut content = bytes(size);
        for at in damaged {
            content[at.index(size)] ^= 0x10;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(size));
        }
        let candidates = candidates.map(|bits| {
            let mut set = ChunkSet::empty(geometry);
            for chunk in geometry.chunks().filter(|chunk| bits >> chunk.get() & 1 == 1) {
                set.insert(chunk);
            }
            set
        });
        let asked = |chunk| candidates.as_ref().is_none_or(|set: &ChunkSet| set.contains(chunk));
        let truth = bytes(size);
        let mut expected = ChunkSet::empty(geometry);
        for chunk in geometry.chunks().filter(|&chunk| asked(chunk)) {
            let range = geometry.range(chunk);
            let range = usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small");
            if content.get(range.clone()) == Some(&truth[range]) {
                expected.insert(chunk);
            }
        }

        let file = file_with(&content);
        let (done, found) =
            counted(|progress| verify_file(file.as_file(), &info, candidates.as_ref(), progress));
        prop_assert_eq!(&found, &expected);
        prop_assert!(found.iter().eq(expected.iter()));
        let to_do = candidates.as_ref().map_or(size as u64, |set| geometry.bytes_in(set));
        prop_assert_eq!(done, to_do);
    }
}
