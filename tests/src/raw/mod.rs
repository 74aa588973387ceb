//! A peer that does what the test says. It speaks the real protocol over real sockets, holds one
//! file in memory, and gives away exactly as much of it, as well or as badly, as it is told.
//!
//! A [`RawPeer`] that gives away eight chunks and is then "busy" puts every downloader *in the
//! middle* of its download, for as long as the test likes; that is better than any slow link. With
//! another [`Behaviour`] it is an enemy.

mod behaviour;
mod counters;
mod script;
mod session;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{ChunkIndex, ChunkSet, FileInfo};
use tnet_proto::{Availability, Hello, PeerId, ReportEntry};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

pub use behaviour::{Behaviour, Description};
pub use counters::Counters;

use crate::fake_reporter::FakeReporter;
use crate::payload::describe;
use crate::wait::within;
use behaviour::Supply;
use script::{Event, Script, SessionKey};

/// Events waiting for the script. When full, connections stop reading and TCP slows the other side.
const EVENTS: usize = 256;

/// A scripted peer. Everything of it ends when it is dropped, without a goodbye.
#[derive(Debug)]
pub struct RawPeer {
    address: SocketAddr,
    info: FileInfo,
    events: mpsc::Sender<Event>,
    counters: watch::Receiver<Counters>,
    reporter: Option<FakeReporter>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// What a [`RawPeer`] is to be. Everything is optional: by default it is an honest, generous seed.
#[derive(Debug, Clone)]
pub struct RawPeerBuilder {
    info: FileInfo,
    content: Arc<Vec<u8>>,
    held: ChunkSet,
    behaviour: Behaviour,
    description: Description,
    supply: Supply,
    connections: usize,
    ip: IpAddr,
}

impl RawPeer {
    /// A peer that holds this file: `content` described by `info`.
    ///
    /// # Panics
    /// If `content` is not the file that `info` describes.
    pub fn of(info: &FileInfo, content: Vec<u8>) -> RawPeerBuilder {
        let described = describe(&content, info.geometry().chunk_size());
        assert_eq!(described.hash(), info.hash(), "a raw peer is given the file's own content");
        RawPeerBuilder {
            info: info.clone(),
            content: Arc::new(content),
            held: ChunkSet::full(info.geometry()),
            behaviour: Behaviour::default(),
            description: Description::default(),
            supply: Supply::Unlimited,
            connections: usize::MAX,
            ip: Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Where it accepts peers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reports to that coordinator, now and at this interval, until the raw peer ends. Returns when
    /// the coordinator has it in its table.
    pub async fn report_to(&mut self, coordinator: SocketAddr, interval: Duration) {
        self.reporter = Some(
            FakeReporter::announce(coordinator, self.address.port(), interval, vec![self.entry()])
                .await,
        );
    }

    /// What it says to a coordinator.
    pub fn entry(&self) -> ReportEntry {
        let (hash, size) = (*self.info.hash().as_bytes(), self.info.size());
        ReportEntry { hash, size, availability: Availability::Full }
    }

    /// Gives away this many more chunks than it has so far, and is busy then.
    pub async fn allow(&self, chunks: u64) {
        self.tell(Event::Allow(chunks)).await;
    }

    /// Gives away whatever is asked for.
    pub async fn allow_all(&self) {
        self.tell(Event::AllowAll).await;
    }

    /// Is busy from now on.
    pub async fn hold(&self) {
        self.tell(Event::Hold).await;
    }

    /// Behaves in this way from now on.
    pub async fn behave(&self, behaviour: Behaviour) {
        self.tell(Event::Behave(behaviour)).await;
    }

    /// Describes its file in this way from now on.
    pub async fn describe_as(&self, description: Description) {
        self.tell(Event::Describe(description)).await;
    }

    /// Holds these chunks too, and says so.
    pub async fn gain(&self, chunks: impl IntoIterator<Item = ChunkIndex>) {
        self.tell(Event::Gain(chunks.into_iter().collect())).await;
    }

    /// Closes every connection there is, without a goodbye. Others may connect again.
    pub async fn hang_up(&self) {
        self.tell(Event::HangUp).await;
    }

    /// What it has seen and done so far.
    pub fn counters(&self) -> Counters {
        self.counters.borrow().clone()
    }

    /// Waits until the counters is as `is_so` wants it.
    ///
    /// # Panics
    /// If it is not within `limit`.
    pub async fn counters_are(
        &self,
        what: &str,
        limit: Duration,
        is_so: impl FnMut(&Counters) -> bool,
    ) -> Counters {
        let mut counters = self.counters.clone();
        within(what, limit, counters.wait_for(is_so))
            .await
            .expect("the script lives as long as its peer")
            .clone()
    }

    async fn tell(&self, event: Event) {
        self.events.send(event).await.expect("the script lives as long as its peer");
    }
}

impl RawPeerBuilder {
    /// Holds only these chunks.
    #[must_use]
    pub fn holding(mut self, chunks: impl IntoIterator<Item = ChunkIndex>) -> Self {
        self.held.clear();
        for chunk in chunks {
            self.held.insert(chunk);
        }
        self
    }

    /// Gives away this many chunks, and is busy then.
    #[must_use]
    pub fn allowing(mut self, chunks: u64) -> Self {
        self.supply = Supply::Left(chunks);
        self
    }

    /// Behaves in this way.
    #[must_use]
    pub fn behaving(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }

    /// Describes its file in this way.
    #[must_use]
    pub fn describing(mut self, description: Description) -> Self {
        self.description = description;
        self
    }

    /// Accepts only so many connections, one after the other or at once; further ones are closed
    /// without a word.
    #[must_use]
    pub fn accepting(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Listens on this address of this machine instead of `127.0.0.1`.
    #[must_use]
    pub fn on(mut self, ip: IpAddr) -> Self {
        self.ip = ip;
        self
    }

    /// Listens and serves from now on.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn start(self) -> io::Result<RawPeer> {
        let listener = TcpListener::bind((self.ip, 0)).await?;
        let address = listener.local_addr()?;
        let (counters, watched) = watch::channel(Counters::default());
        let (events, inbox) = mpsc::channel(EVENTS);
        let script = Script {
            info: self.info.clone(),
            content: self.content,
            held: self.held,
            behaviour: self.behaviour,
            description: self.description,
            supply: self.supply,
            sessions: BTreeMap::new(),
            counters,
        };
        let hello = Hello { peer_id: random_id(), listen_port: address.port(), capabilities: 0 };
        let tasks = [
            tokio::spawn(script.run(inbox)),
            tokio::spawn(accept(listener, self.connections, hello, events.clone())),
        ];
        let tasks = tasks.map(AbortOnDropHandle::new);
        Ok(RawPeer {
            address,
            info: self.info,
            events,
            counters: watched,
            reporter: None,
            _tasks: tasks,
        })
    }
}

/// A random peer id.
pub(crate) fn random_id() -> PeerId {
    // The standard library's hash keys are the system's luck, and differ from one `RandomState` to
    // the next.
    let half = || RandomState::new().hash_one(0_u8).to_le_bytes();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&half());
    id[8..].copy_from_slice(&half());
    PeerId(id)
}

async fn accept(
    listener: TcpListener,
    connections: usize,
    hello: Hello,
    script: mpsc::Sender<Event>,
) {
    // Dropped with this task, and all connections with it.
    let mut sessions = JoinSet::new();
    let mut keys = (0..).map(SessionKey).take(connections);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some(key) = keys.next() {
                        sessions.spawn(session::run(stream, hello.clone(), key, script.clone()));
                    }
                }
                Err(error) => tracing::warn!(%error, "a raw peer cannot accept"),
            },
            Some(_) = sessions.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests;
