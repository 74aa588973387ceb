//! The cases, by what is at fault.

mod crash;
mod disk;
mod full_disk;
mod memory;
mod parsing;
mod power;
mod target;

use crate::support::case::Case;

/// Every case, by row.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = [
        parsing::CASES,
        crash::CASES,
        disk::CASES,
        full_disk::CASES,
        target::CASES,
        memory::CASES,
        power::CASES,
    ]
    .concat();
    cases.sort_by_key(|case| case.row);
    cases
}
