//! TCP sockets with the options that keep latency low.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tnet_proto::UNSENT_AT_FIRST;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait in the kernel to be accepted: ten thousand peers may start in the same
/// second. A connection above this costs its peer a second, since the kernel drops its first
/// packet.
const BACKLOG: u32 = 4096;

/// Of a connection that carries data: a vanished peer is noticed after about `KEEPALIVE_AFTER` and
/// six more probes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// The other side must take what is written within this time, or it does not read: a batch of
/// messages, a description, a part of a chunk. Taking some of it does not prolong the time. The
/// kernel gives up a connection no earlier.
pub const WRITE_AT_MOST: Duration = Duration::from_secs(60);

/// Binds and listens. `[::]` takes IPv4 connections too, and falls back to `0.0.0.0` where the
/// system has no IPv6. Any other IPv6 address takes no IPv4 connections.
///
/// `kernel_buffer`: bytes that the kernel may keep for each accepted connection in each direction;
/// Linux takes twice as much. None: the system decides.
///
/// # Errors
/// What the system says, for example that the address is in use or not of this machine.
///
/// # Panics
/// Outside of a tokio runtime with IO.
pub fn listen(address: SocketAddr, kernel_buffer: Option<u32>) -> io::Result<TcpListener> {
    match listen_at(address, kernel_buffer) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_without_ipv6(&error) => {
            listen_at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), kernel_buffer)
        }
        listening => listening,
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

fn listen_at(address: SocketAddr, kernel_buffer: Option<u32>) -> io::Result<TcpListener> {
    let socket = socket_for(address)?;
    if address.is_ipv6() {
        // Whatever the system's default is.
        SockRef::from(&socket).set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart must not wait for connections of the last run to time out. On Windows the option
    // would take the port from another process.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    if let Some(bytes) = kernel_buffer {
        // Accepted connections inherit it. They work without.
        let _ = socket.set_recv_buffer_size(bytes);
        let _ = socket.set_send_buffer_size(bytes);
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connects; `small_segments` announces and uses a small MSS, `from` is the local address to bind.
pub(crate) async fn connect(
    to: SocketAddr,
    from: Option<IpAddr>,
    within: Duration,
    small_segments: Option<u32>,
) -> io::Result<TcpStream> {
    let socket = socket_for(to)?;
    // The other side is told, so that it keeps to it as well.
    if let Some(bytes) = small_segments
        && let Err(error) = SockRef::from(&socket).set_tcp_mss(bytes)
    {
        tracing::debug!(%to, %error, "the size of segments stays as it is");
    }
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = tokio::time::timeout(within, socket.connect(to))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    tune(&stream)?;
    Ok(stream)
}

/// Sets the options of a connection that carries data and messages.
///
/// # Errors
/// The connection has ended already, or the system lacks an option.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    set_keepalive(&socket, KEEPALIVE_AFTER, KEEPALIVE_EVERY)?;
    #[cfg(target_os = "linux")]
    avoid_pacing(&socket);
    // Without it an upload to a host whose address went away keeps its slot until the system gives
    // up, after a quarter of an hour. The system counts this time also against a host that is there
    // and does not read, whatever it acknowledges.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(WRITE_AT_MOST))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(UNSENT_AT_FIRST)?;
    Ok(())
}

/// Sets the options of a connection that carries short messages only. After `after` of silence the
/// kernel asks each `every` whether the other machine is still there. A connection that refuses
/// them works without.
pub fn tune_for_messages(stream: &TcpStream, after: Duration, every: Duration) {
    // A message is one small packet: it must not wait for more.
    let _ = stream.set_nodelay(true);
    let _ = set_keepalive(&SockRef::from(stream), after, every);
}

fn set_keepalive(socket: &SockRef<'_>, after: Duration, every: Duration) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after).with_interval(every))
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

/// Whether this machine still has the IP address. Any other error of the system counts as yes.
pub fn is_here(mut address: SocketAddr) -> bool {
    address.set_port(0);
    let bound = UdpSocket::bind(address);
    !matches!(bound, Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use tnet_proto::canonical;

    use super::*;

    #[test]
    fn an_address_of_another_machine_is_not_here() {
        assert!(is_here(SocketAddr::from(([127, 0, 0, 1], 7400))));
        assert!(!is_here(SocketAddr::from(([192, 0, 2, 1], 7400)))); // reserved for documentation
    }

    async fn connect_to(to: SocketAddr) -> io::Result<TcpStream> {
        connect(to, None, Duration::from_secs(5), None).await
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_system_gives_up_no_connection_to_which_we_would_still_write() {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).expect("a port");
        let to = listener.local_addr().expect("bound");
        let connected = connect_to(to).await.expect("it accepts");
        let patience = SockRef::from(&connected).tcp_user_timeout().expect("a socket");
        assert!(patience.is_some_and(|patience| patience >= WRITE_AT_MOST), "{patience:?}");
    }

    #[tokio::test]
    async fn a_listener_at_every_address_is_reached_over_ipv4() {
        let listener = listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), None).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (connected, accepted) = tokio::join!(connect_to(to), listener.accept());
        connected.expect("it accepts");
        let (_, remote) = accepted.expect("a connection comes");
        assert!(canonical(remote).is_ipv4(), "{remote}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_connections_inherit_the_buffers_of_the_listener() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = listen(address, Some(32 * 1024)).expect("a port");
        let to = listener.local_addr().expect("bound");
        let (connected, accepted) = tokio::join!(connect_to(to), listener.accept());
        connected.expect("it accepts");
        let (stream, _) = accepted.expect("a connection comes");
        let size = SockRef::from(&stream).send_buffer_size().expect("a socket");
        assert_eq!(size, 2 * 32 * 1024); // Linux takes twice as much
    }
}
