//! The cases, by what is at fault.

mod absence;
mod coordinator;
mod crash;
mod crowds;
mod disk;
mod full_disk;
mod liars;
mod manifests;
mod memory;
mod names;
mod network;
mod parsing;
mod pauses;
mod power;
mod target;

use crate::support::case::Case;

/// Every case, by row.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = [
        absence::CASES,
        coordinator::CASES,
        crash::CASES,
        crowds::CASES,
        disk::CASES,
        full_disk::CASES,
        liars::CASES,
        manifests::CASES,
        memory::CASES,
        names::CASES,
        network::CASES,
        parsing::CASES,
        pauses::CASES,
        power::CASES,
        target::CASES,
    ]
    .concat();
    cases.sort_by_key(|case| case.row);
    cases
}
