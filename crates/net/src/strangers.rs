//! A cap on accepted connections that have not said hello (strangers), per address and in all.
//!
//! There is a fixed number of places. When all are taken, a new connection displaces one of the
//! source that holds most of them, or one that has had its place for 25 ms. So neither silent
//! connections nor many of one source keep others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tnet_sources::Crowd;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long a stranger keeps its place, unless its source holds more places than the newcomer's. A
/// hello comes with the connection; 256 places, each for so long, are ten thousand connections a
/// second.
const HASTE: Duration = Duration::from_millis(25);

/// How often to check whether a stranger has had its place for that long.
const LOOK: Duration = Duration::from_millis(2);

/// Up to this many places of one address weigh as much as one.
const FREE: u64 = 16;

/// Places for strangers. Clones share one state.
#[derive(Debug, Clone)]
pub struct Strangers {
    most: usize,
    book: Arc<Book>,
    /// Descriptors: a few more than places, for strangers that were displaced and have not closed.
    sockets: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Book {
    inside: Mutex<Inside>,
    left: Notify,
}

#[derive(Debug)]
struct Inside {
    crowd: Crowd<u64, Instant>,
    next: u64,
    to_leave: HashMap<u64, CancellationToken>,
}

impl Default for Inside {
    fn default() -> Inside {
        Inside { crowd: Crowd::new(FREE), next: 0, to_leave: HashMap::new() }
    }
}

/// The place of a connection on which no hello has come. Dropping it frees the place.
#[derive(Debug)]
pub struct Stranger {
    entry: Entry,
    socket: OwnedSemaphorePermit,
}

/// The descriptor of a connection that has said hello, until it is decided whether it is kept.
#[derive(Debug)]
pub struct Introduced {
    _socket: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Entry {
    book: Arc<Book>,
    number: u64,
    to_leave: CancellationToken,
}

impl Strangers {
    /// `most` places, at least one.
    pub fn new(most: usize) -> Strangers {
        let most = most.max(1);
        let sockets = Arc::new(Semaphore::new(most + leaving(most)));
        Strangers { most, book: Arc::default(), sockets }
    }

    /// A place for a connection from `ip`. Waits while no stranger can be displaced, 25 ms at most,
    /// and while displaced strangers hold too many descriptors.
    pub async fn admit(&self, ip: IpAddr) -> Stranger {
        let entry = loop {
            if let Some(entry) = self.enter(ip) {
                break entry;
            }
            let _ = timeout(LOOK, self.book.left.notified()).await;
        };
        let socket = Arc::clone(&self.sockets).acquire_owned().await;
        Stranger { entry, socket: socket.expect("the semaphore is never closed") }
    }

    fn enter(&self, ip: IpAddr) -> Option<Entry> {
        let now = Instant::now();
        let mut inside = self.book.lock();
        if inside.crowd.len() >= self.most {
            let ripe = now.checked_sub(HASTE);
            let leaving = inside.crowd.makes_room_for(ip, ripe, ripe)?;
            inside.remove(leaving);
        }
        let (number, to_leave) = (inside.next, CancellationToken::new());
        inside.next += 1;
        inside.crowd.insert(number, ip, now);
        inside.to_leave.insert(number, to_leave.clone());
        Some(Entry { book: Arc::clone(&self.book), number, to_leave })
    }
}

/// Descriptors for strangers that were displaced and have not closed yet.
pub(crate) fn leaving(strangers: usize) -> usize {
    (strangers / 16).max(1)
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No code that holds the lock panics.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn remove(&mut self, number: u64) {
        self.crowd.remove(number);
        if let Some(to_leave) = self.to_leave.remove(&number) {
            to_leave.cancel();
        }
    }
}

impl Stranger {
    /// Returns when another connection has displaced this one: it must be closed.
    pub async fn has_to_leave(&self) {
        self.entry.to_leave.cancelled().await;
    }

    /// A hello has come: the place is free, the descriptor still taken.
    pub fn introduced(self) -> Introduced {
        Introduced { _socket: self.socket }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.book.lock().remove(self.number);
        self.book.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const HONEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[tokio::test(start_paused = true)]
    async fn the_source_with_most_strangers_makes_room_at_once() {
        let strangers = Strangers::new(40);
        let mut crowd = Vec::new();
        for _ in 0..40 {
            crowd.push(strangers.admit(CROWD).await);
        }
        let began = Instant::now();
        let honest = strangers.admit(HONEST).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        crowd[0].has_to_leave().await;
        assert!(!honest.entry.to_leave.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_the_same_source_waits_until_the_first_had_its_place_for_a_while() {
        let strangers = Strangers::new(4);
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(strangers.admit(CROWD).await);
        }
        let began = Instant::now();
        all.push(strangers.admit(CROWD).await);
        assert!((HASTE..HASTE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert!(all[0].entry.to_leave.is_cancelled() && !all[1].entry.to_leave.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_said_hello_frees_its_place_and_stays() {
        let strangers = Strangers::new(1);
        let introduced = strangers.admit(CROWD).await.introduced();
        let began = Instant::now();
        let _next = strangers.admit(CROWD).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(introduced);
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_of_displaced_strangers_that_do_not_close_are_bounded() {
        let strangers = Strangers::new(16);
        let mut all = Vec::new();
        for _ in 0..16 + leaving(16) {
            all.push(strangers.admit(CROWD).await);
        }
        let one_more = timeout(Duration::from_secs(5), strangers.admit(HONEST)).await;
        assert!(one_more.is_err());
        all.remove(0);
        timeout(Duration::from_secs(5), strangers.admit(HONEST))
            .await
            .expect("there is room again");
    }
}
