//! A complete tree that is served: its bytes are those of its members, and what happens to one
//! member concerns the chunks of that member alone.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::Arc;

use tnet_fileinfo::scan::unwatched;
use tnet_fileinfo::tree::Layout;
use tnet_fileinfo::{ChunkIndex, ChunkSize, FileInfo, MIN_CHUNK_SIZE};

use crate::tree::{TreeScanOptions, scan_tree};
use crate::{ChunkVerdict, FdCache, FileState, FileStore, Flaw, ReadError, open_directory};

const CHUNK: usize = MIN_CHUNK_SIZE as usize;

/// Of two chunks and a half each but for an empty one and a small one.
const MEMBERS: &[(&str, usize)] = &[
    ("a", CHUNK * 5 / 2),
    ("d/b", CHUNK * 5 / 2),
    ("d/e/empty", 0),
    ("d/e/small", 100),
    ("z", CHUNK * 5 / 2),
];

fn content(name: &str, len: usize) -> Vec<u8> {
    name.bytes().cycle().zip(0u8..=250).map(|(a, b)| a ^ b).cycle().take(len).collect()
}

fn make(root: &Path) {
    fs::create_dir_all(root.join("d/e")).unwrap();
    for (path, len) in MEMBERS {
        fs::write(root.join(path), content(path, *len)).unwrap();
    }
    symlink("d", root.join("link")).unwrap();
}

fn shared(root: &Path) -> FileStore {
    let options = TreeScanOptions {
        chunk_size: Some(ChunkSize::new(MIN_CHUNK_SIZE).unwrap()),
        ..TreeScanOptions::default()
    };
    let found = scan_tree(root, options, &unwatched).unwrap();
    let layout = Arc::new(Layout::new(found.manifest));
    let (path, opened) = (root.to_owned(), open_directory(root).unwrap());
    FileStore::of_payload(layout, found.payload, path, opened, found.fingerprints)
        .with_fd_cache(&FdCache::new(8))
}

fn chunk(store: &FileStore, index: u32) -> ChunkIndex {
    store.info().geometry().chunk(index).unwrap()
}

fn read(store: &FileStore, index: u32) -> Result<Vec<u8>, ReadError> {
    let chunk = chunk(store, index);
    let mut bytes = vec![0; store.info().geometry().chunk_len(chunk) as usize];
    store.read_chunk_part(chunk, 0, &mut bytes).map(|()| bytes)
}

fn is_right(store: &FileStore, index: u32) -> bool {
    matches!(store.inspect(chunk(store, index), &mut Vec::new()), ChunkVerdict::Right)
}

fn withdrawn(store: &FileStore) -> Vec<u32> {
    store.take_withdrawn().iter().map(|chunk| chunk.get()).collect()
}

#[test]
fn chunks_are_the_bytes_of_the_members_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let store = shared(dir.path());
    let all: Vec<u8> = MEMBERS.iter().flat_map(|(path, len)| content(path, *len)).collect();
    let chunk_size = store.info().geometry().chunk_size();
    assert_eq!(store.info(), &FileInfo::of_bytes(&all, Some(chunk_size)).unwrap());
    for (index, expected) in (0..).zip(all.chunks(CHUNK)) {
        assert_eq!(read(&store, index).unwrap(), expected);
        assert!(is_right(&store, index));
    }
    assert_eq!(store.state(), FileState::Unchanged);
}

#[test]
fn a_tree_is_served_in_the_chunks_of_the_description_whatever_its_manifest_says() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let all: Vec<u8> = MEMBERS.iter().flat_map(|(path, len)| content(path, *len)).collect();
    let large = ChunkSize::new(4 * MIN_CHUNK_SIZE).unwrap();
    let info = FileInfo::of_bytes(&all, Some(large)).unwrap();
    let found = scan_tree(dir.path(), TreeScanOptions::default(), &unwatched).unwrap();
    let layout = Arc::new(Layout::new(found.manifest));
    assert_ne!(layout.manifest().payload().chunk_size(), large);
    let (path, opened) = (dir.path().to_owned(), open_directory(dir.path()).unwrap());
    let store = FileStore::of_payload(layout, info, path, opened, found.fingerprints);
    assert_eq!(read(&store, 0).unwrap(), all[..4 * CHUNK]);
    fs::write(dir.path().join("z"), "other").unwrap();
    assert_eq!(store.state(), FileState::MembersChanged);
    // It begins behind five small chunks.
    assert_eq!(withdrawn(&store), [1]);
    assert!(read(&store, 0).is_ok());
}

#[test]
fn a_changed_member_withdraws_its_chunks_and_no_others_until_they_are_right_again() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let store = shared(dir.path());
    let (path, len) = MEMBERS[1];
    fs::write(dir.path().join(path), content("other", len)).unwrap();
    assert_eq!(store.state(), FileState::MembersChanged);
    // It lies from 2.5 to 5 chunks.
    assert_eq!(withdrawn(&store), [2, 3, 4]);
    assert!(matches!(read(&store, 3), Err(ReadError::Withdrawn { .. })));
    assert!(read(&store, 1).is_ok() && read(&store, 5).is_ok());
    let wrong = store.inspect(chunk(&store, 3), &mut Vec::new());
    assert!(matches!(wrong, ChunkVerdict::Wrong), "{wrong:?}");

    // Of another length, so that the change shows whatever the clock of the file system is worth.
    fs::write(dir.path().join(path), content(path, len + 1)).unwrap();
    assert_eq!(store.state(), FileState::MembersChanged);
    fs::write(dir.path().join(path), content(path, len)).unwrap();
    assert_eq!(store.state(), FileState::MembersChanged, "it may be anything");
    for index in withdrawn(&store) {
        assert!(is_right(&store, index), "{index}");
        store.flaws().set(store.info().geometry(), chunk(&store, index), None);
        assert!(read(&store, index).is_ok());
    }
    assert_eq!(store.state(), FileState::Unchanged);
}

#[test]
fn a_member_that_is_not_what_it_was_is_noticed_by_the_read_that_meets_it() {
    let len = CHUNK * 5 / 2;
    let changes: [&dyn Fn(&Path); 5] = [
        &|path| fs::remove_file(path).unwrap(),
        &|path| fs::write(path, content("other", len + 1)).unwrap(),
        &|path| {
            fs::write(path.with_extension("new"), content("a", len)).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        },
        &|path| {
            fs::rename(path, path.with_extension("moved")).unwrap();
            symlink("z", path).unwrap();
        },
        &|path| File::options().write(true).open(path).unwrap().set_len(3).unwrap(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let store = shared(dir.path());
        change(&dir.path().join("a"));
        let refused = read(&store, 0);
        assert!(matches!(refused, Err(ReadError::MemberChanged { .. })), "{number}: {refused:?}");
        assert_eq!(withdrawn(&store), [0, 1, 2], "{number}");
        assert!(read(&store, 6).is_ok());
        assert_eq!(store.flaws().count(Flaw::Unreadable), 3);
    }
}

#[test]
fn a_part_that_is_being_sent_is_refused_when_its_member_changed_meanwhile() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    make(dir.path());
    // Only large members stay open.
    let large = content("large", 300_000);
    fs::write(dir.path().join("large"), &large).unwrap();
    let store = shared(dir.path());
    // Behind `a`, `d/b` and `d/e/small`.
    let start = CHUNK * 5 + 100;
    let index = u32::try_from(start / CHUNK + 1).unwrap();
    let first = chunk(&store, index);
    read(&store, index).unwrap();
    let part = store.cached_part(first, 7, 1000).expect("open and in memory");
    let mut bytes = [0; 1000];
    part.file().read_exact_at(&mut bytes, part.position()).unwrap();
    let at = (start / CHUNK + 1) * CHUNK - start + 7;
    assert_eq!(bytes, large[at..at + 1000]);
    store.check(&part, first).unwrap();

    fs::write(dir.path().join("large"), content("other", 300_001)).unwrap();
    let refused = store.check(&part, first);
    assert!(matches!(refused, Err(ReadError::MemberChanged { .. })), "{refused:?}");
    assert!(withdrawn(&store).contains(&index));
    assert!(store.cached_part(first, 7, 1000).is_none());
}

#[test]
fn a_tree_whose_directory_is_gone_is_gone_and_one_that_came_back_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (root, away) = (dir.path().join("root"), dir.path().join("away"));
    fs::create_dir(&root).unwrap();
    make(&root);
    let store = shared(&root);
    fs::rename(&root, &away).unwrap();
    assert_eq!(store.state(), FileState::Gone);
    fs::rename(&away, &root).unwrap();
    assert_eq!(store.state(), FileState::Unchanged);
}
