//! Those who have called and not said hello. There are places for some; when there is one more
//! caller, one of the source that holds most of them makes room, so that neither the silent nor the
//! many keep anybody out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tnet_swarm::Crowd;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long a stranger has a place for himself, unless his source holds more places than the next
/// one's. A hello comes with the connection; 256 places, each for so long, are ten thousand callers
/// a second.
const HASTE: Duration = Duration::from_millis(25);

/// How often to look whether somebody has had a place for that long.
const LOOK: Duration = Duration::from_millis(2);

/// Places of one address that weigh no more than one.
const FREE: u64 = 16;

/// Places for strangers.
#[derive(Debug, Clone)]
pub(crate) struct Strangers {
    most: usize,
    book: Arc<Book>,
    /// Descriptors: a few more than places, for those who are leaving.
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

/// One who has not said hello. Leaves his place when dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    entry: Entry,
    socket: OwnedSemaphorePermit,
}

/// One who has said hello, until it is decided whether he stays.
#[derive(Debug)]
pub(crate) struct Introduced {
    _socket: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Entry {
    book: Arc<Book>,
    number: u64,
    to_leave: CancellationToken,
}

impl Strangers {
    pub(crate) fn new(most: usize) -> Strangers {
        let most = most.max(1);
        let sockets = Arc::new(Semaphore::new(most + leaving(most)));
        Strangers { most, book: Arc::default(), sockets }
    }

    /// A place for one more, after a moment at most, in which those who came just now may say
    /// hello.
    pub(crate) async fn admit(&self, ip: IpAddr) -> Stranger {
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

/// Descriptors of those who were asked to leave and have not closed yet.
pub(crate) fn leaving(strangers: usize) -> usize {
    (strangers / 16).max(1)
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, Inside> {
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
    /// Until somebody else needs the place more.
    pub(crate) async fn has_to_leave(&self) {
        self.entry.to_leave.cancelled().await;
    }

    /// The stranger has said hello.
    pub(crate) fn introduced(self) -> Introduced {
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
    async fn who_said_hello_makes_room_without_leaving() {
        let strangers = Strangers::new(1);
        let introduced = strangers.admit(CROWD).await.introduced();
        let began = Instant::now();
        let _next = strangers.admit(CROWD).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(introduced);
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_of_those_who_do_not_leave_are_bounded() {
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
