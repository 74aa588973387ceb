//! What the path of an entry may be: relative, of plain components, of bounded length and depth.
//! Any other byte is allowed, as Linux allows it.

use super::error::EntryFault;
use super::limits::{MAX_COMPONENT_LEN, MAX_DEPTH, MAX_PATH_LEN};

/// Checks a path by itself.
pub(super) fn check_path(path: &[u8]) -> Result<(), EntryFault> {
    match path {
        [] => return Err(EntryFault::EmptyPath),
        [b'/', ..] => return Err(EntryFault::AbsolutePath),
        _ if path.len() > MAX_PATH_LEN => return Err(EntryFault::PathTooLong),
        _ if path.contains(&0) => return Err(EntryFault::Nul),
        _ => {}
    }
    let mut depth = 0;
    for component in components(path) {
        match component {
            [] => return Err(EntryFault::EmptyComponent),
            [b'.'] | [b'.', b'.'] => return Err(EntryFault::DotComponent),
            _ if component.len() > MAX_COMPONENT_LEN => return Err(EntryFault::ComponentTooLong),
            _ => depth += 1,
        }
    }
    if depth > MAX_DEPTH { Err(EntryFault::TooDeep) } else { Ok(()) }
}

/// Checks the target of a link by itself. Where it leads is another question.
pub(super) fn check_target(target: &[u8]) -> Result<(), EntryFault> {
    match target {
        [] => Err(EntryFault::EmptyTarget),
        _ if target.len() > MAX_PATH_LEN => Err(EntryFault::TargetTooLong),
        _ if target.contains(&0) => Err(EntryFault::Nul),
        _ => Ok(()),
    }
}

/// The parts between slashes.
pub(super) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

/// The directory that a path is in; none for the top of the tree.
pub(super) fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    path.get(..slash)
}
