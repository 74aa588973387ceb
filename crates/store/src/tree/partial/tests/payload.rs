//! The payload against one plain buffer: whatever is written in whichever pieces is read again.

use proptest::prelude::*;

use super::*;

/// Sizes around what is kept open, around a block, and very small.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![
        2 => Just(0_usize),
        8 => 1..200_usize,
        3 => 4000..9000_usize,
        1 => 262_140..262_150_usize,
    ];
    prop::collection::vec(size, 1..24)
}

fn sample_of(sizes: &[usize]) -> Sample {
    let mut paths = vec!["d".to_owned(), "d/e".to_owned(), "z".to_owned()];
    paths.extend((0..sizes.len()).map(|at| format!("{}f{at}", ["", "d/", "d/e/", "z/"][at % 4])));
    let files = sizes.iter().map(|size| Is::File(*size));
    let kinds = [Is::Directory; 3].into_iter().chain(files);
    let entries: Vec<_> = paths.iter().map(String::as_str).zip(kinds).collect();
    Sample::new(&entries)
}

/// Two bounds of a range, of a payload that has this many bytes.
fn bounds((a, b): (usize, usize), len: usize) -> Range<usize> {
    let (a, b) = (a % (len + 1), b % (len + 1));
    a.min(b)..a.max(b)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_was_written_is_read_and_nothing_else_is(
        sizes in sizes(),
        writes in prop::collection::vec(any::<(usize, usize)>(), 0..8),
        reads in prop::collection::vec(any::<(usize, usize)>(), 1..8),
        reopens in any::<bool>(),
    ) {
        let sample = sample_of(&sizes);
        let len = sample.payload.len();
        let mut tree = sample.begin();
        let mut is_written = vec![false; len];
        for range in writes.into_iter().map(|pair| bounds(pair, len)) {
            sample.write(&tree, range.clone());
            is_written[range].fill(true);
        }
        if reopens {
            drop(tree);
            tree = sample.begin();
        }
        for range in reads.into_iter().map(|pair| bounds(pair, len)) {
            let mut found = vec![0; range.len()];
            let read = tree.read_exact_at(&mut found, range.start as u64);
            let written = &is_written[range.clone()];
            if written.iter().all(|written| *written) {
                prop_assert!(read.is_ok(), "{read:?}");
            }
            match read {
                Ok(()) => {
                    // What was not written and lies within a file is zero.
                    for ((at, byte), written) in range.clone().zip(&found).zip(written) {
                        let wanted = if *written { sample.payload[at] } else { 0 };
                        prop_assert_eq!(*byte, wanted, "at {}", at);
                    }
                    let mut cached = vec![1; range.len()];
                    if tree.read_cached(&mut cached, range.start as u64) {
                        prop_assert_eq!(&cached, &found);
                    }
                }
                Err(error) => prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
            }
        }
        let mut covered = vec![false; len];
        let mut from = 0;
        while let Some(data) = tree.next_data(from, len as u64).expect("readable") {
            prop_assert!(from <= data.start && data.start < data.end && data.end <= len as u64);
            let data = usize::try_from(data.start).expect("small")..usize::try_from(data.end).expect("small");
            from = data.end as u64;
            covered[data].fill(true);
        }
        prop_assert!(covered.iter().zip(&is_written).all(|(covered, written)| *covered || !written));
    }

    #[test]
    fn threads_that_write_at_once_do_not_disturb_each_other(
        sizes in sizes(),
        piece in 1..20_000_usize,
    ) {
        let sample = sample_of(&sizes);
        let tree = sample.begin();
        let len = sample.payload.len();
        thread::scope(|scope| {
            for first in 0..4 {
                let (sample, tree) = (&sample, &tree);
                scope.spawn(move || {
                    let piece = piece.max(len / 64 + 1);
                    for start in (first * piece..len).step_by(4 * piece) {
                        sample.write(tree, start..len.min(start + piece));
                        if first == 0 {
                            tree.sync_data().expect("the disk works");
                        }
                    }
                });
            }
        });
        tree.finish().expect("all is there");
        sample.assert_whole();
    }
}

#[test]
fn a_member_is_created_with_its_first_byte_and_not_before() {
    let sample = Sample::new(&[
        ("a", Is::File(10)),
        ("d", Is::Directory),
        ("d/b", Is::File(10)),
        ("empty", Is::File(0)),
    ]);
    let tree = sample.begin();
    assert!(listed(&sample.top()).is_empty());
    sample.write(&tree, 0..10);
    assert_eq!(listed(&sample.top()), [PathBuf::from("a")].into());
    sample.write(&tree, 10..11);
    assert!(sample.path("d/b").exists() && !sample.path("empty").exists());
}

#[test]
fn bytes_past_the_payload_are_neither_written_nor_read() {
    let sample = Sample::new(&[("a", Is::File(10)), ("b", Is::File(10))]);
    let tree = sample.begin();
    let written = write_all_at(&tree, &[1; 12], 10).expect_err("two bytes too many");
    assert_eq!((written.written, written.source.kind()), (10, io::ErrorKind::WriteZero));
    assert_eq!(fs::metadata(sample.path("b")).expect("there").len(), 10);
    let mut buf = [0; 12];
    assert!(tree.read_exact_at(&mut buf, 10).is_err());
    assert!(tree.read_exact_at(&mut buf, u64::MAX).is_err());
    assert!(!tree.read_cached(&mut buf, u64::MAX));
    assert!(tree.cached_part(u64::MAX, 12).is_none());
    assert!(tree.cached_part(10, 0).is_none());
}

#[test]
fn a_part_that_is_in_memory_can_be_sent_from_its_file_at_its_place() {
    let sample = Sample::new(&[("a", Is::File(100)), ("b", Is::File(300_000))]);
    let tree = sample.begin();
    sample.write_all(&tree);
    let (file, position) = tree.cached_part(1100, 2000).expect("just written");
    let mut found = [0; 2000];
    FileExt::read_exact_at(&*file, &mut found, position).expect("readable");
    assert_eq!(found[..], sample.payload[1100..3100]);
    assert!(tree.cached_part(90, 20).is_none(), "it is in two files");
}

#[test]
fn space_is_counted_in_blocks_and_what_is_there_is_not_needed_again() {
    let entries =
        [("a", Is::File(1)), ("d", Is::Directory), ("d/b", Is::File(5000)), ("k", Is::Link("a"))];
    let sample = Sample::new(&entries);
    let tree = sample.begin();
    assert_eq!(tree.room_needed(), room::RoomNeeded { bytes: 4 * 4096, files: 4 });
    sample.write_all(&tree);
    tree.sync_data().expect("the disk works");
    let needed = sample.begin().room_needed();
    assert_eq!(needed.files, 2);
    assert!(needed.bytes <= 2 * 4096, "{needed:?}");
}

#[test]
fn the_space_of_large_members_is_reserved_where_that_costs_nothing() {
    let sample = Sample::new(&[("a", Is::File(10)), ("large", Is::File(16 << 20))]);
    let tree = sample.begin();
    tree.reserve_members(&|_| false).expect("the disk has room");
    assert!(!sample.path("a").exists());
    let is_reserved = sample.path("large").exists();
    let costs_nothing = sys::reservation_cost(tree.directory()) == sys::ReservationCost::AtOnce;
    assert_eq!(is_reserved, costs_nothing);
    if is_reserved {
        let file = File::open(sample.path("large")).expect("there");
        assert!(sys::entry(&file).expect("readable").allocated >= 16 << 20);
        assert_eq!(tree.next_data(0, 10 + (16 << 20)).expect("readable"), None, "all hole");
    }
}
