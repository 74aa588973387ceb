//! Reports to a coordinator on behalf of a port, and looks files up there, without being a peer.
//!
//! What is behind the port is the test's business: a raw peer, a relay in front of a real peer,
//! nothing at all.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tnet_fileinfo::FileHash;
use tnet_proto::{
    CoordinatorReply, CoordinatorRequest, Families, Holder, MessageCodec, PeerId, Protocol, Reach,
    Received, ReportDigest, ReportEntry, exchange_preamble,
};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Framed;
use tokio_util::task::AbortOnDropHandle;

use crate::raw::random_id;
use crate::wait::{SOON, within};

type Line = Framed<TcpStream, MessageCodec<CoordinatorRequest, CoordinatorReply>>;

/// Pause before a coordinator that went away is called again.
const AGAIN: Duration = Duration::from_millis(50);

/// Keeps entries in a coordinator's table. When it is dropped they stay until their lease ends,
/// like those of a peer that crashed.
#[derive(Debug)]
pub struct FakeReporter {
    entries: watch::Sender<Vec<ReportEntry>>,
    accepted: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

/// The holders of a file, as a coordinator names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Peers with the whole file.
    pub full: u32,
    /// Peers with a part of it.
    pub partial: u32,
    /// Some or all of them.
    pub holders: Vec<Holder>,
}

impl FakeReporter {
    /// Reports `entries` for `port` on the address that the coordinator sees us come from. Returns
    /// when they are in its table; keeps them there, and comes back when the coordinator went away.
    ///
    /// # Panics
    /// If the coordinator does not take them soon.
    pub async fn announce(
        coordinator: SocketAddr,
        port: u16,
        interval: Duration,
        entries: Vec<ReportEntry>,
    ) -> FakeReporter {
        let (entries, watched) = watch::channel(entries);
        let (accepted_by, accepted) = watch::channel(0);
        let task = keep_reporting(coordinator, port, interval, watched, accepted_by);
        let reporter =
            FakeReporter { entries, accepted, _task: AbortOnDropHandle::new(tokio::spawn(task)) };
        reporter.wait_for_report(1).await;
        reporter
    }

    /// Reports these entries instead. Returns when they are in the table.
    ///
    /// # Panics
    /// If the coordinator does not take them soon.
    pub async fn change(&self, entries: Vec<ReportEntry>) {
        let before = *self.accepted.borrow();
        self.entries.send_replace(entries);
        self.wait_for_report(before + 1).await;
    }

    async fn wait_for_report(&self, number: u64) {
        let mut accepted = self.accepted.clone();
        let waiting = accepted.wait_for(|accepted| *accepted >= number);
        within("the coordinator accepts a report", SOON, waiting)
            .await
            .expect("the task lives as long as we do");
    }
}

/// Looks a file up at a coordinator, as a peer that holds nothing.
///
/// # Panics
/// If the coordinator does not answer soon.
pub async fn holders(coordinator: SocketAddr, hash: FileHash) -> Found {
    let ask = async {
        let mut line = call(coordinator, random_id(), 0, Duration::from_secs(60)).await?;
        line.send(CoordinatorRequest::Lookup { hash: *hash.as_bytes() }).await.ok()?;
        loop {
            match line.next().await?.ok()? {
                Received::Message(CoordinatorReply::Holders { full, partial, holders, .. }) => {
                    return Some(Found { full, partial, holders });
                }
                _ => continue,
            }
        }
    };
    within("the coordinator answers a lookup", SOON, ask)
        .await
        .expect("the coordinator keeps the line open")
}

async fn call(
    coordinator: SocketAddr,
    peer_id: PeerId,
    listen_port: u16,
    interval: Duration,
) -> Option<Line> {
    let mut stream = TcpStream::connect(coordinator).await.ok()?;
    exchange_preamble(&mut stream, Protocol::Coordinator).await.ok()?;
    let mut line = Framed::new(stream, MessageCodec::new());
    let report_interval_ms = u32::try_from(interval.as_millis()).ok()?;
    let reach = match listen_port {
        0 => Reach::Nowhere,
        port => Reach::Everywhere { port, families: Families::Both },
    };
    let hello = CoordinatorRequest::Hello { peer_id, reach, report_interval_ms, capabilities: 0 };
    line.send(hello).await.ok()?;
    let welcome = line.next().await?.ok()?;
    line.codec_mut().hello_done();
    matches!(welcome, Received::Message(CoordinatorReply::Welcome { .. })).then_some(line)
}

async fn keep_reporting(
    coordinator: SocketAddr,
    port: u16,
    interval: Duration,
    mut entries: watch::Receiver<Vec<ReportEntry>>,
    accepted: watch::Sender<u64>,
) {
    let id = random_id();
    loop {
        if let Ok(Some(line)) = timeout(SOON, call(coordinator, id, port, interval)).await {
            report_on(line, interval, &mut entries, &accepted).await;
        }
        sleep(AGAIN).await;
    }
}

/// Until the line breaks.
async fn report_on(
    mut line: Line,
    interval: Duration,
    entries: &mut watch::Receiver<Vec<ReportEntry>>,
    accepted: &watch::Sender<u64>,
) {
    let mut seq = 0;
    let mut due = true;
    loop {
        if due {
            let now = entries.borrow_and_update().clone();
            seq += 1;
            if line
                .send(CoordinatorRequest::Report { seq, replace: true, entries: now })
                .await
                .is_err()
            {
                return;
            }
        }
        tokio::select! {
            received = line.next() => match received {
                Some(Ok(Received::Message(message))) => {
                    due = message == CoordinatorReply::Resync;
                    // An answer to an older report says nothing of the newest entries.
                    if message == (CoordinatorReply::Accepted { seq }) {
                        accepted.send_modify(|accepted| *accepted += 1);
                    }
                }
                Some(Ok(Received::Unknown { .. })) => due = false,
                Some(Err(_)) | None => return,
            },
            changed = entries.changed() => {
                due = true;
                if changed.is_err() {
                    return;
                }
            }
            () = sleep(interval) => {
                due = false;
                let mut digest = ReportDigest::default();
                entries.borrow().iter().for_each(|entry| digest.toggle(entry));
                if line.send(CoordinatorRequest::Heartbeat { digest }).await.is_err() {
                    return;
                }
            }
        }
    }
}
