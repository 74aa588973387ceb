//! The settings that hold for one command. Addresses and directories that only some commands need
//! are resolved when asked for, so that a wrong one does not stop the others; the error names the
//! flag.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::base_strategy::{BaseStrategy, Xdg};
use tnet_coordinator::AllowAdvertise;
use tnet_peer::{Advertise, CoordinatorAddress, parse_listen};

use tnet_coordinator::COORDINATOR_PORT;
use tnet_peer::PEER_PORT;

use super::merge::Merged;
use super::typed::{
    Cli, Command, PeerLimits, allow_advertise, parse_limit, parse_max_peers, parse_memory,
    parse_networks,
};
use crate::exit::Exit;
use crate::failure::Failure;

/// Where peers are accepted, unless the user names an address.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PEER_PORT);

/// The settings that hold.
#[derive(Debug)]
pub(crate) struct Config {
    /// As it was written.
    pub(crate) coordinator: Option<String>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) advertise: Option<Advertise>,
    state_dir: Option<PathBuf>,
    /// The config file that the user named.
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) demo_delay: Option<Duration>,
    pub(crate) verbose: u8,
    pub(crate) quiet: bool,
    /// Of the peer that this command runs, or of the server that it starts.
    pub(crate) peer_limits: PeerLimits,
    /// The directory that a server shares.
    pub(crate) share_dir: Option<PathBuf>,
    /// Bytes that a coordinator may take.
    pub(crate) coordinator_memory: Option<u64>,
    pub(crate) allow_advertise: AllowAdvertise,
    /// Where each value comes from.
    pub(crate) merged: Merged,
}

impl Config {
    /// Resolves the settings of this command.
    ///
    /// # Errors
    /// The config file has an invalid value, whether or not the command needs it.
    pub(crate) fn resolve(cli: &Cli, merged: Merged) -> Result<Self, Failure> {
        let (global, file) = (&cli.global, &merged.file);
        let text = |key: &str| file.get(key).map(|written| written.text.clone());
        let limits_in_file = PeerLimits {
            limit_up: file.parsed("limit-up", parse_limit)?,
            limit_down: file.parsed("limit-down", parse_limit)?,
            max_peers: file.parsed("max-peers", parse_max_peers)?,
        };
        let listen_in_file = file.parsed("listen", parse_listen)?;
        let coordinator_listen = file.parsed("coordinator-listen", parse_listen)?;
        let advertise = file.parsed("advertise", str::parse)?;
        let mut networks = file.parsed("allow-advertise", parse_networks)?.unwrap_or_default();
        let mut coordinator_memory = file.parsed("coordinator-memory", parse_memory)?;
        let mut peer_limits = limits_in_file;
        let mut share_dir = text("dir").map(PathBuf::from);
        let mut listen = global.listen.or(listen_in_file);
        match &cli.command {
            Command::Coordinator(args) => {
                listen = global.listen.or(coordinator_listen);
                coordinator_memory = args.memory.or(coordinator_memory);
                if !args.allow_advertise.is_empty() {
                    networks.clone_from(&args.allow_advertise);
                }
            }
            Command::StartServer(args) => {
                share_dir = args.dir.clone().or(share_dir);
                peer_limits = args.limits.or(limits_in_file);
            }
            // A server may use the port in the file, and no other peer has to know this one.
            Command::Get(args) if args.foreground => listen = global.listen,
            _ => {}
        }
        Ok(Self {
            coordinator: global.coordinator.clone().or_else(|| text("coordinator")),
            listen,
            advertise: global.advertise.or(advertise),
            state_dir: global.state_dir.clone().or_else(|| text("state-dir").map(PathBuf::from)),
            config_file: global.config.clone(),
            demo_delay: global.demo_delay,
            verbose: global.verbose,
            quiet: global.quiet,
            peer_limits,
            share_dir,
            coordinator_memory,
            allow_advertise: allow_advertise(&networks),
            merged,
        })
    }

    /// The state directory, absolute. It is not created.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, Failure> {
        match &self.state_dir {
            Some(dir) => absolute(dir),
            None => absolute(&default_state_dir()?),
        }
    }

    /// Where the coordinator is. A name is looked up when it is called.
    pub(crate) fn coordinator(&self) -> Result<CoordinatorAddress, Failure> {
        let Some(text) = &self.coordinator else {
            return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, COORDINATOR_PORT)).into());
        };
        text.parse().map_err(|error| {
            Failure::new(Exit::Usage, format!("{text:?} is no coordinator address: {error}"))
                .or_hint("check --coordinator or TNET_COORDINATOR")
        })
    }

    /// The directory to share, absolute.
    pub(crate) fn share_dir(&self) -> Result<Option<PathBuf>, Failure> {
        self.share_dir.as_deref().map(absolute).transpose()
    }
}

fn default_state_dir() -> Result<PathBuf, Failure> {
    let unknown = || {
        Failure::new(Exit::Usage, "this user has no home directory")
            .or_hint("name a state directory with --state-dir")
    };
    let base = Xdg::new().map_err(|_| unknown())?;
    Ok(base.state_dir().ok_or_else(unknown)?.join("tnet"))
}

/// The path from the root, without asking the disk.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot make {path:?} an absolute path: {error}"))
            .or_hint("name a full path")
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    fn resolved(line: &str, file: &str) -> Config {
        let matches = Cli::command().try_get_matches_from(line.split(' ')).expect(line);
        let cli = Cli::from_arg_matches(&matches).expect(line);
        let mut merged = Merged::default();
        merged.file =
            crate::config::file::parse(Path::new("/c.toml"), file).expect("a config file");
        Config::resolve(&cli, merged).expect("it makes sense")
    }

    #[test]
    fn typed_settings_win_over_the_file() {
        let file = "listen = \"10.0.0.1:1\"\nmax-peers = 9\ndir = \"/a\"\nlimit-up = \"1M\"";
        let config = resolved("tnet start-server --listen 10.0.0.2:2 --max-peers 8", file);
        assert_eq!(config.listen, Some(([10, 0, 0, 2], 2).into()));
        assert_eq!(config.peer_limits.max_peers, Some(8));
        assert_eq!(config.peer_limits.limit_up, parse_limit("1M").ok());
        assert_eq!(config.share_dir, Some("/a".into()));
    }

    #[test]
    fn each_role_has_its_own_port_in_the_file() {
        let file = "listen = \"10.0.0.1:1\"\ncoordinator-listen = \"10.0.0.1:2\"";
        let port = |line| resolved(line, file).listen.map(|address| address.port());
        assert_eq!(port("tnet start-server"), Some(1));
        assert_eq!(port("tnet coordinator"), Some(2));
        assert_eq!(port("tnet get a"), Some(1));
        assert_eq!(port("tnet get a --foreground"), None);
    }

    #[test]
    fn the_rates_of_a_get_are_not_those_of_the_server_it_starts() {
        let config = resolved("tnet get a --limit-up 1M", "limit-up = \"2M\"");
        assert_eq!(config.peer_limits.limit_up, parse_limit("2M").ok());
    }
}
