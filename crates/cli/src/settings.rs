//! Where things are: the coordinator, the state directory, the address to listen on. What the user
//! named wins, then the environment, then the default; an error names the flag.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, Xdg};
use tnet_peer::CoordinatorAddress;

use crate::args::Global;
use crate::exit::{Exit, Failure};

/// Port of the coordinator.
const COORDINATOR_PORT: u16 = tnet_coordinator::DEFAULT_PORT;

/// Port of a peer.
const PEER_PORT: u16 = 7401;

/// Where peers are accepted, unless the user names an address.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PEER_PORT);

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
        Failure::new(
            Exit::Usage,
            "this user has no home directory; name a state directory with --state-dir",
        )
    };
    let base = Xdg::new().map_err(|_| unknown())?;
    Ok(base.state_dir().ok_or_else(unknown)?.join("tnet"))
}

/// The path from the root, without asking the disk.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("cannot make {path:?} an absolute path: {error}; name a full path"),
        )
    })
}

/// Where the coordinator is. A name is resolved when it is called.
pub(crate) fn coordinator(global: &Global) -> Result<CoordinatorAddress, Failure> {
    let Some(text) = &global.coordinator else {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, COORDINATOR_PORT)).into());
    };
    text.parse().map_err(|error| {
        let message = format!(
            "{text:?} is no coordinator address: {error}; check --coordinator or TNET_COORDINATOR"
        );
        Failure::new(Exit::Usage, message)
    })
}
