//! How many chunks may be under way at once, in one direction, over all files. Counted in bytes, so
//! that small chunks get many slots and big ones few; more where chunks pass faster, fewer on an
//! uplink slower than the others'.

use crate::config::SlotLimits;

/// Slots are made so many thousandths of what was set at most.
const WIDEST_PER_MILLE: u32 = 4000;

/// Times what was set: what may be under way besides.
const BESIDES: u32 = 4;

/// What some of the chunks under way come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) chunks: u32,
    pub(crate) bytes: u64,
}

impl InFlight {
    pub(crate) fn add(&mut self, len: u32) {
        self.chunks += 1;
        self.bytes += u64::from(len);
    }

    pub(crate) fn remove(&mut self, len: u32) {
        self.chunks -= 1;
        self.bytes -= u64::from(len);
    }

    /// What is left when a part of it does not count.
    pub(crate) fn without(self, part: InFlight) -> InFlight {
        InFlight { chunks: self.chunks - part.chunks, bytes: self.bytes - part.bytes }
    }

    /// What is more than so many chunks, of the same length on average.
    pub(crate) fn beyond(self, chunks: u32) -> InFlight {
        let more = self.chunks.saturating_sub(chunks);
        let bytes = (self.bytes * u64::from(more)).checked_div(self.chunks.into()).unwrap_or(0);
        InFlight { chunks: more, bytes }
    }
}

impl std::ops::Add for InFlight {
    type Output = InFlight;

    fn add(self, other: InFlight) -> InFlight {
        InFlight { chunks: self.chunks + other.chunks, bytes: self.bytes + other.bytes }
    }
}

#[derive(Debug)]
pub(crate) struct Slots {
    limits: SlotLimits,
    /// What the configuration says.
    set: SlotLimits,
    /// At most so many chunks, if that is fewer than were set.
    narrowed: u32,
    /// Thousandths of what was set.
    widened_per_mille: u32,
    /// The most that this has been: what was begun then may be under way still.
    widest_per_mille: u32,
    used: u32,
    used_bytes: u64,
}

impl Slots {
    pub(crate) fn new(limits: SlotLimits) -> Slots {
        // A maximum below the minimum is a slip of the configuration that must not end the process.
        let limits = SlotLimits { max: limits.max.max(limits.min).max(1), ..limits };
        let (set, narrowed) = (limits, limits.max);
        Slots {
            limits,
            set,
            narrowed,
            widened_per_mille: 1000,
            widest_per_mille: 1000,
            used: 0,
            used_bytes: 0,
        }
    }

    /// From now on at most so many chunks, within the limits that were set. What is under way goes
    /// on.
    pub(crate) fn narrow_to(&mut self, chunks: u32) {
        self.narrowed = chunks;
        self.adjust();
    }

    /// From now on room for so many bytes in chunks of `len`, as far as that is more than was set,
    /// and within reason.
    pub(crate) fn widen_to(&mut self, bytes: u64, len: u32) {
        let set = u64::from(capacity(&self.set, len).max(1)) * u64::from(len.max(1));
        let wanted = bytes.saturating_mul(1000) / set;
        self.widened_per_mille =
            u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1000, WIDEST_PER_MILLE);
        self.widest_per_mille = self.widest_per_mille.max(self.widened_per_mille);
        self.adjust();
    }

    fn adjust(&mut self) {
        let SlotLimits { bytes, min, max } = self.set;
        self.limits = match self.narrowed < max {
            true => SlotLimits { bytes, min: min.min(self.narrowed), max: self.narrowed.max(1) },
            false => widened(&self.set, self.widened_per_mille),
        };
    }

    /// Whether a chunk of `len` bytes may start.
    pub(crate) fn has_room(&self, len: u32) -> bool {
        self.fits(&self.limits, len)
    }

    /// The same, with limits larger by so many thousandths, when chunks of which little is to be
    /// hoped do not count, as long as they are not more than `BESIDES` times what was set.
    pub(crate) fn has_room_besides(&self, late: InFlight, len: u32, per_mille: u32) -> bool {
        let SlotLimits { bytes, min, max } = self.limits;
        let used = u64::from(self.used - late.chunks.min(self.set.max.saturating_mul(BESIDES)));
        let used_bytes =
            self.used_bytes - late.bytes.min(self.set.bytes.saturating_mul(BESIDES.into()));
        used < beyond(min.into(), per_mille)
            || (used < beyond(max.into(), per_mille)
                && used_bytes + u64::from(len) <= beyond(bytes, per_mille))
    }

    /// Whether less is under way, all counted, than so many times what was set.
    pub(crate) fn is_below(&self, times: u32, len: u32) -> bool {
        let SlotLimits { bytes, min, max } = self.set;
        self.used < min.saturating_mul(times)
            || (self.used < max.saturating_mul(times)
                && self.used_bytes + u64::from(len) <= bytes.saturating_mul(times.into()))
    }

    /// The same for a peer that has not asked: the slots that are there only because chunks pass
    /// fast are for peers that have.
    pub(crate) fn has_room_to_offer(&self, len: u32) -> bool {
        self.fits(&self.set, len) && self.fits(&self.limits, len)
    }

    fn fits(&self, limits: &SlotLimits, len: u32) -> bool {
        self.used < limits.min
            || (self.used < limits.max && self.used_bytes + u64::from(len) <= limits.bytes)
    }

    /// How many chunks of `len` bytes may be under way in all.
    pub(crate) fn capacity(&self, len: u32) -> u32 {
        capacity(&self.limits, len)
    }

    /// How many chunks like those under way there may be at once, with limits larger by so many
    /// thousandths.
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

    /// Panics if more is under way than the limits allow, made larger by so many thousandths, and
    /// what may be besides.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn check(&self, per_mille: u32) {
        let SlotLimits { bytes, min, max } = widened(&self.set, self.widest_per_mille);
        let besides = |of: u64| if per_mille > 0 { of.saturating_mul(BESIDES.into()) } else { 0 };
        let used = u64::from(self.used).saturating_sub(besides(self.set.max.into()));
        let used_bytes = self.used_bytes.saturating_sub(besides(self.set.bytes));
        assert!(used <= beyond(max.into(), per_mille).max(1), "{self:?}");
        let is_within = used_bytes <= beyond(bytes, per_mille);
        assert!(used <= beyond(min.into(), per_mille).max(1) || is_within, "{self:?}");
    }

    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}

/// How many chunks of `len` bytes fit the limits.
fn capacity(limits: &SlotLimits, len: u32) -> u32 {
    let by_bytes = limits.bytes / u64::from(len.max(1));
    u32::try_from(by_bytes).unwrap_or(u32::MAX).clamp(limits.min, limits.max)
}

/// So many thousandths of the limits. The minimum is for chunks so big that few are many bytes.
fn widened(limits: &SlotLimits, per_mille: u32) -> SlotLimits {
    let SlotLimits { bytes, min, max } = *limits;
    let more = per_mille.saturating_sub(1000);
    let max = u32::try_from(beyond(max.into(), more)).unwrap_or(u32::MAX);
    SlotLimits { bytes: beyond(bytes, more), min, max }
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
            assert_eq!(
                Slots::new(SlotLimits::UPLOADS).capacity(len),
                expected,
                "chunks of {len} bytes"
            );
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
    fn fast_connections_get_more_slots_and_lose_them_when_they_are_slow() {
        let mut slots = Slots::new(SlotLimits::DOWNLOADS);
        let len = 128 * KIB;
        // 100 Mbit/s; 1 Gbit/s; 10 and 100 Gbit/s; back.
        for (bytes, expected) in
            [(250_000, 10), (2_500_000, 19), (25_000_000, 40), (250_000_000, 40), (0, 10)]
        {
            slots.widen_to(bytes, len);
            assert_eq!(slots.capacity(len), expected, "{bytes} bytes");
        }
        // Where bytes are the limit, and where the least number is.
        slots.widen_to(250_000_000, 1024 * KIB);
        assert_eq!(slots.capacity(1024 * KIB), 16);
        slots.widen_to(250_000_000, 16 * 1024 * KIB);
        assert_eq!(slots.capacity(16 * 1024 * KIB), 4);
        // Chunks bigger than all there is room for, and no least number.
        let mut none = Slots::new(SlotLimits { bytes: 1, min: 0, max: 1 });
        none.widen_to(250_000_000, 1024 * KIB);
        assert_eq!(none.capacity(1024 * KIB), 0);
    }

    #[test]
    fn what_was_widened_is_not_offered() {
        let mut slots = Slots::new(SlotLimits::UPLOADS);
        slots.widen_to(u64::MAX, 128 * KIB);
        (0..20).for_each(|_| slots.take(128 * KIB));
        assert!(slots.has_room(128 * KIB) && !slots.has_room_to_offer(128 * KIB));
        slots.release(128 * KIB);
        assert!(slots.has_room_to_offer(128 * KIB));
        slots.narrow_to(5);
        assert!(!slots.has_room_to_offer(128 * KIB));
    }

    #[test]
    fn an_uplink_slower_than_the_others_is_not_widened() {
        let mut slots = Slots::new(SlotLimits::UPLOADS);
        slots.narrow_to(5);
        slots.widen_to(u64::MAX, 128 * KIB);
        assert_eq!(slots.capacity(128 * KIB), 5);
        slots.narrow_to(20);
        assert_eq!(slots.capacity(128 * KIB), 80);
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
