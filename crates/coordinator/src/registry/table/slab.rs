//! A slab: items have small numbers that stay valid until removal; a freed number is used again.
//!
//! Items are stored in segments. Growing copies nothing, a segment without items gives its memory
//! back, and a new item goes into the first segment with a free cell, so that the last segments
//! become empty.

use std::collections::BTreeSet;
use std::marker::PhantomData;

/// Cells of a segment. The number of a cell in it fits into a byte.
const SEGMENT: usize = 256;

/// A growable array of items addressed by a 4-byte number of type `I`.
#[derive(Debug)]
pub(super) struct Slab<I, T> {
    segments: Vec<Segment<T>>,
    /// Segments with a free cell, those without memory included.
    open: BTreeSet<u32>,
    /// Segments with memory.
    held: usize,
    len: usize,
    id: PhantomData<fn(I)>,
}

/// Either `SEGMENT` cells, or no memory.
#[derive(Debug)]
struct Segment<T> {
    items: Vec<Option<T>>,
    free: Vec<u8>,
}

impl<T> Segment<T> {
    fn empty() -> Segment<T> {
        Segment { items: Vec::new(), free: Vec::new() }
    }

    fn with_cells() -> Segment<T> {
        Segment { items: (0..SEGMENT).map(|_| None).collect(), free: (0..=u8::MAX).rev().collect() }
    }
}

impl<I: Copy + From<u32> + Into<u32>, T> Slab<I, T> {
    /// Bytes of one cell, used or not: the item, its number in the free list, and its part of the
    /// segment's overhead.
    pub(super) const CELL_BYTES: usize =
        size_of::<Option<T>>() + size_of::<u8>() + (size_of::<Segment<T>>() + 96) / SEGMENT + 1;

    pub(super) fn new() -> Slab<I, T> {
        Slab { segments: Vec::new(), open: BTreeSet::new(), held: 0, len: 0, id: PhantomData }
    }

    pub(super) fn insert(&mut self, item: T) -> I {
        let at = match self.open.first() {
            Some(at) => *at,
            None => {
                let at = u32::try_from(self.segments.len()).expect("the table's limits are u32");
                self.segments.push(Segment::empty());
                self.open.insert(at);
                at
            }
        };
        let segment = &mut self.segments[at as usize];
        if segment.items.is_empty() {
            *segment = Segment::with_cells();
            self.held += 1;
        }
        let cell = segment.free.pop().expect("an open segment has a free cell");
        segment.items[usize::from(cell)] = Some(item);
        if segment.free.is_empty() {
            self.open.remove(&at);
        }
        self.len += 1;
        let number = at as usize * SEGMENT + usize::from(cell);
        I::from(u32::try_from(number).expect("the table's limits are u32: fewer items than 2^32"))
    }

    pub(super) fn remove(&mut self, id: I) -> T {
        let (at, cell) = split(id);
        let segment = &mut self.segments[at];
        let item = segment.items[cell].take().expect("a number is removed once, by its owner");
        segment.free.push(u8::try_from(cell).expect("a cell fits into a byte"));
        if segment.free.len() == SEGMENT {
            *segment = Segment::empty();
            self.held -= 1;
        }
        self.open.insert(u32::try_from(at).expect("insert minted no larger number"));
        self.len -= 1;
        while self.segments.last().is_some_and(|last| last.items.is_empty()) {
            self.segments.pop();
            self.open.remove(
                &u32::try_from(self.segments.len()).expect("insert minted no larger number"),
            );
        }
        item
    }

    pub(super) fn at(&self, id: I) -> &T {
        let (at, cell) = split(id);
        self.segments[at].items[cell]
            .as_ref()
            .expect("numbers kept in the table are live until removed")
    }

    pub(super) fn at_mut(&mut self, id: I) -> &mut T {
        let (at, cell) = split(id);
        self.segments[at].items[cell]
            .as_mut()
            .expect("numbers kept in the table are live until removed")
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Allocated cells, used or not.
    pub(super) fn cells(&self) -> usize {
        self.held * SEGMENT
    }

    /// Cells that the next insertion allocates: none, or a segment.
    pub(super) fn next_cells(&self) -> usize {
        let has_free =
            self.open.first().is_some_and(|at| !self.segments[*at as usize].items.is_empty());
        if has_free { 0 } else { SEGMENT }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        let items = self.segments.iter().enumerate().flat_map(|(at, segment)| {
            segment.items.iter().enumerate().map(move |(cell, item)| (at * SEGMENT + cell, item))
        });
        let number = |index| I::from(u32::try_from(index).expect("insert minted no larger number"));
        items.filter_map(move |(index, item)| Some((number(index), item.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.segments.iter_mut().flat_map(|segment| segment.items.iter_mut().flatten())
    }

    /// Bytes reserved for the items, without the memory that the items own.
    pub(super) fn reserved_bytes(&self) -> usize {
        self.cells() * Self::CELL_BYTES
    }
}

fn split(id: impl Into<u32>) -> (usize, usize) {
    let number = id.into() as usize;
    (number / SEGMENT, number % SEGMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_freed_number_is_given_out_again_and_the_others_stay() {
        let mut slab: Slab<u32, &str> = Slab::new();
        let (first, second) = (slab.insert("first"), slab.insert("second"));
        slab.remove(first);
        let third = slab.insert("third");
        assert_eq!(
            (first, *slab.at(second), *slab.at(third), slab.len()),
            (third, "second", "third", 2)
        );
    }

    #[test]
    fn memory_goes_with_the_items() {
        let mut slab: Slab<u32, u64> = Slab::new();
        let ids: Vec<u32> = (0..10_000).map(|number| slab.insert(number)).collect();
        assert_eq!(slab.cells(), 10_240);
        for id in ids {
            slab.remove(id);
        }
        assert_eq!((slab.cells(), slab.segments.len(), slab.open.len(), slab.len()), (0, 0, 0, 0));
    }

    proptest! {
        #[test]
        fn items_are_those_of_a_plain_map(ops in prop::collection::vec((any::<bool>(), 0usize..2000), 0..1500)) {
            let mut slab: Slab<u32, usize> = Slab::new();
            let mut plain = BTreeMap::new();
            for (number, (adds, at)) in ops.into_iter().enumerate() {
                if adds || plain.is_empty() {
                    let expected = slab.cells() + slab.next_cells();
                    let id = slab.insert(number);
                    prop_assert_eq!(slab.cells(), expected);
                    prop_assert_eq!(plain.insert(id, number), None);
                } else {
                    let id = *plain.keys().nth(at % plain.len()).expect("in range");
                    prop_assert_eq!(Some(slab.remove(id)), plain.remove(&id));
                }
            }
            prop_assert_eq!(slab.iter().map(|(id, item)| (id, *item)).collect::<BTreeMap<_, _>>(), plain.clone());
            prop_assert_eq!(slab.len(), plain.len());
        }
    }
}
