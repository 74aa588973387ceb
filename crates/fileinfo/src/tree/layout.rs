//! Which bytes of the payload are which bytes of which file. Sixteen bytes a file besides the
//! manifest.

use std::ops::Range;
use std::sync::Arc;

use crate::hash::FileHash;

use super::entry::{EntryKind, entry_at};
use super::hash::TreeHash;
use super::manifest::Manifest;

/// The regular files of a tree, its *members*, one after the other in the order of the manifest. A
/// member is named by its number in that order.
#[derive(Debug, Clone)]
pub struct Layout {
    manifest: Arc<Manifest>,
    tree: TreeHash,
    places: Vec<Place>,
}

/// Where a member is.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// In the payload, in bytes from its start.
    offset: u64,
    /// Where its entry begins in the manifest.
    entry: u32,
}

/// A regular file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its path from the top of the tree; untrusted bytes, as in [`Entry`](super::Entry).
    pub path: &'a [u8],
    /// Which bytes of the payload are its content.
    pub range: Range<u64>,
    /// Its own BLAKE3.
    pub hash: FileHash,
    /// Whether its owner may execute it.
    pub is_executable: bool,
}

impl Member<'_> {
    /// Bytes in it.
    pub fn size(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// Some bytes of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The number of the member.
    pub member: u32,
    /// Which bytes of the member; never empty.
    pub within: Range<u64>,
}

impl Span {
    /// How many bytes.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> u64 {
        self.within.end - self.within.start
    }
}

impl Layout {
    /// The layout of the payload of this tree. Hashes the manifest.
    pub fn new(manifest: Arc<Manifest>) -> Self {
        let tree = manifest.hash();
        let mut offset = 0;
        let mut places = Vec::new();
        for (entry, what) in manifest.starts.iter().zip(manifest.entries()) {
            if let EntryKind::File { size, .. } = what.kind {
                places.push(Place { offset, entry: *entry });
                // The parser has added them up.
                offset += size;
            }
        }
        places.shrink_to_fit();
        Self { manifest, tree, places }
    }

    /// What is in the tree.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The hash of the tree.
    pub fn tree(&self) -> TreeHash {
        self.tree
    }

    /// How many members there are.
    pub fn member_count(&self) -> u32 {
        u32::try_from(self.places.len()).expect("a manifest has at most ten million entries")
    }

    /// The member of this number; `None` if there are fewer.
    pub fn member(&self, number: u32) -> Option<Member<'_>> {
        let place = self.places.get(number as usize)?;
        let entry = entry_at(&self.manifest.bytes, place.entry)?;
        match entry.kind {
            EntryKind::File { size, hash, is_executable } => Some(Member {
                path: entry.path,
                range: place.offset..place.offset + size,
                hash,
                is_executable,
            }),
            EntryKind::Directory | EntryKind::Link { .. } => None,
        }
    }

    /// All members in order.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        (0..self.member_count()).filter_map(|number| self.member(number))
    }

    /// The spans that make these bytes of the payload, in order. Bytes past the end of the payload
    /// are in none; nor are members without bytes.
    pub fn spans(&self, range: Range<u64>) -> impl Iterator<Item = Span> + '_ {
        let range = range.start..range.end.min(self.manifest.payload.size());
        // The last member that begins at or before it: members without bytes begin where it does.
        let first = self.places.partition_point(|place| place.offset <= range.start);
        (first.saturating_sub(1)..self.places.len())
            .map(|number| (number, self.range_of(number)))
            .take_while({
                let end = range.end;
                move |(_, member)| member.start < end
            })
            .filter_map(move |(number, member)| {
                let (start, end) = (range.start.max(member.start), range.end.min(member.end));
                (start < end).then(|| Span {
                    member: u32::try_from(number).expect("at most ten million members"),
                    within: start - member.start..end - member.start,
                })
            })
    }

    /// The bytes of the payload that are in a member.
    #[expect(clippy::indexing_slicing, reason = "private; called with numbers of members")]
    fn range_of(&self, number: usize) -> Range<u64> {
        let end = self.places.get(number + 1).map(|place| place.offset);
        self.places[number].offset..end.unwrap_or(self.manifest.payload.size())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::ManifestBuilder;
    use crate::{ChunkSize, Geometry, MIN_CHUNK_SIZE};

    fn hash_of(bytes: &[u8]) -> FileHash {
        FileHash::from_bytes(*blake3::hash(bytes).as_bytes())
    }

    /// A tree of files of these sizes, with a directory and a link between them.
    fn layout(sizes: &[u64]) -> Layout {
        let mut builder = ManifestBuilder::default();
        builder.directory(b"d");
        builder.link(b"k", b"d");
        for (number, size) in sizes.iter().enumerate() {
            let (path, odd) =
                (format!("{}{number:04}", ["a", "d/", "z"][number % 3]), *size % 2 == 1);
            let hash = if *size == 0 { hash_of(b"") } else { hash_of(path.as_bytes()) };
            builder.file(path.as_bytes(), *size, hash, odd);
        }
        let geometry =
            ChunkSize::new(MIN_CHUNK_SIZE).map(|size| Geometry::new(sizes.iter().sum(), size));
        let payload = geometry.expect("the smallest size").expect("few chunks");
        let hash = if payload.size() == 0 { hash_of(b"") } else { hash_of(b"payload") };
        Layout::new(Arc::new(builder.finish(payload, hash).expect("a valid tree")))
    }

    #[test]
    fn members_follow_each_other_without_a_gap() {
        let layout = layout(&[3, 0, 5, 7, 0, 2]);
        assert_eq!(layout.member_count(), 6);
        let mut end = 0;
        for member in layout.members() {
            assert_eq!(member.range.start, end, "{member:?}");
            assert_eq!(member.is_executable, member.size() % 2 == 1);
            end = member.range.end;
        }
        assert_eq!(end, 17);
        assert_eq!(layout.member(6), None);
    }

    #[test]
    fn a_tree_without_bytes_has_no_spans() {
        for sizes in [&[][..], &[0, 0]] {
            assert_eq!(layout(sizes).spans(0..10).count(), 0);
        }
    }

    proptest! {
        /// Against the plainest way: which member each single byte is in.
        #[test]
        fn the_spans_of_a_range_are_its_bytes_in_order(
            sizes in proptest::collection::vec(prop_oneof![Just(0), 0..9u64], 0..12),
            start in 0..60u64,
            len in 0..60u64,
        ) {
            let layout = layout(&sizes);
            let owner = |at: u64| layout.members().enumerate().find_map(|(number, member)| {
                member.range.contains(&at).then(|| (u32::try_from(number).expect("few"), at - member.range.start))
            });
            let bytes: Vec<_> = (start..start + len).filter_map(owner).collect();
            let spans: Vec<Span> = layout.spans(start..start + len).collect();
            let found: Vec<_> = spans
                .iter()
                .flat_map(|span| span.within.clone().map(|at| (span.member, at)))
                .collect();
            prop_assert_eq!(found, bytes);
            prop_assert!(spans.iter().all(|span| span.len() > 0));
            prop_assert!(spans.windows(2).all(|pair| pair[0].member < pair[1].member));
        }
    }
}
