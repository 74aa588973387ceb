//! A caller of the coordinator that sends any message, from any address of this
//! machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tnet_proto::{
    Availability, CoordinatorReply, CoordinatorRequest, Families, MessageCodec, PeerId, Protocol,
    Reach, Received, ReportEntry, exchange_preamble,
};
use tnet_testkit::{SOON, within};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::codec::Framed;

/// A connection to a coordinator, after the preambles.
pub(crate) struct RawReporter {
    line: Framed<TcpStream, MessageCodec<CoordinatorRequest, CoordinatorReply>>,
}

impl RawReporter {
    /// Calls from `from`, one of the addresses of loopback.
    pub(crate) async fn call(coordinator: SocketAddr, from: IpAddr) -> RawReporter {
        let call = within("a connection", SOON, RawReporter::try_call(coordinator, from)).await;
        call.expect("the coordinator listens")
    }

    /// The same, where it may be closed at once or be gone.
    pub(crate) async fn try_call(coordinator: SocketAddr, from: IpAddr) -> io::Result<RawReporter> {
        let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((from, 0).into()).expect("the address is ours");
        let mut stream = socket.connect(coordinator).await?;
        let _ = exchange_preamble(&mut stream, Protocol::Coordinator).await;
        Ok(RawReporter { line: Framed::new(stream, MessageCodec::new()) })
    }

    /// Says hello as that peer; false if it is not let in.
    pub(crate) async fn is_welcome(
        &mut self,
        peer_id: PeerId,
        listen_port: u16,
        interval: Duration,
    ) -> bool {
        let report_interval_ms =
            u32::try_from(interval.as_millis()).expect("an interval of seconds");
        let reach = Reach::Everywhere { port: listen_port, families: Families::Both };
        self.say(CoordinatorRequest::Hello { peer_id, reach, report_interval_ms, capabilities: 0 })
            .await;
        let welcome = matches!(self.hear().await, Some(CoordinatorReply::Welcome { .. }));
        self.line.codec_mut().hello_done();
        welcome
    }

    /// Whether the coordinator still wants it is its business.
    pub(crate) async fn say(&mut self, request: CoordinatorRequest) {
        let _ = self.line.send(request).await;
    }

    /// The next message; none when the coordinator has closed.
    pub(crate) async fn hear(&mut self) -> Option<CoordinatorReply> {
        match within("the coordinator says something", SOON, self.line.next()).await? {
            Ok(Received::Message(reply)) => Some(reply),
            Ok(Received::Unknown { number }) => panic!("the coordinator sent message {number}"),
            Err(_) => None,
        }
    }

    /// The holders of the file, as the coordinator names them.
    pub(crate) async fn holders(&mut self, hash: [u8; 32]) -> Vec<SocketAddr> {
        self.say(CoordinatorRequest::Lookup { hash }).await;
        loop {
            match self.hear().await.expect("the coordinator keeps the line open") {
                CoordinatorReply::Holders { holders, .. } => {
                    return holders.into_iter().map(|holder| holder.address).collect();
                }
                _ => continue,
            }
        }
    }
}

/// Says that it holds the whole of a file.
pub(crate) fn full(hash: [u8; 32], size: u64) -> ReportEntry {
    ReportEntry { hash, size, availability: Availability::Full }
}
