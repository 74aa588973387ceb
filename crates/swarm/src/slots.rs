//! How many chunks may be under way at once, in one direction, over all files. Counted in bytes, so that small
//! chunks get many slots and big ones few.

use crate::config::SlotLimits;

#[derive(Debug)]
pub(crate) struct Slots {
    limits: SlotLimits,
    /// Before they were narrowed.
    widest: SlotLimits,
    used: u32,
    used_bytes: u64,
}

impl Slots {
    pub(crate) fn new(limits: SlotLimits) -> Slots {
        // A maximum below the minimum is a slip of the configuration that must not end the process.
        let limits = SlotLimits { max: limits.max.max(limits.min).max(1), ..limits };
        Slots { limits, widest: limits, used: 0, used_bytes: 0 }
    }

    /// From now on at most so many chunks, within the limits that were set. What is under way goes on.
    pub(crate) fn narrow_to(&mut self, chunks: u32) {
        let SlotLimits { bytes, min, max } = self.widest;
        self.limits = SlotLimits { bytes, min: min.min(chunks), max: max.min(chunks.max(1)) };
    }

    /// Whether a chunk of `len` bytes may start.
    pub(crate) fn has_room(&self, len: u32) -> bool {
        self.used < self.limits.min
            || (self.used < self.limits.max && self.used_bytes + u64::from(len) <= self.limits.bytes)
    }

    /// The same with limits larger by so many thousandths.
    pub(crate) fn has_room_beyond(&self, len: u32, per_mille: u32) -> bool {
        let SlotLimits { bytes, min, max } = self.limits;
        let used = u64::from(self.used);
        used < beyond(min.into(), per_mille)
            || (used < beyond(max.into(), per_mille)
                && self.used_bytes + u64::from(len) <= beyond(bytes, per_mille))
    }

    /// How many chunks of `len` bytes may be under way in all.
    pub(crate) fn capacity(&self, len: u32) -> u32 {
        let by_bytes = self.limits.bytes / u64::from(len.max(1));
        u32::try_from(by_bytes).unwrap_or(u32::MAX).clamp(self.limits.min, self.limits.max)
    }

    /// How many chunks like those under way there may be at once, with limits larger by so many thousandths.
    pub(crate) fn most(&self, per_mille: u32) -> u32 {
        let most = match self.used_bytes.checked_div(self.used.into()) {
            None => self.limits.max,
            Some(len) => self.capacity(u32::try_from(len).unwrap_or(u32::MAX)),
        };
        u32::try_from(beyond(most.into(), per_mille)).unwrap_or(u32::MAX)
    }

    pub(crate) fn take(&mut self, len: u32) {
        self.used += 1;
        self.used_bytes += u64::from(len);
    }

    pub(crate) fn release(&mut self, len: u32) {
        self.used -= 1;
        self.used_bytes -= u64::from(len);
    }

    /// Panics if more is under way than the limits allow, made larger by so many thousandths.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn check(&self, per_mille: u32) {
        let SlotLimits { bytes, min, max } = self.widest;
        let used = u64::from(self.used);
        assert!(used <= beyond(max.into(), per_mille).max(1), "{self:?}");
        let is_within = self.used_bytes <= beyond(bytes, per_mille);
        assert!(used <= beyond(min.into(), per_mille).max(1) || is_within, "{self:?}");
    }

    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}

/// The limit, larger by so many thousandths.
fn beyond(limit: u64, per_mille: u32) -> u64 {
    limit.saturating_add(limit.saturating_mul(per_mille.into()) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u32 = 1024;

    fn filled(limits: SlotLimits, len: u32) -> u32 {
        let mut slots = Slots::new(limits);
        while slots.has_room(len) {
            slots.take(len);
        }
        slots.used()
    }

    #[test]
    fn small_chunks_get_many_slots_and_big_ones_few() {
        // Limited by number; by bytes; by bytes below the minimum.
        for (len, expected) in [(16 * KIB, 20), (1024 * KIB, 8), (16 * 1024 * KIB, 6)] {
            assert_eq!(filled(SlotLimits::UPLOADS, len), expected, "chunks of {len} bytes");
            assert_eq!(Slots::new(SlotLimits::UPLOADS).capacity(len), expected, "chunks of {len} bytes");
        }
    }

    #[test]
    fn how_many_slots_there_are_depends_on_the_chunks_under_way() {
        let mut slots = Slots::new(SlotLimits::UPLOADS);
        assert_eq!((slots.most(0), slots.most(500)), (20, 30), "none is under way");
        slots.take(1024 * KIB);
        assert_eq!(slots.most(0), 8);
    }

    #[test]
    fn a_maximum_below_the_minimum_gives_the_minimum() {
        assert_eq!(filled(SlotLimits { bytes: 1, min: 4, max: 2 }, KIB), 4);
    }

    #[test]
    fn there_is_always_a_slot() {
        assert_eq!(filled(SlotLimits { bytes: 1 << 20, min: 0, max: 0 }, KIB), 1);
    }
}
