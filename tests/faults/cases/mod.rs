//! The cases, by what is at fault.

mod parsing;

use crate::support::case::Case;

/// Every case, by row.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = [parsing::CASES].concat();
    cases.sort_by_key(|case| case.row);
    cases
}
