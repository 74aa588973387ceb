//! Connects to peers and coordinators. A lack of file descriptors is not the other side's fault: it
//! is waited out once before an attempt counts as failed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tnet_proto::CONNECT_TIMEOUT;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::descriptors::Descriptors;
use crate::narrow_paths::{NarrowPaths, SMALL_SEGMENT};
use crate::socket;

/// How long to wait for a descriptor.
const DESCRIPTOR_WITHIN: Duration = Duration::from_secs(30);

/// Connects to an address, with small segments on narrow paths. Clones share what is known of paths
/// and descriptors.
#[derive(Debug, Clone)]
pub struct Connector {
    paths: NarrowPaths,
    descriptors: Descriptors,
    timeout: Duration,
    loopback_from: Option<IpAddr>,
}

/// A connection that was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection {
    /// With the options of [`tune`](crate::tune).
    pub stream: TcpStream,
    /// How long the attempt took, which is about one round trip.
    pub took: Duration,
}

impl Connector {
    /// Each attempt fails after [`CONNECT_TIMEOUT`]; connects from the address that the system
    /// chooses.
    pub fn new(paths: NarrowPaths, descriptors: Descriptors) -> Connector {
        Connector { paths, descriptors, timeout: CONNECT_TIMEOUT, loopback_from: None }
    }

    /// Each attempt fails after this long.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Connector {
        self.timeout = timeout;
        self
    }

    /// Connections to loopback addresses of the same family come from this address, if it is given.
    #[must_use]
    pub fn with_loopback_from(mut self, from: Option<IpAddr>) -> Connector {
        self.loopback_from = from;
        self
    }

    /// How long an attempt may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What is known of paths.
    pub fn paths(&self) -> &NarrowPaths {
        &self.paths
    }

    /// What is known of descriptors.
    pub fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    /// Connects. Without a descriptor it waits for one, 30 s at most, and tries once more.
    ///
    /// # Errors
    /// What the system says, or [`io::ErrorKind::TimedOut`].
    pub async fn connect(&self, to: SocketAddr) -> io::Result<Connection> {
        let connected = self.connect_once(to, self.timeout).await;
        match connected {
            Err(error) if self.descriptors.note(&error) => {
                self.descriptors.available(DESCRIPTOR_WITHIN).await;
                self.connect_once(to, self.timeout).await
            }
            connected => connected,
        }
    }

    /// Makes one attempt, which fails after `within`.
    ///
    /// # Errors
    /// What the system says, or [`io::ErrorKind::TimedOut`].
    pub async fn connect_once(&self, to: SocketAddr, within: Duration) -> io::Result<Connection> {
        let began = Instant::now();
        let fits = |from: &IpAddr| to.ip().is_loopback() && from.is_ipv4() == to.is_ipv4();
        let from = self.loopback_from.filter(fits);
        let small_segments = self.paths.is_narrow(to.ip()).then_some(SMALL_SEGMENT);
        let stream = socket::connect(to, from, within, small_segments).await?;
        Ok(Connection { stream, took: began.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    fn connector() -> Connector {
        Connector::new(NarrowPaths::default(), Descriptors::new())
    }

    #[cfg(target_os = "linux")] // where all of 127.0.0.0/8 is this machine
    #[tokio::test]
    async fn a_connection_within_this_machine_comes_from_the_given_address_of_its_family() {
        let (_listener, address) = listener().await;
        for (from, expected) in [("127.0.0.2", "127.0.0.2"), ("::1", "127.0.0.1")] {
            let connector = connector().with_loopback_from(from.parse().ok());
            let connection = connector.connect(address).await.expect("it listens");
            let here = connection.stream.local_addr().expect("connected");
            assert_eq!(here.ip().to_string(), expected, "{from}");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_an_error_and_no_shortage() {
        let (listener, address) = listener().await;
        drop(listener);
        let connector = connector();
        let error = connector.connect(address).await.expect_err("nothing listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connector.descriptors().shortage(), None);
    }
}
