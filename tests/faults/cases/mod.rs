//! The cases, by what is at fault.

mod crowds;
mod network;
mod parsing;
mod pauses;

use crate::support::case::Case;

/// Every case, by row.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = [crowds::CASES, network::CASES, parsing::CASES, pauses::CASES].concat();
    cases.sort_by_key(|case| case.row);
    cases
}
