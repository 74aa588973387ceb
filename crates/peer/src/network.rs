//! Sockets: calling and accepting, with the options that keep latency low.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::narrow_paths::{NarrowPaths, SMALL_SEGMENT};
use crate::session;

/// Connections waiting to be accepted. A burst of more callers than this costs those who come last
/// a second: the system drops their first packet.
const BACKLOG: u32 = 4096;

/// A connection whose other side vanished is noticed after about `KEEPALIVE_AFTER` and six more
/// probes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// Every address of this machine is those of IPv4, too, and those alone where the system has no
/// IPv6.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match listen_at(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_without_ipv6(&error) => {
            listen_at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        listening => listening,
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_for(address)?;
    if address.is_ipv6() {
        SockRef::from(&socket).set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connects, from whatever address the system chooses; within this machine from `from`, if there is
/// one.
pub(crate) async fn connect(
    to: SocketAddr,
    from: Option<IpAddr>,
    within: Duration,
    paths: &NarrowPaths,
) -> io::Result<TcpStream> {
    let socket = socket_for(to)?;
    // The other side is told, so that it keeps to it as well.
    if paths.is_narrow(to.ip())
        && let Err(error) = SockRef::from(&socket).set_tcp_mss(SMALL_SEGMENT)
    {
        tracing::debug!(%to, %error, "the size of segments stays as it is");
    }
    let fits = |from: &IpAddr| to.ip().is_loopback() && from.is_ipv4() == to.is_ipv4();
    if let Some(from) = from.filter(fits) {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = tokio::time::timeout(within, socket.connect(to))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    tune(&stream)?;
    Ok(stream)
}

pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY),
    )?;
    #[cfg(target_os = "linux")]
    avoid_pacing(&socket);
    // An upload to a host whose address went away would else keep its slot until the system gives
    // up, a quarter of an hour. The system counts so against hosts that are there and do not read
    // as well, whatever they acknowledge.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(session::WRITE_AT_MOST))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(session::UNSENT_AT_FIRST)?;
    Ok(())
}

/// BBR paces each connection at what it carried lately. Ours carry chunks in turns, many at a time,
/// so that is little, and uplinks idle: the last of 16 receivers takes 1.11 times the bound instead
/// of 1.10. Any other choice of the system's stays, and so does BBR where nothing else may be
/// chosen.
#[cfg(target_os = "linux")]
fn avoid_pacing(socket: &SockRef<'_>) {
    if socket.tcp_congestion().is_ok_and(|name| name.starts_with(b"bbr")) {
        let _ = socket.set_tcp_congestion(b"cubic");
    }
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// The address of the other side, an IPv4 address in its plain form. A link-local one keeps its
/// interface.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// Number of a network interface of this machine.
pub(crate) fn interface(name: &str) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        // Any socket will do.
        let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        let socket = v4.or_else(|_| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))).ok()?;
        rustix::net::netdevice::name_to_index(&socket, name).ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = name;
        None
    }
}

/// Whether this machine still has the address. Anything else that goes wrong says nothing about it.
pub(crate) fn is_here(mut address: SocketAddr) -> bool {
    address.set_port(0);
    let bound = UdpSocket::bind(address);
    !matches!(bound, Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_another_machine_is_not_here() {
        assert!(is_here(SocketAddr::from(([127, 0, 0, 1], 7400))));
        assert!(!is_here(SocketAddr::from(([192, 0, 2, 1], 7400)))); // reserved for documentation
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_system_gives_up_nobody_to_whom_we_would_still_write() {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let to = listener.local_addr().expect("bound");
        let paths = NarrowPaths::default();
        let called = connect(to, None, Duration::from_secs(5), &paths).await.expect("it accepts");
        let patience = SockRef::from(&called).tcp_user_timeout().expect("a socket");
        assert!(
            patience.is_some_and(|patience| patience >= session::WRITE_AT_MOST),
            "{patience:?}"
        );
    }

    #[tokio::test]
    async fn who_listens_everywhere_is_reached_over_ipv4() {
        let listener = listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let paths = NarrowPaths::default();
        let (called, accepted) =
            tokio::join!(connect(to, None, Duration::from_secs(5), &paths), listener.accept());
        called.expect("it accepts");
        let (_, remote) = accepted.expect("somebody calls");
        assert!(canonical(remote).is_ipv4(), "{remote}");
    }
}
