//! A small LAN of network namespaces, made for one case and gone with it: hosts on two switches
//! that a trunk joins. The machine's own network is not touched, and no LAN sees another, so all of
//! them use the same addresses.
//!
//! A host's cable can be limited, a host can lose packets or reset connections, the trunk can be
//! cut.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;
use tnet_testkit::Cli;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::machine::Machine;

/// The one network device of a host.
const DEVICE: &str = "eth0";

/// Ethernet, IP and TCP with timestamps: what comes on top of the bytes of each packet.
const HEADERS: u64 = 14 + 20 + 32;

/// Hosts with a cable each to one of two switches.
#[derive(Debug)]
pub(crate) struct Lan {
    hosts: Vec<Host>,
    switches: Namespace,
    homes: TempDir,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    namespace: Namespace,
    ip: Ipv4Addr,
    /// The other end of its cable.
    port: String,
}

/// Work in a host's network, on a thread of its own. Dropped, it is told to stop.
#[derive(Debug)]
pub(crate) struct Inside<T> {
    result: oneshot::Receiver<T>,
    stop: DropGuard,
}

/// A namespace, removed with all processes in it when it is dropped.
#[derive(Debug)]
struct Namespace(String);

impl Lan {
    /// So many hosts on the left switch, and so many on the right one; the left ones come first.
    pub(crate) fn new(left: usize, right: usize) -> Lan {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("tnet-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let switches = Namespace::new(format!("{name}-switches"));
        switches.ip(&["link", "add", "trunk-left", "type", "veth", "peer", "name", "trunk-right"]);
        for side in ["left", "right"] {
            switches.ip(&["link", "add", side, "type", "bridge", "mcast_snooping", "0"]);
            switches.ip(&["link", "set", side, "up"]);
            switches.ip(&["link", "set", &format!("trunk-{side}"), "master", side, "up"]);
        }
        let sides = (0..left).map(|_| "left").chain((0..right).map(|_| "right"));
        let hosts = sides
            .zip(1..)
            .map(|(side, number)| Host::new(&name, number, &switches, side))
            .collect();
        let homes = tempfile::tempdir().expect("the system's temporary directory is writable");
        Lan { hosts, switches, homes }
    }

    /// The host of that number, from 0 on.
    pub(crate) fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// A user at that host, with a home of its own, who knows the coordinator at the first host.
    pub(crate) fn machine(&self, number: usize) -> Machine {
        self.user(number, 0, self.host(number).ip.into(), self.host(0).ip.into())
    }

    /// One of several users at that host, who accepts peers at this address of it and knows the
    /// coordinator at that one of the first host.
    pub(crate) fn user(
        &self,
        number: usize,
        user: usize,
        ip: IpAddr,
        coordinator: IpAddr,
    ) -> Machine {
        let host = self.host(number);
        let home =
            self.homes.path().join(format!("{}-{user}-{}", host.port, u8::from(ip.is_ipv6())));
        std::fs::create_dir_all(&home).expect("a directory of our own is writable");
        let cli = Cli::at(&home).with_coordinator((coordinator, Machine::COORDINATOR_PORT).into());
        Machine::new(cli, ip).through(&["ip", "netns", "exec", &host.namespace.0])
    }

    /// Nothing passes between left and right from now on, without a word to either side.
    pub(crate) fn cut_trunk(&self) {
        self.switches.ip(&["link", "set", "trunk-left", "down"]);
    }

    /// What is sent from now on passes again.
    pub(crate) fn mend_trunk(&self) {
        self.switches.ip(&["link", "set", "trunk-left", "up"]);
    }

    /// Longer packets than this vanish between left and right, without a word: switches send no
    /// ICMP.
    pub(crate) fn narrow_trunk(&self, bytes: u32) {
        for side in ["left", "right"] {
            self.switches.ip(&["link", "set", &format!("trunk-{side}"), "mtu", &bytes.to_string()]);
        }
    }

    /// At most so many Mbit/s in each direction of that host's cable.
    pub(crate) fn limit(&self, number: usize, mbit: u32) {
        let host = self.host(number);
        let rate = format!("{mbit}mbit");
        for (namespace, device) in [(&host.namespace, DEVICE), (&self.switches, host.port.as_str())]
        {
            let tbf = ["root", "tbf", "rate", &rate, "burst", "64kb", "latency", "50ms"];
            run(Command::new("tc")
                .args(["-n", &namespace.0, "qdisc", "replace", "dev", device])
                .args(tbf));
        }
    }
}

impl Host {
    fn new(lan: &str, number: u8, switches: &Namespace, side: &str) -> Host {
        let namespace = Namespace::new(format!("{lan}-{number}"));
        let (port, ip) = (format!("p{number}"), Ipv4Addr::new(10, 77, 0, number));
        let ends = ["type", "veth", "peer", "name", &port, "netns", &switches.0];
        namespace.ip(&[&["link", "add", DEVICE][..], &ends].concat());
        switches.ip(&["link", "set", &port, "master", side, "up"]);
        // Packets as they are on a wire: one that is lost is one, not sixty-four thousand bytes.
        namespace.ip(&["link", "set", DEVICE, "gso_max_segs", "1"]);
        namespace.ip(&["addr", "add", &format!("{ip}/16"), "dev", DEVICE]);
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace.ip(&["link", "set", DEVICE, "up"]);
        Host { namespace, ip, port }
    }

    /// One more address of it.
    pub(crate) fn is_also(&self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.namespace.ip(&["addr", "add", &format!("{address}/16"), "dev", DEVICE]);
            }
            IpAddr::V6(address) => {
                self.namespace.ip(&[
                    "addr",
                    "add",
                    &format!("{address}/32"),
                    "dev",
                    DEVICE,
                    "nodad",
                ]);
            }
        }
    }

    /// It has this address of [`Host::is_also`] no more.
    pub(crate) fn is_no_longer(&self, address: Ipv4Addr) {
        self.namespace.ip(&["addr", "del", &format!("{address}/16"), "dev", DEVICE]);
    }

    /// Every address of this prefix is one of it.
    pub(crate) fn is_all_of(&self, prefix: &str) {
        self.namespace.ip(&["-6", "route", "add", "local", prefix, "dev", DEVICE]);
        let any =
            ["netns", "exec", &self.namespace.0, "sysctl", "-qw", "net.ipv6.ip_nonlocal_bind=1"];
        run(Command::new("ip").args(any));
    }

    /// Reaches the addresses of this prefix at that neighbour, or each of them directly.
    pub(crate) fn reaches(&self, prefix: &str, via: Option<Ipv6Addr>) {
        let via = via.map(|via| via.to_string());
        let through = via.as_ref().map_or(vec![], |via| vec!["via", via.as_str()]);
        self.namespace
            .ip(&[&["-6", "route", "replace", prefix][..], &through, &["dev", DEVICE]].concat());
    }

    /// Its address.
    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Every address of the prefix is its own, reachable from itself alone.
    pub(crate) fn owns(&self, prefix: &str) {
        self.namespace.ip(&["route", "add", "local", prefix, "dev", "lo"]);
        let setting = "net.ipv6.ip_nonlocal_bind=1";
        run(Command::new("ip").args([
            "netns",
            "exec",
            &self.namespace.0,
            "sysctl",
            "-qw",
            setting,
        ]));
    }

    /// So many of a hundred packets that come to it are lost.
    pub(crate) fn loses(&self, percent: u32) {
        self.filter(&[("input", &format!("numgen random mod 100 < {percent} drop"))]);
    }

    /// Resets connections to this port of it, at both ends, as soon as something is sent over them.
    pub(crate) fn resets(&self, port: u16) {
        // The resets themselves pass, or each rule would stop those of the other.
        let reset = "tcp flags & rst == 0 reject with tcp reset";
        let (incoming, outgoing) =
            (format!("tcp dport {port} {reset}"), format!("tcp sport {port} {reset}"));
        self.filter(&[("input", &incoming), ("output", &outgoing)]);
    }

    /// From now on nothing passes over the connections to this port of it that there are. New ones
    /// work.
    pub(crate) fn drops_present_flows(&self, port: u16) {
        let shown =
            run(Command::new("ip").args(["netns", "exec", &self.namespace.0, "ss", "-tnH"]));
        let ours = format!(":{port}");
        let flows = shown.lines().filter_map(|line| {
            let (local, remote) =
                (line.split_whitespace().nth(3)?, line.split_whitespace().nth(4)?);
            local.ends_with(&ours).then(|| remote.rsplit(':').next()).flatten()
        });
        let flows: Vec<&str> = flows.collect();
        assert!(!flows.is_empty(), "there is no connection to port {port}: {shown}");
        let them = flows.join(", ");
        let incoming = format!("tcp dport {port} tcp sport {{ {them} }} drop");
        let outgoing = format!("tcp sport {port} tcp dport {{ {them} }} drop");
        self.filter(&[("input", &incoming), ("output", &outgoing)]);
    }

    /// It has this address now, and not the one before.
    pub(crate) fn moves_to(&self, address: Ipv4Addr) {
        self.namespace.ip(&["addr", "add", &format!("{address}/16"), "dev", DEVICE]);
        self.namespace.ip(&["addr", "del", &format!("{}/16", self.ip), "dev", DEVICE]);
        // The second one of a network may go with the first.
        self.namespace.ip(&["addr", "replace", &format!("{address}/16"), "dev", DEVICE]);
    }

    /// Programs that are started there, or that run there, find this address by that name.
    pub(crate) fn knows(&self, name: &str, address: Ipv4Addr) {
        let directory = self.namespace.settings();
        std::fs::create_dir_all(&directory).expect("we are root");
        // In place: processes that run there see this very file.
        std::fs::write(directory.join("hosts"), format!("{address} {name}\n")).expect("as above");
    }

    /// Nothing leaves from this address of it nor comes to it from now on.
    pub(crate) fn is_silent_at(&self, address: Ipv4Addr) {
        let (to, from) = (format!("ip daddr {address} drop"), format!("ip saddr {address} drop"));
        self.filter(&[("input", &to), ("output", &from)]);
    }

    /// What comes to this port of it meets that end.
    pub(crate) fn refuses(&self, port: u16, end: &str) {
        self.filter(&[("input", &format!("tcp dport {port} {end}"))]);
    }

    /// Accepts at `port`, from outside, what a process there expects at `inner`, and nothing at
    /// that itself.
    pub(crate) fn publishes(&self, port: u16, inner: u16) {
        self.rules(&format!(
            "add table ip published\n\
             add chain ip published in {{ type nat hook prerouting priority -100; }}\n\
             add rule ip published in tcp dport {port} redirect to :{inner}\n\
             add chain ip published filter {{ type filter hook input priority 0; }}\n\
             add rule ip published filter iif != lo tcp dport {inner} ct status & dnat == 0 drop\n"
        ));
    }

    /// Its address on the link, once it may be used.
    pub(crate) fn link_local(&self) -> Ipv6Addr {
        let shown =
            ["-n", &self.namespace.0, "-j", "-6", "addr", "show", "dev", DEVICE, "scope", "link"];
        for _ in 0..100 {
            let shown: serde_json::Value =
                serde_json::from_str(&run(Command::new("ip").args(shown)))
                    .expect("`ip -j` prints JSON");
            let address = &shown[0]["addr_info"][0];
            if let (Some(local), None) = (address["local"].as_str(), address.get("tentative")) {
                return local.parse().expect("an address");
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("no link-local address of {DEVICE} in {}", self.namespace.0);
    }

    /// Does neither any more.
    pub(crate) fn passes(&self) {
        self.filter(&[]);
    }

    /// Bytes that came to it so far, without headers. A packet without any counts as none.
    pub(crate) fn received(&self) -> u64 {
        let shown = run(Command::new("ip").args([
            "-n",
            &self.namespace.0,
            "-s",
            "-j",
            "link",
            "show",
            DEVICE,
        ]));
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("`ip -j` prints JSON");
        let count =
            |what: &str| shown[0]["stats64"]["rx"][what].as_u64().expect("a device has counters");
        count("bytes").saturating_sub(HEADERS * count("packets"))
    }

    /// Does this work with sockets of this host, on a thread of its own. It should end when the
    /// token says so.
    pub(crate) fn inside<T, W>(
        &self,
        work: impl FnOnce(CancellationToken) -> W + Send + 'static,
    ) -> Inside<T>
    where
        T: Send + 'static,
        W: Future<Output = T>,
    {
        let namespace =
            File::open(Path::new("/run/netns").join(&self.namespace.0)).expect("it was just made");
        let (stop, (sender, result)) = (CancellationToken::new(), oneshot::channel());
        let told = stop.clone();
        // No thread of a pool: its next task would be in this host too.
        std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("we are root");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let done =
                runtime.expect("a machine that runs tests has descriptors").block_on(work(told));
            // Fails when the receiver was dropped: the result is not needed then.
            let _ = sender.send(done);
        });
        Inside { result, stop: stop.drop_guard() }
    }

    /// These rules, each of a hook, instead of what there was; in one step.
    fn filter(&self, rules: &[(&str, &str)]) {
        let mut script =
            "add table inet faults\ndelete table inet faults\nadd table inet faults\n".to_owned();
        for (hook, rule) in rules {
            script += &format!(
                "add chain inet faults {hook} {{ type filter hook {hook} priority 0; }}\n"
            );
            script += &format!("add rule inet faults {hook} {rule}\n");
        }
        self.rules(&script);
    }

    /// In one step.
    fn rules(&self, script: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace.0, "nft", "-f", "-"]).stdin(Stdio::piped());
        let mut nft = command.spawn().expect("a machine with namespaces has `ip`");
        nft.stdin
            .take()
            .expect("it is piped")
            .write_all(script.as_bytes())
            .expect("nft reads its rules");
        assert!(nft.wait().expect("our own child").success(), "{script}");
    }
}

impl<T> Inside<T> {
    /// Waits for its end.
    pub(crate) async fn ends(self) -> T {
        self.result.await.expect("what is done inside a host does not panic")
    }

    /// Tells it to stop, and waits for its end.
    pub(crate) async fn stops(self) -> T {
        drop(self.stop);
        self.result.await.expect("what is done inside a host does not panic")
    }
}

impl Namespace {
    fn new(name: String) -> Namespace {
        run(Command::new("ip").args(["netns", "add", &name]));
        Namespace(name)
    }

    fn ip(&self, args: &[&str]) {
        run(Command::new("ip").args(["-n", &self.0]).args(args));
    }

    /// What is in there stands in the place of files in `/etc`.
    fn settings(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let ip = |args: &[&str]| Command::new("ip").args(args).stderr(Stdio::null()).output();
        let pids = ip(&["netns", "pids", &self.0]).map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&pids).split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", pid]).status();
        }
        let _ = ip(&["netns", "del", &self.0]);
        // Most have none.
        let _ = std::fs::remove_dir_all(self.settings());
    }
}

/// Runs a command to its end and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
