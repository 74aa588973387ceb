//! The event queue: events come out by time, and those of one moment in the order of insertion.
//!
//! A wheel of narrow buckets holds the near future, so that millions of entries cost a few steps
//! each; a heap holds the rest. Only the bucket whose time has come is sorted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::units::Nanos;

/// Width of a bucket: 2^14 ns, about 16 microseconds.
const WIDTH_BITS: u32 = 14;

/// Buckets on the wheel, for about a quarter of a second.
const BUCKETS: usize = 1 << 14;

#[derive(Debug, Clone, Copy)]
struct Entry<E> {
    at: Nanos,
    serial: u64,
    event: E,
}

impl<E> Entry<E> {
    fn key(&self) -> (Nanos, u64) {
        (self.at, self.serial)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Events in order, and the time of the one that came out last.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    now: Nanos,
    serial: u64,
    /// Number of the present bucket since time zero.
    bucket: u64,
    /// The present bucket's entries when it began, last first.
    present: Vec<Entry<E>>,
    /// Entries that were added to the present bucket since.
    added: BinaryHeap<Reverse<Entry<E>>>,
    /// The buckets after the present one; those of bucket `b` are at `b % BUCKETS`.
    wheel: Vec<Vec<Entry<E>>>,
    /// One bit for each bucket on the wheel that has entries: quiet times are skipped, not walked
    /// through.
    occupied: Vec<u64>,
    on_wheel: usize,
    /// Events beyond the wheel.
    far: BinaryHeap<Reverse<Entry<E>>>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue {
            now: 0,
            serial: 0,
            bucket: 0,
            present: Vec::new(),
            added: BinaryHeap::new(),
            wheel: std::iter::repeat_with(Vec::new).take(BUCKETS).collect(),
            occupied: vec![0; BUCKETS / 64],
            on_wheel: 0,
            far: BinaryHeap::new(),
        }
    }
}

impl<E> Queue<E> {
    /// The time of the entry taken last.
    pub(crate) fn now(&self) -> Nanos {
        self.now
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.present.len() + self.added.len() + self.on_wheel + self.far.len()
    }

    /// Adds an event. A moment that has passed is taken as now.
    pub(crate) fn push(&mut self, at: Nanos, event: E) {
        self.serial += 1;
        let entry = Entry { at: at.max(self.now), serial: self.serial, event };
        let bucket = entry.at >> WIDTH_BITS;
        if bucket <= self.bucket {
            self.added.push(Reverse(entry));
        } else if bucket - self.bucket < BUCKETS as u64 {
            self.put_on_wheel(entry);
        } else {
            self.far.push(Reverse(entry));
        }
    }

    /// Takes the next event.
    pub(crate) fn pop(&mut self) -> Option<(Nanos, E)> {
        while self.present.is_empty() && self.added.is_empty() {
            if !self.turn() {
                return None;
            }
        }
        let added_is_first = match (self.present.last(), self.added.peek()) {
            (Some(present), Some(Reverse(added))) => added < present,
            (None, _) => true,
            (_, None) => false,
        };
        let entry = match added_is_first {
            true => self.added.pop().map(|Reverse(entry)| entry),
            false => self.present.pop(),
        };
        let entry = entry.expect("one of the two has an entry: the loop above saw to it");
        self.now = entry.at;
        Some((entry.at, entry.event))
    }

    /// Makes the next bucket with entries the present one; false if there is none.
    fn turn(&mut self) -> bool {
        if self.on_wheel == 0 {
            let Some(Reverse(first)) = self.far.peek() else { return false };
            self.bucket = first.at >> WIDTH_BITS;
        } else {
            self.bucket = self.next_occupied();
        }
        while let Some(Reverse(first)) = self.far.peek()
            && (first.at >> WIDTH_BITS) - self.bucket < BUCKETS as u64
        {
            let Reverse(entry) = self.far.pop().expect("just looked at");
            self.put_on_wheel(entry);
        }
        let slot = slot(self.bucket);
        // The emptied bucket keeps its memory for the next turn of the wheel.
        std::mem::swap(&mut self.present, &mut self.wheel[slot]);
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        self.on_wheel -= self.present.len();
        self.present.sort_unstable_by_key(|entry| Reverse(entry.key()));
        true
    }

    fn put_on_wheel(&mut self, entry: Entry<E>) {
        let slot = slot(entry.at >> WIDTH_BITS);
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.wheel[slot].push(entry);
        self.on_wheel += 1;
    }

    /// The first bucket after the present one that has entries; there must be one.
    fn next_occupied(&self) -> u64 {
        let first = self.bucket + 1;
        let mut ahead = 0;
        loop {
            let slot = slot(first + ahead);
            let rest = self.occupied[slot / 64] >> (slot % 64);
            if rest != 0 {
                return first + ahead + u64::from(rest.trailing_zeros());
            }
            ahead += 64 - (slot % 64) as u64;
            assert!(ahead <= 2 * BUCKETS as u64, "the wheel counts entries that are not on it");
        }
    }
}

fn slot(bucket: u64) -> usize {
    usize::try_from(bucket % BUCKETS as u64).expect("below BUCKETS")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From within a bucket, over the whole wheel, to far beyond it.
    fn delay() -> impl Strategy<Value = Nanos> {
        prop_oneof![0..100u64, 0..1u64 << 16, 0..1u64 << 30, 0..1u64 << 40]
    }

    proptest! {
        #[test]
        fn events_come_out_by_time_and_then_in_the_order_they_went_in(
            operations in prop::collection::vec((delay(), 0u8..3), 1..400)
        ) {
            let mut queue = Queue::default();
            let mut model: Vec<(Nanos, usize)> = Vec::new();
            for (serial, (delay, pops)) in operations.into_iter().enumerate() {
                let at = queue.now() + delay;
                queue.push(at, serial);
                model.push((at, serial));
                for _ in 0..pops {
                    model.sort_unstable();
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    prop_assert_eq!(queue.pop(), expected);
                }
                prop_assert_eq!(queue.len(), model.len());
            }
            model.sort_unstable();
            let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
            prop_assert_eq!(rest, model);
        }
    }

    #[test]
    fn a_moment_that_has_passed_is_now() {
        let mut queue = Queue::default();
        queue.push(500, 'a');
        queue.pop();
        queue.push(3, 'b');
        assert_eq!(queue.pop(), Some((500, 'b')));
    }
}
