//! Messages of the control socket. Fields and variants are only added; a change of their meaning
//! raises [`VERSION`], which both sides check first.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tnet_fileinfo::tree::TreeHash;
use tnet_fileinfo::{FileHash, chain};

use super::error::{Fault, FaultKind};
use super::json_values;
use super::shares::Shared;
use tnet_peer::CoordinatorAddress;
use tnet_peer::DownloadOptions;
use tnet_peer::{
    ConnectionStatus, FileChange, FileStatus, Limits, LimitsChange, Priority, Progress, Status,
    Summary,
};

/// Version of the protocol.
pub const VERSION: u32 = 1;

/// A line in either direction.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    v: u32,
    #[serde(flatten)]
    content: T,
}

/// The part of a line that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    v: u32,
}

/// The server's first line.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its process.
    pub pid: u32,
    /// Its program's version, for people.
    pub program: String,
    /// Where it accepts peers.
    pub listen: SocketAddr,
    /// The coordinator it reports to.
    pub coordinator: Option<CoordinatorAddress>,
    /// Where others reach it, if its user said so.
    #[serde(default)]
    pub advertise: Option<String>,
}

/// What a client may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub(crate) enum Request {
    Status {
        /// Files in the answer at most; none is all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<u32>,
    },
    Ls,
    Get(GetRequest),
    /// Serve a file, or a directory as one tree, and remember that.
    Share {
        /// Absolute.
        #[serde(with = "json_values::path")]
        path: PathBuf,
        /// Take links that may lead out of the directory.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        allow_outside_links: bool,
    },
    Unshare {
        #[serde(with = "json_values::hash")]
        hash: FileHash,
    },
    /// Rate limits of the whole server.
    Limit(LimitsChange),
    /// Change the settings of a file.
    UpdateFile {
        #[serde(with = "json_values::hash")]
        hash: FileHash,
        #[serde(flatten)]
        change: FileChange,
    },
    Shutdown,
}

/// A download handed to the server. Not `non_exhaustive`, so that callers can use
/// `..GetRequest::new(source, out)`; new fields have defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetRequest {
    /// Which file.
    #[serde(flatten)]
    pub source: Source,
    /// Where to; absolute, because the server has its own working directory.
    #[serde(with = "json_values::path")]
    pub out: PathBuf,
    /// Replace an existing file.
    #[serde(default)]
    pub overwrite: bool,
    /// Replace what is there, a directory by a tree too, and take from it what is right.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub update: bool,
    /// Files and directories from which bytes are taken too; absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "json_values::paths")]
    pub reuse: Vec<PathBuf>,
    /// Give up after this long without a chunk; none means never.
    #[serde(default, rename = "timeout_ms", with = "milliseconds")]
    pub timeout: Option<Duration>,
    /// Send progress until it ends.
    #[serde(default)]
    pub follow: bool,
    /// Rate limits of this file, in bytes a second.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// Priority over other files.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub priority: Priority,
    /// Of a tree: make links that may lead out of it, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_outside_links: bool,
    /// The umask of the asker, for a new file; none means that of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// The open files that come with the request, in this order. Filled in by [`Client::get_with`].
    ///
    /// [`Client::get_with`]: crate::Client::get_with
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handed: Vec<HandedKind>,
}

/// The role of an open file that comes with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HandedKind {
    /// The description of the file, in place of its path.
    Description,
    /// The parent directory of the output, in place of its path.
    Directory,
}

fn is_usual(priority: &Priority) -> bool {
    *priority == Priority::default()
}

impl GetRequest {
    /// A download of this file to this absolute path, followed to its end; the rest is default.
    pub fn new(source: Source, out: PathBuf) -> Self {
        Self {
            source,
            out,
            overwrite: false,
            update: false,
            reuse: Vec::new(),
            timeout: None,
            follow: true,
            limits: Limits::default(),
            priority: Priority::default(),
            allow_outside_links: false,
            umask: None,
            handed: Vec::new(),
        }
    }

    /// The request in the terms of a download.
    pub fn download_options(&self) -> DownloadOptions {
        DownloadOptions {
            overwrite: self.overwrite,
            give_up_after: self.timeout,
            coordinator_within: self.timeout,
            limits: self.limits,
            priority: self.priority,
            allow_outside_links: self.allow_outside_links,
            directory: None,
            mode: self.umask.map(|umask| 0o666 & !umask),
            update: self.update,
            reuse: self.reuse.clone(),
        }
    }
}

/// How a file to be downloaded is named. Exhaustive: a new way would be a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// By the absolute path of its `.fileinfo`, which the server reads unless the client sends it
    /// open.
    Fileinfo(#[serde(with = "json_values::path")] PathBuf),
    /// By its hash; the description comes from a peer that holds the file.
    Hash(#[serde(with = "json_values::hash")] FileHash),
    /// A tree, by its hash; the output is a directory.
    Tree(#[serde(with = "json_values::tree")] TreeHash),
}

/// A line from the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub(crate) enum Response {
    Hello(Hello),
    /// Its lists are empty: their entries follow, one a line, which bounds the length of a line.
    Status(Status),
    File(FileStatus),
    Peer(ConnectionStatus),
    End,
    Started {
        #[serde(with = "json_values::path")]
        out: PathBuf,
    },
    Progress(Progress),
    Done(Summary),
    Shared(Shared),
    Unshared {
        found: bool,
    },
    /// The limits that hold now.
    Limits(Limits),
    FileUpdated {
        found: bool,
    },
    Stopping,
    Fault(Fault),
}

/// A line that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("it speaks version {version} of the control protocol, this program {VERSION}")]
    Version { version: u32 },
    #[error("not a line of the control protocol")]
    Malformed(#[source] serde_json::Error),
}

impl From<ParseError> for Fault {
    fn from(error: ParseError) -> Self {
        let kind = match error {
            ParseError::Version { .. } => FaultKind::Version,
            ParseError::Malformed(_) => FaultKind::Usage,
        };
        Self::new(kind, chain(&error))
    }
}

/// One line with its end.
pub(crate) fn to_line(content: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(&Line { v: VERSION, content })?;
    line.push(b'\n');
    Ok(line)
}

pub(crate) fn parse<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T, ParseError> {
    // The version first: another version may differ in everything else.
    let AnyVersion { v } = serde_json::from_slice(line).map_err(ParseError::Malformed)?;
    if v != VERSION {
        return Err(ParseError::Version { version: v });
    }
    let line: Line<T> = serde_json::from_slice(line).map_err(ParseError::Malformed)?;
    Ok(line.content)
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        // Rounded up, so that a timeout of some microseconds does not become zero.
        value
            .map(|value| u64::try_from(value.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
            .serialize(out)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        source: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(source)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn get(source: Source, out: PathBuf) -> Request {
        Request::Get(GetRequest {
            overwrite: true,
            timeout: Some(Duration::from_millis(1500)),
            ..GetRequest::new(source, out)
        })
    }

    #[test]
    fn a_request_is_one_line_that_a_person_can_write() {
        let request = get(Source::Fileinfo("/a.fileinfo".into()), "/a".into());
        let line = to_line(&request).expect("serializes");
        assert_eq!(
            String::from_utf8(line).expect("text"),
            "{\"v\":1,\"request\":\"get\",\"fileinfo\":\"/a.fileinfo\",\"out\":\"/a\",\"overwrite\":true,\"timeout_ms\":1500,\"follow\":true}\n"
        );
        let short = format!(
            "{{\"v\":1,\"request\":\"get\",\"hash\":\"{}\",\"out\":\"/a\"}}",
            "0".repeat(64)
        );
        let parsed: Request = parse(short.as_bytes()).expect("the rest has defaults");
        let Request::Get(parsed) = parsed else { panic!("{parsed:?}") };
        assert_eq!((parsed.overwrite, parsed.timeout, parsed.follow), (false, None, false));
    }

    #[test]
    fn every_request_comes_back_as_it_was_sent() {
        let hash = FileHash::from_bytes([7; 32]);
        let no_text = PathBuf::from(OsStr::from_bytes(b"/\xff/line\nend"));
        for request in [
            Request::Status { files: None },
            Request::Status { files: Some(70) },
            Request::Ls,
            Request::Shutdown,
            Request::Unshare { hash },
            Request::Share { path: no_text.clone(), allow_outside_links: true },
            Request::Limit(LimitsChange { up: Some(0), down: None }),
            Request::UpdateFile { hash, change: FileChange::Pause },
            Request::UpdateFile {
                hash,
                change: FileChange::Limits(LimitsChange { up: None, down: Some(7) }),
            },
            Request::UpdateFile { hash, change: FileChange::Priority { level: Priority::High } },
            get(Source::Hash(hash), "/ä b".into()),
            get(Source::Tree(TreeHash::of_manifest(hash)), "/dir".into()),
            Request::Get(GetRequest {
                umask: Some(0o077),
                handed: vec![HandedKind::Directory, HandedKind::Description],
                ..GetRequest::new(Source::Hash(hash), "/a".into())
            }),
            get(Source::Fileinfo(no_text.clone()), no_text),
        ] {
            let line = to_line(&request).expect("serializes");
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(parse::<Request>(&line).expect("our own line"), request);
        }
    }

    #[test]
    fn another_version_is_named_whatever_else_the_line_says() {
        let refused = parse::<Request>(b"{\"v\":2,\"ask\":\"status\"}");
        assert!(matches!(refused, Err(ParseError::Version { version: 2 })));
        // No object; no version; no request; an unknown one; a hash that is none.
        for line in [
            "[]",
            "{}",
            "{\"v\":1}",
            "{\"v\":1,\"request\":\"dance\"}",
            "{\"v\":1,\"request\":\"unshare\",\"hash\":\"12\"}",
        ] {
            let refused = parse::<Request>(line.as_bytes());
            assert!(matches!(refused, Err(ParseError::Malformed(_))), "{line}");
        }
    }
}
