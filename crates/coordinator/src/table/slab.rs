//! Items under small numbers that stay theirs until removed; a freed number is given out again.

use std::marker::PhantomData;

/// A growable array of items addressed by a 4-byte number of type `I`.
#[derive(Debug)]
pub(super) struct Slab<I, T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
    id: PhantomData<fn(I)>,
}

impl<I: Copy + From<u32> + Into<u32>, T> Slab<I, T> {
    pub(super) fn new() -> Slab<I, T> {
        Slab { items: Vec::new(), free: Vec::new(), id: PhantomData }
    }

    pub(super) fn insert(&mut self, item: T) -> I {
        if let Some(number) = self.free.pop() {
            self.items[number as usize] = Some(item);
            return I::from(number);
        }
        let number =
            u32::try_from(self.items.len()).expect("the table's limits are u32: fewer items than 2^32");
        self.items.push(Some(item));
        I::from(number)
    }

    pub(super) fn remove(&mut self, id: I) -> T {
        let number = id.into();
        let item =
            self.items[number as usize].take().expect("a number is removed once, by whoever minted it");
        self.free.push(number);
        item
    }

    pub(super) fn at(&self, id: I) -> &T {
        self.items[id.into() as usize].as_ref().expect("numbers kept in the table are live until removed")
    }

    pub(super) fn at_mut(&mut self, id: I) -> &mut T {
        self.items[id.into() as usize].as_mut().expect("numbers kept in the table are live until removed")
    }

    pub(super) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        let number = |index| I::from(u32::try_from(index).expect("insert minted no larger number"));
        self.items.iter().enumerate().filter_map(move |(index, item)| Some((number(index), item.as_ref()?)))
    }

    /// Bytes reserved for the items and the list of free numbers, without what the items own themselves.
    pub(super) fn reserved_bytes(&self) -> usize {
        self.items.capacity() * size_of::<Option<T>>() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_number_is_given_out_again_and_the_others_stay() {
        let mut slab: Slab<u32, &str> = Slab::new();
        let (first, second) = (slab.insert("first"), slab.insert("second"));
        slab.remove(first);
        let third = slab.insert("third");
        assert_eq!((first, *slab.at(second), *slab.at(third), slab.len()), (third, "second", "third", 2));
    }
}
