//! Detects two wanted files with the same output: by the same path, by two paths that lead to one
//! directory, or because the file system maps two names to one file. The second is refused, since
//! it would replace the first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tnet_fileinfo::FileHash;
use tnet_peer::store::{FileId, OutputIdentity, OutputKey};

use crate::command::fileinfo::blocking;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::units::shown_path;

/// The outputs of one command. Few have a key in common, and those are rarely the same file.
#[derive(Debug, Default)]
pub(super) struct OutputPaths(HashMap<Key, Vec<(FileHash, PathBuf)>>);

/// Directory and name, or the path where those are unknown.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Place(OutputKey),
    Path(PathBuf),
}

/// Whether another file of the command has an output.
#[derive(Debug)]
pub(super) enum Occupancy {
    /// None has.
    Free,
    /// The same content has, under the same path, so one download suffices.
    Same,
    /// Another content has.
    ByAnother(Failure),
}

impl OutputPaths {
    /// Reserves an output.
    pub(super) async fn take(&mut self, out: &Path, hash: FileHash) -> Result<Occupancy, Failure> {
        let path = out.to_owned();
        let place = blocking(move || Ok(OutputIdentity::of(&path))).await?;
        let key = place
            .as_ref()
            .map_or_else(|| Key::Path(out.to_owned()), |place| Key::Place(place.key().clone()));
        let there = self.0.entry(key).or_default();
        for (other, path) in &*there {
            if *other == hash {
                // Under another path it is found there and not downloaded again.
                if path == out {
                    return Ok(Occupancy::Same);
                }
            } else if path == out || are_one(place.as_ref(), path).await? {
                return Ok(Occupancy::ByAnother(refused(out, path)));
            }
        }
        there.push((hash, out.to_owned()));
        Ok(Occupancy::Free)
    }
}

async fn are_one(place: Option<&OutputIdentity>, other: &Path) -> Result<bool, Failure> {
    match (place.cloned(), other.file_name().map(ToOwned::to_owned)) {
        (Some(place), Some(name)) => blocking(move || Ok(place.is_same_name_as(&name))).await,
        _ => Ok(false),
    }
}

/// The files that this command has written, by inode. Finds collisions that only the file system
/// knows.
#[derive(Debug, Default)]
pub(super) struct Written(RefCell<HashMap<FileId, (FileHash, PathBuf)>>);

impl Written {
    /// Refuses to replace a file that this command has written.
    pub(super) async fn check(&self, out: &Path, hash: FileHash) -> Result<(), Failure> {
        let Some(found) = found(out).await? else { return Ok(()) };
        match self.0.borrow().get(&found) {
            Some((other, path)) if *other != hash => Err(refused(out, path)),
            _ => Ok(()),
        }
    }

    pub(super) async fn note(&self, out: &Path, hash: FileHash) {
        if let Ok(Some(found)) = found(out).await {
            self.0.borrow_mut().insert(found, (hash, out.to_owned()));
        }
    }
}

async fn found(out: &Path) -> Result<Option<FileId>, Failure> {
    let path = out.to_owned();
    blocking(move || Ok(FileId::at(&path))).await
}

fn refused(out: &Path, earlier: &Path) -> Failure {
    let shown = shown_path(out);
    let cause = if out == earlier {
        format!("two of the files would both be {shown}")
    } else {
        let earlier = shown_path(earlier);
        format!("{shown} is the same file there as {earlier}, which is wanted too")
    };
    Failure::new(Exit::Exists, cause).about(out).or_hint("get them into directories of their own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_of_two_contents_in_one_place_is_refused_and_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::os::unix::fs::symlink(".", dir.path().join("link")).expect("a link");
        let [one, other] = [1, 2].map(|byte| FileHash::from_bytes([byte; 32]));
        let (out, through) = (dir.path().join("a"), dir.path().join("link/a"));
        let mut outputs = OutputPaths::default();
        assert!(matches!(outputs.take(&out, one).await, Ok(Occupancy::Free)));
        assert!(matches!(outputs.take(&out, one).await, Ok(Occupancy::Same)));
        for second in [&out, &through] {
            let occupancy = outputs.take(second, other).await.expect("looked at");
            let Occupancy::ByAnother(failure) = occupancy else { panic!("{occupancy:?}") };
            assert!(
                failure.exit == Exit::Exists && failure.message().contains(&shown_path(second)),
                "{failure:?}"
            );
        }
        assert!(matches!(outputs.take(&dir.path().join("b"), other).await, Ok(Occupancy::Free)));
    }

    #[tokio::test]
    async fn a_file_that_was_written_is_not_written_over_under_another_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (out, through) = (dir.path().join("a"), dir.path().join("link/a"));
        std::os::unix::fs::symlink(".", dir.path().join("link")).expect("a link");
        std::fs::write(&out, "x").expect("writable");
        let [one, other] = [1, 2].map(|byte| FileHash::from_bytes([byte; 32]));
        let written = Written::default();
        written.check(&through, other).await.expect("nothing was written");
        written.note(&out, one).await;
        written.check(&through, one).await.expect("the same content");
        assert!(written.check(&through, other).await.is_err());
    }
}
