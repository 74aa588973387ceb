//! Work on many things with all cores.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Most threads of one piece of work.
const MAX_THREADS: usize = 64;

/// Bytes that the buffers of all threads have together, at most, but for two threads.
const MEMORY: usize = 64 * 1024 * 1024;

/// Calls `work` with each item, in about their order, with as many threads as there are cores, but
/// no more than there is memory for. Each thread has a state of its own, with a buffer of `buffer`
/// bytes. After an error no other item is begun.
///
/// # Errors
/// The first that a thread met.
pub(super) fn for_each<T: Sync, S: Default, E: Send>(
    items: &[T],
    buffer: usize,
    work: impl Fn(&mut S, &T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let most = (MEMORY / buffer.max(1)).clamp(2, MAX_THREADS);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(most);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let take = || -> Result<(), E> {
        let mut state = S::default();
        while !stop.load(Ordering::Relaxed)
            && let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed))
        {
            work(&mut state, item).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        // This thread works too: a system that grants no more makes it slower, nothing worse.
        let others: Vec<_> = (1..threads.min(items.len()))
            .map_while(|_| {
                thread::Builder::new().name("tnet-reuse".into()).spawn_scoped(scope, take).ok()
            })
            .collect();
        let mut result = take();
        for other in others {
            result = result.and(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_item_is_worked_on_once() {
        let items: Vec<u32> = (0..1000).collect();
        let seen = Mutex::new(Vec::new());
        let done: Result<(), ()> = for_each(&items, 1, |(): &mut (), item| {
            seen.lock().expect("no panic").push(*item);
            Ok(())
        });
        done.expect("none failed");
        let mut seen = seen.into_inner().expect("no panic");
        seen.sort_unstable();
        assert_eq!(seen, items);
        for_each(&[] as &[u32], 1, |(): &mut (), _| Err(())).expect("nothing to do");
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<u32> = (0..100_000).collect();
        let count = AtomicUsize::new(0);
        let done = for_each(&items, 1, |(): &mut (), item| {
            count.fetch_add(1, Ordering::Relaxed);
            if *item == 10 { Err(*item) } else { Ok(()) }
        });
        assert_eq!(done, Err(10));
        assert!(count.into_inner() < items.len());
    }
}
