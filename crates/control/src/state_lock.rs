//! The lock of a state directory: flock(2) on the directory, and the socket in it. At most one
//! process holds it, and the kernel releases it when that process ends.
//!
//! The directory is opened and checked once; the socket is created, found and removed relative to
//! that descriptor, so that replacing the directory meanwhile has no effect.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tnet_fileinfo::{Explain, shown_path};
use tokio::net::UnixListener;

use crate::user_names;
use tnet_store::{self as store, Exposure, FindError, OtherUsers, TrustedUsers};

/// Name of the socket in the state directory.
const SOCKET_NAME: &str = "control.sock";

/// Clients that may wait to be accepted (listen backlog); the system may allow fewer.
const BACKLOG: i32 = 4096;

/// The right to serve in a state directory. Dropping it removes the socket and releases the lock.
#[derive(Debug)]
pub struct StateLock {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// The directory, with the lock.
    directory: File,
}

impl StateLock {
    /// Locks the state directory, and creates it if necessary. A socket left by a crashed process
    /// is replaced.
    ///
    /// # Errors
    /// Another process serves there, or the directory cannot be used.
    pub async fn new(state_dir: &Path) -> Result<Self, StateDirError> {
        let state_dir = state_dir.to_owned();
        let locked = tokio::task::spawn_blocking(move || lock(&state_dir)).await;
        let (listener, path, directory) =
            locked.expect("locking neither panics nor is cancelled")?;
        let listener =
            UnixListener::from_std(listener).map_err(|source| StateDirError::io(&path, source))?;
        Ok(Self { listener, path, directory })
    }

    /// The state directory.
    pub(crate) fn state_dir(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // Still under the lock, so it is ours. If it fails, the next process finds it stale.
        let _ = rustix::fs::unlinkat(&self.directory, SOCKET_NAME, AtFlags::empty());
        // Closing is not enough: a process that is just being started may share the descriptor.
        let _ = rustix::fs::flock(&self.directory, FlockOperation::Unlock);
    }
}

/// A state directory cannot be locked or trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDirError {
    /// Another process serves there.
    #[error("a server is running already with the state directory {dir:?}")]
    AlreadyRunning {
        /// The directory.
        dir: PathBuf,
    },
    /// Other users could replace the socket.
    #[error("a group or everybody may write to the state directory {dir:?}")]
    Insecure {
        /// The directory.
        dir: PathBuf,
    },
    /// It belongs to another user, who decides which process serves there.
    #[error("the state directory {dir:?} belongs to {}", user_names::named(*owner))]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
    /// Nothing can be created in it, by any user.
    #[error("{at:?} is immutable or append-only, and the state directory has to be written to")]
    Unchangeable {
        /// The directory, or the one above it.
        at: PathBuf,
    },
    /// Other users could replace the directory.
    #[error("everybody may write to {above:?} and so replace the state directory {dir:?}")]
    Replaceable {
        /// The directory.
        dir: PathBuf,
        /// The one above it.
        above: PathBuf,
    },
    /// Other users could have created the link that leads to it.
    #[error(
        "the link {link:?} on the way to the state directory is in a directory that other users may change"
    )]
    ForeignLink {
        /// The link.
        link: PathBuf,
    },
    /// Sockets have short paths.
    #[error("the path {path:?} is too long for a socket")]
    PathTooLong {
        /// The socket's path.
        path: PathBuf,
    },
    /// Its file system, such as FAT, does not support what a state directory needs.
    #[error(
        "the state directory {dir:?} is on a file system{} that cannot hold {lacks}",
        named(*kind)
    )]
    Unfit {
        /// The directory.
        dir: PathBuf,
        /// What the file system is called, if it is known.
        kind: Option<&'static str>,
        /// What it cannot hold.
        lacks: &'static str,
    },
    /// A file that is not a socket has the socket's name.
    #[error("{path:?} is in the way and is no socket")]
    InTheWay {
        /// The socket's path.
        path: PathBuf,
    },
    /// Anything else.
    #[error("using the state directory, at {path:?}")]
    Io {
        /// What could not be made or opened.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

fn named(kind: Option<&str>) -> String {
    kind.map(|kind| format!(" ({kind})")).unwrap_or_default()
}

impl Explain for StateDirError {
    fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::AlreadyRunning { .. } => return None,
            Self::Insecure { .. } => "choose another one, or run `chmod 700` on it",
            Self::Foreign { .. } => {
                "run this as that user, as with `sudo -u`, or choose another one with --state-dir"
            }
            Self::Unchangeable { .. } => {
                "choose another one with --state-dir, or change that with `chattr -ia`"
            }
            Self::Replaceable { .. } => {
                "choose another one, or run `chmod o-w` or `chmod +t` on the former"
            }
            Self::ForeignLink { .. } => "name the directory it leads to",
            Self::PathTooLong { .. } => "choose a shorter state directory",
            Self::Unfit { .. } => "choose another one with --state-dir",
            Self::InTheWay { .. } => "remove it",
            Self::Io { source, .. } => hint_on(source),
        })
    }

    fn subject(&self) -> Option<&Path> {
        Some(match self {
            Self::AlreadyRunning { dir }
            | Self::Insecure { dir }
            | Self::Foreign { dir, .. }
            | Self::Unfit { dir, .. } => dir,
            Self::Replaceable { above, .. } => above,
            Self::Unchangeable { at } => at,
            Self::ForeignLink { link } => link,
            Self::PathTooLong { path } | Self::InTheWay { path } | Self::Io { path, .. } => path,
        })
    }
}

/// What helps against what the system said.
fn hint_on(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => {
            "there is no space or are no inodes left: make room, or choose another one with --state-dir"
        }
        io::ErrorKind::QuotaExceeded => {
            "delete files that count against the quota, or choose another one with --state-dir"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose one that you may write to with --state-dir"
        }
        _ => "choose another one with --state-dir",
    }
}

impl StateDirError {
    fn io(path: &Path, source: io::Error) -> Self {
        let is_unchangeable =
            |dir: &&Path| store::open_directory(dir).is_ok_and(store::is_unchangeable);
        if Errno::from_io_error(&source) == Some(Errno::PERM)
            && let Some(at) = path.ancestors().take(2).find(is_unchangeable)
        {
            return Self::Unchangeable { at: at.to_owned() };
        }
        Self::Io { path: path.to_owned(), source }
    }
}

type Locked = (std::os::unix::net::UnixListener, PathBuf, File);

fn lock(state_dir: &Path) -> Result<Locked, StateDirError> {
    let directory = File::from(make(state_dir)?);
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(StateDirError::AlreadyRunning { dir: state_dir.to_owned() });
        }
        // A file system without locks may give any error. Then a server that answers at the socket
        // counts as holding the lock.
        Err(errno) => {
            let way = way_to_socket(&directory, state_dir)?;
            if std::os::unix::net::UnixStream::connect(way).is_ok() {
                return Err(StateDirError::AlreadyRunning { dir: state_dir.to_owned() });
            }
            tracing::warn!(dir = %shown_path(state_dir), error = %errno, "the file system has no locks: two servers could start at the same time");
        }
    }
    let path = socket_path(state_dir);
    let way = way_to_socket(&directory, state_dir)?;
    remove_stale(&directory, &path)?;
    let listener = listen(&directory, &way)
        .map_err(|source| unfit_or(&directory, state_dir, &path, source))?;
    Ok((listener, path, directory))
}

/// The error of a socket that could not be created. What is left of it is removed.
fn unfit_or(directory: &File, state_dir: &Path, path: &Path, source: io::Error) -> StateDirError {
    let kind = store::non_unix_file_system(directory);
    let said = Errno::from_io_error(&source);
    let says_so = matches!(
        said,
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NXIO)
    );
    // Some drivers create a regular file and then fail.
    let made = rustix::fs::statat(directory, SOCKET_NAME, AtFlags::SYMLINK_NOFOLLOW);
    let is_file =
        made.is_ok_and(|made| FileType::from_raw_mode(made.st_mode) == FileType::RegularFile);
    if is_file {
        let _ = rustix::fs::unlinkat(directory, SOCKET_NAME, AtFlags::empty());
    }
    if (says_so || (is_file && kind.is_some())) && !store::is_unchangeable(directory) {
        StateDirError::Unfit { dir: state_dir.to_owned(), kind, lacks: "sockets" }
    } else {
        StateDirError::io(path, source)
    }
}

/// Creates the state directory if necessary, and checks that only this user can change it. Blocks
/// on the disk.
///
/// # Errors
/// It cannot be created, or other users could change it; then nothing was created.
pub fn make_state_dir(state_dir: &Path) -> Result<(), StateDirError> {
    make(state_dir).map(drop)
}

fn make(state_dir: &Path) -> Result<OwnedFd, StateDirError> {
    // Checked before anything is created: other users must not choose the place.
    for existing in state_dir.ancestors() {
        match find(existing) {
            Err(StateDirError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) if existing == state_dir => break,
            Ok(directory) => {
                let failed = |source| StateDirError::io(existing, source);
                let trusted = TrustedUsers::now().map_err(failed)?;
                let protection = store::protection(&directory).map_err(failed)?;
                if trusted.other_replacers(protection) == Some(OtherUsers::Everyone) {
                    return Err(replaceable(state_dir, existing));
                }
                break;
            }
        }
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    made.map_err(|source| StateDirError::io(state_dir, source))?;
    check_secure(state_dir)
}

/// Opens the state directory; refuses one in which other users could replace the socket.
pub(crate) fn check_secure(state_dir: &Path) -> Result<OwnedFd, StateDirError> {
    const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
    let directory = find(state_dir)?;
    let protection =
        store::protection(&directory).map_err(|source| StateDirError::io(state_dir, source))?;
    // An access list shows in the group bits.
    let (owner, is_ours) = (protection.owner, protection.owner == store::effective_user());
    if !is_ours || protection.mode & GROUP_OR_OTHERS_WRITE != 0 {
        let dir = state_dir.to_owned();
        return Err(match without_modes(&directory) {
            Some(kind) => StateDirError::Unfit { dir, kind: Some(kind), lacks: "modes" },
            None if is_ours => StateDirError::Insecure { dir },
            None => StateDirError::Foreign { dir, owner },
        });
    }
    Ok(directory)
}

/// The error for a directory that every user may replace.
fn replaceable(dir: &Path, above: &Path) -> StateDirError {
    let kind = store::open_directory(above).ok().and_then(without_modes);
    match kind {
        Some(kind) => {
            StateDirError::Unfit { dir: dir.to_owned(), kind: Some(kind), lacks: "modes" }
        }
        None => StateDirError::Replaceable { dir: dir.to_owned(), above: above.to_owned() },
    }
}

/// The name of its file system, if modes there are mount options, which `chmod` cannot change.
fn without_modes(directory: impl AsFd) -> Option<&'static str> {
    // A FUSE file system may have modes of its own.
    store::non_unix_file_system(&directory)
        .filter(|kind| *kind != "FUSE" || store::ignores_modes(&directory))
}

/// Opens a directory, unless every user could have put it there. Owners and groups of the
/// directories above are trusted to this extent: they could remove ours, but not replace it with
/// one of theirs unnoticed.
fn find(dir: &Path) -> Result<OwnedFd, StateDirError> {
    let found = store::find_directory(dir).map_err(|error| match error {
        FindError::ForeignLink { link } => StateDirError::ForeignLink { link },
        FindError::Io(source) => StateDirError::io(dir, source),
    })?;
    match found.others {
        Some(Exposure { to: OtherUsers::Everyone, directory, .. }) => {
            Err(replaceable(dir, &directory))
        }
        _ => Ok(found.directory),
    }
}

pub(crate) fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET_NAME)
}

/// A path to the socket that leads through the open directory, wherever that is by now.
///
/// # Errors
/// The path that a person would name is too long.
pub(crate) fn way_to_socket(
    directory: impl AsFd,
    state_dir: &Path,
) -> Result<PathBuf, StateDirError> {
    let path = socket_path(state_dir);
    if SockAddr::unix(&path).is_err() {
        return Err(StateDirError::PathTooLong { path });
    }
    let directory = directory.as_fd();
    let below = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let is_it = || -> io::Result<bool> {
        let (ours, found) = (rustix::fs::fstat(directory)?, rustix::fs::stat(&below)?);
        Ok((ours.st_dev, ours.st_ino) == (found.st_dev, found.st_ino))
    };
    // Not every system has such paths, and bind(2) takes only a path.
    Ok(if is_it().unwrap_or(false) { below.join(SOCKET_NAME) } else { path })
}

/// Removes a socket that a crashed process left. While the lock is held, no process serves it.
fn remove_stale(directory: impl AsFd, path: &Path) -> Result<(), StateDirError> {
    let failed = |errno: Errno| StateDirError::io(path, errno.into());
    let directory = directory.as_fd();
    match rustix::fs::statat(directory, SOCKET_NAME, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Socket => {
            rustix::fs::unlinkat(directory, SOCKET_NAME, AtFlags::empty()).map_err(failed)
        }
        Ok(_) => Err(StateDirError::InTheWay { path: path.to_owned() }),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

fn listen(directory: impl AsFd, way: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let mode = Mode::RUSR | Mode::WUSR;
    // Linux gives the file the mode of the socket at bind(2), so it is never open to others. On
    // systems that ignore it the mode is set right after.
    let _ = rustix::fs::fchmod(socket.as_fd(), mode);
    socket.bind(&SockAddr::unix(way)?)?;
    if let Err(errno) = rustix::fs::chmodat(directory.as_fd(), SOCKET_NAME, mode, AtFlags::empty())
    {
        // A file system without modes: the file is as private as the mount options say.
        let made = rustix::fs::statat(directory.as_fd(), SOCKET_NAME, AtFlags::SYMLINK_NOFOLLOW)?;
        if Mode::from_raw_mode(made.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(errno.into());
        }
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn state_dir() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[tokio::test]
    async fn a_second_lock_is_refused_until_the_first_is_dropped() {
        let dir = state_dir();
        let first = StateLock::new(dir.path()).await.expect("free");
        let second = StateLock::new(dir.path()).await;
        assert!(matches!(second, Err(StateDirError::AlreadyRunning { .. })), "{second:?}");
        drop(first);
        assert!(!socket_path(dir.path()).exists());
        StateLock::new(dir.path()).await.expect("free again");
    }

    #[tokio::test]
    async fn a_socket_left_by_a_crash_is_replaced() {
        let dir = state_dir();
        drop(std::os::unix::net::UnixListener::bind(socket_path(dir.path())).expect("bound"));
        assert!(socket_path(dir.path()).exists(), "dropping a listener leaves its file");
        StateLock::new(dir.path()).await.expect("no process serves there");
    }

    #[test]
    fn replacing_the_directory_after_the_check_has_no_effect() {
        let dir = state_dir();
        let (ours, moved, theirs) =
            (dir.path().join("state"), dir.path().join("moved"), dir.path().join("theirs"));
        fs::create_dir(&theirs).expect("writable");
        let victim = std::os::unix::net::UnixListener::bind(socket_path(&theirs)).expect("bound");
        fs::set_permissions(socket_path(&theirs), Permissions::from_mode(0o777)).expect("ours");
        let directory = make(&ours).expect("free");
        fs::rename(&ours, &moved).expect("writable");
        std::os::unix::fs::symlink(&theirs, &ours).expect("a link");

        let way = way_to_socket(&directory, &ours).expect("short");
        remove_stale(&directory, &socket_path(&ours)).expect("nothing is there");
        let listener = listen(&directory, &way).expect("free");
        assert!(socket_path(&moved).exists());
        let mode = fs::metadata(socket_path(&theirs)).expect("not removed").permissions().mode();
        assert_eq!(mode & 0o777, 0o777);
        drop(victim);
        std::os::unix::net::UnixStream::connect(&way).expect("ours");
        drop(listener);
    }

    #[tokio::test]
    async fn only_the_user_may_open_the_socket_and_the_directory_made_for_it() {
        let dir = state_dir();
        let inside = dir.path().join("a/b");
        let lock = StateLock::new(&inside).await.expect("made on the way");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(lock.path()), 0o600);
        assert_eq!(mode(&inside), 0o700);
    }

    #[tokio::test]
    async fn a_directory_that_others_may_write_to_is_refused() {
        let dir = state_dir();
        for mode in [0o777, 0o770, 0o720, 0o702, 0o1777, 0o2775] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).expect("ours");
            assert!(
                matches!(StateLock::new(dir.path()).await, Err(StateDirError::Insecure { .. })),
                "{mode:o}"
            );
            assert!(check_secure(dir.path()).is_err(), "{mode:o}");
        }
        for mode in [0o700, 0o755, 0o2750] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).expect("ours");
            StateLock::new(dir.path()).await.expect("only we may write");
        }
    }

    #[tokio::test]
    #[expect(
        clippy::print_stderr,
        reason = "a test that was skipped must not look like one that passed"
    )]
    async fn an_immutable_directory_is_refused_with_its_own_error() {
        let dir = state_dir();
        let change = |flag: &str| {
            let changed = std::process::Command::new("chattr").arg(flag).arg(dir.path()).output();
            changed.is_ok_and(|output| output.status.success())
        };
        for path in [dir.path().to_owned(), dir.path().join("state")] {
            if !change("+i") {
                eprintln!("skipped: no directory can be made immutable here");
                return;
            }
            let refused = StateLock::new(&path).await;
            change("-i");
            assert!(
                matches!(refused, Err(StateDirError::Unchangeable { .. })),
                "{path:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_system_error_comes_with_a_hint() {
        use tnet_fileinfo::explain;
        for errno in
            [Errno::ACCESS, Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::IO, Errno::MFILE]
        {
            let error = StateDirError::Io { path: "state".into(), source: errno.into() };
            let line = explain(&error).to_string();
            assert!(line.contains("os error") && line.contains("--state-dir"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_every_user_may_replace_is_refused_and_not_created() {
        let dir = state_dir();
        let (above, inside) = (dir.path().join("above"), dir.path().join("above/a/b"));
        fs::create_dir(&above).expect("writable");
        fs::set_permissions(&above, Permissions::from_mode(0o777)).expect("ours");
        let refused = StateLock::new(&inside).await;
        assert!(
            matches!(&refused, Err(StateDirError::Replaceable { above: at, .. }) if *at == above),
            "{refused:?}"
        );
        std::os::unix::fs::symlink(dir.path(), above.join("link")).expect("a link");
        let refused = StateLock::new(&above.join("link/state")).await;
        assert!(matches!(refused, Err(StateDirError::ForeignLink { .. })), "{refused:?}");
        assert!(!above.join("a").exists() && !dir.path().join("state").exists());
        // Sticky, like `/tmp`: other users cannot replace our directory.
        fs::set_permissions(&above, Permissions::from_mode(0o1777)).expect("ours");
        StateLock::new(&inside).await.expect("no other user can replace it");
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_socket_is_not_removed() {
        let dir = state_dir();
        fs::write(socket_path(dir.path()), "mine").expect("written");
        assert!(matches!(StateLock::new(dir.path()).await, Err(StateDirError::InTheWay { .. })));
        assert_eq!(fs::read_to_string(socket_path(dir.path())).expect("still there"), "mine");
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_named_as_such() {
        let dir = state_dir();
        // Linux allows 108 bytes, macOS 104.
        let long = dir.path().join("x".repeat(110));
        assert!(matches!(StateLock::new(&long).await, Err(StateDirError::PathTooLong { .. })));
    }
}
