//! The BLAKE3 of a content of which each stretch is hashed by itself: a stretch is cut into
//! subtrees of the content's tree, and the subtrees of all stretches make its root.
//!
//! BLAKE3 hashes leaves of 1 KiB together with their position and merges them in a binary tree
//! whose left subtrees are always complete. So a stretch begins at a leaf, and ends at one or at
//! the end of the content.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, max_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

/// Bytes in a leaf.
pub(super) const LEAF_LEN: usize = blake3::CHUNK_LEN;

/// A subtree of a content's tree: complete, or at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subtree {
    /// Where its bytes begin in the content.
    pub(super) start: u64,
    pub(super) value: ChainingValue,
}

/// Hashes one stretch of a content, whose bytes arrive in order.
#[derive(Debug)]
pub(super) struct StretchHasher {
    /// Of the subtree under way.
    hasher: Hasher,
    start: u64,
    /// Where the next byte is in the content.
    at: u64,
    /// Where the subtree under way ends.
    subtree_end: u64,
    /// Where the stretch ends.
    end: u64,
    content_len: u64,
    /// No subtree has more bytes.
    max_len: u64,
    done: Vec<Subtree>,
}

impl StretchHasher {
    /// The stretch from `start` to `end` of a content of `content_len` bytes, in subtrees of at
    /// most `max_len` bytes, a power of two. The content must have more than one: the root of a
    /// tree is hashed differently.
    pub(super) fn new(start: u64, end: u64, content_len: u64, max_len: u64) -> Self {
        debug_assert!(start.is_multiple_of(LEAF_LEN as u64) && start < end && end <= content_len);
        debug_assert!(end == content_len || end.is_multiple_of(LEAF_LEN as u64));
        debug_assert!(end - start < content_len || max_len < content_len);
        let mut stretch = Self {
            hasher: Hasher::new(),
            start,
            at: start,
            subtree_end: start,
            end,
            content_len,
            max_len,
            done: Vec::new(),
        };
        stretch.begin_subtree();
        stretch
    }

    /// Takes the next bytes of the stretch, and no others.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        debug_assert!(bytes.len() as u64 <= self.end - self.at);
        while !bytes.is_empty() {
            let left = usize::try_from(self.subtree_end - self.at).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(left));
            self.hasher.update(now);
            self.at += now.len() as u64;
            bytes = later;
            if self.at == self.subtree_end {
                let value = self.hasher.finalize_non_root();
                self.done.push(Subtree { start: self.start, value });
                if self.at < self.end {
                    self.begin_subtree();
                }
            }
        }
    }

    /// The subtrees. All bytes of the stretch were taken.
    pub(super) fn finish(self) -> Vec<Subtree> {
        debug_assert_eq!(self.at, self.end);
        self.done
    }

    fn begin_subtree(&mut self) {
        let most = max_subtree_len(self.at).unwrap_or(u64::MAX).min(self.max_len);
        let left = self.end - self.at;
        // The last subtree of the content may be incomplete; all others are powers of two.
        let is_last = self.end == self.content_len && left <= most;
        let len = if is_last { left } else { most.min(1 << left.ilog2()) };
        self.start = self.at;
        self.subtree_end = self.at + len;
        self.hasher = Hasher::new(); // a reset keeps the offset
        self.hasher.set_input_offset(self.at);
    }
}

/// Merges the subtrees of a content, in ascending order, into that of all of it. They are as
/// [`StretchHasher`] cuts them.
#[derive(Debug, Default)]
pub(super) struct SubtreeMerge {
    /// Complete subtrees that wait for what is right of them, largest first: one for each bit set
    /// in the number of leaves before the last one, and the last one.
    waiting: Vec<ChainingValue>,
}

impl SubtreeMerge {
    /// Adds the next subtree.
    pub(super) fn push(&mut self, subtree: Subtree) {
        // Nothing on the left has to wait any more for something before this one. The final merge
        // is never done here, because it alone is that of a root.
        let complete = (subtree.start / LEAF_LEN as u64).count_ones() as usize;
        while self.waiting.len() > complete {
            self.merge_last(merge_subtrees_non_root);
        }
        self.waiting.push(subtree.value);
    }

    /// The value over everything, as an inner node of a larger content.
    ///
    /// # Panics
    /// If there was no subtree.
    pub(super) fn inner(mut self) -> ChainingValue {
        while self.waiting.len() > 1 {
            self.merge_last(merge_subtrees_non_root);
        }
        self.waiting.pop().expect("at least one subtree")
    }

    /// The hash of the content.
    ///
    /// # Panics
    /// If there were fewer than two subtrees: what is hashed as one is no inner node.
    pub(super) fn root(mut self) -> [u8; 32] {
        while self.waiting.len() > 2 {
            self.merge_last(merge_subtrees_non_root);
        }
        match self.waiting[..] {
            [left, right] => *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes(),
            _ => panic!("a root is merged of two subtrees"),
        }
    }

    fn merge_last(
        &mut self,
        merge: impl Fn(&ChainingValue, &ChainingValue, Mode<'_>) -> ChainingValue,
    ) {
        if let (Some(right), Some(left)) = (self.waiting.pop(), self.waiting.pop()) {
            self.waiting.push(merge(&left, &right, Mode::Hash));
        }
    }
}
