//! What is shared at the moment, as the getters know it.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::RngExt;
use rand::seq::IndexedRandom;
use tnet_testkit::{Content, payload};

/// Bytes of a file.
const SHORTEST: u64 = 1;
const LONGEST: u64 = 6 * 1024 * 1024;

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) content: Rc<Content>,
    /// Never changed nor deleted: a download of it must succeed.
    pub(crate) is_kept: bool,
    pub(crate) path: PathBuf,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    shared: Mutex<Vec<Shared>>,
}

impl Contents {
    /// A file with bytes that no other file ever had.
    pub(crate) fn fresh() -> Content {
        let len = rand::rng().random_range(SHORTEST.ilog2()..=LONGEST.ilog2());
        let len = rand::rng().random_range(SHORTEST.max(1 << len)..=(2 << len).min(LONGEST));
        Content::of(payload(len, rand::rng().random()))
    }

    pub(crate) fn add(&self, shared: Shared) {
        self.lock().push(shared);
    }

    /// Takes out one that may be changed, if there is one.
    pub(crate) fn take_any(&self) -> Option<Shared> {
        let mut shared = self.lock();
        let at: Vec<usize> = (0..shared.len()).filter(|at| !shared[*at].is_kept).collect();
        at.choose(&mut rand::rng()).map(|at| shared.swap_remove(*at))
    }

    pub(crate) fn any(&self) -> Shared {
        self.lock().choose(&mut rand::rng()).expect("some are kept").clone()
    }

    pub(crate) fn any_kept(&self) -> Shared {
        let shared = self.lock();
        let kept: Vec<&Shared> = shared.iter().filter(|shared| shared.is_kept).collect();
        (*kept.choose(&mut rand::rng()).expect("some are kept")).clone()
    }

    /// Whether this is still what others may get.
    pub(crate) fn has(&self, content: &Content) -> bool {
        self.lock().iter().any(|shared| shared.content.hash() == content.hash())
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
