//! The client's end of the control socket. Every wait has a deadline.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tnet_fileinfo::{Explain, FileHash};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::error::{Fault, FaultKind};
use super::fd_passing;
use super::json_lines::{MAX_RESPONSE_LEN, ReadLineError, WRITE_DEADLINE, read_line, write_line};
use super::message::{
    GetRequest, HandedKind, Hello, ParseError, Request, Response, parse, to_line,
};
use super::shares::Shared;
use super::state_lock::{StateDirError, check_secure, socket_path, way_to_socket};
use tnet_peer::{FileChange, FileStatus, Limits, LimitsChange, Progress, Status, Summary};

/// How long the server may take for its next line, other than while a download is followed.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The same for the end of a download: what arrived is synced to the disk first, 64 MiB at most
/// beside the writes of other processes.
const SAVE_DEADLINE: Duration = Duration::from_secs(120);

/// Pause before the next attempt when the listen backlog is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(50);

/// How long a followed download may be silent: its server reports five times a second once chunks
/// are requested, but before that it may have to hash what an earlier attempt left.
const FOLLOW_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// A connection to a running server, for one request.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    hello: Hello,
}

/// Open files that are sent with a request; the server uses them instead of the paths, which may
/// lead elsewhere in its mount namespace.
///
/// Exhaustive, for `..HandedFiles::default()`; new fields have defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct HandedFiles<'a> {
    /// The `.fileinfo`.
    pub description: Option<BorrowedFd<'a>>,
    /// The directory that the output is to be in.
    pub directory: Option<BorrowedFd<'a>>,
}

/// A server cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is none.
    #[error("no server is running with the state directory {dir:?}")]
    NotRunning {
        /// The directory.
        dir: PathBuf,
    },
    /// The state directory cannot be trusted.
    #[error(transparent)]
    Directory(#[from] StateDirError),
    /// Another user's.
    #[error("no permission to use the control socket {path:?}")]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It refused the client and says why: it is of another version.
    #[error("talking to the server: {}", .0.cause)]
    Refused(Fault),
    /// It does not answer, or not with a hello.
    #[error("the server does not answer and may be hanging")]
    NoAnswer(#[source] RequestError),
}

impl Explain for ConnectError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::Directory(error) => error.hint(),
            Self::Refused(fault) => {
                fault.hint.as_deref().or(Some("stop it with the program that started it"))
            }
            Self::NoAnswer(error) => error.hint(),
            Self::NotRunning { .. } | Self::NotAllowed { .. } => None,
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            Self::NotRunning { dir } => Some(dir),
            Self::Directory(error) => error.subject(),
            Self::NotAllowed { path, .. } => Some(path),
            Self::Refused(fault) => fault.subject.as_deref(),
            Self::NoAnswer(error) => error.subject(),
        }
    }
}

/// A request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server answered with a fault.
    #[error("{}", .0.cause)]
    Fault(Fault),
    /// The server ended first.
    #[error("the server ended before it answered")]
    Lost,
    /// No answer within this time.
    #[error("the server did not answer within {0:.0?}")]
    TimedOut(Duration),
    /// The answer violates the protocol.
    #[error("the server sent an invalid answer")]
    Unexpected,
    /// The connection failed.
    #[error("talking to the server")]
    Io(#[from] io::Error),
}

impl Explain for RequestError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::Fault(fault) => fault.hint.as_deref(),
            Self::Lost | Self::TimedOut(_) | Self::Unexpected | Self::Io(_) => None,
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            Self::Fault(fault) => fault.subject.as_deref(),
            Self::Lost | Self::TimedOut(_) | Self::Unexpected | Self::Io(_) => None,
        }
    }
}

impl From<&ConnectError> for FaultKind {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::NotRunning { .. } => Self::NotFound,
            ConnectError::Directory(error) => error.into(),
            ConnectError::NotAllowed { .. } => Self::NotAllowed,
            ConnectError::Refused(fault) => fault.kind,
            ConnectError::NoAnswer(error) => error.into(),
        }
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        Self::of(FaultKind::from(&error), &error)
    }
}

impl From<&RequestError> for FaultKind {
    fn from(error: &RequestError) -> Self {
        match error {
            RequestError::Fault(fault) => fault.kind,
            RequestError::Lost
            | RequestError::TimedOut(_)
            | RequestError::Unexpected
            | RequestError::Io(_) => Self::Other,
        }
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Fault(fault) => fault,
            error => Self::of(FaultKind::from(&error), &error),
        }
    }
}

impl From<Fault> for RequestError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ReadLineError> for RequestError {
    fn from(error: ReadLineError) -> Self {
        match error {
            ReadLineError::TooLong { .. } => Self::Unexpected,
            ReadLineError::TimedOut { within } => Self::TimedOut(within),
            ReadLineError::Io(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Self::Lost,
                _ => Self::Io(error),
            },
        }
    }
}

impl Client {
    /// Connects to the server of this state directory.
    ///
    /// # Errors
    /// None is running, or it cannot be asked.
    pub async fn connect(state_dir: &Path) -> Result<Self, ConnectError> {
        let not_running = || ConnectError::NotRunning { dir: state_dir.to_owned() };
        let directory = match check_secure(state_dir) {
            Ok(directory) => directory,
            Err(StateDirError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(not_running());
            }
            Err(error) => return Err(error.into()),
        };
        let path = socket_path(state_dir);
        let way = way_to_socket(&directory, state_dir)?;
        let stream = connect(&way).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => not_running(),
            io::ErrorKind::PermissionDenied => {
                ConnectError::NotAllowed { path: path.clone(), source }
            }
            _ => ConnectError::NoAnswer(source.into()),
        })?;
        let mut stream = BufReader::new(stream);
        match next(&mut stream, ANSWER_DEADLINE).await {
            Ok(Response::Hello(hello)) => Ok(Self { stream, hello }),
            Err(RequestError::Fault(fault)) => Err(ConnectError::Refused(fault)),
            // It was ending at that moment.
            Err(RequestError::Lost) => Err(not_running()),
            Ok(_) => Err(ConnectError::NoAnswer(RequestError::Unexpected)),
            Err(error) => Err(ConnectError::NoAnswer(error)),
        }
    }

    /// What the server said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The state of the peer, with all files or at most so many: what is being downloaded, then
    /// what was sent or received last.
    ///
    /// # Errors
    /// The server did not answer, or could not.
    pub async fn status(mut self, most_files: Option<u32>) -> Result<Status, RequestError> {
        self.ask(&Request::Status { files: most_files }).await?;
        let Response::Status(mut status) = self.answer().await? else {
            return Err(RequestError::Unexpected);
        };
        loop {
            match self.answer().await? {
                Response::File(file) => status.files.push(file),
                Response::Peer(peer) => status.peers.push(peer),
                Response::End => return Ok(status),
                _ => return Err(RequestError::Unexpected),
            }
        }
    }

    /// The files of the peer.
    ///
    /// # Errors
    /// The server did not answer, or could not.
    pub async fn files(mut self) -> Result<Vec<FileStatus>, RequestError> {
        self.ask(&Request::Ls).await?;
        let mut files = Vec::new();
        loop {
            match self.answer().await? {
                Response::File(file) => files.push(file),
                Response::End => return Ok(files),
                _ => return Err(RequestError::Unexpected),
            }
        }
    }

    /// Hands a download to the server, which goes on with it when this client disconnects.
    ///
    /// # Errors
    /// The server refused it, or did not answer.
    pub async fn get(self, request: GetRequest) -> Result<Following, RequestError> {
        self.get_with(request, &HandedFiles::default()).await
    }

    /// The same with open files.
    ///
    /// # Errors
    /// The server refused it, or did not answer.
    pub async fn get_with(
        mut self,
        mut request: GetRequest,
        handed: &HandedFiles<'_>,
    ) -> Result<Following, RequestError> {
        let (mut kinds, mut files) = (Vec::new(), Vec::new());
        for (kind, file) in [
            (HandedKind::Description, handed.description),
            (HandedKind::Directory, handed.directory),
        ] {
            if let Some(file) = file {
                kinds.push(kind);
                files.push(file);
            }
        }
        request.handed = kinds;
        let line = to_line(&Request::Get(request)).map_err(io::Error::other)?;
        self.say(&line, &files).await?;
        match self.answer().await? {
            Response::Started { out } => Ok(Following { stream: self.stream, out }),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Serves a file, or a directory as one tree, at this absolute path; a server that starts again
    /// does so again. The answer comes when all of it was read.
    ///
    /// # Errors
    /// It cannot be read by the server, or the server did not answer.
    pub async fn share(
        mut self,
        path: PathBuf,
        allow_outside_links: bool,
    ) -> Result<Shared, RequestError> {
        self.ask(&Request::Share { path, allow_outside_links }).await?;
        match next(&mut self.stream, FOLLOW_DEADLINE).await? {
            Response::Shared(shared) => Ok(shared),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Stops sharing a file, or ends its download; returns whether there was one. What is on the
    /// disk stays.
    ///
    /// # Errors
    /// The server did not answer, or could not.
    pub async fn unshare(mut self, hash: FileHash) -> Result<bool, RequestError> {
        self.ask(&Request::Unshare { hash }).await?;
        match next(&mut self.stream, SAVE_DEADLINE).await? {
            Response::Unshared { found } => Ok(found),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Changes the rate limits of the whole server, in bytes a second; returns the new ones.
    ///
    /// # Errors
    /// The server did not answer, or could not.
    pub async fn limit(mut self, change: LimitsChange) -> Result<Limits, RequestError> {
        self.ask(&Request::Limit(change)).await?;
        match self.answer().await? {
            Response::Limits(limits) => Ok(limits),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Changes the settings of a file; whether it was known.
    ///
    /// # Errors
    /// The server did not answer, or could not.
    pub async fn update_file(
        mut self,
        hash: FileHash,
        change: FileChange,
    ) -> Result<bool, RequestError> {
        self.ask(&Request::UpdateFile { hash, change }).await?;
        match self.answer().await? {
            Response::FileUpdated { found } => Ok(found),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Ends the server, and waits until it has ended.
    ///
    /// # Errors
    /// It did not answer, or has not ended within that time.
    pub async fn shutdown(mut self, within: Duration) -> Result<(), RequestError> {
        self.ask(&Request::Shutdown).await?;
        match self.answer().await? {
            Response::Stopping => {}
            _ => return Err(RequestError::Unexpected),
        }
        // The connection ends when the peer has.
        match timeout(within, self.stream.read_u8()).await {
            Err(_) => Err(RequestError::TimedOut(within)),
            Ok(Ok(_)) => Err(RequestError::Unexpected),
            Ok(Err(_)) => Ok(()),
        }
    }

    async fn ask(&mut self, request: &Request) -> Result<(), RequestError> {
        let line = to_line(request).map_err(io::Error::other)?;
        self.say(&line, &[]).await
    }

    async fn say(&mut self, line: &[u8], files: &[BorrowedFd<'_>]) -> Result<(), RequestError> {
        let said = async {
            let sent = match files {
                [] => 0,
                files => {
                    timeout(ANSWER_DEADLINE, fd_passing::send(self.stream.get_ref(), line, files))
                        .await
                        .map_err(|_| io::ErrorKind::TimedOut)??
                }
            };
            write_line(&mut self.stream, line.get(sent..).unwrap_or_default(), WRITE_DEADLINE).await
        };
        let Err(error) = said.await else { return Ok(()) };
        // A server that closes the connection may have said why before it read the request.
        match self.answer().await {
            Err(RequestError::Fault(fault)) => Err(fault.into()),
            _ => Err(ReadLineError::Io(error).into()),
        }
    }

    async fn answer(&mut self) -> Result<Response, RequestError> {
        next(&mut self.stream, ANSWER_DEADLINE).await
    }
}

/// Progress of a download of the server. Dropping it does not end the download.
#[derive(Debug)]
pub struct Following {
    stream: BufReader<UnixStream>,
    out: PathBuf,
}

/// News of a followed download. Exhaustive: the protocol has no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The latest state.
    Progress(Progress),
    /// It is complete; nothing follows.
    Done(Summary),
}

impl Following {
    /// Where the file will be.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Waits for the next news; only if the request asked to follow.
    ///
    /// # Errors
    /// The download failed, or the server ended.
    pub async fn next(&mut self) -> Result<Followed, RequestError> {
        match next(&mut self.stream, FOLLOW_DEADLINE).await? {
            Response::Progress(progress) => Ok(Followed::Progress(progress)),
            Response::Done(summary) => Ok(Followed::Done(summary)),
            _ => Err(RequestError::Unexpected),
        }
    }
}

/// Connects; retries while the listen backlog is full.
async fn connect(way: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + ANSWER_DEADLINE;
    loop {
        match UnixStream::connect(way).await {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
            {
                sleep(QUEUE_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

async fn next(
    stream: &mut BufReader<UnixStream>,
    within: Duration,
) -> Result<Response, RequestError> {
    let line = read_line(stream, MAX_RESPONSE_LEN, within).await?.ok_or(RequestError::Lost)?;
    match parse(&line) {
        Ok(Response::Fault(fault)) => Err(fault.into()),
        Ok(response) => Ok(response),
        Err(error @ ParseError::Version { .. }) => Err(Fault::from(error).into()),
        Err(ParseError::Malformed(_)) => Err(RequestError::Unexpected),
    }
}
