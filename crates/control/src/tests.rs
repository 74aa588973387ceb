//! The control socket of a real peer, over a real socket in a directory of its own.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tnet_fileinfo::tree::TreeHash;
use tnet_fileinfo::{FileHash, scan::unwatched, scan_file};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::client_connection::{FollowerSlots, serve_client};
use super::shares::Shares;
use super::state_lock::socket_path;
use super::*;
use tnet_peer::Peer;

/// Far longer than anything here takes; a test that needs it has failed.
const SOON: Duration = Duration::from_secs(20);

struct Server {
    dir: TempDir,
    stop: CancellationToken,
    peer: Arc<Peer>,
    task: JoinHandle<Ended>,
}

impl Server {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory")).await
    }

    /// Ends, and starts again with the same state directory.
    async fn restart(self) -> Self {
        let Self { dir, stop, peer, task } = self;
        stop.cancel();
        drop(timeout(SOON, task).await.expect("it ends").expect("no panic"));
        Arc::into_inner(peer).expect("nobody else holds it").shutdown().await;
        Self::start_in(dir).await
    }

    async fn start_in(dir: TempDir) -> Self {
        let lock = StateLock::new(&dir.path().join("state")).await.expect("a fresh directory");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let peer = Arc::new(Peer::builder().listen(listen).spawn().expect("a free port"));
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(lock, Arc::clone(&peer), "test", stop.clone()));
        Self { dir, stop, peer, task }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    async fn client(&self) -> Client {
        Client::connect(&self.state()).await.expect("it is running")
    }

    /// A connection that speaks whatever the test likes, after the server's hello.
    async fn raw(&self) -> UnixStream {
        UnixStream::connect(socket_path(&self.state())).await.expect("it is running")
    }

    /// A file with its description beside it, shared by the peer itself.
    async fn shared_file(&self, name: &str) -> (PathBuf, FileHash) {
        let path = self.dir.path().join(name);
        std::fs::write(&path, vec![7; 100_000]).expect("written");
        let info = self.peer.share(&path).await.expect("readable");
        std::fs::write(fileinfo_of(&path), info.to_json()).expect("written");
        (path, info.hash())
    }

    async fn end(self) -> Ended {
        self.stop.cancel();
        let ended =
            timeout(SOON, self.task).await.expect("it ends when told").expect("without a panic");
        let peer = Arc::into_inner(self.peer)
            .expect("serve has returned, so only the test holds the peer");
        peer.shutdown().await;
        ended
    }
}

fn fileinfo_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".fileinfo");
    name.into()
}

fn request(source: Source, out: PathBuf, follow: bool) -> GetRequest {
    GetRequest { timeout: Some(Duration::from_millis(300)), follow, ..GetRequest::new(source, out) }
}

async fn all_of(stream: &mut UnixStream) -> String {
    let mut text = String::new();
    timeout(SOON, stream.read_to_string(&mut text))
        .await
        .expect("the server ends it")
        .expect("text");
    text
}

#[tokio::test]
async fn a_client_sees_what_the_peer_holds() {
    let server = Server::start().await;
    let (path, hash) = server.shared_file("a").await;
    let client = server.client().await;
    assert_eq!(
        (client.hello().pid, client.hello().listen),
        (std::process::id(), server.peer.local_addr())
    );
    let status = client.status(None).await.expect("answered");
    assert_eq!(status.files.len(), 1);
    let files = server.client().await.files().await.expect("answered");
    assert_eq!((&files[0].hash, &files[0].path), (&hash.to_string(), &path));
    server.end().await;
}

#[tokio::test]
async fn of_many_files_a_status_tells_as_many_as_are_asked_for_and_the_list_all() {
    // More than one page of them.
    const FILES: usize = 300;
    let server = Server::start().await;
    for number in 0..FILES {
        let path = server.dir.path().join(format!("file {number}"));
        std::fs::write(&path, number.to_le_bytes()).expect("written");
        server.peer.share(&path).await.expect("readable");
    }
    let some = server.client().await.status(Some(5)).await.expect("answered");
    assert_eq!((some.files.len(), some.files_total, some.downloads_total), (5, FILES as u64, 0));
    let all = server.client().await.status(None).await.expect("answered");
    assert_eq!(all.files.len(), FILES);
    let paths = |files: &[tnet_peer::FileStatus]| {
        files.iter().map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    let listed = server.client().await.files().await.expect("answered");
    assert_eq!(paths(&listed), paths(&all.files));
    server.end().await;
}

#[tokio::test]
async fn a_file_that_is_unshared_is_listed_no_more() {
    let server = Server::start().await;
    let (_, hash) = server.shared_file("a").await;
    assert!(server.client().await.unshare(hash).await.expect("answered"));
    assert!(server.client().await.files().await.expect("answered").is_empty());
    assert!(!server.client().await.unshare(hash).await.expect("answered"));
    server.end().await;
}

#[tokio::test]
async fn a_file_that_is_here_already_is_got_at_once() {
    let server = Server::start().await;
    let (path, _) = server.shared_file("a").await;
    let request = request(Source::Fileinfo(fileinfo_of(&path)), path.clone(), true);
    let mut following = server.client().await.get(request).await.expect("accepted");
    loop {
        match following.next().await.expect("the file is there") {
            Followed::Progress(_) => {}
            Followed::Done(summary) => break assert_eq!(summary.path, path),
        }
    }
    server.end().await;
}

#[tokio::test]
async fn failures_cross_the_socket_with_their_kind() {
    let server = Server::start().await;
    let (path, _) = server.shared_file("a").await;
    let file = |name: &str, content: &[u8]| {
        let path = server.dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let unknown = Source::Hash(FileHash::from_bytes([9; 32]));
    let out = server.dir.path().join("out");
    for (source, out, kind) in [
        (Source::Fileinfo(file("no.fileinfo", b"no")), out.clone(), FaultKind::Integrity),
        (
            Source::Fileinfo(file("2.fileinfo", b"{\"tnet_fileinfo\":2}")),
            out.clone(),
            FaultKind::Version,
        ),
        (Source::Fileinfo("/nowhere/at/all".into()), out.clone(), FaultKind::NotFound),
        (Source::Fileinfo(fileinfo_of(&path)), file("other", b"other"), FaultKind::Exists),
        (Source::Fileinfo(fileinfo_of(&path)), "relative".into(), FaultKind::Usage),
        // This peer has no coordinator that could know.
        (unknown, out, FaultKind::Usage),
    ] {
        let client = server.client().await;
        let failed = match client.get(request(source.clone(), out, true)).await {
            Err(error) => error,
            Ok(mut following) => loop {
                match following.next().await {
                    Ok(Followed::Progress(_)) => {}
                    Ok(Followed::Done(summary)) => panic!("{source:?} became {summary:?}"),
                    Err(error) => break error,
                }
            },
        };
        assert_eq!(FaultKind::from(&failed), kind, "{source:?}: {failed}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_download_goes_on_without_the_client_that_asked_for_it() {
    let server = Server::start().await;
    // No other peer has this file, so its download stays.
    let path = server.dir.path().join("wanted");
    std::fs::write(&path, b"content without a holder").expect("written");
    let info = scan_file(&path, None, &unwatched).expect("readable");
    std::fs::write(fileinfo_of(&path), info.to_json()).expect("written");
    let out = server.dir.path().join("out");
    let request = GetRequest {
        timeout: None,
        ..request(Source::Fileinfo(fileinfo_of(&path)), out.clone(), true)
    };
    let mut following = server.client().await.get(request.clone()).await.expect("accepted");
    following.next().await.expect("progress");
    drop(following);
    // Asked for again, it is the same download.
    let mut again = server.client().await.get(request.clone()).await.expect("joins it");
    assert!(matches!(again.next().await, Ok(Followed::Progress(_))));
    // To another place it waits for that, and sees how it goes on.
    let elsewhere = GetRequest { out: server.dir.path().join("elsewhere"), ..request };
    let mut waiting = server.client().await.get(elsewhere.clone()).await.expect("it waits");
    assert!(matches!(waiting.next().await, Ok(Followed::Progress(_))));
    // A waiting download has its own timeout.
    let elsewhere = GetRequest {
        out: server.dir.path().join("third"),
        timeout: Some(Duration::from_millis(300)),
        ..elsewhere
    };
    let mut hasty = server.client().await.get(elsewhere).await.expect("it waits");
    let gave_up = end_of(&mut hasty).await.expect_err("nothing arrives");
    assert_eq!(FaultKind::from(&gave_up), FaultKind::NoHolder, "{gave_up}");
    assert!(gave_up.to_string().contains("out"), "{gave_up}");
    // Followers learn at the end of the server that the download can be resumed.
    let end = tokio::spawn(server.end());
    for mut following in [again, waiting] {
        let last = end_of(&mut following).await.expect_err("the file is not whole");
        assert_eq!(FaultKind::from(&last), FaultKind::Incomplete, "{last}");
    }
    end.await.expect("ended");
}

/// The last that is told of a download.
async fn end_of(following: &mut Following) -> Result<tnet_peer::Summary, RequestError> {
    loop {
        match timeout(SOON, following.next()).await.expect("it ends") {
            Ok(Followed::Progress(_)) => {}
            Ok(Followed::Done(summary)) => return Ok(summary),
            Err(error) => return Err(error),
        }
    }
}

#[tokio::test]
async fn removing_a_download_ends_it_and_those_that_wait_for_it() {
    let server = Server::start().await;
    let path = server.dir.path().join("wanted");
    std::fs::write(&path, b"content without a holder").expect("written");
    let info = scan_file(&path, None, &unwatched).expect("readable");
    std::fs::write(fileinfo_of(&path), info.to_json()).expect("written");
    let mut all = Vec::new();
    for out in ["one", "two"] {
        let source = Source::Fileinfo(fileinfo_of(&path));
        let request =
            GetRequest { timeout: None, ..request(source, server.dir.path().join(out), true) };
        let mut following = server.client().await.get(request).await.expect("accepted");
        following.next().await.expect("progress");
        all.push(following);
    }
    assert!(server.client().await.unshare(info.hash()).await.expect("answered"), "it was there");
    for mut following in all {
        let last = end_of(&mut following).await.expect_err("removed");
        assert_eq!(FaultKind::from(&last), FaultKind::Incomplete, "{last}");
    }
    assert!(!server.client().await.unshare(info.hash()).await.expect("answered"), "only once");
    server.end().await;
}

#[tokio::test]
async fn a_download_that_is_removed_while_it_reads_what_was_there_never_begins() {
    // So much that reading it takes longer than asking.
    const BYTES: usize = 256 << 20;
    let server = Server::start().await;
    let path = server.dir.path().join("wanted");
    std::fs::write(&path, vec![7; BYTES]).expect("written");
    let info = scan_file(&path, None, &unwatched).expect("readable");
    std::fs::write(fileinfo_of(&path), info.to_json()).expect("written");
    std::fs::write(server.dir.path().join("out.partial"), vec![8; BYTES]).expect("written");
    let source = Source::Fileinfo(fileinfo_of(&path));
    let request =
        GetRequest { timeout: None, ..request(source, server.dir.path().join("out"), true) };
    let mut following = server.client().await.get(request.clone()).await.expect("accepted");
    assert!(server.client().await.unshare(info.hash()).await.expect("answered"), "it was there");
    // No download uses the target any more.
    assert!(server.client().await.files().await.expect("answered").is_empty());
    let partial = std::fs::File::open(server.dir.path().join("out.partial")).expect("there");
    partial.try_lock().expect("it is free");
    drop(partial);
    let last = end_of(&mut following).await.expect_err("removed");
    assert_eq!(FaultKind::from(&last), FaultKind::Incomplete, "{last}");
    server.end().await;
}

#[tokio::test]
async fn a_copy_that_is_removed_while_it_is_made_is_not_shared() {
    const BYTES: usize = 128 << 20;
    let server = Server::start().await;
    let path = server.dir.path().join("a");
    std::fs::write(&path, vec![7; BYTES]).expect("written");
    let info = server.peer.share(&path).await.expect("readable");
    std::fs::write(fileinfo_of(&path), info.to_json()).expect("written");
    let request = request(Source::Fileinfo(fileinfo_of(&path)), server.dir.path().join("b"), true);
    let mut following = server.client().await.get(request).await.expect("accepted");
    assert!(server.client().await.unshare(info.hash()).await.expect("answered"), "it was there");
    // Whole or not.
    let _ = end_of(&mut following).await;
    assert!(server.client().await.files().await.expect("answered").is_empty());
    server.end().await;
}

#[tokio::test]
async fn one_path_in_two_directories_is_two_downloads() {
    let server = Server::start().await;
    let (path, _) = server.shared_file("a").await;
    let mut all = Vec::new();
    // As two clients see it that have each a `/nowhere` of their own.
    for name in ["one", "two"] {
        let hidden = server.dir.path().join(name);
        std::fs::create_dir(&hidden).expect("writable");
        let directory = std::fs::File::open(&hidden).expect("there");
        let request = request(Source::Fileinfo(fileinfo_of(&path)), "/nowhere/out".into(), true);
        let handed = HandedFiles { directory: Some(directory.as_fd()), ..HandedFiles::default() };
        all.push((
            hidden,
            server.client().await.get_with(request, &handed).await.expect("accepted"),
        ));
    }
    for (hidden, mut following) in all {
        end_of(&mut following).await.expect("it is copied");
        assert_eq!(std::fs::read(hidden.join("out")).expect("there").len(), 100_000);
    }
    server.end().await;
}

#[tokio::test]
async fn one_path_in_two_directories_is_two_files() {
    let server = Server::start().await;
    let mut hashes = Vec::new();
    for (name, byte) in [("one", 1), ("two", 2)] {
        let hidden = server.dir.path().join(name);
        std::fs::create_dir(&hidden).expect("writable");
        // All of it is there, and no other peer has it.
        let path = hidden.join("out.partial");
        std::fs::write(&path, vec![byte; 100_000]).expect("writable");
        let info = scan_file(&path, None, &unwatched).expect("readable");
        let description = server.dir.path().join(format!("{name}.fileinfo"));
        std::fs::write(&description, info.to_json()).expect("written");
        let directory = std::fs::File::open(&hidden).expect("there");
        let request = request(Source::Fileinfo(description), "/nowhere/out".into(), true);
        let handed = HandedFiles { directory: Some(directory.as_fd()), ..HandedFiles::default() };
        let mut following =
            server.client().await.get_with(request, &handed).await.expect("accepted");
        end_of(&mut following).await.expect("it is whole");
        hashes.push(info.hash().to_string());
    }
    let files = server.client().await.files().await.expect("answered");
    assert!(hashes.iter().all(|hash| files.iter().any(|file| file.hash == *hash)), "{files:?}");
    server.end().await;
}

#[tokio::test]
async fn open_files_are_used_where_the_path_leads_nowhere() {
    let server = Server::start().await;
    let (path, hash) = server.shared_file("a").await;
    let description = std::fs::File::open(fileinfo_of(&path)).expect("there");
    let hidden = server.dir.path().join("hidden");
    std::fs::create_dir(&hidden).expect("writable");
    let directory = std::fs::File::open(&hidden).expect("there");
    let source = Source::Fileinfo("/nowhere/a.fileinfo".into());
    let request = request(source, "/nowhere/out".into(), true);
    let handed =
        HandedFiles { description: Some(description.as_fd()), directory: Some(directory.as_fd()) };
    let mut following = server.client().await.get_with(request, &handed).await.expect("accepted");
    end_of(&mut following).await.expect("it is copied");
    assert_eq!(std::fs::read(hidden.join("out")).expect("there").len(), 100_000);
    // It is shared from there, when the one it was copied from is gone.
    std::fs::remove_file(&path).expect("there");
    let files = server.client().await.files().await.expect("answered");
    assert!(files.iter().any(|file| file.hash == hash.to_string()), "{files:?}");
    server.end().await;
}

#[tokio::test]
async fn a_request_that_speaks_of_other_files_than_came_with_it_is_refused() {
    let server = Server::start().await;
    let mut stream = server.raw().await;
    let line = format!(
        "{{\"v\":1,\"request\":\"get\",\"hash\":\"{}\",\"out\":\"/a\",\"handed\":[\"directory\"]}}\n",
        "0".repeat(64)
    );
    stream.write_all(line.as_bytes()).await.expect("taken");
    assert!(all_of(&mut stream).await.contains("1 open files and came with 0"));
    server.end().await;
}

#[tokio::test]
async fn a_client_that_asks_for_the_end_waits_until_the_peer_has_ended() {
    let server = Server::start().await;
    let client = server.client().await;
    let mut asked = tokio::spawn(client.shutdown(SOON));
    let ended = timeout(SOON, server.task).await.expect("asked for").expect("without a panic");
    assert_eq!(ended.reason(), StopReason::Asked);
    let early = timeout(Duration::from_millis(50), &mut asked).await;
    assert!(early.is_err(), "the peer still runs");
    let peer = Arc::into_inner(server.peer).expect("no other handle of the peer");
    peer.shutdown().await;
    drop(ended);
    asked.await.expect("no panic").expect("ended");
    let gone = Client::connect(&server.dir.path().join("state")).await;
    assert!(matches!(gone, Err(ConnectError::NotRunning { .. })), "{gone:?}");
}

#[tokio::test]
async fn a_server_whose_peer_ended_by_itself_ends_too() {
    let server = Server::start().await;
    let client = server.client().await;
    let Server { dir, peer, task, .. } = server;
    peer.panic().await;
    let ended = timeout(SOON, task).await.expect("no client has to ask").expect("without a panic");
    assert_eq!(ended.reason(), StopReason::PeerGone);
    drop((ended, client));
    let gone = Client::connect(&dir.path().join("state")).await;
    assert!(matches!(gone, Err(ConnectError::NotRunning { .. })), "{gone:?}");
}

#[tokio::test]
async fn nonsense_is_answered_with_a_usage_fault_and_the_end() {
    let server = Server::start().await;
    let too_long = vec![b'x'; MAX_REQUEST_LEN + 1];
    for (sent, kind) in [
        (&b"nonsense\n"[..], "usage"),
        (b"{\"v\":9,\"request\":\"status\"}\n", "version"),
        (&too_long, "usage"),
    ] {
        let mut stream = server.raw().await;
        stream.write_all(sent).await.expect("taken");
        let text = all_of(&mut stream).await;
        let last = text.lines().last().expect("an answer");
        assert!(last.contains(&format!("\"response\":\"fault\",\"kind\":\"{kind}\"")), "{text}");
    }
    server.client().await.files().await.expect("it still serves");
    server.end().await;
}

#[tokio::test]
async fn silent_clients_are_disconnected_and_do_not_block_others() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = server.raw().await;
        // Its hello shows that the server has counted it.
        timeout(SOON, stream.read_u8()).await.expect("a hello").expect("a byte");
        silent.push(stream);
    }
    server.client().await.files().await.expect("there is room");
    for stream in &mut silent {
        assert!(all_of(stream).await.contains("did not come within"));
    }
    server.end().await;
}

#[tokio::test]
async fn without_a_slot_a_download_is_told_to_retry_and_other_requests_are_served() {
    let server = Server::start().await;
    let (commands, _) = tokio::sync::mpsc::channel(1);
    let listen = server.peer.local_addr();
    let hello = Arc::new(Hello {
        pid: 1,
        program: "test".into(),
        listen,
        coordinator: None,
        advertise: None,
    });
    let get =
        format!("{{\"v\":1,\"request\":\"get\",\"hash\":\"{}\",\"out\":\"/a\"}}\n", "0".repeat(64));
    for (asked, says) in [
        (get.as_str(), "\"temporary\":true"),
        ("{\"v\":1,\"request\":\"ls\"}\n", "\"response\":\"end\""),
    ] {
        let (mut near, far) = UnixStream::pair().expect("two sockets");
        let (hello, peer) = (Arc::clone(&hello), Arc::clone(&server.peer));
        let (commands, slots) = (commands.clone(), FollowerSlots::new(0));
        let shares = Arc::new(Shares::load(server.dir.path()).await);
        let serving = tokio::spawn(serve_client(far, hello, peer, commands, slots, shares));
        near.write_all(asked.as_bytes()).await.expect("taken");
        // More than was asked for is no reason not to hear the answer.
        near.write_all(b"and more").await.expect("taken");
        let text = all_of(&mut near).await;
        assert!(text.contains(says), "{text}");
        drop(near);
        timeout(SOON, serving).await.expect("it ends").expect("no panic");
    }
    server.end().await;
}

#[tokio::test]
async fn a_server_of_another_version_is_named_as_such() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let listener = tokio::net::UnixListener::bind(socket_path(dir.path())).expect("a free path");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(b"{\"v\":2,\"greeting\":\"of another kind\"}\n").await.expect("taken");
        // It stays: the client must not need the end of the connection to understand.
        let _ = stream.read_u8().await;
    });
    let refused = Client::connect(dir.path()).await.expect_err("another version");
    assert_eq!(FaultKind::from(&refused), FaultKind::Version, "{refused}");
    timeout(SOON, server).await.expect("the client hangs up").expect("no panic");
}

#[tokio::test]
async fn what_is_shared_by_name_is_shared_again_by_the_next_server_until_it_is_removed() {
    let mut server = Server::start().await;
    let (file, tree) = (server.dir.path().join("file"), server.dir.path().join("tree"));
    std::fs::write(&file, "a file").expect("writable");
    std::fs::create_dir(&tree).expect("writable");
    std::fs::write(tree.join("member"), "a member").expect("writable");
    let of_file = server.client().await.share(file, false).await.expect("readable");
    let of_tree = server.client().await.share(tree.clone(), false).await.expect("readable");
    assert!(of_file.remembered && of_file.entries.is_none() && !of_file.hash.contains(':'));
    assert!(of_tree.remembered && of_tree.hash.starts_with("tree:"), "{of_tree:?}");
    assert_eq!((of_tree.size, of_tree.entries), (8, Some(1)));
    let missing = server.client().await.share("/nothing/there".into(), false).await;
    let Err(RequestError::Fault(fault)) = missing else { panic!("{missing:?}") };
    assert_eq!(fault.kind, FaultKind::NotFound);

    server = server.restart().await;
    // Three contents: the file, the payload and the manifest.
    let files = shared_by(&server, 3).await;
    assert!(files.iter().any(|file| file.hash == of_file.hash));
    let payload = files.iter().find(|file| file.tree.as_ref() == Some(&of_tree.hash));
    assert_eq!(payload.map(|file| file.path.as_path()), Some(tree.as_path()));

    let manifest: TreeHash = of_tree.hash.parse().expect("a tree");
    assert!(server.client().await.unshare(manifest.manifest()).await.expect("it is running"));
    let files = shared_by(&server, 1).await;
    assert_eq!(files[0].hash, of_file.hash);
    server = server.restart().await;
    shared_by(&server, 1).await;
    server.end().await;
}

/// What the server has, once that is so many contents.
async fn shared_by(server: &Server, count: usize) -> Vec<tnet_peer::FileStatus> {
    timeout(SOON, async {
        loop {
            let files = server.client().await.files().await.expect("it is running");
            if files.len() == count {
                return files;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("so many are shared")
}
