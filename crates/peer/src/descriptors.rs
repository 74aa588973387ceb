//! File descriptors: how many of them files may keep, and whether there are none left. Who is
//! refused one says so here; it is told to the owner, now and then, and everybody who waits hears
//! when there are some again.

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

/// How often it is looked whether there are some again.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often it is told while there are none.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// So many at once are enough to go on: a download takes a few.
const ENOUGH: usize = 8;

/// Descriptors of a process that says nothing else; what many systems give.
const USUAL: u64 = 1024;

/// Every descriptor is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Files and connections that this process may have open; none if it is the whole system that
    /// has no more.
    pub limit: Option<u64>,
}

/// What went wrong, then what to do.
impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(
                f,
                "too many open files, this process may have {limit}; raise the limit with `ulimit -n`"
            ),
            None => f.write_str("too many open files on this system; raise its limit, fs.file-max"),
        }
    }
}

impl Error for Shortage {}

/// Descriptors that this process may have open; none if there is no limit.
pub fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Of how many descriptors one is for a whole file that stays open after it was read: the others
/// are for connections and downloads.
const FILE_OF: u64 = 4;

/// Whole files that may stay open in this process.
pub(crate) fn for_files() -> usize {
    limit().map_or(usize::MAX, |limit| usize::try_from(limit / FILE_OF).unwrap_or(usize::MAX))
}

/// The error that the system gives when there are none.
pub fn shortage_of(error: &io::Error) -> Option<Shortage> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some(Shortage { limit: Some(limit().unwrap_or(USUAL)) }),
        Errno::NFILE => Some(Shortage { limit: None }),
        _ => None,
    }
}

/// Shared by all who open something.
#[derive(Debug, Clone)]
pub(crate) struct Descriptors {
    state: Arc<watch::Sender<Option<Shortage>>>,
    begun: Arc<Notify>,
}

impl Descriptors {
    pub(crate) fn new() -> Descriptors {
        Descriptors { state: Arc::new(watch::Sender::new(None)), begun: Arc::default() }
    }

    /// Takes note if that is what an error says. Answers whether it is.
    pub(crate) fn note(&self, error: &io::Error) -> bool {
        let Some(shortage) = shortage_of(error) else { return false };
        self.state.send_if_modified(|known| known.replace(shortage) != Some(shortage));
        self.begun.notify_one();
        true
    }

    /// As `note`, for an error that the system's may be the cause of.
    pub(crate) fn note_cause(&self, error: &(dyn Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.downcast_ref().is_some_and(|error| self.note(error)) {
                return true;
            }
            next = error.source();
        }
        false
    }

    /// What is lacking at this moment.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        *self.state.borrow()
    }

    /// Waits until there are some again, for so long at most.
    pub(crate) async fn available(&self, within: Duration) {
        let mut state = self.state.subscribe();
        // The sender lives as long as we do.
        let _ = timeout(within, state.wait_for(Option::is_none)).await;
    }

    /// Looks after them until it is dropped.
    pub(crate) async fn look_after(self) {
        let mut told: Option<Instant> = None;
        loop {
            self.begun.notified().await;
            while let Some(shortage) = self.shortage() {
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    tracing::warn!("{shortage}");
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

/// Whether enough can be had at once.
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
        let text = shortage_of(&error).expect("it is one").to_string();
        assert!(
            text.contains(&limit().unwrap_or(USUAL).to_string()) && text.contains("ulimit -n"),
            "{text}"
        );
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
