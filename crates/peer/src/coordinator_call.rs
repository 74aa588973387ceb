//! Calls a coordinator, wherever it is at that moment: a name is resolved before each call, and all its addresses are tried.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tnet_proto::CoordinatorRequest;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::address::CoordinatorAddress;
use crate::coordinator_client::{Connection, LinkError, Welcome, introduce};
use crate::narrow_paths::NarrowPaths;
use crate::network::{self, canonical};

/// How long a name service may take.
const RESOLVE_WITHIN: Duration = Duration::from_secs(10);

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// How long each of several addresses may take to accept: a name often has an IPv6 address at which nobody listens.
const EACH_WITHIN: Duration = Duration::from_secs(2);

type Found = io::Result<Vec<SocketAddr>>;

/// Asks the name service, which may not answer for a long time. Each question is a thread of its own, since nothing ends it;
/// there is one at a time.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    asked: Option<oneshot::Receiver<Found>>,
}

impl Resolver {
    /// Where the coordinator is now.
    async fn addresses(&mut self, address: &CoordinatorAddress) -> Result<Vec<SocketAddr>, LinkError> {
        let (host, port) = match address {
            CoordinatorAddress::Ip(address) => return Ok(vec![*address]),
            CoordinatorAddress::Name { host, port } => (host, *port),
        };
        let unresolved = |source| LinkError::Unresolved { host: host.clone(), source };
        let asked = match &mut self.asked {
            Some(asked) => asked,
            none => none.insert(ask(host.clone(), port).map_err(unresolved)?),
        };
        let Ok(answered) = timeout(RESOLVE_WITHIN, asked).await else {
            return Err(unresolved(io::Error::new(
                io::ErrorKind::TimedOut,
                "the name service does not answer",
            )));
        };
        self.asked = None;
        let found = answered.unwrap_or_else(|_| Err(io::Error::other("the question was lost")));
        let found = found.map_err(unresolved)?;
        if found.is_empty() {
            return Err(unresolved(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
        }
        Ok(found)
    }
}

fn ask(host: String, port: u16) -> io::Result<oneshot::Receiver<Found>> {
    let (answer, asked) = oneshot::channel();
    let question = move || {
        let found = (host.as_str(), port).to_socket_addrs();
        let found = found.map(|all| all.take(MOST_ADDRESSES).map(canonical).collect());
        // Whoever asked may have stopped waiting.
        let _ = answer.send(found);
    };
    std::thread::Builder::new().name("resolver".to_owned()).spawn(question)?;
    Ok(asked)
}

/// Connects to the first address that a coordinator answers at. What went wrong is that of the last one, or of one at which
/// something else answered.
pub(crate) async fn call(
    resolver: &mut Resolver,
    address: &CoordinatorAddress,
    hello: &CoordinatorRequest,
    from: Option<IpAddr>,
    within: Duration,
    paths: &NarrowPaths,
) -> Result<(Connection, Welcome), LinkError> {
    let addresses = resolver.addresses(address).await?;
    let each = if addresses.len() > 1 { within.min(EACH_WITHIN) } else { within };
    let mut failed: Option<LinkError> = None;
    for address in addresses {
        let called = async {
            let stream = network::connect(address, from, each, paths).await?;
            introduce(stream, hello.clone()).await
        };
        match called.await {
            Ok(connected) => return Ok(connected),
            Err(error) if failed.as_ref().is_none_or(|failed| failed.unfit().is_none()) => {
                failed = Some(error)
            }
            Err(_) => {}
        }
    }
    Err(failed.unwrap_or(LinkError::Closed))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn name(host: &str) -> CoordinatorAddress {
        CoordinatorAddress::Name { host: host.to_owned(), port: 7400 }
    }

    #[tokio::test]
    async fn a_name_has_addresses_and_another_one_has_none() {
        let mut resolver = Resolver::default();
        let found = resolver.addresses(&name("localhost")).await.unwrap();
        assert!(
            found.iter().all(|address| address.ip().is_loopback() && address.port() == 7400),
            "{found:?}"
        );
        let error = resolver.addresses(&name("not-yet.invalid")).await.unwrap_err();
        assert!(error.to_string().contains("not-yet.invalid"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_service_that_does_not_answer_is_asked_once_and_not_waited_for() {
        let (answer, asked) = oneshot::channel();
        let mut resolver = Resolver { asked: Some(asked) };
        for _ in 0..3 {
            let error = resolver.addresses(&name("slow.lan")).await.unwrap_err();
            assert!(matches!(error, LinkError::Unresolved { .. }), "{error}");
        }
        let there = SocketAddr::from(([10, 0, 0, 1], 7400));
        answer.send(Ok(vec![there])).unwrap();
        assert_eq!(resolver.addresses(&name("slow.lan")).await.unwrap(), [there]);
    }
}
