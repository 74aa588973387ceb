//! A directory to be shared as one content, and the comparison of another one with it: by path,
//! kind, content and mode.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tnet_fileinfo::FileInfo;

use crate::payload::payload;

/// What is in a directory, by path from its top.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tree(BTreeMap<PathBuf, What>);

/// One entry.
#[derive(Clone, PartialEq, Eq)]
enum What {
    Directory,
    File { bytes: Vec<u8>, is_executable: bool },
    Link(PathBuf),
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("directory"),
            Self::File { bytes, is_executable } => {
                let info = FileInfo::of_bytes(bytes, None).map(|info| info.hash().short());
                write!(f, "file of {} bytes, {info:?}, {is_executable}", bytes.len())
            }
            Self::Link(target) => write!(f, "link to {target:?}"),
        }
    }
}

/// Without the bytes.
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

impl Tree {
    /// A directory as people have them: files that span chunks, many small ones, an empty one, an
    /// executable, links, an empty directory. `seed` makes its bytes, so two seeds are two trees.
    pub fn usual(seed: u8) -> Self {
        let mut tree = Self::default();
        for directory in ["config", "config/empty", "shards", "small"] {
            tree.add(directory, What::Directory);
        }
        for number in 0..3_u8 {
            tree.file(&format!("shards/{number}.bin"), bytes(seed, number, 300_000));
        }
        for number in 0..200_u8 {
            let len = usize::from(number) * 37;
            tree.file(&format!("small/{number:03}"), bytes(seed, number, len));
        }
        tree.file("config/a.json", b"{}\n".to_vec());
        tree.file("config/nothing", Vec::new());
        let (script, is_executable) = (b"#!/bin/sh\n".to_vec(), true);
        tree.add("run", What::File { bytes: script, is_executable });
        tree.add("latest", What::Link("shards/2.bin".into()));
        tree.add("config/up", What::Link("../small".into()));
        tree
    }

    /// Adds or replaces a file; the directory that it is in must be there.
    pub fn file(&mut self, path: &str, bytes: Vec<u8>) {
        self.add(path, What::File { bytes, is_executable: false });
    }

    /// Removes an entry.
    pub fn remove(&mut self, path: &str) {
        self.0.remove(Path::new(path));
    }

    fn add(&mut self, path: &str, what: What) {
        self.0.insert(path.into(), what);
    }

    /// Bytes in all files.
    pub fn size(&self) -> u64 {
        let sizes = self.0.values().map(|what| match what {
            What::File { bytes, .. } => bytes.len() as u64,
            What::Directory | What::Link(_) => 0,
        });
        sizes.sum()
    }

    /// Makes the directory.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, root: &Path) {
        fs::create_dir_all(root).expect("writable");
        for (path, what) in &self.0 {
            let path = root.join(path);
            match what {
                What::Directory => fs::create_dir_all(&path).expect("writable"),
                What::File { bytes, is_executable } => {
                    fs::write(&path, bytes).expect("writable");
                    let mode = if *is_executable { 0o755 } else { 0o644 };
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
                }
                What::Link(target) => symlink(target, &path).expect("writable"),
            }
        }
    }

    /// What is in a directory.
    ///
    /// # Panics
    /// If it cannot be read, or has something that no tree has.
    pub fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        let mut left = vec![PathBuf::new()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(root.join(&directory)).expect("a directory") {
                let entry = entry.expect("readable");
                let path = directory.join(entry.file_name());
                let metadata = entry.path().symlink_metadata().expect("there");
                let what = if metadata.is_dir() {
                    left.push(path.clone());
                    What::Directory
                } else if metadata.is_symlink() {
                    What::Link(fs::read_link(entry.path()).expect("a link"))
                } else {
                    assert!(metadata.is_file(), "{path:?}");
                    let is_executable = metadata.permissions().mode() & 0o111 != 0;
                    What::File { bytes: fs::read(entry.path()).expect("readable"), is_executable }
                };
                tree.0.insert(path, what);
            }
        }
        tree
    }

    /// # Panics
    /// If the directory is not exactly this tree.
    pub fn is_at(&self, root: &Path) {
        let found = Self::read(root);
        for (path, what) in &self.0 {
            assert_eq!(found.0.get(path), Some(what), "{path:?}");
        }
        let more: Vec<_> = found.0.keys().filter(|path| !self.0.contains_key(*path)).collect();
        assert!(more.is_empty(), "{more:?}");
    }
}

fn bytes(seed: u8, number: u8, len: usize) -> Vec<u8> {
    payload(len as u64, u64::from(seed) * 256 + u64::from(number)).bytes().to_vec()
}
