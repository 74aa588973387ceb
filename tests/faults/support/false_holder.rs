//! Peers that are said to hold a file and give no true description of it, each in its own way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use tnet_fileinfo::{FileInfo, MIN_CHUNK_SIZE, Tail};
use tnet_proto::{
    ByeReason, Hello, Info, MAX_INFO_SUMS, MessageCodec, PeerId, PeerMessage, Protocol, Received,
    encode, exchange_preamble, preamble,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::codec::Framed;
use tokio_util::task::AbortOnDropHandle;

/// How a holder is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// Accepts and says nothing.
    Silent,
    /// Introduces itself byte by byte.
    SlowPreamble,
    /// Says hello and nothing more.
    Mute,
    Closes,
    /// Has no place for another connection.
    Full,
    Refuses,
    /// Sums of another file.
    Forges,
    /// Another size than the file has.
    LiesAboutTheSize,
    /// The description of another file, under its own hash.
    OtherHash,
    /// One sum each four seconds.
    Dribbles,
    /// A byte each half second.
    Drips,
    /// A million sums, as fast as they are asked for.
    Endless,
    /// The same, a part each two seconds.
    EndlessSlowly,
    /// Talks of other things.
    Chatters,
}

impl Trick {
    /// Each of them.
    pub(crate) const ALL: [Trick; 14] = [
        Trick::Silent,
        Trick::SlowPreamble,
        Trick::Mute,
        Trick::Closes,
        Trick::Full,
        Trick::Refuses,
        Trick::Forges,
        Trick::LiesAboutTheSize,
        Trick::OtherHash,
        Trick::Dribbles,
        Trick::Drips,
        Trick::Endless,
        Trick::EndlessSlowly,
        Trick::Chatters,
    ];
}

/// One that listens until it is dropped.
#[derive(Debug)]
pub(crate) struct FalseHolder {
    pub(crate) address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl FalseHolder {
    /// Listens at `ip`, as a holder of that file.
    pub(crate) async fn at(ip: IpAddr, trick: Trick, info: FileInfo) -> FalseHolder {
        let listener = TcpListener::bind((ip, 0)).await.expect("an address of this machine");
        let address = listener.local_addr().expect("it listens");
        let accepting = async move {
            let mut callers = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let info = info.clone();
                callers.spawn(async move { deceive(stream, trick, &info).await });
            }
        };
        FalseHolder { address, _task: AbortOnDropHandle::new(tokio::spawn(accepting)) }
    }
}

async fn deceive(mut stream: TcpStream, trick: Trick, info: &FileInfo) -> io::Result<()> {
    match trick {
        Trick::Silent => std::future::pending().await,
        Trick::Closes => return Ok(()),
        Trick::SlowPreamble => {
            return drip(&mut stream, &preamble(Protocol::Peer), Duration::from_secs(1)).await;
        }
        _ => {}
    }
    exchange_preamble(&mut stream, Protocol::Peer).await.map_err(io::Error::other)?;
    let mut line = Framed::new(stream, MessageCodec::<PeerMessage, PeerMessage>::new());
    let hello = Hello {
        peer_id: PeerId([line.get_ref().local_addr()?.port().to_le_bytes()[0]; 16]),
        listen_port: 0,
        capabilities: 0,
    };
    say(&mut line, &PeerMessage::Hello(hello)).await?;
    line.codec_mut().hello_done();
    if trick == Trick::Full {
        say(&mut line, &PeerMessage::Bye { reason: ByeReason::TOO_MANY }).await?;
        // As a peer does: a reset could overtake the goodbye.
        while line.next().await.is_some() {}
        return Ok(());
    }
    while let Some(Ok(Received::Message(message))) = line.next().await {
        let PeerMessage::InfoRequest { hash, first } = message else { continue };
        let sums: Vec<_> = info
            .sums()
            .iter()
            .skip(first as usize)
            .take(MAX_INFO_SUMS)
            .map(|sum| *sum.as_bytes())
            .collect();
        let truth = Info {
            hash,
            size: info.size(),
            chunk_size: info.geometry().chunk_size().get(),
            tail_leaf: info.tail().leaf.clone(),
            tail_path: info.tail().path.clone(),
            first,
            sums,
        };
        let endless = Info {
            size: (1 << 20) * u64::from(MIN_CHUNK_SIZE) - u64::from(MIN_CHUNK_SIZE) + 1,
            chunk_size: MIN_CHUNK_SIZE,
            tail_leaf: vec![1],
            tail_path: Tail::default().path,
            sums: vec![[4; 32]; MAX_INFO_SUMS],
            ..truth.clone()
        };
        let answer = match trick {
            Trick::Refuses => PeerMessage::InfoNotFound { hash },
            Trick::Forges => {
                let mut forged = truth;
                forged.sums.iter_mut().for_each(|sum| sum[0] ^= 1);
                PeerMessage::Info(forged)
            }
            Trick::LiesAboutTheSize => PeerMessage::Info(Info { size: truth.size - 1, ..truth }),
            Trick::OtherHash => PeerMessage::Info(Info { hash: [8; 32], ..truth }),
            Trick::Dribbles => {
                sleep(Duration::from_secs(4)).await;
                PeerMessage::Info(Info { sums: truth.sums.into_iter().take(1).collect(), ..truth })
            }
            Trick::Drips => {
                let mut bytes = BytesMut::new();
                encode(&PeerMessage::Info(truth), &mut bytes);
                drip(line.get_mut(), &bytes, Duration::from_millis(500)).await?;
                continue;
            }
            Trick::Endless => PeerMessage::Info(endless),
            Trick::EndlessSlowly => {
                sleep(Duration::from_secs(2)).await;
                PeerMessage::Info(endless)
            }
            Trick::Chatters => loop {
                say(&mut line, &PeerMessage::Extension { kind: 1, body: vec![0; 10_000] }).await?;
                sleep(Duration::from_millis(100)).await;
            },
            _ => continue,
        };
        say(&mut line, &answer).await?;
    }
    Ok(())
}

async fn say(
    line: &mut Framed<TcpStream, MessageCodec<PeerMessage, PeerMessage>>,
    message: &PeerMessage,
) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    encode(message, &mut bytes);
    line.get_mut().write_all(&bytes).await
}

async fn drip(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        sleep(pause).await;
    }
    Ok(())
}
