//! The cases, by what is at fault.

mod absence;
mod coordinator;
mod liars;
mod manifests;
mod names;
mod parsing;

use crate::support::case::Case;

/// Every case, by row.
pub(crate) fn all() -> Vec<Case> {
    let mut cases =
        [absence::CASES, coordinator::CASES, liars::CASES, manifests::CASES, names::CASES, parsing::CASES]
            .concat();
    cases.sort_by_key(|case| case.row);
    cases
}
