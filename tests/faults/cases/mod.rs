//! The cases, by what is at fault.

mod absence;
mod coordinator;
mod crowds;
mod liars;
mod manifests;
mod names;
mod network;
mod parsing;
mod pauses;

use crate::support::case::Case;

/// Every case, by row.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = [
        absence::CASES,
        coordinator::CASES,
        crowds::CASES,
        liars::CASES,
        manifests::CASES,
        names::CASES,
        network::CASES,
        parsing::CASES,
        pauses::CASES,
    ]
    .concat();
    cases.sort_by_key(|case| case.row);
    cases
}
