//! Two names that change places as fast as the system does it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Exchanges pairs of names in a thread of its own until it is stopped; then all of them are as
/// they were.
pub(crate) struct Exchanger {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Exchanger {
    /// # Panics
    /// Later, if a pair is not there any more.
    pub(crate) fn start(pairs: Vec<(PathBuf, PathBuf)>) -> Exchanger {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut times = 0;
            while !stopped.load(Ordering::Relaxed) {
                // Mostly for an instant, and sometimes for as long as a small file takes to be
                // read.
                let pause =
                    Duration::from_micros(if times % 3 == 0 { times * 37 % 2000 } else { 0 });
                for _ in 0..2 {
                    for (one, other) in &pairs {
                        exchange(one, other);
                    }
                    if !pause.is_zero() {
                        std::thread::sleep(pause);
                    }
                }
                times += 2;
            }
            times *= pairs.len() as u64;
            times
        });
        Exchanger { stop, thread: Some(thread) }
    }

    /// Ends it; how many times names changed places.
    ///
    /// # Panics
    /// If a pair was not there any more.
    pub(crate) fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).expect("all pairs were there")
    }
}

impl Drop for Exchanger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("both are there");
}
