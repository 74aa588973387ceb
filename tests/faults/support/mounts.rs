//! File systems of a test's own: small ones in memory, and read-only views. Gone when they are
//! dropped.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mount, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    at: PathBuf,
}

impl Mount {
    /// A file system in memory with so many bytes, at a directory that this makes.
    pub(crate) fn of_bytes(at: &Path, bytes: u64) -> Mount {
        fs::create_dir_all(at).expect("a directory of our own is writable");
        mount(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "tnet-test"], at);
        Mount { at: at.to_owned() }
    }

    /// The same with so many inodes, one of which the file system has for itself.
    pub(crate) fn with_files(at: &Path, bytes: u64, files: u64) -> Mount {
        fs::create_dir_all(at).expect("a directory of our own is writable");
        mount(&["-t", "tmpfs", "-o", &format!("size={bytes},nr_inodes={files}"), "tnet-test"], at);
        Mount { at: at.to_owned() }
    }

    /// A directory once more, at a directory that this makes, where nothing can be written.
    pub(crate) fn read_only(of: &Path, at: &Path) -> Mount {
        fs::create_dir_all(at).expect("a directory of our own is writable");
        mount(&["--bind", &of.to_string_lossy()], at);
        let mount_of = Mount { at: at.to_owned() };
        mount(&["-o", "remount,bind,ro"], at);
        mount_of
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// Bytes that can still be written.
    pub(crate) fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.at).expect("it is mounted");
        stat.f_bavail * stat.f_frsize
    }

    /// Fills it with a file of that name but for so many bytes.
    pub(crate) fn fill_but(&self, name: &str, left: u64) -> PathBuf {
        let path = self.at.join(name);
        let bytes = self.free().checked_sub(left).expect("there is that much");
        let bytes = usize::try_from(bytes).expect("small");
        let mut file = File::create_new(&path).expect("it has room for a file");
        file.write_all(&vec![1; bytes]).expect("it has room for so much");
        assert_eq!(self.free(), left);
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // At once, also while a file is still open there.
        let _ = silent("umount").arg("--lazy").arg(&self.at).status();
    }
}

fn mount(args: &[&str], at: &Path) {
    let status = silent("mount").args(args).arg(at).status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "mount {args:?}: {status:?}"
    );
}

fn silent(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
