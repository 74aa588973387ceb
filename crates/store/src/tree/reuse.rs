//! Which bytes of a new tree may lie in files that are on this machine: planned from names, sizes
//! and hashes alone. A plan is a guess, as files may change: only the sums of the new payload say
//! which of its chunks are right.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tnet_fileinfo::tree::{Layout, Member};
use tnet_fileinfo::{ChunkSet, Geometry};

/// A file from which bytes may be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OldFile<'a> {
    /// From the top of the tree that it is in.
    pub(crate) path: &'a [u8],
    pub(crate) size: u64,
    /// None if it was not hashed, or could not be.
    pub(crate) hash: Option<[u8; 32]>,
}

/// Where the bytes of a member are, by the number of an old file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is the whole file.
    Whole(usize),
    /// Some may be at the same place of it.
    SamePlace(usize),
}

impl Origin {
    /// The old file.
    pub(crate) fn file(self) -> usize {
        match self {
            Self::Whole(file) | Self::SamePlace(file) => file,
        }
    }
}

/// What is taken from where.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Of each member.
    origins: Vec<Option<Origin>>,
}

/// The sizes of members that have a chunk which is not kept. Only old files of these sizes can be
/// such a member, and are worth hashing.
pub(crate) fn wanted_sizes(layout: &Layout, geometry: &Geometry, kept: &ChunkSet) -> HashSet<u64> {
    layout.members().filter(|member| is_wanted(member, geometry, kept)).map(|m| m.size()).collect()
}

/// Plans where the members come from that have a chunk which is not kept: whole files by hash,
/// that of the same path first and else the first of them; then the first file of the same path.
pub(crate) fn plan(
    layout: &Layout,
    geometry: &Geometry,
    kept: &ChunkSet,
    old: &[OldFile<'_>],
) -> Plan {
    let mut by_hash: HashMap<[u8; 32], usize> = HashMap::new();
    let mut by_path: HashMap<&[u8], usize> = HashMap::new();
    for (number, file) in old.iter().enumerate().filter(|(_, file)| file.size > 0) {
        if let Some(hash) = file.hash {
            by_hash.entry(hash).or_insert(number);
        }
        by_path.entry(file.path).or_insert(number);
    }
    let origin = |member: Member<'_>| {
        if !is_wanted(&member, geometry, kept) {
            return None;
        }
        let is_it = |file: &OldFile<'_>| {
            file.size == member.size() && file.hash == Some(*member.hash.as_bytes())
        };
        let at_path = by_path.get(member.path).copied();
        let by_hash = by_hash.get(member.hash.as_bytes()).copied();
        let whole = at_path.into_iter().chain(by_hash).find(|number| is_it(&old[*number]));
        whole.map(Origin::Whole).or(at_path.map(Origin::SamePlace))
    };
    Plan { origins: layout.members().map(origin).collect() }
}

impl Plan {
    /// Where the bytes of a member are, if they are known to be anywhere.
    pub(crate) fn origin(&self, member: u32) -> Option<Origin> {
        self.origins.get(member as usize).copied().flatten()
    }

    /// Whether no byte comes from anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.origins.iter().all(Option::is_none)
    }

    /// Whether all these bytes of the payload are in old files.
    pub(crate) fn covers(&self, layout: &Layout, range: Range<u64>, old: &[OldFile<'_>]) -> bool {
        layout.spans(range).all(|span| {
            self.origin(span.member).is_some_and(|at| old[at.file()].size >= span.within.end)
        })
    }
}

/// Whether it has a chunk that is not kept.
fn is_wanted(member: &Member<'_>, geometry: &Geometry, kept: &ChunkSet) -> bool {
    let Some(last) = member.range.end.checked_sub(1).filter(|_| member.size() > 0) else {
        return false;
    };
    let chunk_size = u64::from(geometry.chunk_size().get());
    (member.range.start / chunk_size..=last / chunk_size)
        .filter_map(|index| geometry.chunk(u32::try_from(index).ok()?))
        .any(|chunk| !kept.contains(chunk))
}

#[cfg(test)]
mod tests;
