//! The bytes of the journal: fixed for ever, and nothing damaged or foreign in them is believed.

use proptest::prelude::*;
use tnet_fileinfo::ChunkSize;

use super::*;

fn subject(chunk_count: u32) -> Subject {
    let chunk_size = ChunkSize::new(tnet_fileinfo::MIN_CHUNK_SIZE).expect("the smallest size");
    let size = u64::from(chunk_count) * u64::from(chunk_size.get());
    Subject {
        hash: FileHash::from_bytes([7; 32]),
        geometry: Geometry::new(size, chunk_size).expect("few chunks"),
        inode: 42,
        born_ns: 1_000,
    }
}

fn set(geometry: &Geometry, indices: impl IntoIterator<Item = u32>) -> ChunkSet {
    let mut set = ChunkSet::empty(geometry);
    for index in indices {
        set.insert(geometry.chunk(index).expect("a chunk of the file"));
    }
    set
}

/// A journal of these runs, as bytes.
fn journal_of(format: &Format, runs: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = format.header().to_vec();
    for (number, &(first, count)) in (0..).zip(runs) {
        bytes.extend_from_slice(&format.encode(number, Run { first, count }));
    }
    bytes
}

#[test]
fn the_bytes_of_a_journal_do_not_change_between_versions() {
    let format = Format::new(&subject(100));
    let bytes = journal_of(&format, &[(0, 3), (99, 1)]);
    assert_eq!(&bytes[..16], b"tnetjrnl\x01\0\0\0\0\x40\0\0");
    assert_eq!(bytes.len(), HEADER_LEN + 2 * RECORD_LEN);
    // A deliberate change of the format changes the version, and then this sum.
    assert_eq!(blake3::hash(&bytes).to_hex()[..16], *"b5881054f352faba");
}

#[test]
fn a_whole_journal_vouches_for_exactly_its_runs() {
    let format = Format::new(&subject(100));
    let parsed = format.parse(&journal_of(&format, &[(0, 3), (99, 1), (50, 2)])).expect("ours");
    assert_eq!(parsed.chunks, set(&format.geometry, [0, 1, 2, 50, 51, 99]));
    assert_eq!(parsed.records, 3);
}

#[test]
fn a_journal_of_anything_else_vouches_for_nothing() {
    let ours = subject(100);
    let theirs = [
        Subject { hash: FileHash::from_bytes([8; 32]), ..ours },
        Subject { inode: 43, ..ours },
        Subject { born_ns: 1_001, ..ours },
        Subject { geometry: subject(101).geometry, ..ours },
    ];
    for their in theirs {
        let bytes = journal_of(&Format::new(&their), &[(0, 3)]);
        assert!(Format::new(&ours).parse(&bytes).is_none(), "{their:?}");
    }
}

#[test]
fn a_record_of_another_journal_or_another_place_is_not_a_record() {
    let format = Format::new(&subject(100));
    let foreign = Format::new(&Subject { inode: 43, ..subject(100) });
    let record = |bytes: [u8; RECORD_LEN]| [format.header().as_slice(), &bytes].concat();

    for bytes in [
        record(foreign.encode(0, Run { first: 0, count: 1 })),
        record(format.encode(1, Run { first: 0, count: 1 })),
    ] {
        assert_eq!(format.parse(&bytes).expect("our header").records, 0);
    }
}

#[test]
fn a_run_that_the_file_does_not_have_ends_the_journal() {
    let format = Format::new(&subject(100));
    // None; one past the end; ends one past; wraps around.
    for run in [(5, 0), (100, 1), (98, 3), (u32::MAX, 2)] {
        let parsed =
            format.parse(&journal_of(&format, &[(1, 1), run, (3, 1)])).expect("our header");
        assert_eq!(parsed.chunks, set(&format.geometry, [1]), "{run:?}");
    }
}

#[test]
fn the_longest_journal_has_one_record_for_each_chunk() {
    let format = Format::new(&subject(100));
    let runs: Vec<_> = (0..100).map(|index| (index, 1)).collect();
    assert_eq!(journal_of(&format, &runs).len() as u64, format.max_len());
}

proptest! {
    #[test]
    fn damage_hides_the_record_it_hits_and_those_after_it_and_nothing_else(
        runs in prop::collection::vec((0..60_u32, 1..40_u32), 1..12),
        bit in any::<prop::sample::Index>(),
    ) {
        let format = Format::new(&subject(100));
        let mut bytes = journal_of(&format, &runs);
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);

        let parsed = format.parse(&bytes);

        match (bit / 8).checked_sub(HEADER_LEN) {
            None => prop_assert!(parsed.is_none()),
            Some(at) => {
                let intact = &runs[..at / RECORD_LEN];
                let expected = set(&format.geometry, intact.iter().flat_map(|run| run.0..run.0 + run.1));
                prop_assert_eq!(parsed.map(|parsed| parsed.chunks), Some(expected));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_behind_a_header_never_vouch(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let format = Format::new(&subject(100));
        let parsed = format.parse(&[format.header().as_slice(), &bytes].concat()).expect("our header");
        prop_assert!(parsed.chunks.is_empty());
    }

    #[test]
    fn runs_are_the_set_in_the_fewest_pieces(bits in any::<u64>()) {
        let geometry = subject(64).geometry;
        let chunks = set(&geometry, (0..64).filter(|index| bits >> index & 1 == 1));
        let runs = runs_of(&chunks);
        let again = set(&geometry, runs.iter().flat_map(|run| run.first..run.first + run.count));
        prop_assert_eq!(again, chunks);
        prop_assert!(runs.windows(2).all(|pair| pair[0].first + pair[0].count < pair[1].first));
    }
}
