//! Two of the files wanted that would be one where they go: by the same path, by two paths that
//! lead to one directory, or because the file system takes two names for one. The second is
//! refused, or it would replace the first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tnet_fileinfo::FileHash;
use tnet_peer::store::{Found, Place, PlaceKey};

use crate::command::fileinfo::blocking;
use crate::exit::{Exit, Failure};
use crate::render::units::shown_path;

/// Where the files of one command go. Those that have a key in common are few, and seldom one file.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<Key, Vec<(FileHash, PathBuf)>>);

/// A place, or a path where nothing is known of it.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Place(PlaceKey),
    Path(PathBuf),
}

/// What to do with one more.
#[derive(Debug)]
pub(super) enum Taken {
    /// Nobody else goes there.
    Free,
    /// The same content does, under the same path: once is enough.
    Same,
    /// Another content does.
    ByAnother(Failure),
}

impl Places {
    /// Takes the place of an output.
    pub(super) async fn take(&mut self, out: &Path, hash: FileHash) -> Result<Taken, Failure> {
        let path = out.to_owned();
        let place = blocking(move || Ok(Place::of(&path))).await?;
        let key = place
            .as_ref()
            .map_or_else(|| Key::Path(out.to_owned()), |place| Key::Place(place.key().clone()));
        let there = self.0.entry(key).or_default();
        for (other, path) in &*there {
            if *other == hash {
                // A copy under another name of the same file is found there.
                if path == out {
                    return Ok(Taken::Same);
                }
            } else if path == out || are_one(place.as_ref(), path).await? {
                return Ok(Taken::ByAnother(refused(out, path)));
            }
        }
        there.push((hash, out.to_owned()));
        Ok(Taken::Free)
    }
}

async fn are_one(place: Option<&Place>, other: &Path) -> Result<bool, Failure> {
    match (place.cloned(), other.file_name().map(ToOwned::to_owned)) {
        (Some(place), Some(name)) => blocking(move || Ok(place.is_one_with(&name))).await,
        _ => Ok(false),
    }
}

/// What this command has written. It notices what only the file system knows.
#[derive(Debug, Default)]
pub(super) struct Written(RefCell<HashMap<Found, (FileHash, PathBuf)>>);

impl Written {
    /// Refuses to write over a file that this command has written.
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

async fn found(out: &Path) -> Result<Option<Found>, Failure> {
    let path = out.to_owned();
    blocking(move || Ok(Found::at(&path))).await
}

fn refused(out: &Path, earlier: &Path) -> Failure {
    let (out, earlier) = (shown_path(out), shown_path(earlier));
    let message = if out == earlier {
        format!("two of the files would both be {out}; get them into directories of their own")
    } else {
        format!(
            "{out} is the same file there as {earlier}, which is wanted too; get them into directories of their own"
        )
    };
    Failure::new(Exit::Exists, message)
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
        let mut places = Places::default();
        assert!(matches!(places.take(&out, one).await, Ok(Taken::Free)));
        assert!(matches!(places.take(&out, one).await, Ok(Taken::Same)));
        for second in [&out, &through] {
            let taken = places.take(second, other).await.expect("looked at");
            let Taken::ByAnother(failure) = taken else { panic!("{taken:?}") };
            assert!(
                failure.exit == Exit::Exists && failure.message.contains(&shown_path(second)),
                "{failure:?}"
            );
        }
        assert!(matches!(places.take(&dir.path().join("b"), other).await, Ok(Taken::Free)));
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
