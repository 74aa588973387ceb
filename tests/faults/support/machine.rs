//! The real command at work: coordinators, seeds and downloads as their users start them, perhaps
//! through another program that takes something from them.

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};

use serde_json::Value;
use tnet_testkit::{Cli, Content, Running, SOON, eventually};

/// A user of the command at some address.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    cli: Cli,
    ip: IpAddr,
    through: Vec<String>,
}

/// A process that accepts connections.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
}

impl Machine {
    /// Where a coordinator of a LAN is.
    pub(crate) const COORDINATOR_PORT: u16 = 7400;

    /// Where a peer of a LAN is.
    pub(crate) const PEER_PORT: u16 = 7401;

    /// Starts processes that accept at this address.
    pub(crate) fn new(cli: Cli, ip: impl Into<IpAddr>) -> Machine {
        Machine { cli, ip: ip.into(), through: Vec::new() }
    }

    /// Starts them through this program with these arguments, which runs what comes after them in
    /// its own place.
    pub(crate) fn through(mut self, program: &[&str]) -> Machine {
        self.through = program.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The user.
    pub(crate) fn cli(&self) -> &Cli {
        &self.cli
    }

    /// Starts the command with these arguments.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let inner = self.cli.command(args);
        let Some((program, words)) = self.through.split_first() else {
            return self.cli.start_command(inner);
        };
        let mut outer = Command::new(program);
        outer
            .args(words)
            .arg(inner.get_program())
            .args(inner.get_args())
            .env_clear()
            .stdin(Stdio::null());
        // Where the program itself is found.
        outer.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        outer.current_dir(inner.get_current_dir().unwrap_or(self.cli.home()));
        self.cli.start_command(outer)
    }

    /// A coordinator on this port.
    pub(crate) async fn coordinates(&self, port: u16) -> Serving {
        self.serves(&["coordinator"], port).await
    }

    /// A server that shares the content from a directory and accepts peers as these arguments say;
    /// by now it does.
    pub(crate) async fn seeds_as(&self, content: &Content, more: &[&str]) -> Serving {
        std::fs::create_dir_all(self.cli.path("shared")).expect("a home of our own is writable");
        content.write(&self.cli.path("shared/file")).await;
        let start = [&["start-server", "--foreground", "--dir", "shared"][..], more].concat();
        let serving = self.starts(&start).await;
        self.shares(content).await;
        serving
    }

    /// A server that shares the content from a directory; by now it does.
    pub(crate) async fn seeds(&self, content: &Content, port: u16) -> Serving {
        self.seeds_with(content, port, &[]).await
    }

    /// The same, with more arguments.
    pub(crate) async fn seeds_with(&self, content: &Content, port: u16, more: &[&str]) -> Serving {
        std::fs::create_dir(self.cli.path("shared")).expect("a home of our own is writable");
        content.write(&self.cli.path("shared/file")).await;
        let start = [&["start-server", "--foreground", "--dir", "shared"][..], more].concat();
        let serving = self.serves(&start, port).await;
        self.shares(content).await;
        serving
    }

    /// Waits until the server does.
    async fn shares(&self, content: &Content) {
        let is_shared = async || {
            let status = self.cli.run(["status", "--json"]).await.with_code(0).result();
            if status["status"]["files"][0]["hash"] == content.hash().to_string() {
                Ok(())
            } else {
                Err(status)
            }
        };
        eventually("the file is shared", SOON, is_shared).await;
    }

    /// The server that shared something before, started anew on this port.
    pub(crate) async fn serves_again(&self, port: u16) -> Serving {
        self.serves(&["start-server", "--foreground", "--dir", "shared"], port).await
    }

    /// A download in the foreground to `a`, with events, that serves as long afterwards as the
    /// arguments say.
    pub(crate) fn gets(&self, content: &Content, port: u16, more: &[&str]) -> Running {
        content.write_info(&self.cli.path("a.fileinfo"));
        let listen = SocketAddr::new(self.ip, port).to_string();
        let get = ["get", "a.fileinfo", "-o", "a", "--foreground", "--json", "--listen", &listen];
        self.start(&[&get[..], more].concat())
    }

    /// Starts something that accepts connections on this port, and waits until it does.
    pub(crate) async fn serves(&self, args: &[&str], port: u16) -> Serving {
        let listen = SocketAddr::new(self.ip, port).to_string();
        self.starts(&[args, &["--listen", &listen]].concat()).await
    }

    /// Starts something that accepts connections, and waits until it does.
    pub(crate) async fn starts(&self, args: &[&str]) -> Serving {
        let mut process = self.start(&[args, &["--json"]].concat());
        let ready = |text: &str| events(text).find(|event| event["event"] == "ready");
        let ready = process.prints("it is ready", SOON, ready).await;
        let address = ready["listen"].as_str().and_then(|address| address.parse().ok());
        Serving { process, address: address.expect("a ready server has an address") }
    }
}

/// The events in what a process has printed so far.
pub(crate) fn events(text: &str) -> impl Iterator<Item = Value> + '_ {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// How many chunks a download has said that it has.
pub(crate) fn chunks_done(process: &Running) -> u64 {
    let text = process.stdout();
    let counts = events(&text).filter_map(|event| event["chunks_done"].as_u64());
    counts.last().unwrap_or(0)
}
