use std::ops::ControlFlow;

use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE, scan_file};

use super::*;

const FILE: FileKey = FileKey(1);
const CHUNKS: u32 = 600;

fn shared() -> (tempfile::NamedTempFile, Arc<FileStore>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(u64::from(CHUNKS) * u64::from(MIN_CHUNK_SIZE)).unwrap();
    let size = ChunkSize::new(MIN_CHUNK_SIZE).unwrap();
    let info = scan_file(file.path(), Some(size), &|_| ControlFlow::Continue(())).unwrap();
    let store = Arc::new(FileStore::open_shared(file.path(), &info).unwrap());
    (file, store)
}

fn chunk(store: &FileStore, index: u32) -> ChunkIndex {
    store.info().geometry().chunk(index).unwrap()
}

fn at(seconds: u64) -> Time {
    Time::after_start(Duration::from_secs(seconds))
}

fn looked_at(task: Option<Task>) -> Vec<u32> {
    task.map(|task| task.chunks.iter().map(|chunk| chunk.get()).collect()).unwrap_or_default()
}

#[test]
fn an_unreadable_chunk_is_looked_at_again_ever_more_seldom_until_it_reads() {
    let (_file, store) = shared();
    let mut damage = Damage::default();
    damage.note_flaw(at(0), FILE, &store, chunk(&store, 7), Flaw::Unreadable);
    assert_eq!(damage.next_due(), Some(at(2)));
    let mut now = at(0);
    for pause in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert_eq!(damage.next_due(), Some(now + Duration::from_secs(pause)));
        now = damage.next_due().unwrap();
        assert_eq!(looked_at(damage.next(now)), [7]);
        assert!(damage.next(now).is_none(), "while it is looked at");
        damage.note_flaw(now, FILE, &store, chunk(&store, 7), Flaw::Unreadable);
    }
    assert!(damage.note_right(now, &store, chunk(&store, 7)));
    assert!(damage.forget_if_sound(&store) && damage.is_empty());
}

#[test]
fn one_chunk_that_reads_again_has_the_others_looked_at_at_once() {
    let (_file, store) = shared();
    let mut damage = Damage::default();
    for index in 0..4 {
        let now = Time::after_start(Duration::from_millis(index.into()));
        damage.note_flaw(now, FILE, &store, chunk(&store, index), Flaw::Unreadable);
    }
    assert_eq!(damage.next_due(), Some(at(2)), "each further one puts it off");
    let mut now = damage.next_due().unwrap();
    let first = damage.next(now).unwrap().chunks[0];
    damage.note_right(now, &store, first);
    for _ in 0..3 {
        assert_eq!(damage.next_due(), Some(now));
        let next = damage.next(now).unwrap().chunks[0];
        damage.note_right(now, &store, next);
        now = now + Duration::from_millis(1);
        damage.note_sent(&store);
        now = at(now.elapsed().as_secs());
    }
    assert!(!store.flaws().are_any());
}

#[test]
fn after_the_first_wrong_chunk_every_other_one_is_looked_at_once() {
    let (_file, store) = shared();
    let mut damage = Damage::default();
    damage.note_flaw(at(0), FILE, &store, chunk(&store, 3), Flaw::Wrong);
    let mut seen = Vec::new();
    loop {
        let task = damage.next(at(1)).expect("it is due until it is done");
        if task.chunks.is_empty() {
            break;
        }
        assert!(task.chunks.len() <= 256, "{} chunks at once", task.chunks.len());
        seen.extend(looked_at(Some(task)));
        if seen.len() == 255 {
            damage.note_flaw(at(1), FILE, &store, chunk(&store, 300), Flaw::Wrong);
        }
    }
    let expected: Vec<u32> = (0..CHUNKS).filter(|index| *index != 3 && *index != 300).collect();
    assert_eq!(seen, expected);
    assert!(damage.next(at(1)).is_none() && !damage.is_sweeping(&store));
}

#[test]
fn a_file_of_which_nothing_can_be_read_is_known_as_that() {
    let (_file, store) = shared();
    let mut damage = Damage::default();
    for index in 0..FAILED_TO_WITHDRAW - 1 {
        damage.note_flaw(at(0), FILE, &store, chunk(&store, index), Flaw::Unreadable);
    }
    assert!(!damage.is_unreadable(&store));
    damage.note_sent(&store);
    damage.note_flaw(at(0), FILE, &store, chunk(&store, 99), Flaw::Unreadable);
    assert!(!damage.is_unreadable(&store), "something was read in between");
    for index in 0..FAILED_TO_WITHDRAW {
        damage.note_flaw(at(0), FILE, &store, chunk(&store, 100 + index), Flaw::Unreadable);
    }
    assert!(damage.is_unreadable(&store));
}

#[test]
fn a_dying_disk_fills_no_log() {
    let mut damage = Damage::default();
    let mut said = 0;
    let files: Vec<_> = (0..40).map(|_| shared()).collect();
    for second in 0..60u32 {
        for (_, store) in &files {
            damage.note_flaw(
                at(second.into()),
                FILE,
                store,
                chunk(store, second),
                Flaw::Unreadable,
            );
            said += u32::from(damage.is_to_be_said(at(second.into()), store));
        }
    }
    assert_eq!(said, SAID_AT_MOST);
    let (_, first) = &files[0];
    damage.note_flaw(at(61), FILE, first, chunk(first, 500), Flaw::Unreadable);
    assert!(damage.is_to_be_said(at(61), first));
    assert!(!damage.is_to_be_said(at(61), first), "nothing new");
}

#[test]
fn what_another_file_had_under_the_path_is_not_the_next_ones() {
    let (file, old) = shared();
    let mut damage = Damage::default();
    for index in 0..FAILED_TO_WITHDRAW {
        damage.note_flaw(at(0), FILE, &old, chunk(&old, index), Flaw::Unreadable);
    }
    let new = Arc::new(FileStore::open_shared(file.path(), old.info()).unwrap());
    assert!(damage.is_unreadable(&old) && !damage.is_unreadable(&new));
    damage.note_flaw(at(0), FileKey(2), &new, chunk(&new, 7), Flaw::Unreadable);
    assert!(!damage.is_unreadable(&new));
    damage.note_right(at(0), &old, chunk(&old, 7));
    damage.forget(&old);
    assert_eq!(looked_at(damage.next(damage.next_due().unwrap())), [7]);
    damage.forget(&new);
    assert_eq!((damage.is_empty(), damage.next_due()), (true, None));
}
