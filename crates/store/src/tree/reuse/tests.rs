//! Plans against the plainest way, with files of few different contents.

use std::sync::Arc;

use proptest::prelude::*;
use tnet_fileinfo::tree::ManifestBuilder;
use tnet_fileinfo::{ChunkSize, FileHash, MIN_CHUNK_SIZE};

use super::*;

/// The content of a file: a letter for each of its pieces of 5000 bytes.
type Content = Vec<u8>;

const PIECE: usize = 5000;

fn bytes_of(content: &Content) -> Vec<u8> {
    content.iter().flat_map(|letter| [*letter; PIECE]).collect()
}

fn hash_of(content: &Content) -> [u8; 32] {
    *blake3::hash(&bytes_of(content)).as_bytes()
}

/// A tree of files with these names and contents.
fn layout_of(files: &std::collections::BTreeMap<u8, Content>) -> (Layout, Geometry, Vec<u8>) {
    let mut builder = ManifestBuilder::default();
    let mut payload = Vec::new();
    for (name, content) in files {
        let bytes = bytes_of(content);
        let hash = FileHash::from_bytes(hash_of(content));
        builder.file(&[*name], bytes.len() as u64, hash, false);
        payload.extend(bytes);
    }
    let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest");
    let geometry = Geometry::new(payload.len() as u64, chunk_size).expect("small");
    let hash = FileHash::from_bytes(*blake3::hash(&payload).as_bytes());
    let manifest = builder.finish(geometry, hash).expect("a valid tree");
    (Layout::new(Arc::new(manifest)), geometry, payload)
}

fn content() -> impl Strategy<Value = Content> {
    proptest::collection::vec(prop_oneof![Just(b'x'), Just(b'y')], 0..9)
}

fn files() -> impl Strategy<Value = std::collections::BTreeMap<u8, Content>> {
    proptest::collection::btree_map(b'a'..b'i', content(), 0..7)
}

proptest! {
    #[test]
    fn a_plan_takes_each_file_from_where_it_is(
        new in files(),
        old in proptest::collection::vec((b'a'..b'i', content()), 0..8),
        kept_bits in proptest::collection::vec(any::<bool>(), 32),
    ) {
        let (layout, geometry, payload) = layout_of(&new);
        let mut kept = ChunkSet::empty(&geometry);
        for chunk in geometry.chunks().filter(|chunk| kept_bits[chunk.get() as usize % 32]) {
            kept.insert(chunk);
        }
        let names: Vec<[u8; 1]> = old.iter().map(|(name, _)| [*name]).collect();
        let sizes = wanted_sizes(&layout, &geometry, &kept);
        let listed: Vec<OldFile<'_>> = old.iter().zip(&names).map(|((_, content), name)| {
            let size = (content.len() * PIECE) as u64;
            let hash = sizes.contains(&size).then(|| hash_of(content));
            OldFile { path: name, size, hash }
        }).collect();
        let plan = plan(&layout, &geometry, &kept, &listed);

        for (number, member) in (0..).zip(layout.members()) {
            let range = member.range.clone();
            let wanted = geometry.chunks().any(|chunk| {
                let there = geometry.range(chunk);
                !kept.contains(chunk) && there.start.max(range.start) < there.end.min(range.end)
            });
            let is_at_path = |file: &usize| listed[*file].path == member.path && listed[*file].size > 0;
            let same: Vec<usize> = (0..old.len())
                .filter(|file| hash_of(&old[*file].1) == *member.hash.as_bytes())
                .collect();
            match plan.origin(number) {
                _ if !wanted => prop_assert_eq!(plan.origin(number), None),
                Some(Origin::Whole(file)) => {
                    prop_assert!(same.contains(&file));
                    let first_at_path = (0..old.len()).find(is_at_path);
                    let preferred = first_at_path.filter(|file| same.contains(file));
                    prop_assert_eq!(file, preferred.unwrap_or(same[0]));
                }
                Some(Origin::SamePlace(file)) => {
                    prop_assert!(same.is_empty());
                    prop_assert_eq!(Some(file), (0..old.len()).find(is_at_path));
                }
                None => prop_assert!(same.is_empty() && !(0..old.len()).any(|f| is_at_path(&f))),
            }
        }
        // What is taken from whole files is right; what is not covered has no source.
        for chunk in geometry.chunks().filter(|chunk| !kept.contains(*chunk)) {
            let range = geometry.range(chunk);
            if !plan.covers(&layout, range.clone(), &listed) {
                continue;
            }
            let mut at = usize::try_from(range.start).expect("small");
            for span in layout.spans(range) {
                let within = usize::try_from(span.within.start).expect("small")
                    ..usize::try_from(span.within.end).expect("small");
                let origin = plan.origin(span.member).expect("covered");
                let bytes = bytes_of(&old[origin.file()].1);
                prop_assert!(within.end <= bytes.len());
                if matches!(origin, Origin::Whole(_)) {
                    prop_assert_eq!(&bytes[within.clone()], &payload[at..at + within.len()]);
                }
                at += within.len();
            }
        }
    }
}

#[test]
fn a_file_that_was_renamed_and_one_that_grew_are_found() {
    let new = [(b'a', b"xy".to_vec()), (b'b', b"xyx".to_vec())].into();
    let (layout, geometry, _) = layout_of(&new);
    let none = ChunkSet::empty(&geometry);
    let hash = Some(hash_of(&b"xy".to_vec()));
    let old =
        [OldFile { path: b"z", size: 10_000, hash }, OldFile { path: b"b", size: 10_000, hash }];
    let plan = plan(&layout, &geometry, &none, &old);
    assert_eq!(plan.origin(0), Some(Origin::Whole(0)));
    assert_eq!(plan.origin(1), Some(Origin::SamePlace(1)));
    assert!(!plan.is_empty());
}
