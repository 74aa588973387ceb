//! File descriptors: how many this process may have, and whether there are none left.
//!
//! A task that is refused one notes it in [`Descriptors`], which logs the shortage every ten
//! seconds and wakes all tasks that wait once descriptors are to be had again.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

/// How often to try whether there are some again.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often a shortage that lasts is logged.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A shortage is over when this many can be opened at once: a download takes a few.
const ENOUGH: usize = 8;

/// The limit that is shown when the system does not tell it; the default of many systems.
const USUAL: u64 = 1024;

/// Every descriptor is taken. Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Descriptors that this process may have open, files and connections together. None: the whole
    /// system has no more.
    pub limit: Option<u64>,
}

impl Shortage {
    /// What the user can do.
    pub fn hint(self) -> &'static str {
        match self.limit {
            Some(_) => "raise the limit with `ulimit -n`",
            None => "raise its limit, fs.file-max",
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "too many open files, this process may have {limit}"),
            None => f.write_str("too many open files on this system"),
        }
    }
}

impl Error for Shortage {}

/// Descriptors that this process may have open (the soft limit `RLIMIT_NOFILE`). None: no limit.
pub fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// One descriptor in so many is for a whole file that stays open after it was read; the others are
/// for connections and downloads.
const FILE_OF: u64 = 4;

/// Whole files that may stay open in this process: a quarter of its descriptors.
pub fn for_files() -> usize {
    limit().map_or(usize::MAX, |limit| usize::try_from(limit / FILE_OF).unwrap_or(usize::MAX))
}

/// The shortage that an error of the system tells of (`EMFILE`, `ENFILE`). None: another error.
pub fn shortage_of(error: &io::Error) -> Option<Shortage> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some(Shortage { limit: Some(limit().unwrap_or(USUAL)) }),
        Errno::NFILE => Some(Shortage { limit: None }),
        _ => None,
    }
}

/// Whether descriptors are short at this moment. Clones share one state.
#[derive(Debug, Clone)]
pub struct Descriptors {
    state: Arc<watch::Sender<Option<Shortage>>>,
    begun: Arc<Notify>,
}

impl Default for Descriptors {
    fn default() -> Descriptors {
        Descriptors::new()
    }
}

impl Descriptors {
    /// Assumes that there are some.
    pub fn new() -> Descriptors {
        Descriptors { state: Arc::new(watch::Sender::new(None)), begun: Arc::default() }
    }

    /// Notes a shortage if `error` tells of one, and answers whether it does.
    pub fn note(&self, error: &io::Error) -> bool {
        let Some(shortage) = shortage_of(error) else { return false };
        self.state.send_if_modified(|known| known.replace(shortage) != Some(shortage));
        self.begun.notify_one();
        true
    }

    /// As [`Descriptors::note`], for an error that the system's error may be a source of.
    pub fn note_cause(&self, error: &(dyn Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.downcast_ref().is_some_and(|error| self.note(error)) {
                return true;
            }
            next = error.source();
        }
        false
    }

    /// The shortage at this moment, if there is one.
    pub fn shortage(&self) -> Option<Shortage> {
        *self.state.borrow()
    }

    /// Waits until there are some again, for `within` at most.
    pub async fn available(&self, within: Duration) {
        let mut state = self.state.subscribe();
        // The sender cannot be gone: `self` holds it.
        let _ = timeout(within, state.wait_for(Option::is_none)).await;
    }

    /// Logs shortages and notes their end, until it is dropped. One task must run it.
    pub async fn look_after(self) {
        let mut told: Option<Instant> = None;
        loop {
            self.begun.notified().await;
            while let Some(shortage) = self.shortage() {
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    tracing::warn!("{shortage}; {}", shortage.hint());
                    told = Some(Instant::now());
                }
                sleep(LOOK_EVERY).await;
                if are_there_some() {
                    self.state.send_replace(None);
                }
            }
        }
    }
}

/// Whether [`ENOUGH`] can be opened at once.
fn are_there_some() -> bool {
    let tried: Result<Vec<File>, io::Error> =
        (0..ENOUGH).map(|_| File::open("/dev/null")).collect();
    tried.err().is_none_or(|error| shortage_of(&error).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_names_the_limit_and_how_to_raise_it() {
        let error = io::Error::from(Errno::MFILE);
        let shortage = shortage_of(&error).expect("it is one");
        let text = shortage.to_string();
        assert!(text.contains(&limit().unwrap_or(USUAL).to_string()), "{text}");
        assert!(shortage.hint().contains("ulimit -n"));
        assert_eq!(shortage_of(&io::Error::from(Errno::NOENT)), None);
    }

    #[tokio::test]
    async fn it_is_over_when_descriptors_can_be_had() {
        let descriptors = Descriptors::new();
        let looking = tokio::spawn(descriptors.clone().look_after());
        assert!(descriptors.note(&io::Error::from(Errno::MFILE)));
        assert!(descriptors.shortage().is_some());
        descriptors.available(Duration::from_secs(60)).await;
        assert_eq!(descriptors.shortage(), None);
        looking.abort();
    }
}
