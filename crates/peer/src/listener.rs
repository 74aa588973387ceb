//! Accepts peers. Strangers are few at a time and have little time to introduce themselves, and less while others wait
//! for their place; running out of descriptors pauses accepting and nothing else.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::descriptors::Descriptors;
use crate::dialer::Dialer;
use crate::network;

/// Pause after the system refused to accept, for example for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a stranger has a place to himself. Honest peers need a round trip. 256 places, each for so long, are two
/// thousand callers a second: a crowd of silent ones that fills the kernel's backlog delays the honest by half a second.
const HASTE: Duration = Duration::from_millis(100);

/// How often somebody who waits for a place asks for one.
const ASK: Duration = Duration::from_millis(20);

pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) dialer: Dialer,
    pub(crate) max_strangers: usize,
    pub(crate) max_per_ip: usize,
    pub(crate) descriptors: Descriptors,
}

impl Listener {
    pub(crate) async fn run(self) {
        let strangers =
            Strangers { places: Arc::new(Semaphore::new(self.max_strangers)), is_short: Arc::default() };
        let census = Census { counts: Arc::default(), max_per_ip: self.max_per_ip };
        loop {
            match self.socket.accept().await {
                Ok((stream, remote)) => {
                    self.welcome(stream, network::canonical(remote), &strangers, &census).await;
                }
                Err(error) => {
                    if !self.descriptors.note(&error) {
                        tracing::warn!(%error, "cannot accept peers for a moment");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn welcome(&self, stream: TcpStream, remote: SocketAddr, strangers: &Strangers, census: &Census) {
        let Some(place) = census.enter(remote.ip()) else {
            tracing::debug!(%remote, "too many connections from this address");
            return;
        };
        if network::tune(&stream).is_err() {
            return;
        }
        let stranger = strangers.admit().await;
        let dialer = self.dialer.clone();
        self.dialer.context.tasks.spawn(async move {
            dialer.accept(stream, remote, place, stranger).await;
        });
    }
}

/// Places for those who have not said hello.
#[derive(Debug)]
struct Strangers {
    places: Arc<Semaphore>,
    is_short: Arc<Notify>,
}

/// One who has not said hello; leaves his place when dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    _place: OwnedSemaphorePermit,
    is_short: Arc<Notify>,
}

impl Strangers {
    /// A place, as soon as there is one. Meanwhile those who had theirs long enough are asked to leave, so that the
    /// silent cannot keep the honest out.
    async fn admit(&self) -> Stranger {
        loop {
            let place = Arc::clone(&self.places).acquire_owned();
            match timeout(ASK, place).await {
                Ok(place) => {
                    let place = place.expect("the semaphore is never closed");
                    return Stranger { _place: place, is_short: Arc::clone(&self.is_short) };
                }
                Err(_) => self.is_short.notify_waiters(),
            }
        }
    }
}

impl Stranger {
    /// Until somebody else needs the place, and it was this one's for a while.
    pub(crate) async fn has_to_leave(&self) {
        sleep(HASTE).await;
        self.is_short.notified().await;
    }
}

/// Connections by IP address.
#[derive(Debug, Clone)]
struct Census {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max_per_ip: usize,
}

/// One connection of an address; leaves the census when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    census: Census,
    ip: IpAddr,
}

impl Census {
    fn enter(&self, ip: IpAddr) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(ip).or_insert(0);
        if *count >= self.max_per_ip {
            return None;
        }
        *count += 1;
        Some(Place { census: self.clone(), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ip);
            }
        }
    }
}
