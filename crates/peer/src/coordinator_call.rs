//! Calls a coordinator, wherever it is at that moment: a name is resolved before each call, and all
//! its addresses are tried.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tnet_proto::CoordinatorRequest;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Instant, timeout};

use crate::address::CoordinatorAddress;
use crate::coordinator_client::{Connection, LinkError, Welcome, introduce};
use crate::narrow_paths::NarrowPaths;
use crate::network::{self, canonical};

/// How long a name service may take.
const RESOLVE_WITHIN: Duration = Duration::from_secs(10);

/// Addresses of one name that are tried before it is resolved again. Of a name with more, others
/// each time.
const MOST_ADDRESSES: usize = 8;

/// Addresses of one name that are looked at.
const MOST_FOUND: usize = 256;

/// How old an answer may be that nobody waited for any more: as the longest pause between two
/// calls, and the time of one.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// How long each of several addresses may take to accept: a name often has an IPv6 address at which
/// nobody listens.
const EACH_WITHIN: Duration = Duration::from_secs(2);

/// What the name service answered, and when.
type Found = (Instant, io::Result<Vec<SocketAddr>>);

/// Asks the name service, which may not answer for a long time. Each question is a thread of its
/// own, since nothing ends it; there is one at a time.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    asked: Option<oneshot::Receiver<Found>>,
    /// How many addresses were tried in vain since a coordinator answered.
    tried: usize,
}

impl Resolver {
    /// Where the coordinator may be now: those that were not tried before come first.
    async fn candidates(
        &mut self,
        address: &CoordinatorAddress,
    ) -> Result<Vec<SocketAddr>, LinkError> {
        let mut found = self.addresses(address).await?;
        if found.len() > MOST_ADDRESSES {
            let first = self.tried % found.len();
            found.rotate_left(first);
            found.truncate(MOST_ADDRESSES);
        }
        Ok(found)
    }

    /// Where the coordinator is now.
    async fn addresses(
        &mut self,
        address: &CoordinatorAddress,
    ) -> Result<Vec<SocketAddr>, LinkError> {
        let (host, port) = match address {
            CoordinatorAddress::Ip(address) => return Ok(vec![*address]),
            CoordinatorAddress::Name { host, port } => (host, *port),
        };
        let unresolved = |source| LinkError::Unresolved { host: host.clone(), source };
        let (_, found) = match self.answered() {
            Some(found) => found,
            None => {
                let asked = match &mut self.asked {
                    Some(asked) => asked,
                    none => none.insert(ask(host.clone(), port).map_err(unresolved)?),
                };
                let Ok(answered) = timeout(RESOLVE_WITHIN, asked).await else {
                    let silent =
                        io::Error::new(io::ErrorKind::TimedOut, "the name service does not answer");
                    return Err(unresolved(silent));
                };
                self.asked = None;
                answered.map_err(|_| unresolved(io::Error::other("the question was lost")))?
            }
        };
        let found = found.map_err(unresolved)?;
        if found.is_empty() {
            return Err(unresolved(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            )));
        }
        Ok(found)
    }

    /// What was answered when nobody waited, unless that was long ago. A question that is open
    /// stays.
    fn answered(&mut self) -> Option<Found> {
        let answered = self.asked.as_mut()?.try_recv();
        if !matches!(answered, Err(TryRecvError::Empty)) {
            self.asked = None;
        }
        answered.ok().filter(|(answered, _)| answered.elapsed() < FRESH_FOR)
    }
}

fn ask(host: String, port: u16) -> io::Result<oneshot::Receiver<Found>> {
    let (answer, asked) = oneshot::channel();
    let question = move || {
        let found = (host.as_str(), port).to_socket_addrs();
        let found = found.map(|all| all.take(MOST_FOUND).map(canonical).collect());
        // Whoever asked may have stopped waiting.
        let _ = answer.send((Instant::now(), found));
    };
    std::thread::Builder::new().name("resolver".to_owned()).spawn(question)?;
    Ok(asked)
}

/// Connects to the first address that a coordinator answers at. What went wrong is that of the last
/// one, or of one at which something else answered.
pub(crate) async fn call(
    resolver: &mut Resolver,
    address: &CoordinatorAddress,
    hello: &CoordinatorRequest,
    from: Option<IpAddr>,
    within: Duration,
    paths: &NarrowPaths,
) -> Result<(Connection, Welcome), LinkError> {
    let addresses = resolver.candidates(address).await?;
    let tried = addresses.len();
    let each = if addresses.len() > 1 { within.min(EACH_WITHIN) } else { within };
    let mut failed: Option<LinkError> = None;
    for address in addresses {
        let called = async {
            let stream = network::connect(address, from, each, paths).await?;
            introduce(stream, hello.clone()).await
        };
        match called.await {
            Ok(connected) => {
                resolver.tried = 0;
                return Ok(connected);
            }
            Err(error) if failed.as_ref().is_none_or(|failed| failed.unfit().is_none()) => {
                failed = Some(error)
            }
            Err(_) => {}
        }
    }
    resolver.tried = resolver.tried.wrapping_add(tried);
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
        let mut resolver = Resolver { asked: Some(asked), ..Resolver::default() };
        for _ in 0..3 {
            let error = resolver.addresses(&name("slow.lan")).await.unwrap_err();
            assert!(matches!(error, LinkError::Unresolved { .. }), "{error}");
        }
        let there = SocketAddr::from(([10, 0, 0, 1], 7400));
        answer.send((Instant::now(), Ok(vec![there]))).unwrap();
        assert_eq!(resolver.addresses(&name("slow.lan")).await.unwrap(), [there]);
    }

    #[tokio::test]
    async fn an_answer_that_came_when_nobody_waited_any_more_grows_old() {
        let (answer, asked) = oneshot::channel();
        let mut resolver = Resolver { asked: Some(asked), ..Resolver::default() };
        let long_ago = Instant::now().checked_sub(FRESH_FOR).expect("the clock began before");
        answer.send((long_ago, Ok(vec![SocketAddr::from(([192, 0, 2, 1], 7400))]))).unwrap();
        let found = resolver.addresses(&name("localhost")).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "asked anew: {found:?}");
    }

    #[tokio::test]
    async fn of_many_addresses_each_is_tried_in_time() {
        let all: Vec<SocketAddr> = (1..=20).map(|host| ([192, 0, 2, host], 7400).into()).collect();
        let mut resolver = Resolver::default();
        let mut tried = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let (answer, asked) = oneshot::channel();
            answer.send((Instant::now(), Ok(all.clone()))).unwrap();
            resolver.asked = Some(asked);
            let round = resolver.candidates(&name("many.lan")).await.unwrap();
            assert_eq!(round.len(), MOST_ADDRESSES);
            resolver.tried += round.len();
            tried.extend(round);
        }
        assert_eq!(tried.len(), all.len());
    }
}
