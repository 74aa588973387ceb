//! Accepts peers. Strangers are few at a time and have little time to introduce themselves; running out of
//! descriptors pauses accepting and nothing else.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dialer::Dialer;
use crate::network;

/// Pause after the system refused to accept, for example for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) dialer: Dialer,
    pub(crate) max_strangers: usize,
    pub(crate) max_per_ip: usize,
}

impl Listener {
    pub(crate) async fn run(self) {
        let strangers = Arc::new(Semaphore::new(self.max_strangers));
        let census = Census { counts: Arc::default(), max_per_ip: self.max_per_ip };
        loop {
            let permit = Arc::clone(&strangers).acquire_owned().await.expect("the semaphore is never closed");
            match self.socket.accept().await {
                Ok((stream, remote)) => self.welcome(stream, network::canonical(remote), permit, &census),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept peers for a moment");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream, remote: SocketAddr, permit: OwnedSemaphorePermit, census: &Census) {
        let Some(place) = census.enter(remote.ip()) else {
            tracing::debug!(%remote, "too many connections from this address");
            return;
        };
        if network::tune(&stream).is_err() {
            return;
        }
        let dialer = self.dialer.clone();
        self.dialer.context.tasks.spawn(async move {
            dialer.accept(stream, remote, place, permit).await;
        });
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
