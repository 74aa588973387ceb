//! How many upload slots the own uplink is worth, from how long chunks take on it and on those of
//! others.
//!
//! A chunk on an uplink ten times slower than the others' takes ten times as long with as many
//! slots, and its receiver waits for it with a download slot. With as many fewer slots it takes no
//! longer than elsewhere, and a peer told busy goes elsewhere. Nothing is compared with a clock's
//! idea of fast: only with what the own downloads took meanwhile.

use std::time::Duration;

use crate::config::SlotLimits;

/// Uploads of equal conditions that one decision looks at.
const WINDOW: u32 = 4;

/// The latest download counts for one part in so many of the average.
const SMOOTHING: u64 = 16;

/// An uplink gives two chunks at once, so that one is under way while the next is asked for.
const AT_LEAST: u32 = 2;

#[derive(Debug)]
pub(crate) struct Uplink {
    /// Upload slots at most; none of it beyond what the configuration says.
    slots: u32,
    most: u32,
    /// The quickest uploads of the window, in nanoseconds for a KiB.
    quickest: Option<u64>,
    ended: u32,
    /// Uploads that began earlier tell of other conditions.
    since: Duration,
    /// Average of downloads, in nanoseconds for a KiB.
    theirs: Option<u64>,
    /// Thousandths of the others' time beyond which ours is too long. Zero: the slots stay as they
    /// are.
    patience_per_mille: u64,
}

impl Uplink {
    pub(crate) fn new(limits: SlotLimits, patience_per_mille: u32) -> Uplink {
        let most = limits.max.max(limits.min).max(1);
        Uplink {
            slots: most,
            most,
            quickest: None,
            ended: 0,
            since: Duration::ZERO,
            theirs: None,
            patience_per_mille: patience_per_mille.into(),
        }
    }

    /// A chunk of `len` bytes arrived so long after it was asked for.
    pub(crate) fn downloaded(&mut self, len: u32, took: Duration) {
        let took = per_kib(len, took);
        self.theirs = Some(match self.theirs {
            None => took,
            Some(before) => (before.saturating_mul(SMOOTHING - 1).saturating_add(took)) / SMOOTHING,
        });
    }

    /// How long a chunk of `len` bytes takes to arrive, on average.
    pub(crate) fn usual(&self, len: u32) -> Option<Duration> {
        Some(Duration::from_nanos(self.theirs?.saturating_mul(u64::from(len) / 1024)))
    }

    /// A chunk of `len` bytes was sent, from `began` to `now`. Answers how many slots there are
    /// from now on, if that changed.
    pub(crate) fn uploaded(&mut self, len: u32, began: Duration, now: Duration) -> Option<u32> {
        if self.patience_per_mille == 0 || began < self.since {
            return None;
        }
        let took = per_kib(len, now.saturating_sub(began));
        self.quickest = Some(self.quickest.map_or(took, |quickest| quickest.min(took)));
        self.ended += 1;
        if self.ended < WINDOW {
            return None;
        }
        let (ours, theirs) = (self.quickest.take()?, self.theirs?);
        self.ended = 0;
        let before = self.slots;
        self.slots = self.worth(ours, theirs);
        (self.slots != before).then(|| {
            self.since = now;
            self.slots
        })
    }

    /// Slots with which our chunks take as long as others' do. Between that and the patience it is
    /// left alone: no two chunks take equally long.
    fn worth(&self, ours: u64, theirs: u64) -> u32 {
        let slots = u64::from(self.slots);
        let is_slow = ours.saturating_mul(1000) > theirs.saturating_mul(self.patience_per_mille);
        let worth = match ours <= theirs {
            // Step by step: a window of chance must not undo what many have found.
            true => slots + slots / 4 + 1,
            false if is_slow => (slots.saturating_mul(theirs) / ours.max(1)).max(slots / 4),
            false => slots,
        };
        u32::try_from(worth).unwrap_or(u32::MAX).clamp(AT_LEAST.min(self.most), self.most)
    }
}

fn per_kib(len: u32, took: Duration) -> u64 {
    let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    nanoseconds.saturating_mul(1024) / u64::from(len.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNK: u32 = 64 * 1024;
    const LIMITS: SlotLimits = SlotLimits { bytes: u64::MAX, min: 6, max: 20 };

    fn uplink() -> Uplink {
        Uplink::new(LIMITS, 2000)
    }

    /// The slots after so many chunks on an uplink of `rate` bytes per second whose slots are all
    /// taken.
    fn settled(uplink: &mut Uplink, rate: u64, chunks: u32) -> u32 {
        let (mut now, mut slots) = (uplink.since + Duration::from_secs(1), u64::from(uplink.slots));
        for _ in 0..chunks {
            let took = Duration::from_nanos(slots * u64::from(CHUNK) * 1_000_000_000 / rate);
            let began = now;
            now += took;
            slots = u64::from(uplink.uploaded(CHUNK, began, now).unwrap_or(uplink.slots));
        }
        uplink.slots
    }

    #[test]
    fn a_tenth_of_the_rate_ends_with_few_slots_and_a_fast_uplink_gets_them_back() {
        let mut uplink = uplink();
        // As long as with 20 slots at 12.5 MB/s.
        uplink.downloaded(CHUNK, Duration::from_nanos(20 * u64::from(CHUNK) * 80));
        assert_eq!(settled(&mut uplink, 12_500_000, 100), 20);
        let slow = settled(&mut uplink, 1_250_000, 100);
        assert!((2..=4).contains(&slow), "{slow} slots");
        assert_eq!(settled(&mut uplink, 12_500_000, 200), 20);
    }

    #[test]
    fn slow_receivers_take_no_slots_from_the_others() {
        let mut uplink = uplink();
        uplink.downloaded(CHUNK, Duration::from_millis(100));
        for upload in 0..200 {
            let now = Duration::from_secs(100 + upload);
            let took =
                if upload % 4 == 0 { Duration::from_millis(100) } else { Duration::from_secs(5) };
            assert_eq!(uplink.uploaded(CHUNK, now.saturating_sub(took), now), None);
        }
    }

    #[test]
    fn a_seed_that_has_downloaded_nothing_keeps_its_slots() {
        assert_eq!(settled(&mut uplink(), 1000, 100), 20);
    }

    proptest! {
        #[test]
        fn slots_stay_between_two_and_the_most(
            events in prop::collection::vec((any::<bool>(), 1_u32..=CHUNK, 0_u64..10_000_000_000), 0..200)
        ) {
            let (mut uplink, mut now) = (uplink(), Duration::ZERO);
            for (is_upload, len, took) in events {
                let took = Duration::from_nanos(took);
                now += took;
                match is_upload {
                    true => { uplink.uploaded(len, now.saturating_sub(took), now); }
                    false => uplink.downloaded(len, took),
                }
                prop_assert!((2..=20).contains(&uplink.slots));
            }
        }
    }
}
