//! What can be typed, and the help for it. Every command's help ends with an example. Nothing here
//! is filled in from elsewhere, except that the parser reads the environment.

mod limits;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use tnet_coordinator::{AllowAdvertise, IpNetwork, ParseNetworkError};
use tnet_fileinfo::tree::{ParseTreeHashError, TreeHash};
use tnet_fileinfo::{ChunkSize, FileHash};
use tnet_peer::{Advertise, parse_listen};

use crate::duration;
use crate::exit::EXIT_CODES;
use crate::render::units::{parse_size, shown_path};

pub(crate) use limits::{
    FileNames, Level, Limit, LimitArgs, PeerLimits, PriorityArgs, parse_limit, parse_max_peers,
};

/// Copies files from a few machines to every machine of a network as fast as the links allow, every
/// byte verified.
#[derive(Debug, Parser)]
#[command(
    name = "tnet",
    version,
    propagate_version = true,
    after_help = after_help(),
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// The definition for the parser, in which an empty environment variable counts as unset.
pub(crate) fn definition() -> clap::Command {
    let command = Cli::command();
    let is_empty = |argument: &clap::Arg| {
        let variable = argument.get_env().and_then(std::env::var_os);
        variable.is_some_and(|value| value.is_empty())
    };
    let empty: Vec<clap::Id> = command
        .get_arguments()
        .filter(|argument| is_empty(argument))
        .map(|argument| argument.get_id().clone())
        .collect();
    empty
        .into_iter()
        .fold(command, |command, id| command.mut_arg(id, |argument| argument.env(None::<&str>)))
}

fn after_help() -> String {
    format!(
        "\
Example:
  tnet demo                                    # see it work, on this machine alone

  tnet coordinator                             # on one machine, here called A
  tnet start-server --dir images -c A          # on the machine that has the files
  tnet create images/debian.iso                # writes images/debian.iso.fileinfo
  tnet get debian.iso.fileinfo -c A            # on every machine that wants the file

{EXIT_CODES}"
    )
}

const CONFIG_HELP: &str = "\
Example:
  tnet config show
  tnet config show --json

Settings are read from a config file; a flag or an environment variable overrides it. The file is the one that
--config or TNET_CONFIG names, else tnet/config.toml in the XDG configuration directory (~/.config), else
/etc/tnet/config.toml:

  coordinator = \"10.0.0.1\"             # where the coordinator is
  dir = \"/srv/images\"                  # directory that start-server shares
  listen = \"[::]:7401\"                 # where peers are accepted
  advertise = \"192.168.1.5:7401\"       # where others reach this peer, if it is not where it listens
  coordinator-listen = \"[::]:7400\"     # where the coordinator is, on its own machine
  allow-advertise = \"203.0.113.0/24\"   # coordinator: networks in which peers may advertise themselves
  state-dir = \"/var/lib/tnet\"          # control socket and log
  limit-up = \"100M\"                    # bytes a second
  limit-down = \"none\"
  max-peers = 1000
  coordinator-memory = \"256M\"          # memory limit of the coordinator";

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Address of the coordinator: HOST, HOST:PORT or an IP address [default: 127.0.0.1:7400]
    #[arg(
        short,
        long,
        global = true,
        env = "TNET_COORDINATOR",
        value_name = "ADDR",
        hide_env_values = true
    )]
    pub(crate) coordinator: Option<String>,
    /// Accept connections at ADDR:PORT, or at PORT on all addresses [default: port 7401,
    /// coordinator: 7400]
    #[arg(long, global = true, value_name = "ADDR", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// Address at which others reach this peer, if it is not where it listens: behind a published
    /// port, or on one of several networks
    #[arg(long, global = true, value_name = "ADDR[:PORT]")]
    pub(crate) advertise: Option<Advertise>,
    /// Directory of the server's control socket and log [default: tnet in the XDG state directory]
    #[arg(long, global = true, env = "TNET_STATE_DIR", value_name = "DIR", hide_env_values = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Config file [default: tnet/config.toml in the XDG configuration directory, else
    /// /etc/tnet/config.toml]
    #[arg(long, global = true, env = "TNET_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// For demonstrations: wait this long after sending each part of a chunk (at most 256 KiB)
    #[arg(long, global = true, env = "TNET_DEMO_DELAY", value_name = "DUR", value_parser = duration::parse, hide_env_values = true)]
    pub(crate) demo_delay: Option<Duration>,
    /// Write events as JSON to stdout, one per line; the last is the result
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only errors and requested data
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log to stderr; more with -vv and -vvv
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CoordinatorArgs {
    /// Use at most this much memory: 64M, 1G [default: half of what its control group allows, at
    /// most a quarter of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub(crate) memory: Option<u64>,
    /// Accept addresses in this network when peers advertise them, besides private addresses of
    /// peers that reach the coordinator from one; `none` refuses private ones; may be repeated
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub(crate) allow_advertise: Vec<Allowed>,
}

/// One value of --allow-advertise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// No private addresses.
    None,
    Network(IpNetwork),
}

impl FromStr for Allowed {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Allowed, ParseNetworkError> {
        if text == "none" { Ok(Allowed::None) } else { text.parse().map(Allowed::Network) }
    }
}

/// The value in a config file: one network, or several with commas.
pub(crate) fn parse_networks(text: &str) -> Result<Vec<Allowed>, ParseNetworkError> {
    text.split(',').map(|network| network.trim().parse()).collect()
}

/// All values together.
pub(crate) fn allow_advertise(words: &[Allowed]) -> AllowAdvertise {
    let network = |word: &Allowed| match word {
        Allowed::None => None,
        Allowed::Network(network) => Some(*network),
    };
    let networks = words.iter().filter_map(network).collect();
    AllowAdvertise { private: !words.contains(&Allowed::None), networks }
}

/// Less is not enough for even a small LAN.
const LEAST_MEMORY: u64 = 16 << 20;

/// A budget of memory.
pub(crate) fn parse_memory(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Ok(bytes) if bytes >= LEAST_MEMORY => Ok(bytes),
        Ok(_) => Err("the least is 16M".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a swarm at work on this machine; needs nothing else
    #[command(after_help = "Example:\n  tnet demo\n  tnet demo debian.iso")]
    Demo(Demo),
    /// Describe a file or a directory: write its .fileinfo, with which others get it
    #[command(
        after_help = "Example:\n  tnet create debian.iso\n  tnet create models/\n  tnet create debian.iso -o /srv/debian.fileinfo --chunk-size 1M"
    )]
    Create(Create),
    /// Check a file against its .fileinfo, or a directory against that of its tree
    #[command(
        after_help = "Example:\n  tnet verify debian.iso debian.iso.fileinfo\n  tnet verify models models.fileinfo"
    )]
    Verify(Verify),
    /// Show what a .fileinfo or the manifest of a directory says: kind, hash, size, chunks
    #[command(
        after_help = "Example:\n  tnet show debian.iso.fileinfo\n  tnet show models.manifest"
    )]
    Show(Show),
    /// Run the coordinator, which knows which peers have which file
    #[command(
        after_help = "Example:\n  tnet coordinator\n  tnet coordinator --listen 192.168.1.5:7400 --memory 256M"
    )]
    Coordinator(CoordinatorArgs),
    /// Start the server, which shares a directory and downloads what `get` requests
    #[command(
        after_help = "Example:\n  tnet start-server --dir /srv/images --coordinator 192.168.1.5"
    )]
    StartServer(StartServer),
    /// Download files, each from many peers at once
    #[command(
        after_help = "Example:\n  tnet get debian.iso.fileinfo\n  tnet get debian.iso.fileinfo -o /srv/images/ --foreground\n  tnet get *.fileinfo -o images/\n  ls *.fileinfo | tnet get -i -"
    )]
    Get(Get),
    /// Ask the coordinator for the peers that have a file; without one, whether it answers
    #[command(
        after_help = "Example:\n  tnet who debian.iso.fileinfo\n  tnet who --coordinator 192.168.1.5"
    )]
    Who(Who),
    /// Show the state of the server
    #[command(after_help = "Example:\n  tnet status\n  tnet status --watch\n  tnet status --json")]
    Status(Status),
    /// List the files of the server: hash, size, state, path
    #[command(after_help = "Example:\n  tnet ls")]
    Ls,
    /// Limit the rates of the server, or of one file; without a rate, show the limits
    #[command(
        after_help = "Example:\n  tnet limit --up 10M --down none\n  tnet limit debian.iso --down 2M\n  tnet limit"
    )]
    Limit(LimitArgs),
    /// Stop downloading and serving files until `resume`
    #[command(after_help = "Example:\n  tnet pause debian.iso\n  tnet pause 851f1e63")]
    Pause(FileNames),
    /// Resume paused files
    #[command(after_help = "Example:\n  tnet resume debian.iso")]
    Resume(FileNames),
    /// Set the priority of files among those that are downloaded at the same time
    #[command(after_help = "Example:\n  tnet priority high debian.iso")]
    Priority(PriorityArgs),
    /// Serve files, or directories as one tree each, until `tnet rm`
    #[command(after_help = "Example:\n  tnet share debian.iso\n  tnet share models nightly")]
    Share(Share),
    /// Remove files from the server: it stops downloading and serving them. Data on the disk stays
    #[command(after_help = "Example:\n  tnet rm debian.iso")]
    Rm(FileNames),
    /// Print shell completions
    #[command(
        after_help = "Example:\n  tnet completions bash > ~/.local/share/bash-completion/completions/tnet\n  tnet completions zsh > ~/.zfunc/_tnet"
    )]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a directory, for packagers
    #[command(hide = true, after_help = "Example:\n  tnet man target/man")]
    Man {
        /// Created if necessary
        dir: PathBuf,
    },
    /// Show the settings that hold, and where each comes from
    #[command(after_help = CONFIG_HELP)]
    Config {
        /// What to do [default: show]
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
    /// Stop the server and wait until it has ended
    #[command(after_help = "Example:\n  tnet kill-server")]
    KillServer,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// File to distribute [default: a generated one]
    pub(crate) file: Option<PathBuf>,
    /// Size of the generated file
    #[arg(long, default_value = "128M", value_parser = parse_size, conflicts_with = "file")]
    pub(crate) size: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// File to describe, or directory, which becomes one tree
    #[arg(value_name = "PATH")]
    pub(crate) file: PathBuf,
    /// Where to write the description [default: PATH.fileinfo]
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Of a directory: write its manifest too, the list of what is in it, with which `verify` says
    /// what differs
    #[arg(long, value_name = "OUT")]
    pub(crate) manifest: Option<PathBuf>,
    /// Bytes in a chunk, a power of two from 16K to 16M [default: by the size of the file]
    #[arg(long, value_name = "SIZE")]
    pub(crate) chunk_size: Option<ChunkSize>,
    /// Of a directory: take symbolic links that may lead out of it as they are
    #[arg(long)]
    pub(crate) allow_outside_links: bool,
    /// Replace an existing description
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Share {
    /// Files or directories
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Of a directory: take symbolic links that may lead out of it as they are
    #[arg(long)]
    pub(crate) allow_outside_links: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// File or directory to check
    #[arg(value_name = "PATH")]
    pub(crate) file: PathBuf,
    /// Path of its .fileinfo; of a directory also the path of its manifest, or tree:HASH
    #[arg(
        value_name = "FILEINFO",
        value_parser = OsStringValueParser::new().try_map(|text| TreeArgument::parse(&text))
    )]
    pub(crate) expected: TreeArgument,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Path of a .fileinfo, or of the manifest of a directory
    pub(crate) fileinfo: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct StartServer {
    /// Share all files in this directory; new and deleted files are noticed
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Stay in the foreground and log to stderr
    #[arg(long)]
    pub(crate) foreground: bool,
    #[command(flatten)]
    pub(crate) limits: PeerLimits,
    /// Internal: the background server, started by the command that the user typed.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
    /// Internal: use any port if the one to listen on is in use.
    #[arg(long, hide = true)]
    pub(crate) any_port: bool,
    /// Internal: arguments that the user typed, which a reloaded config file does not override.
    #[arg(long, hide = true)]
    pub(crate) explicit: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Repeat every DUR until Ctrl-C [default: 1s]
    #[arg(short, long, value_name = "DUR", num_args = 0..=1, default_missing_value = "1s", value_parser = parse_period)]
    pub(crate) watch: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting, its value, and where that comes from
    #[command(after_help = "Example:\n  tnet config show")]
    Show,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Path of a .fileinfo, or the hash of a file: 64 hex digits, as b3sum prints, with `tree:`
    /// before them that of a directory; may be repeated
    #[arg(
        value_name = "FILEINFO_OR_HASH",
        required_unless_present = "input",
        value_parser = OsStringValueParser::new().try_map(|text| FileArgument::parse(&text))
    )]
    pub(crate) wanted: Vec<FileArgument>,
    /// File with more of them, one per line; - is stdin. Empty lines and lines that begin with #
    /// are ignored
    #[arg(short, long, value_name = "LIST")]
    pub(crate) input: Option<PathBuf>,
    /// Output file, or the directory for it; the directory that a tree becomes; for several, the
    /// directory for them [default: the own name, in the working directory]
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Send at most this many bytes of each file a second, like 10M; `tnet limit` changes it later
    #[arg(long, value_name = "RATE", value_parser = parse_limit)]
    pub(crate) limit_up: Option<Limit>,
    /// Request at most this many bytes of each file a second
    #[arg(long, value_name = "RATE", value_parser = parse_limit)]
    pub(crate) limit_down: Option<Limit>,
    /// Priority among files that are downloaded at the same time
    #[arg(long, value_name = "LEVEL", default_value = "normal")]
    pub(crate) priority: Level,
    /// Files to download at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) parallel: u8,
    /// Of a directory: make symbolic links that may lead out of it, too
    #[arg(long)]
    pub(crate) allow_outside_links: bool,
    /// Replace an existing file, once the new one is complete
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Replace an existing file, or a directory by a directory, once the new one is complete, and
    /// fetch only what is not right there already
    #[arg(long)]
    pub(crate) update: bool,
    /// File or directory on this machine from which bytes are taken too, instead of fetching them;
    /// may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) reuse: Vec<PathBuf>,
    /// Download in this process instead of the server
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Give up when nothing arrives for this long; 0: never
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// With --foreground: how long to serve the file once it is complete [default: until every
    /// known peer has it, at most 60s]
    #[arg(long, value_name = "DUR", value_parser = duration::parse, requires = "foreground")]
    pub(crate) linger: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Who {
    /// Path of a .fileinfo, or the hash of a file: 64 hex digits, as b3sum prints
    #[arg(value_name = "FILEINFO_OR_HASH", value_parser = OsStringValueParser::new().try_map(|text| FileArgument::parse(&text)))]
    pub(crate) wanted: Option<FileArgument>,
}

/// The file that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileArgument {
    Fileinfo(PathBuf),
    Hash(FileHash),
    Tree(TreeHash),
}

/// A tree by its hash, or the path of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeArgument {
    Tree(TreeHash),
    Path(PathBuf),
}

impl TreeArgument {
    /// What begins as the hash of a tree does is one, or wrong. A file with such a name is named as
    /// `./tree:NAME`.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, ParseTreeHashError> {
        match tree_hash(text) {
            Some(tree) => tree.map(Self::Tree),
            None => Ok(Self::Path(text.into())),
        }
    }
}

/// As it was typed.
impl std::fmt::Display for TreeArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tree(tree) => std::fmt::Display::fmt(tree, f),
            Self::Path(path) => f.pad(&shown_path(path)),
        }
    }
}

/// The hash of a tree, if it was meant to be one.
fn tree_hash(text: &OsStr) -> Option<Result<TreeHash, ParseTreeHashError>> {
    let text = text.as_encoded_bytes().starts_with(b"tree:").then(|| text.to_str())?;
    Some(text.ok_or(ParseTreeHashError).and_then(str::parse))
}

/// As it was typed.
impl std::fmt::Display for FileArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fileinfo(path) => f.pad(&shown_path(path)),
            Self::Hash(hash) => std::fmt::Display::fmt(hash, f),
            Self::Tree(tree) => std::fmt::Display::fmt(tree, f),
        }
    }
}

impl FileArgument {
    /// A hash is a hash even if a file has its name, as the output of `get HASH` has. Such a file
    /// is named as `./HASH`.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, ParseTreeHashError> {
        match TreeArgument::parse(text)? {
            TreeArgument::Tree(tree) => Ok(Self::Tree(tree)),
            TreeArgument::Path(path) => {
                let hash = text.to_str().and_then(|text| text.parse().ok());
                Ok(hash.map_or(Self::Fileinfo(path), Self::Hash))
            }
        }
    }
}

/// People do not read faster, and the server has other work.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParsePeriodError {
    #[error(transparent)]
    Duration(#[from] duration::ParseDurationError),
    #[error("at least {}ms", SHORTEST_PERIOD.as_millis())]
    TooShort,
}

fn parse_period(text: &str) -> Result<Duration, ParsePeriodError> {
    let period = duration::parse(text)?;
    if period >= SHORTEST_PERIOD { Ok(period) } else { Err(ParsePeriodError::TooShort) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_definition_has_no_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_commands_help_has_an_example() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains(&format!("Example:\n  tnet {}", command.get_name())), "{help}");
        }
    }

    /// The help of every command, word for word, in `help/`. After a change of the words run this
    /// test with `TNET_UPDATE_HELP=1`, and look at the difference.
    #[test]
    fn the_help_of_every_command_is_as_it_is_written_down() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("help");
        let update = std::env::var_os("TNET_UPDATE_HELP").is_some();
        let mut root = Cli::command().term_width(100);
        root.build();
        let mut helps = BTreeMap::new();
        collect_helps(&root, &mut helps);
        if update {
            std::fs::create_dir_all(&dir).expect("writable");
        }
        for (name, help) in &helps {
            let path = dir.join(format!("{name}.txt"));
            if update {
                std::fs::write(&path, help).expect("writable");
            }
            let written = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(&written, help, "{}", shown_path(&path));
        }
        let files = std::fs::read_dir(&dir).expect("there").count();
        assert_eq!(files, helps.len(), "a file for each command and no other");
    }

    fn collect_helps(command: &clap::Command, helps: &mut BTreeMap<String, String>) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let help = command.clone().render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        helps.insert(name, lines.join("\n") + "\n");
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            collect_helps(below, helps);
        }
    }

    #[test]
    fn the_flags_of_every_command_may_stand_anywhere() {
        for line in ["tnet -q --json ls", "tnet ls -q --json", "tnet ls --json -q"] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            assert!(cli.global.quiet && cli.global.json, "{line}");
        }
    }

    #[test]
    fn sixty_four_hex_digits_are_a_hash_and_anything_else_is_a_path() {
        let parse = |text: &str| FileArgument::parse(OsStr::new(text));
        let (hash, tree) = ("ab".repeat(32), format!("tree:{}", "ab".repeat(32)));
        assert_eq!(parse(&hash), Ok(FileArgument::Hash(hash.parse().expect("a hash"))));
        assert_eq!(parse(&tree), Ok(FileArgument::Tree(tree.parse().expect("a hash"))));
        for path in [&hash[1..], &format!("./{hash}"), "a.fileinfo", "./tree:a", "tree", "TREE:a"] {
            assert_eq!(parse(path), Ok(FileArgument::Fileinfo(path.into())));
        }
        for wrong in ["tree:", "tree:a.fileinfo", &tree[..68], &format!("{tree}0")] {
            assert_eq!(parse(wrong), Err(ParseTreeHashError), "{wrong}");
        }
    }

    #[test]
    fn networks_may_be_given_one_by_one_or_with_commas() {
        let networks = |line: &str| {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            let Command::Coordinator(args) = cli.command else { panic!("{line}") };
            args.allow_advertise
        };
        let both = parse_networks("10.0.0.0/8, fd00::/8").expect("two networks");
        assert_eq!(both.len(), 2);
        for line in [
            "--allow-advertise 10.0.0.0/8 --allow-advertise fd00::/8",
            "--allow-advertise 10.0.0.0/8,fd00::/8",
        ] {
            assert_eq!(networks(&format!("tnet coordinator {line}")), both);
        }
        assert_eq!(networks("tnet coordinator"), []);
        let private = |line: &str| allow_advertise(&networks(line)).private;
        assert!(private("tnet coordinator --allow-advertise 203.0.113.0/24"), "it is one more");
        for line in ["--allow-advertise none", "--allow-advertise none,203.0.113.0/24"] {
            assert!(!private(&format!("tnet coordinator {line}")), "{line}");
        }
        assert!(Cli::try_parse_from(["tnet", "coordinator", "--allow-advertise", "lan"]).is_err());
    }

    #[test]
    fn a_status_is_repeated_each_second_by_default() {
        for (line, expected) in [
            ("tnet status", None),
            ("tnet status --watch", Some(Duration::from_secs(1))),
            ("tnet status -w 5 --json", Some(Duration::from_secs(5))),
            ("tnet status --watch=100ms", Some(Duration::from_millis(100))),
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            let Command::Status(status) = cli.command else { panic!("{line}") };
            assert_eq!(status.watch, expected, "{line}");
        }
        for line in
            ["tnet status --watch 0", "tnet status --watch 99ms", "tnet status --watch often"]
        {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn the_flags_of_an_unattended_download_are_understood() {
        let line = "tnet get INFO -o OUT --foreground --linger 10m --coordinator A:7400 --listen 10.0.0.2:7401";
        let cli = Cli::try_parse_from(line.split(' ')).expect("as documented");
        let Command::Get(get) = cli.command else { panic!("{cli:?}") };
        assert_eq!(get.linger, Some(Duration::from_secs(600)));
        assert_eq!(cli.global.coordinator.as_deref(), Some("A:7400"));
    }
}
