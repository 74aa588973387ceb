//! Asks a coordinator without being a peer: nothing is reported, and no peer is told of this
//! process.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::SinkExt;
use rand::RngExt;
use tnet_fileinfo::FileHash;
use tnet_net::{Connector, CoordinatorAddress, Descriptors, NarrowPaths, Resolver};
use tnet_proto::{Availability, CoordinatorReply, CoordinatorRequest, PeerId, Reach, Received};
use tokio::time::timeout;

use crate::api::CoordinatorError;
use crate::coordinator_connection::{Connection, CoordinatorConnectionError, connect, next};
use crate::coordinator_ends::Ends;

/// A connection to a coordinator, for questions. Dropping it ends it.
///
/// ```
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let coordinator = tnet_coordinator::Coordinator::bind(tnet_coordinator::Config {
/// #     listen: "127.0.0.1:0".parse()?, ..Default::default() })?.spawn();
/// # let hash = tnet_peer::fileinfo::FileHash::from_bytes([7; 32]);
/// use tnet_peer::CoordinatorQuery;
///
/// let mut query = CoordinatorQuery::open(coordinator.local_addr(), Duration::from_secs(5)).await?;
/// let holders = query.holders(hash).await?;
/// assert_eq!((holders.full, holders.partial), (0, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CoordinatorQuery {
    address: CoordinatorAddress,
    within: Duration,
    connection: Connection,
    ends: Ends,
}

/// What a coordinator knows of the peers that hold a file.
///
/// Exhaustive: clients build it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders {
    /// Live peers with the whole file.
    pub full: u32,
    /// Live peers with a part of it.
    pub partial: u32,
    /// Some of them, chosen at random, at most 50; none that accepts no connections.
    pub named: Vec<NamedHolder>,
}

/// A peer that holds a file.
///
/// Exhaustive: clients build it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedHolder {
    /// Where it accepts peers.
    pub address: SocketAddr,
    /// Whether it has every chunk.
    pub is_full: bool,
}

impl CoordinatorQuery {
    /// Connects. Each step, and each question afterwards, may take as long as `within`.
    ///
    /// # Errors
    /// See [`CoordinatorError`].
    pub async fn open(
        address: impl Into<CoordinatorAddress>,
        within: Duration,
    ) -> Result<CoordinatorQuery, CoordinatorError> {
        let address = address.into();
        // A peer that accepts no connections is never named to others, and one that reports
        // nothing leaves no entry behind.
        let hello = CoordinatorRequest::Hello {
            peer_id: PeerId(rand::rng().random()),
            reach: Reach::Nowhere,
            report_interval_ms: u32::try_from(within.as_millis()).unwrap_or(u32::MAX),
            capabilities: 0,
        };
        let connector =
            Connector::new(NarrowPaths::default(), Descriptors::new()).with_timeout(within);
        match connect(&mut Resolver::default(), &address, &hello, &connector).await {
            Ok((connection, welcome)) => {
                let ends = welcome.ends();
                Ok(CoordinatorQuery { address, within, connection, ends })
            }
            Err(error) => Err(failed(address, error)),
        }
    }

    /// Who holds a file.
    ///
    /// # Errors
    /// See [`CoordinatorError`].
    pub async fn holders(&mut self, hash: FileHash) -> Result<Holders, CoordinatorError> {
        let asking = ask(&mut self.connection, self.ends, hash);
        let answer = timeout(self.within, asking)
            .await
            .unwrap_or(Err(CoordinatorConnectionError::Silent(self.within)));
        answer.map_err(|error| failed(self.address.clone(), error))
    }
}

async fn ask(
    connection: &mut Connection,
    ends: Ends,
    hash: FileHash,
) -> Result<Holders, CoordinatorConnectionError> {
    connection.send(CoordinatorRequest::Lookup { hash: *hash.as_bytes() }).await?;
    loop {
        let Received::Message(reply) = next(connection).await? else { continue };
        match ends.meant_for_us(reply) {
            CoordinatorReply::Holders { hash: of, full, partial, holders }
                if of == *hash.as_bytes() =>
            {
                let named = holders.iter().map(|holder| NamedHolder {
                    address: holder.address,
                    is_full: holder.availability == Availability::Full,
                });
                return Ok(Holders { full, partial, named: named.collect() });
            }
            CoordinatorReply::Bye => return Err(CoordinatorConnectionError::Closed),
            _ => {}
        }
    }
}

fn failed(address: CoordinatorAddress, error: CoordinatorConnectionError) -> CoordinatorError {
    if let Some(fault) = error.unfit() {
        return CoordinatorError::Unfit { address, fault };
    }
    let source = match error {
        CoordinatorConnectionError::Io(source) => source,
        other => io::Error::other(other),
    };
    CoordinatorError::Unreachable { address, source }
}
