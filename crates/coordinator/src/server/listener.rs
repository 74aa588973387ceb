//! The listening socket: bound or refused with the reason, and never lost to a passing shortage.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections the kernel keeps for us before we accept them: ten thousand peers may start in the
/// same second.
const BACKLOG: i32 = 4096;

/// What the kernel keeps for a connection in each direction at most: reports and answers are short,
/// and it is memory like any other, for each of thousands of connections. Twice this is taken.
const KERNEL_BUFFER: usize = 32 * 1024;

/// Silence after which the kernel asks whether the other machine is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Pause between such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Why a coordinator cannot listen.
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
    let everywhere = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let opened = match open(address) {
        // A system without IPv6 says the one or the other.
        Err(error)
            if everywhere
                && (error.kind() == io::ErrorKind::AddrNotAvailable
                    || is_without_family(&error)) =>
        {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        opened => opened,
    };
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotAvailable { address },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { address },
        _ => BindError::Io { address, source },
    })
}

/// Settings of an accepted connection. A connection that refuses them works without.
pub(crate) fn tune(stream: &TcpStream) {
    // Answers are single small packets: they must not wait for more.
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

fn is_without_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Whatever the system's default: `[::]` is every address of this machine.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // On Unix it lets a restarted coordinator have its port back at once; on Windows it would steal
    // a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it. Works without.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
