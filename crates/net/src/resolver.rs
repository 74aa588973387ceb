//! Resolves the name of a coordinator before each attempt to connect, so that a coordinator may
//! move. A name service that does not answer holds up neither the caller nor the process.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Instant, timeout};

use crate::address::CoordinatorAddress;
use tnet_proto::canonical;

/// How long a name service may take.
const RESOLVE_WITHIN: Duration = Duration::from_secs(10);

/// Addresses of one name that are tried before it is resolved again. If it has more, each round
/// tries others.
const MOST_ADDRESSES: usize = 8;

/// Addresses of one name that are kept.
const MOST_FOUND: usize = 256;

/// How old an answer may be that came after the wait for it was over: the longest pause between two
/// attempts, and the time of one.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// When the name service answered, and what.
type Found = (Instant, io::Result<Vec<SocketAddr>>);

/// Cannot find the addresses of a host name.
#[derive(Debug, thiserror::Error)]
#[error("cannot find {host:?}")]
#[non_exhaustive]
pub struct ResolveError {
    /// The name.
    pub host: String,
    /// What the name service says, or that it does not answer.
    #[source]
    pub source: io::Error,
}

/// Asks the name service, which may not answer for a long time. Each question is a thread of its
/// own, since a question cannot be cancelled; there is one at a time.
#[derive(Debug, Default)]
pub struct Resolver {
    asked: Option<oneshot::Receiver<Found>>,
    /// How many addresses were tried without success since the last success.
    tried: usize,
}

impl Resolver {
    /// The addresses to try now, at most eight; those that were not tried before come first.
    ///
    /// # Errors
    /// The name has no address, or the name service did not answer within 10 s. A later call uses
    /// the answer to the same question.
    pub async fn candidates(
        &mut self,
        address: &CoordinatorAddress,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let mut found = self.addresses(address).await?;
        if found.len() > MOST_ADDRESSES {
            let first = self.tried % found.len();
            found.rotate_left(first);
            found.truncate(MOST_ADDRESSES);
        }
        Ok(found)
    }

    /// Notes that one of the candidates answered.
    pub fn note_success(&mut self) {
        self.tried = 0;
    }

    /// Notes that none of this many candidates answered: the next ones come first next time.
    pub fn note_failure(&mut self, candidates: usize) {
        self.tried = self.tried.wrapping_add(candidates);
    }

    /// All addresses.
    async fn addresses(
        &mut self,
        address: &CoordinatorAddress,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let (host, port) = match address {
            CoordinatorAddress::Ip(address) => return Ok(vec![*address]),
            CoordinatorAddress::Name { host, port } => (host, *port),
        };
        let unresolved = |source| ResolveError { host: host.clone(), source };
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

    /// An answer that came after the wait for it was over, unless that was long ago. A question
    /// that is open stays.
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
        // The resolver may be gone.
        let _ = answer.send((Instant::now(), found));
    };
    std::thread::Builder::new().name("resolver".to_owned()).spawn(question)?;
    Ok(asked)
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
            assert!(error.source.kind() == io::ErrorKind::TimedOut, "{error}");
        }
        let there = SocketAddr::from(([10, 0, 0, 1], 7400));
        answer.send((Instant::now(), Ok(vec![there]))).unwrap();
        assert_eq!(resolver.addresses(&name("slow.lan")).await.unwrap(), [there]);
    }

    #[tokio::test]
    async fn an_answer_that_came_after_the_wait_grows_old() {
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
            resolver.note_failure(round.len());
            tried.extend(round);
        }
        assert_eq!(tried.len(), all.len());
    }
}
