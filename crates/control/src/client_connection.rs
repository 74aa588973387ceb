//! One client of the control socket: one request, its responses, the end. Whatever the client sends
//! or fails to read, the session ends within its deadlines and touches nothing but what was asked
//! for.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{Described, FileHash, MAX_FILEINFO_LEN, chain};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::debug;

use super::download_state::DownloadState;
use super::downloads::{Order, Wanted};
use super::error::{Fault, FaultKind};
use super::fd_passing;
use super::json_lines::{
    MAX_REQUEST_LEN, MAX_RESPONSE_LEN, ReadLineError, WRITE_DEADLINE, write_line,
};
use super::json_values::shown;
use super::message::{GetRequest, HandedKind, Hello, Request, Response, Source, parse, to_line};
use super::shares::Shares;
use tnet_peer::Peer;
use tnet_peer::descriptors::shortage_of;
use tnet_peer::{FileStatus, PeerGone, Status};

/// How long a client may take to ask. It has nothing else to do.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// A client that follows may be stopped by its user and go on later, as long as it exists.
const FOLLOWER_READS_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Files that the engine is asked for at once.
const FILES_PER_PAGE: usize = 256;

/// Files at most in a status with a limit. A client that wants more asks for all.
const MOST_CHOSEN: usize = 4096;

/// How long input of a refused client is read and discarded.
const DRAIN_AFTER_REFUSAL: Duration = Duration::from_millis(500);

/// What only the server's own task can do.
pub(crate) enum ServerCommand {
    /// Ends all downloads of this content. Answers with their news channels, which close when they
    /// have ended.
    Forget(FileHash, oneshot::Sender<Vec<watch::Receiver<DownloadState>>>),
    Start(Order, oneshot::Sender<Result<watch::Receiver<DownloadState>, Fault>>),
    /// With the connection of the client, which is closed when the peer has ended.
    Shutdown(ClientConnection),
}

pub(crate) struct ClientConnection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
}

/// Limits how many clients follow downloads at once. Other requests need no slot.
#[derive(Debug, Clone)]
pub(crate) struct FollowerSlots {
    free: Arc<Semaphore>,
    most: usize,
}

impl FollowerSlots {
    pub(crate) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), most }
    }

    fn take(&self) -> Result<SemaphorePermit<'_>, Fault> {
        let full = |_| {
            Fault::passing(format!("{} downloads are watched already", self.most))
                .or_hint("wait for one to end")
        };
        self.free.try_acquire().map_err(full)
    }
}

/// The client is gone or does not read.
struct ClientLost;

pub(crate) async fn serve_client(
    stream: UnixStream,
    hello: Arc<Hello>,
    peer: Arc<Peer>,
    commands: mpsc::Sender<ServerCommand>,
    slots: FollowerSlots,
    shares: Arc<Shares>,
) {
    let (reader, writer) = stream.into_split();
    let connection = ClientConnection { reader, writer };
    if converse(connection, &hello, &peer, &commands, &slots, &shares).await.is_err() {
        debug!("client of the control socket disconnected");
    }
}

async fn converse(
    mut client: ClientConnection,
    hello: &Hello,
    peer: &Peer,
    commands: &mpsc::Sender<ServerCommand>,
    slots: &FollowerSlots,
    shares: &Shares,
) -> Result<(), ClientLost> {
    client.say(&Response::Hello(hello.clone())).await?;
    let (request, files) = match client.request().await? {
        Ok(request) => request,
        Err(fault) => return client.refuse(fault).await,
    };
    let answered = match request {
        Request::Status { files } => client.tell_status(peer, files).await?,
        Request::Ls => client.tell_files(peer).await?,
        Request::Get(request) => client.start_download(request, files, commands, slots).await?,
        Request::Share { path, allow_outside_links } => {
            client.share(peer, path, allow_outside_links, slots, shares).await?
        }
        Request::Unshare { hash } => {
            shares.forget(hash).await;
            client.unshare(peer, hash, commands).await?
        }
        Request::Limit(change) => {
            client.answer(peer.limit(change).await.map(Response::Limits)).await?
        }
        Request::UpdateFile { hash, change } => {
            let updated = peer.update_file(hash, change).await;
            client.answer(updated.map(|found| Response::FileUpdated { found })).await?
        }
        Request::Shutdown => {
            client.say(&Response::Stopping).await?;
            return commands.send(ServerCommand::Shutdown(client)).await.map_err(|_| ClientLost);
        }
    };
    match answered {
        Ok(()) => Ok(()),
        Err(fault) => client.refuse(fault).await,
    }
}

/// The outer error: the client is lost. The inner one is sent to the client.
type Answered = Result<Result<(), Fault>, ClientLost>;

impl ClientConnection {
    async fn request(&mut self) -> Result<Result<(Request, Vec<OwnedFd>), Fault>, ClientLost> {
        let fault = match fd_passing::receive(
            self.reader.as_ref(),
            MAX_REQUEST_LEN,
            REQUEST_DEADLINE,
        )
        .await
        {
            Ok(Some((line, files))) => {
                return Ok(parse(&line).map(|request| (request, files)).map_err(Fault::from));
            }
            Ok(None) => return Err(ClientLost),
            // The client retries; its files are closed.
            Err(ReadLineError::Io(error)) => match shortage_of(&error) {
                Some(shortage) => Fault::passing(shortage.to_string()).or_hint(shortage.hint()),
                None => return Err(ClientLost),
            },
            Err(error @ (ReadLineError::TooLong { .. } | ReadLineError::TimedOut { .. })) => {
                Fault::new(FaultKind::Usage, chain(&error))
            }
        };
        Ok(Err(fault))
    }

    /// Sends the last line. What the client still sends is read for a moment: closing a connection
    /// with unread bytes resets it, and the client would not see the fault.
    async fn refuse(mut self, fault: Fault) -> Result<(), ClientLost> {
        self.say(&Response::Fault(fault)).await?;
        let _ = self.writer.shutdown().await;
        let mut rest = [0; 4096];
        let rest = async { while let Ok(1..) = self.reader.read(&mut rest).await {} };
        let _ = timeout(DRAIN_AFTER_REFUSAL, rest).await;
        Ok(())
    }

    async fn say(&mut self, response: &Response) -> Result<(), ClientLost> {
        self.say_within(WRITE_DEADLINE, response).await
    }

    async fn say_within(
        &mut self,
        within: Duration,
        response: &Response,
    ) -> Result<(), ClientLost> {
        let line = match to_line(response) {
            Ok(line) if line.len() <= MAX_RESPONSE_LEN => line,
            Ok(_) => fault_line("the answer is too long for the control socket"),
            Err(error) => fault_line(&error.to_string()),
        };
        write_line(&mut self.writer, &line, within).await.map_err(|_| ClientLost)
    }

    /// Sends the status without its lists, then the files, then the peers.
    async fn tell_status(&mut self, peer: &Peer, most_files: Option<u32>) -> Answered {
        let most = most_files.map_or(0, |most| (most as usize).min(MOST_CHOSEN));
        let mut status: Status = match peer.status_of(most).await {
            Ok(status) => status,
            Err(gone) => return Ok(Err(gone.into())),
        };
        let files = std::mem::take(&mut status.files);
        let peers = std::mem::take(&mut status.peers);
        self.say(&Response::Status(status)).await?;
        match most_files {
            Some(_) => self.say_files(files).await?,
            None => {
                if let Err(gone) = self.say_all_files(peer).await? {
                    return Ok(Err(gone));
                }
            }
        }
        for peer in peers {
            self.say(&Response::Peer(peer)).await?;
        }
        self.say(&Response::End).await.map(Ok)
    }

    async fn tell_files(&mut self, peer: &Peer) -> Answered {
        match self.say_all_files(peer).await? {
            Ok(()) => self.say(&Response::End).await.map(Ok),
            Err(gone) => Ok(Err(gone)),
        }
    }

    /// In pages, so that neither the engine nor this task holds all of them at once.
    async fn say_all_files(&mut self, peer: &Peer) -> Answered {
        let mut after = None;
        loop {
            let page = match peer.files_page(after, FILES_PER_PAGE).await {
                Ok(page) => page,
                Err(gone) => return Ok(Err(gone.into())),
            };
            self.say_files(page.files).await?;
            match page.last {
                Some(last) => after = Some(last),
                None => return Ok(Ok(())),
            }
        }
    }

    async fn say_files(&mut self, files: Vec<FileStatus>) -> Result<(), ClientLost> {
        for mut file in files {
            file.path = shown(&file.path);
            self.say(&Response::File(file)).await?;
        }
        Ok(())
    }

    async fn share(
        &mut self,
        peer: &Peer,
        path: PathBuf,
        allow_outside_links: bool,
        slots: &FollowerSlots,
        shares: &Shares,
    ) -> Answered {
        // It may take as long as a download.
        let _slot = match slots.take() {
            Ok(slot) => slot,
            Err(full) => return Ok(Err(full)),
        };
        match shares.share(peer, path, allow_outside_links).await {
            Ok(shared) => self.say(&Response::Shared(shared)).await.map(Ok),
            Err(fault) => Ok(Err(fault)),
        }
    }

    async fn unshare(
        &mut self,
        peer: &Peer,
        hash: FileHash,
        commands: &mpsc::Sender<ServerCommand>,
    ) -> Answered {
        let (answer, forgotten) = oneshot::channel();
        commands.send(ServerCommand::Forget(hash, answer)).await.map_err(|_| ClientLost)?;
        let forgotten = forgotten.await.map_err(|_| ClientLost)?;
        let any = !forgotten.is_empty();
        // A download that completed meanwhile has shared the file.
        for mut ending in forgotten {
            while ending.changed().await.is_ok() {}
        }
        let unshared = peer.unshare(hash).await;
        self.answer(unshared.map(|found| Response::Unshared { found: found || any })).await
    }

    async fn answer(&mut self, response: Result<Response, PeerGone>) -> Answered {
        match response {
            Ok(response) => self.say(&response).await.map(Ok),
            Err(gone) => Ok(Err(gone.into())),
        }
    }

    async fn start_download(
        &mut self,
        request: GetRequest,
        files: Vec<OwnedFd>,
        commands: &mpsc::Sender<ServerCommand>,
        slots: &FollowerSlots,
    ) -> Answered {
        let _slot = match slots.take() {
            Ok(slot) => slot,
            Err(full) => return Ok(Err(full)),
        };
        let options = request.download_options();
        let GetRequest { source, out, follow, handed, .. } = request;
        let RequestFiles { description, directory } = match RequestFiles::of(&handed, files) {
            Ok(handed) => handed,
            Err(fault) => return Ok(Err(fault)),
        };
        if !out.is_absolute() {
            let message = format!("the output {out:?} has to be an absolute path");
            return Ok(Err(Fault::new(FaultKind::Usage, message)));
        }
        let wanted = match wanted(source, description).await {
            Ok(wanted) => wanted,
            Err(fault) => return Ok(Err(fault)),
        };
        let (answer, started) = oneshot::channel();
        let order = Order { wanted, out: out.clone(), options, directory };
        commands.send(ServerCommand::Start(order, answer)).await.map_err(|_| ClientLost)?;
        match started.await.map_err(|_| ClientLost)? {
            Ok(news) => {
                self.say(&Response::Started { out }).await?;
                if follow { self.follow(news).await } else { Ok(Ok(())) }
            }
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// Sends news until the download ends. The download goes on if the client disconnects.
    async fn follow(&mut self, mut news: watch::Receiver<DownloadState>) -> Answered {
        loop {
            let latest = news.borrow_and_update().clone();
            match latest {
                DownloadState::Started => {}
                DownloadState::Progress(progress) => {
                    self.say_within(FOLLOWER_READS_WITHIN, &Response::Progress(progress)).await?
                }
                DownloadState::Done(mut summary) => {
                    summary.path = shown(&summary.path);
                    return self
                        .say_within(FOLLOWER_READS_WITHIN, &Response::Done(summary))
                        .await
                        .map(Ok);
                }
                DownloadState::Failed(fault) => return Ok(Err(fault)),
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() {
                    let fault = Fault::new(FaultKind::Incomplete, "the server was stopped before the file was whole");
                    return Ok(Err(fault.or_hint("run the same command again to continue")));
                },
                // A client that follows sends nothing more, so this is the end of its connection.
                _ = self.reader.read_u8() => return Err(ClientLost),
            }
        }
    }
}

fn fault_line(message: &str) -> Vec<u8> {
    let fault = Response::Fault(Fault::new(FaultKind::Other, message));
    to_line(&fault).expect("two strings always serialize")
}

/// The open files that came with a request.
#[derive(Default)]
struct RequestFiles {
    description: Option<File>,
    directory: Option<OwnedFd>,
}

impl RequestFiles {
    fn of(kinds: &[HandedKind], files: Vec<OwnedFd>) -> Result<Self, Fault> {
        let mut handed = Self::default();
        if kinds.len() != files.len() {
            let message = format!(
                "the request names {} open files and came with {}",
                kinds.len(),
                files.len()
            );
            return Err(Fault::new(FaultKind::Usage, message));
        }
        for (kind, file) in kinds.iter().zip(files) {
            match kind {
                HandedKind::Description => handed.description = Some(file.into()),
                HandedKind::Directory => handed.directory = Some(file),
            }
        }
        Ok(handed)
    }
}

async fn wanted(source: Source, description: Option<File>) -> Result<Wanted, Fault> {
    match source {
        Source::Hash(hash) => Ok(Wanted::Named(hash)),
        Source::Tree(tree) => Ok(Wanted::Tree(tree.into())),
        Source::Fileinfo(path) => {
            let read = tokio::task::spawn_blocking(move || read_fileinfo(&path, description)).await;
            Ok(match read.expect("reading a description neither panics nor is cancelled")? {
                Described::File(info) => Wanted::Described(info),
                Described::Tree(manifest) => Wanted::Tree(manifest.into()),
            })
        }
    }
}

fn read_fileinfo(path: &Path, handed: Option<File>) -> Result<Described, Fault> {
    if !path.is_absolute() {
        let message = format!("the description {path:?} has to be an absolute path");
        return Err(Fault::new(FaultKind::Usage, message));
    }
    let read = match handed {
        Some(file) => read_handed(&file),
        None => read_bounded(path),
    };
    let json = read.map_err(|error| {
        let kind = FaultKind::of_io(&error).unwrap_or(FaultKind::Integrity);
        Fault::new(kind, format!("reading {path:?}: {error}"))
    })?;
    Ok(Described::parse(&json)?)
}

/// One byte more than allowed suffices for the parser to refuse it.
const LONGEST_READ: u64 = MAX_FILEINFO_LEN as u64 + 1;

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    if !std::fs::metadata(path)?.is_file() {
        return Err(not_regular());
    }
    File::open(path)?.take(LONGEST_READ).read_to_end(&mut json)?;
    Ok(json)
}

/// Reads from the beginning: the file offset is shared with the client.
fn read_handed(mut file: &File) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    if !file.metadata()?.is_file() {
        return Err(not_regular());
    }
    file.rewind()?;
    file.take(LONGEST_READ).read_to_end(&mut json)?;
    Ok(json)
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}
