//! Where things are: the coordinator, the state directory, the address to listen on. What the user named wins, then the
//! environment, then the default; an error names the flag.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::base_strategy::{BaseStrategy, Xdg};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::args::Global;
use crate::exit::{Exit, Failure};

/// Port of the coordinator.
const COORDINATOR_PORT: u16 = tnet_coordinator::DEFAULT_PORT;

/// Port of a peer.
const PEER_PORT: u16 = 7401;

/// How long a name service may take.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(10);

/// How long each address of a host with several may take to accept a connection.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// Addresses of one host that are tried.
const MAX_PROBES: usize = 8;

/// Where peers are accepted, unless the user names an address.
pub(crate) const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PEER_PORT);

/// The state directory: made absolute, not made.
pub(crate) fn state_dir(global: &Global) -> Result<PathBuf, Failure> {
    let dir = match &global.state_dir {
        Some(dir) => dir.clone(),
        None => default_state_dir()?,
    };
    absolute(&dir)
}

fn default_state_dir() -> Result<PathBuf, Failure> {
    let unknown = || {
        Failure::new(Exit::Usage, "this user has no home directory; name a state directory with --state-dir")
    };
    let base = Xdg::new().map_err(|_| unknown())?;
    Ok(base.state_dir().ok_or_else(unknown)?.join("tnet"))
}

/// The path from the root, without asking the disk.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot make {path:?} an absolute path: {error}; name a full path"))
    })
}

/// The address of the coordinator.
pub(crate) async fn coordinator(global: &Global) -> Result<SocketAddr, Failure> {
    match &global.coordinator {
        None => Ok((Ipv4Addr::LOCALHOST, COORDINATOR_PORT).into()),
        Some(text) => resolve(text).await,
    }
}

async fn resolve(text: &str) -> Result<SocketAddr, Failure> {
    if let Some(address) = literal(text) {
        return Ok(address);
    }
    let (host, port) = host_and_port(text).ok_or_else(|| {
        let message =
            format!("{text:?} is no coordinator address; write it like 192.168.1.5:7400 or host.lan");
        Failure::new(Exit::Usage, message)
    })?;
    let unresolved = |why: String| {
        let message =
            format!("cannot find the coordinator {host:?}: {why}; check --coordinator or TNET_COORDINATOR");
        Failure::new(Exit::Network, message)
    };
    let addresses: Vec<SocketAddr> = timeout(RESOLVE_DEADLINE, lookup_host((host, port)))
        .await
        .map_err(|_| unresolved("the name service does not answer".to_owned()))?
        .map_err(|error| unresolved(error.to_string()))?
        .take(MAX_PROBES)
        .collect();
    reachable(&addresses).await.ok_or_else(|| unresolved("the name has no address".to_owned()))
}

/// The first that accepts a connection, since a name often has an IPv6 address on which nobody listens; else the first.
async fn reachable(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    if let [first, _, ..] = addresses {
        for address in addresses {
            if let Ok(Ok(_)) = timeout(PROBE_DEADLINE, TcpStream::connect(address)).await {
                return Some(*address);
            }
        }
        return Some(*first);
    }
    addresses.first().copied()
}

/// An address, perhaps without its port.
fn literal(text: &str) -> Option<SocketAddr> {
    let with_port = text.parse().ok();
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    with_port.or_else(|| bare().map(|ip: IpAddr| SocketAddr::new(ip, COORDINATOR_PORT)))
}

/// A host name and the port after it, or the default one.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, COORDINATOR_PORT),
    };
    let is_name =
        |host: &str| !host.is_empty() && !host.contains(|c: char| c == ':' || c == '/' || c.is_whitespace());
    (is_name(host) && port != 0).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_lack_its_port() {
        for (text, address) in [
            ("10.0.0.1", "10.0.0.1:7400"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("::1", "[::1]:7400"),
            ("[::1]", "[::1]:7400"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(literal(text), Some(address.parse().expect("an address")), "{text}");
        }
        assert_eq!(literal("host.lan"), None);
    }

    #[test]
    fn a_host_name_may_lack_its_port() {
        assert_eq!(host_and_port("host.lan"), Some(("host.lan", 7400)));
        assert_eq!(host_and_port("host.lan:80"), Some(("host.lan", 80)));
        // Nothing; no host; no port after all; not a port; not a host.
        for text in ["", ":80", "host:", "host:http", "host:0", "http://host:80", "a b"] {
            assert_eq!(host_and_port(text), None, "{text:?}");
        }
    }

    #[tokio::test]
    async fn of_several_addresses_the_one_that_answers_is_taken() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let open = listener.local_addr().expect("bound");
        let closed = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            gone.local_addr().expect("bound")
        };
        assert_eq!(reachable(&[closed, open]).await, Some(open));
        assert_eq!(reachable(&[closed, closed]).await, Some(closed));
        assert_eq!(reachable(&[]).await, None);
    }
}
