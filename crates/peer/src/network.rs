//! Sockets: calling and accepting, with the options that keep latency low.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::narrow_paths::{NarrowPaths, SMALL_SEGMENT};
use crate::session;

/// Connections waiting to be accepted. A burst of more callers than this costs those who come last a second: the system
/// drops their first packet.
const BACKLOG: u32 = 4096;

/// A connection whose other side vanished is noticed after about `KEEPALIVE_AFTER` and six more probes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// A connection ends when nothing of what was sent has been acknowledged for so long. An upload to a host whose address went
/// away would else keep its slot until the system gives up, a quarter of an hour. Long enough for a link that is gone for
/// some seconds, and for a disk on the other side that takes nothing meanwhile.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(15);

pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_for(address)?;
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connects, from the address we listen on if that is a specific one: it is how others know us.
pub(crate) async fn connect(
    to: SocketAddr,
    ours: IpAddr,
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
    if !ours.is_unspecified() && ours.is_ipv4() == to.is_ipv4() {
        socket.bind(SocketAddr::new(ours, 0))?;
    }
    let stream =
        tokio::time::timeout(within, socket.connect(to)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    tune(&stream)?;
    Ok(stream)
}

pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY))?;
    #[cfg(target_os = "linux")]
    avoid_pacing(&socket);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(ACKNOWLEDGED_WITHIN))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(session::UNSENT_AT_FIRST)?;
    Ok(())
}

/// BBR paces each connection at what it carried lately. Ours carry chunks in turns, many at a time, so that is little,
/// and uplinks idle: the last of 16 receivers takes 1.11 times the bound instead of 1.10. Any other choice of the
/// system's stays, and so does BBR where nothing else may be chosen.
#[cfg(target_os = "linux")]
fn avoid_pacing(socket: &SockRef<'_>) {
    if socket.tcp_congestion().is_ok_and(|name| name.starts_with(b"bbr")) {
        let _ = socket.set_tcp_congestion(b"cubic");
    }
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// The address of the other side, an IPv4 address in its plain form.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
