//! Bytes a second over the last seconds. Counting costs a few instructions for each chunk, and
//! nothing while there are none: no timer ages a rate, the caller says what time it is.

use std::time::Duration;

use tnet_swarm::Time;

/// Time is counted in slots of this length.
const SLOT: Duration = Duration::from_millis(500);

/// The slots that count, the present one included: five seconds. Shorter, and a peer that sends a
/// big chunk now and then flickers; longer, and one that stopped still seems to send.
const PLACES: usize = 10;
const SLOTS: u64 = PLACES as u64;

/// What came sooner than this is not called a rate yet: one chunk in a millisecond says nothing
/// about the next second.
const AT_LEAST: Duration = Duration::from_secs(1);

/// How fast bytes came lately.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    /// Bytes of a slot at its number modulo the slots.
    bytes: [u64; PLACES],
    /// The slot of the last bytes; the places of slots since then hold what is too old.
    last: u64,
    /// When bytes came after a silence of all slots, or for the first time.
    since: Time,
}

impl Rate {
    /// So many came now, which is not earlier than in the call before.
    pub(super) fn add(&mut self, now: Time, bytes: u64) {
        let slot = slot(now);
        if self.is_silent(slot) {
            *self = Rate { since: now, last: slot, ..Rate::default() };
        }
        while self.last < slot {
            self.last += 1;
            *self.place(self.last) = 0;
        }
        let place = self.place(slot);
        *place = place.saturating_add(bytes);
    }

    /// Bytes a second by now.
    pub(super) fn per_second(&self, now: Time) -> u64 {
        let slot = slot(now);
        if self.is_silent(slot) {
            return 0;
        }
        let first = slot.saturating_sub(SLOTS - 1);
        let sum: u128 = (first..=self.last).map(|slot| u128::from(self.at(slot))).sum();
        let begin = self.since.max(begin_of(first));
        let window = (now - begin).max(AT_LEAST);
        u64::try_from(sum * 1_000_000_000 / window.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Nothing came in all slots that count at this one. True of a rate that never had any.
    fn is_silent(&self, slot: u64) -> bool {
        self.bytes == [0; PLACES] || slot.saturating_sub(self.last) >= SLOTS
    }

    fn at(&self, slot: u64) -> u64 {
        self.bytes[place_of(slot)]
    }

    fn place(&mut self, slot: u64) -> &mut u64 {
        &mut self.bytes[place_of(slot)]
    }
}

/// The number of the slot of a moment.
fn slot(now: Time) -> u64 {
    u64::try_from(now.elapsed().as_nanos() / SLOT.as_nanos()).unwrap_or(u64::MAX)
}

fn place_of(slot: u64) -> usize {
    usize::try_from(slot % SLOTS).expect("the places have numbers")
}

fn begin_of(slot: u64) -> Time {
    Time::after_start(SLOT.saturating_mul(u32::try_from(slot).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn steady_bytes_have_their_rate_from_the_first_second_on() {
        let mut rate = Rate::default();
        for tenth in 0..100 {
            rate.add(at(3_000 + tenth * 100), 100);
            if tenth > 10 {
                let shown = rate.per_second(at(3_000 + tenth * 100));
                assert!((900..=1100).contains(&shown), "{shown} after {tenth} tenths");
            }
        }
    }

    #[test]
    fn the_first_chunk_is_not_taken_for_a_second() {
        let mut rate = Rate::default();
        rate.add(at(700), 65_536);
        assert_eq!(rate.per_second(at(701)), 65_536);
    }

    #[test]
    fn after_five_silent_seconds_nothing_is_left_and_a_new_beginning_is_one() {
        let mut rate = Rate::default();
        for second in 0..10 {
            rate.add(at(second * 1000), 1 << 20);
        }
        assert!(rate.per_second(at(11_000)) > 0);
        assert_eq!(rate.per_second(at(14_000)), 0);
        assert_eq!(rate.per_second(at(10_000_000)), 0);
        rate.add(at(10_000_000), 500);
        assert_eq!(rate.per_second(at(10_000_100)), 500);
    }

    proptest! {
        #[test]
        fn a_rate_lies_between_what_the_whole_slots_and_all_slots_hold(
            events in prop::collection::vec((0_u64..3000, 0_u64..1_000_000), 1..200),
            later in 0_u64..8000,
        ) {
            let (mut rate, mut now, mut came) = (Rate::default(), 0, Vec::new());
            for (pause, bytes) in events {
                now += pause;
                rate.add(at(now), bytes);
                came.push((now, bytes));
            }
            now += later;
            let within = |millis: u64| {
                came.iter().filter(|(at, _)| now - at < millis).map(|(_, bytes)| bytes).sum::<u64>()
            };
            let shown = rate.per_second(at(now));
            // Of 4.5 seconds all bytes count, over five at most; of five and more none counts, over
            // one at least.
            prop_assert!(shown >= within(4500) / 5, "{shown} of {came:?} at {now}");
            prop_assert!(shown <= within(5000), "{shown} of {came:?} at {now}");
        }

        #[test]
        fn no_number_of_bytes_is_too_many(moments in prop::collection::vec(0_u64..1 << 50, 1..20)) {
            let mut moments = moments;
            moments.sort_unstable();
            let mut rate = Rate::default();
            for moment in moments {
                rate.add(at(moment), u64::MAX);
                prop_assert!(rate.per_second(at(moment)) > 0);
            }
        }
    }
}
