//! A minimal client of the coordinator protocol, for tests. Every wait ends after [`PATIENCE`].

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tnet_coordinator::{Config, Coordinator, CoordinatorHandle};
use tnet_fileinfo::FileHash;
use tnet_proto::{
    Availability, CoordinatorReply, CoordinatorRequest, Families, Holder, Listed, MessageCodec,
    PeerId, Protocol, Reach, Received, ReportDigest, ReportEntry, exchange_preamble,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Framed;

/// Far more than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A report interval that no test outlasts.
pub(crate) const LONG: Duration = Duration::from_secs(100);

pub(crate) struct Client {
    messages: Framed<TcpStream, MessageCodec<CoordinatorRequest, CoordinatorReply>>,
    next_seq: u64,
    pub(crate) digest: ReportDigest,
}

/// The coordinator's first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) lease: Duration,
    pub(crate) listed: Listed,
    pub(crate) digest: ReportDigest,
}

impl Client {
    /// Exchanges preambles, no more.
    pub(crate) async fn connect(coordinator: SocketAddr) -> Client {
        let stream = TcpStream::connect(coordinator).await.expect("the coordinator listens");
        Client::over(stream).await
    }

    pub(crate) async fn over(mut stream: TcpStream) -> Client {
        let preamble = exchange_preamble(&mut stream, Protocol::Coordinator);
        timeout(PATIENCE, preamble).await.expect("in time").expect("a coordinator");
        let mut codec = MessageCodec::new();
        codec.hello_done();
        Client {
            messages: Framed::new(stream, codec),
            next_seq: 1,
            digest: ReportDigest::default(),
        }
    }

    /// Connects and introduces itself.
    pub(crate) async fn join(
        coordinator: SocketAddr,
        port: u16,
        id: u8,
        interval: Duration,
    ) -> (Client, Welcome) {
        let mut client = Client::connect(coordinator).await;
        let welcome = client.hello(port, id, interval).await;
        (client, welcome)
    }

    /// Connects, introduces itself and reports one file.
    pub(crate) async fn holding(
        coordinator: SocketAddr,
        port: u16,
        file: u8,
        availability: Availability,
    ) -> Client {
        let id = u8::try_from(port % 251).expect("below 251");
        let (mut client, _) = Client::join(coordinator, port, id, LONG).await;
        client.report(false, &[entry(file, availability)]).await;
        client.expect_accepted().await;
        client
    }

    pub(crate) async fn hello(&mut self, port: u16, id: u8, interval: Duration) -> Welcome {
        self.say(hello(port, id, interval)).await;
        match self.hear().await {
            CoordinatorReply::Welcome {
                lease_ms,
                observed: _,
                listed,
                digest,
                capabilities: _,
            } => Welcome { lease: Duration::from_millis(u64::from(lease_ms)), listed, digest },
            other => panic!("a welcome was due, not {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, request: CoordinatorRequest) {
        timeout(PATIENCE, self.messages.send(request))
            .await
            .expect("in time")
            .expect("the connection is up");
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> CoordinatorReply {
        match timeout(PATIENCE, self.messages.next()).await.expect("an answer in time") {
            Some(Ok(Received::Message(reply))) => reply,
            other => panic!("a message was due, not {other:?}"),
        }
    }

    /// Waits until the coordinator has ended the connection, saying nothing more.
    pub(crate) async fn hear_end(mut self) {
        match timeout(PATIENCE, self.messages.next()).await.expect("an end in time") {
            None | Some(Err(_)) => {}
            Some(Ok(unexpected)) => panic!("an end was due, not {unexpected:?}"),
        }
    }

    /// Sends the next report.
    pub(crate) async fn report(&mut self, replace: bool, entries: &[ReportEntry]) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.report_as(seq, replace, entries).await;
    }

    pub(crate) async fn report_as(&mut self, seq: u64, replace: bool, entries: &[ReportEntry]) {
        if replace {
            self.digest = ReportDigest::default();
        }
        entries.iter().for_each(|entry| self.digest.toggle(entry));
        self.say(CoordinatorRequest::Report { seq, replace, entries: entries.to_vec() }).await;
    }

    pub(crate) async fn expect_accepted(&mut self) {
        assert_eq!(self.hear().await, CoordinatorReply::Accepted { seq: self.next_seq - 1 });
    }

    pub(crate) async fn heartbeat(&mut self) -> CoordinatorReply {
        self.say(CoordinatorRequest::Heartbeat { digest: self.digest }).await;
        self.hear().await
    }

    pub(crate) async fn lookup(&mut self, file: u8) -> Found {
        self.say(CoordinatorRequest::Lookup { hash: [file; 32] }).await;
        self.hear_holders(file).await
    }

    pub(crate) async fn watch(&mut self, file: u8) -> Found {
        self.say(CoordinatorRequest::Watch { hash: [file; 32] }).await;
        self.hear_holders(file).await
    }

    pub(crate) async fn hear_holders(&mut self, file: u8) -> Found {
        match self.hear().await {
            CoordinatorReply::Holders { hash, full, partial, holders } if hash == [file; 32] => {
                Found { full, partial, holders }
            }
            other => panic!("holders of file {file} were due, not {other:?}"),
        }
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let written = timeout(PATIENCE, self.messages.get_mut().write_all(bytes)).await;
        written.expect("in time").expect("the connection is up");
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.messages.into_inner()
    }
}

/// An answer to a lookup.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) full: u32,
    pub(crate) partial: u32,
    pub(crate) holders: Vec<Holder>,
}

impl Found {
    /// Ports of the holders, in order.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.holders.iter().map(|holder| holder.address.port()).collect();
        ports.sort_unstable();
        ports
    }
}

pub(crate) fn hello(port: u16, id: u8, interval: Duration) -> CoordinatorRequest {
    CoordinatorRequest::Hello {
        peer_id: PeerId([id; 16]),
        reach: Reach::Everywhere { port, families: Families::Both },
        report_interval_ms: u32::try_from(interval.as_millis()).expect("a short interval"),
        capabilities: u64::MAX, // unknown bits
    }
}

pub(crate) fn entry(file: u8, availability: Availability) -> ReportEntry {
    ReportEntry { hash: [file; 32], size: 1 << 20, availability }
}

pub(crate) fn hash(file: u8) -> FileHash {
    FileHash::from_bytes([file; 32])
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub(crate) fn listed(address: SocketAddr) -> Listed {
    Listed::At { address }
}

/// The default on a free port of this machine.
pub(crate) fn config() -> Config {
    Config { listen: local(0), ..Config::default() }
}

pub(crate) fn start(config: Config) -> CoordinatorHandle {
    Coordinator::bind(config).expect("a free port of this machine").spawn()
}

/// Polls a condition that sends no event.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !reached().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, polling).await.unwrap_or_else(|_| panic!("never: {what}"));
}
