//! Opens and creates files below a directory while other users may change the names on the way:
//! nothing outside the directory is reached, no link is followed, and a pipe or a device does not
//! block.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::fingerprint::FileFingerprint;
use super::sys;

/// A terminal must not become the controlling one, and opening a pipe must not wait for its other
/// end.
const FOR_READING: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

const FOR_WRITING: OFlags = FOR_READING.union(OFlags::RDWR);

const TO_CREATE: OFlags = FOR_WRITING.union(OFlags::CREATE).union(OFlags::EXCL);

const TO_LIST: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The file itself is not opened, so it need not be readable.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FOR_LOOKING: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FOR_LOOKING: OFlags = FOR_READING;

/// Opens `path`, relative to `directory`, for reading. The caller must check what kind of file it
/// is.
///
/// # Errors
/// The file cannot be opened, the path has a component that is no plain name, or a link is in it.
pub(super) fn open(directory: impl AsFd, path: &Path) -> io::Result<File> {
    open_for(directory.as_fd(), path, FOR_READING, Mode::empty()).map(File::from)
}

/// Opens `path`, relative to `directory`, for reading and writing. The caller must check what kind
/// of file it is.
///
/// # Errors
/// As [`open`].
pub(super) fn open_writable(directory: impl AsFd, path: &Path) -> io::Result<File> {
    open_for(directory.as_fd(), path, FOR_WRITING, Mode::empty()).map(File::from)
}

/// Creates `path`, relative to `directory`, for reading and writing, with this mode less the umask.
///
/// # Errors
/// As [`open`], and [`io::ErrorKind::AlreadyExists`] for anything that has the name, a link too.
pub(super) fn create(directory: impl AsFd, path: &Path, mode: u32) -> io::Result<File> {
    open_for(directory.as_fd(), path, TO_CREATE, Mode::from_raw_mode(mode)).map(File::from)
}

/// Opens the directory at `path`, relative to `directory`, for listing, for syncing and for names
/// in it; the directory itself is `.`.
///
/// # Errors
/// As [`open`].
pub(super) fn open_directory(directory: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open_for(directory.as_fd(), path, TO_LIST, Mode::empty())
}

/// As [`open_writable`], but only if no name on the way has to be read from a disk; `None` if one
/// has, or if that is not known.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn open_writable_at_once(directory: impl AsFd, path: &Path) -> Option<File> {
    use rustix::fs::{ResolveFlags, openat2};
    let inside = ResolveFlags::CACHED | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(directory, path, FOR_WRITING, Mode::empty(), inside).ok().map(File::from)
}

/// Not known on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn open_writable_at_once(_directory: impl AsFd, _path: &Path) -> Option<File> {
    None
}

/// The fingerprint of `path`, relative to `directory`. A link at its end is not followed.
///
/// # Errors
/// As [`open`].
pub(super) fn fingerprint_at(directory: impl AsFd, path: &Path) -> io::Result<FileFingerprint> {
    sys::fingerprint(open_for(directory.as_fd(), path, FOR_LOOKING, Mode::empty())?)
}

fn open_for(
    directory: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    in_one_step(directory, path, flags, mode)
        .unwrap_or_else(|| by_steps(directory, path, flags, mode))
}

/// Whether opening failed because the path now leads to nothing, to a link, or to something that is
/// no file.
pub(super) fn leads_elsewhere(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || sys::is_something_else(error)
        || Errno::from_io_error(error) == Some(Errno::XDEV)
}

/// Opens the path with one system call; `None` if the system cannot, so that it has to be done by
/// steps.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn in_one_step(
    directory: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Option<io::Result<OwnedFd>> {
    use rustix::fs::{ResolveFlags, openat2};
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match retry_on_intr(|| openat2(directory, path, flags, mode, inside)) {
        // Before Linux 5.6, in sandboxes that do not know the call, and for paths too long for one
        // call.
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::TOOBIG | Errno::NAMETOOLONG) => None,
        opened => Some(opened.map_err(io::Error::from)),
    }
}

/// Other systems have no such call.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn in_one_step(_: BorrowedFd<'_>, _: &Path, _: OFlags, _: Mode) -> Option<io::Result<OwnedFd>> {
    None
}

/// Opens one directory after the other, each inside the one before.
fn by_steps(
    directory: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let mut names = path.components().map(|part| match part {
        Component::Normal(name) => Ok(name),
        // Only at the beginning: others are no components.
        Component::CurDir => Ok(OsStr::new(".")),
        _ => Err(io::Error::from(Errno::XDEV)),
    });
    let mut name: &OsStr = names.next().ok_or(Errno::NOENT)??;
    let mut inner: Option<OwnedFd> = None;
    for next in names {
        let outer = inner.as_ref().map_or(directory, AsFd::as_fd);
        inner = Some(sys::open_subdirectory(outer, name)?);
        name = next?;
    }
    let last = inner.as_ref().map_or(directory, AsFd::as_fd);
    Ok(retry_on_intr(|| rustix::fs::openat(last, name, flags, mode))?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Both ways must agree: the second is the only one on other systems.
    fn both(directory: &OwnedFd, path: &str) -> [io::Result<String>; 2] {
        let text = |opened: io::Result<OwnedFd>| {
            let mut text = String::new();
            File::from(opened?).read_to_string(&mut text)?;
            Ok(text)
        };
        let (directory, path) = (directory.as_fd(), Path::new(path));
        let none = Mode::empty();
        [open_for(directory, path, FOR_READING, none), by_steps(directory, path, FOR_READING, none)]
            .map(text)
    }

    #[test]
    fn only_files_inside_are_opened_and_no_link_is_followed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).expect("writable");
        fs::write(dir.path().join("secret"), "secret").expect("writable");
        for name in ["top", "a/b/deep"] {
            fs::write(root.join(name), name).expect("writable");
        }
        symlink("../secret", root.join("up")).expect("a link");
        symlink(dir.path().join("secret"), root.join("full")).expect("a link");
        symlink("top", root.join("inside")).expect("a link");
        symlink("../..", root.join("a/out")).expect("a link");
        symlink("b", root.join("a/c")).expect("a link");
        let directory = sys::open_directory(&root).expect("there");
        for name in ["top", "a/b/deep"] {
            for text in both(&directory, name) {
                assert_eq!(text.expect("inside"), name);
            }
        }
        let secret = dir.path().join("secret");
        for name in [
            "up",
            "full",
            "inside",
            "a/out/secret",
            "a/c/deep",
            "../secret",
            "a/../../secret",
            "",
            "nothing",
        ]
        .into_iter()
        .chain(secret.to_str())
        {
            for text in both(&directory, name) {
                let error = text.expect_err(name);
                assert!(leads_elsewhere(&error), "{name}: {error}");
            }
        }
    }

    #[test]
    fn a_pipe_without_a_writer_does_not_block() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let made = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status();
        assert!(made.expect("mkfifo is everywhere").success());
        let directory = sys::open_directory(dir.path()).expect("there");
        let pipe = Path::new("pipe");
        let stepwise = by_steps(directory.as_fd(), pipe, FOR_READING, Mode::empty());
        for opened in [open(&directory, pipe), stepwise.map(File::from)] {
            assert!(!opened.and_then(|file| file.metadata()).expect("opened").is_file());
        }
    }

    #[test]
    fn a_file_is_looked_at_without_being_opened_and_a_link_is_not_taken_for_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("file"), "x").expect("writable");
        symlink("file", dir.path().join("link")).expect("a link");
        let directory = sys::open_directory(dir.path()).expect("there");
        let file = fs::metadata(dir.path().join("file")).expect("there");
        assert_eq!(
            fingerprint_at(&directory, Path::new("file")).expect("there"),
            FileFingerprint::of(&file)
        );
        let linked = fingerprint_at(&directory, Path::new("link"));
        assert!(
            linked.is_err()
                || linked.is_ok_and(|fingerprint| fingerprint != FileFingerprint::of(&file))
        );
    }

    #[test]
    fn a_file_is_created_inside_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a")).expect("writable");
        fs::create_dir(dir.path().join("outside")).expect("writable");
        symlink("../outside", root.join("out")).expect("a link");
        symlink("../outside/planted", root.join("dangling")).expect("a link");
        let directory = sys::open_directory(&root).expect("there");
        let stepwise =
            |path: &Path| by_steps(directory.as_fd(), path, TO_CREATE, Mode::RUSR).map(File::from);
        for name in ["out/planted", "../outside/planted", "dangling", "none/x", "a"] {
            let path = Path::new(name);
            create(&directory, path, 0o600).expect_err(name);
            stepwise(path).expect_err(name);
            open_writable(&directory, path).expect_err(name);
        }
        for name in ["out", "..", "../outside", "dangling"] {
            open_directory(&directory, Path::new(name)).expect_err(name);
        }
        create(&directory, Path::new("a/one"), 0o600).expect("inside");
        stepwise(Path::new("a/two")).expect("inside");
        let again = create(&directory, Path::new("a/one"), 0o600).expect_err("there");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        open_directory(&directory, Path::new(".")).expect("itself");
        assert_eq!(fs::read_dir(dir.path().join("outside")).expect("there").count(), 0);
    }

    #[test]
    fn a_path_too_long_for_one_call_is_opened_by_steps() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut directories = vec![sys::open_directory(dir.path()).expect("there")];
        let name = "d".repeat(250);
        let mut path = std::path::PathBuf::new();
        for _ in 0..20 {
            let last = directories.last().expect("the first");
            rustix::fs::mkdirat(last, &*name, Mode::RWXU).expect("writable");
            let inner = sys::open_subdirectory(last, name.as_ref()).expect("just made");
            directories.push(inner);
            path.push(&name);
        }
        let last = directories.last().expect("the first");
        sys::create_new(last, "file".as_ref(), None).expect("writable");
        open(&directories[0], &path.join("file")).expect("more than 4096 bytes");
    }
}
