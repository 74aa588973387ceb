//! Is there a core to spare? What is given to another thread is done meanwhile only if there is. If
//! all cores are taken it is done later, with cold caches, by a thread that has to be woken for it.
//!
//! A piece of work tells: it takes its processor time when nobody else wants the core, and longer
//! when threads take turns.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Work that is looked at together. Shorter, and one unlucky turn of the scheduler would decide.
const WINDOW: Duration = Duration::from_millis(20);

/// Processor time in thousandths of the time that work took: below this the cores are taken. On two
/// cores: 970 beside a seed, 710 beside four seeds, 460 beside a seed and three other receivers.
const TAKEN_BELOW: u32 = 600;

/// And above this there is one again. Who gives nothing away needs one thread, not two: what was
/// 460 is 600 then, and 710 becomes 995.
const SPARE_FROM: u32 = 900;

/// What is known so far.
#[derive(Debug)]
pub(super) struct SpareCore {
    /// Of the pieces since the last judgement.
    spent: Spent,
    is_there: bool,
}

/// What some work took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spent {
    time: Duration,
    processor: Duration,
}

/// A piece of work that has begun, on this thread.
pub(super) struct Begun {
    at: Instant,
    processor: Duration,
}

impl SpareCore {
    pub(super) fn new() -> SpareCore {
        SpareCore { spent: Spent::default(), is_there: true }
    }

    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Another piece is done.
    pub(super) fn note(&mut self, piece: Spent) {
        self.spent.time += piece.time;
        self.spent.processor += piece.processor;
        if self.spent.time < WINDOW {
            return;
        }
        let Spent { time, processor } = std::mem::take(&mut self.spent);
        let bound = if self.is_there { TAKEN_BELOW } else { SPARE_FROM };
        self.is_there = processor >= time * bound / 1000;
    }
}

impl Begun {
    pub(super) fn now() -> Begun {
        Begun { at: Instant::now(), processor: processor_time() }
    }

    /// To be asked on the same thread.
    pub(super) fn spent(&self) -> Spent {
        Spent {
            time: self.at.elapsed(),
            processor: processor_time().saturating_sub(self.processor),
        }
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many milliseconds, of which the thread had a core for some.
    fn spent(time: u64, processor: u64) -> Spent {
        Spent { time: Duration::from_millis(time), processor: Duration::from_millis(processor) }
    }

    #[test]
    fn the_cores_are_taken_when_work_waits_for_them_and_free_when_hardly_any_does() {
        let mut core = SpareCore::new();
        for (processor, expected) in [(97, true), (71, true), (46, false), (60, false), (99, true)]
        {
            core.note(spent(100, processor));
            assert_eq!(core.is_there(), expected, "{processor} of 100 ms");
        }
    }

    #[test]
    fn one_unlucky_piece_decides_nothing() {
        let mut core = SpareCore::new();
        core.note(spent(19, 0));
        assert!(core.is_there());
        // But counts.
        core.note(spent(1, 1));
        assert!(!core.is_there());
    }

    #[test]
    fn who_waits_spends_time_and_no_processor() {
        let begun = Begun::now();
        std::thread::sleep(Duration::from_millis(20));
        let waited = begun.spent();
        assert!(
            waited.time >= Duration::from_millis(20) && waited.processor < waited.time / 2,
            "{waited:?}"
        );
        let begun = Begun::now();
        while begun.spent().processor < Duration::from_millis(5) {}
        assert!(begun.spent().time >= Duration::from_millis(5));
    }
}
