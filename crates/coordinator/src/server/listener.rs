//! The listening socket: bound, or refused with the reason.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// What the kernel keeps for a connection in each direction at most: reports and answers are short,
/// and it is memory like any other, for each of thousands of connections. Twice this is taken.
const KERNEL_BUFFER: u32 = 32 * 1024;

/// Why a coordinator cannot listen. Exhaustive: a program tells its user what to do about each.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something listens there already.
    #[error("{address} is already in use: another program, or another coordinator, listens there")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address does not belong to this machine.
    #[error("{address} is not an address of this machine")]
    NotAvailable {
        /// The address.
        address: SocketAddr,
    },
    /// The system forbids it.
    #[error("listening on {address} is not permitted: ports below 1024 need a privilege")]
    NotPermitted {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Binds and listens.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    tnet_net::listen(address, Some(KERNEL_BUFFER)).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotAvailable { address },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { address },
        _ => BindError::Io { address, source },
    })
}
