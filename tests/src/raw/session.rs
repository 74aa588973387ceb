//! One connection of a raw peer: turns bytes into events for its script and the script's lines into
//! bytes. Decides nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tnet_proto::{
    FileHandle, Hello, MAX_DATA_LEN, MessageCodec, Payload, PeerMessage, Protocol, Received,
    exchange_preamble,
};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::codec::Framed;

use super::counters::Counters;
use super::script::{Event, SessionKey};

type Connection = Framed<TcpStream, MessageCodec<PeerMessage, PeerMessage>>;

/// The number a raw peer gives its only file.
pub(super) const HANDLE: FileHandle = FileHandle(7);

/// Lines to one connection that are not written yet. A peer that reads so little is given up.
pub(super) const LINES: usize = 4096;

/// For the other side's preamble and hello.
const HELLO: Duration = Duration::from_secs(5);

/// Something to write.
#[derive(Debug)]
pub(super) enum Line {
    Say(PeerMessage),
    Send(Delivery),
}

/// The bytes of a chunk, right or wrong.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) chunk: u32,
    pub(super) bytes: Bytes,
    pub(super) rate: Option<NonZeroU32>,
    /// Where the chunk counts as served, if these are all its bytes.
    pub(super) counted_in: Option<watch::Sender<Counters>>,
}

impl Delivery {
    fn count(&self) {
        if let Some(counters) = &self.counted_in {
            counters.send_modify(|counters| *counters.served.entry(self.chunk).or_default() += 1);
        }
    }
}

/// Runs until either side ends it.
pub(super) async fn run(
    mut stream: TcpStream,
    hello: Hello,
    key: SessionKey,
    script: mpsc::Sender<Event>,
) {
    // Answers are small and must not wait for more to come.
    let _ = stream.set_nodelay(true);
    let greeting = async {
        exchange_preamble(&mut stream, Protocol::Peer).await.ok()?;
        let mut framed = Framed::new(stream, MessageCodec::new());
        framed.send(PeerMessage::Hello(hello)).await.ok()?;
        match framed.next().await {
            Some(Ok(Received::Message(PeerMessage::Hello(_)))) => {}
            _ => return None,
        }
        framed.codec_mut().hello_done();
        Some(framed)
    };
    let Ok(Some(framed)) = timeout(HELLO, greeting).await else { return };
    let (writer, mut reader) = framed.split();
    let (lines, to_write) = mpsc::channel(LINES);
    if script.send(Event::Joined { key, lines }).await.is_err() {
        return;
    }
    tokio::select! {
        () = listen(&mut reader, key, &script) => {}
        () = talk(writer, to_write, key) => {}
    }
    let _ = script.send(Event::Left { key }).await;
}

async fn listen(
    reader: &mut SplitStream<Connection>,
    key: SessionKey,
    script: &mpsc::Sender<Event>,
) {
    while let Some(Ok(received)) = reader.next().await {
        if script.send(Event::Heard { key, received }).await.is_err() {
            return;
        }
    }
}

async fn talk(
    mut writer: SplitSink<Connection, PeerMessage>,
    mut lines: mpsc::Receiver<Line>,
    key: SessionKey,
) {
    while let Some(line) = lines.recv().await {
        let written = match line {
            Line::Say(message) => writer.send(message).await,
            Line::Send(delivery) => send(&mut writer, &delivery).await,
        };
        if let Err(error) = written {
            tracing::debug!(?key, %error, "a raw peer lost a connection");
            return;
        }
    }
}

async fn send(
    writer: &mut SplitSink<Connection, PeerMessage>,
    delivery: &Delivery,
) -> Result<(), tnet_proto::CodecError> {
    let mut offset = 0;
    for (part, pause) in pieces(delivery) {
        let len = u32::try_from(part.len()).expect("a part is at most MAX_DATA_LEN");
        // Before its last byte leaves: a receiver of the whole chunk finds it counted.
        if offset as usize + part.len() == delivery.bytes.len() {
            delivery.count();
        }
        let bytes = Payload(part.to_vec());
        writer
            .send(PeerMessage::Data { file: HANDLE, chunk: delivery.chunk, offset, bytes })
            .await?;
        offset += len;
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    Ok(())
}

/// Parts as large as may be; at a rate, ten a second, or one a second below ten bytes.
fn pieces(delivery: &Delivery) -> impl Iterator<Item = (&[u8], Duration)> {
    let (len, pause) = match delivery.rate.map(NonZeroU32::get) {
        None => (MAX_DATA_LEN, Duration::ZERO),
        Some(rate @ ..10) => (rate as usize, Duration::from_secs(1)),
        Some(rate) => ((rate / 10) as usize, Duration::from_millis(100)),
    };
    delivery.bytes.chunks(len.min(MAX_DATA_LEN)).map(move |part| (part, pause))
}
