//! The real coordinator and the real server as processes of their own, whose memory can be
//! measured.

use std::net::SocketAddr;

use bytes::BytesMut;
use tnet_proto::{
    CoordinatorRequest, Hello, PeerId, PeerMessage, Protocol, Reach, encode, preamble,
};
use tnet_testkit::{Cli, Running, SOON};

use super::memory_group::MemoryGroup;

/// A process that listens.
pub(crate) struct Service {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
}

impl Service {
    /// `tnet coordinator`.
    pub(crate) async fn coordinator(cli: &Cli) -> Service {
        Service::start(cli, &["coordinator"], Protocol::Coordinator).await
    }

    /// `tnet coordinator` in a control group.
    pub(crate) async fn coordinator_within(cli: &Cli, group: &MemoryGroup) -> Service {
        let args = ["coordinator", "--json", "--listen", "127.0.0.1:0"];
        let running = cli.start_command(group.run(&cli.command(args)));
        Service::started(running, Protocol::Coordinator).await
    }

    /// `tnet start-server --foreground`, with these further arguments.
    pub(crate) async fn peer(cli: &Cli, args: &[&str]) -> Service {
        Service::start(cli, &[&["start-server", "--foreground"], args].concat(), Protocol::Peer)
            .await
    }

    async fn start(cli: &Cli, args: &[&str], protocol: Protocol) -> Service {
        let running = cli.start(args.iter().chain(&["--json", "--listen", "127.0.0.1:0"]));
        Service::started(running, protocol).await
    }

    async fn started(mut running: Running, protocol: Protocol) -> Service {
        let listens = |text: &str| {
            let events = text
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            events.filter_map(|event| event["listen"].as_str()?.parse().ok()).next()
        };
        let address = running.prints("where it listens", SOON, listens).await;
        Service { running, address, protocol }
    }

    /// What a caller has to send before it may say anything: the preamble, and a hello in a frame.
    pub(crate) fn greeting(&self) -> Vec<u8> {
        let mut bytes = BytesMut::from(&preamble(self.protocol)[..]);
        // Another id each time: the same one would take the place of the last.
        let id = PeerId(rand::random());
        match self.protocol {
            Protocol::Peer => {
                let hello = Hello { peer_id: id, listen_port: 0, capabilities: 0 };
                encode(&PeerMessage::Hello(hello), &mut bytes);
            }
            Protocol::Coordinator => encode(
                &CoordinatorRequest::Hello {
                    peer_id: id,
                    reach: Reach::Nowhere,
                    report_interval_ms: 10_000,
                    capabilities: 0,
                },
                &mut bytes,
            ),
        }
        bytes.to_vec()
    }
}
