//! A connection to a coordinator, from the first packet to the welcome. All addresses of its name
//! are tried.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tnet_net::{Connector, CoordinatorAddress, ResolveError, Resolver};
use tnet_proto::{
    CodecError, CoordinatorReply, CoordinatorRequest, Listed, MessageCodec, PreambleError,
    PreambleExchangeError, Protocol, Received, ReportDigest, exchange_preamble,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use crate::api::Unfit;
use crate::coordinator_ends::Ends;

/// From the connection to the welcome.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);

/// How long each of several addresses may take to accept: a name often has an IPv6 address at which
/// nothing listens.
const EACH_WITHIN: Duration = Duration::from_secs(2);

pub(crate) type Connection = Framed<TcpStream, MessageCodec<CoordinatorRequest, CoordinatorReply>>;

/// Why a connection to the coordinator ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CoordinatorConnectionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Handshake(#[from] PreambleExchangeError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("no answer to a large request within {0:?}")]
    LargeUnanswered(Duration),
    #[error("closed by the coordinator")]
    Closed,
    #[error(transparent)]
    Unresolved(#[from] ResolveError),
    #[error("{0} is not an address of this machine any more")]
    AddressGone(IpAddr),
    #[error("the address at which we accept came or went")]
    ReachChanged,
}

impl CoordinatorConnectionError {
    /// Whether something answered that is not a coordinator for us: trying again does not help.
    pub(crate) fn unfit(&self) -> Option<Unfit> {
        match self {
            CoordinatorConnectionError::Handshake(PreambleExchangeError::Preamble(
                PreambleError::VersionMismatch { .. },
            )) => Some(Unfit::OtherVersion),
            CoordinatorConnectionError::Handshake(PreambleExchangeError::Preamble(_)) => {
                Some(Unfit::NotCoordinator)
            }
            _ => None,
        }
    }

    /// Whether what was sent on a connection was left without an answer, or was not even
    /// acknowledged.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            CoordinatorConnectionError::Silent(_)
            | CoordinatorConnectionError::LargeUnanswered(_) => true,
            CoordinatorConnectionError::Io(error)
            | CoordinatorConnectionError::Codec(CodecError::Io(error)) => {
                error.kind() == io::ErrorKind::TimedOut
            }
            _ => false,
        }
    }
}

/// Connects to the first address that a coordinator answers at. If there is none, the error is that
/// of the last address, or of one at which something other than a coordinator answered.
pub(crate) async fn connect(
    resolver: &mut Resolver,
    address: &CoordinatorAddress,
    hello: &CoordinatorRequest,
    connector: &Connector,
) -> Result<(Connection, Welcome), CoordinatorConnectionError> {
    let addresses = resolver.candidates(address).await?;
    let tried = addresses.len();
    let timeout = connector.timeout();
    let each = if addresses.len() > 1 { timeout.min(EACH_WITHIN) } else { timeout };
    let mut failed: Option<CoordinatorConnectionError> = None;
    for address in addresses {
        let called = async {
            let connection = connector.connect_once(address, each).await?;
            introduce(connection.stream, hello.clone()).await
        };
        match called.await {
            Ok(connected) => {
                resolver.note_success();
                return Ok(connected);
            }
            Err(error) if failed.as_ref().is_none_or(|failed| failed.unfit().is_none()) => {
                failed = Some(error)
            }
            Err(_) => {}
        }
    }
    resolver.note_failure(tried);
    Err(failed.unwrap_or(CoordinatorConnectionError::Closed))
}

/// What the coordinator says first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Welcome {
    /// Silence after which it forgets us.
    pub(crate) lease: Duration,
    /// What it still has of us.
    pub(crate) table: ReportDigest,
    pub(crate) ends: Ends,
    /// Where it sees us.
    pub(crate) observed: SocketAddr,
    pub(crate) listed: Listed,
}

impl Welcome {
    /// Of the connection.
    pub(crate) fn ends(&self) -> Ends {
        self.ends
    }
}

/// From a new connection to the welcome.
pub(crate) async fn introduce(
    mut stream: TcpStream,
    hello: CoordinatorRequest,
) -> Result<(Connection, Welcome), CoordinatorConnectionError> {
    let ends = Ends::of(&stream)?;
    let greeting = async {
        exchange_preamble(&mut stream, Protocol::Coordinator).await?;
        let mut connection = Framed::new(stream, MessageCodec::new());
        connection.send(hello).await?;
        loop {
            let received = next(&mut connection).await?;
            if let Received::Message(CoordinatorReply::Welcome {
                lease_ms,
                observed,
                listed,
                digest,
                capabilities: _,
            }) = received
            {
                connection.codec_mut().hello_done();
                let lease = Duration::from_millis(u64::from(lease_ms));
                return Ok((connection, Welcome { lease, table: digest, ends, observed, listed }));
            }
        }
    };
    timeout(WELCOME_WITHIN, greeting)
        .await
        .unwrap_or(Err(CoordinatorConnectionError::Silent(WELCOME_WITHIN)))
}

pub(crate) async fn next(
    connection: &mut Connection,
) -> Result<Received<CoordinatorReply>, CoordinatorConnectionError> {
    connection
        .next()
        .await
        .ok_or(CoordinatorConnectionError::Closed)?
        .map_err(CoordinatorConnectionError::from)
}
