//! The cases, by what is at fault.

mod absence;
mod addresses;
mod coordinator;
mod crash;
mod crowds;
mod descriptions;
mod disk;
mod false_claims;
mod full_disk;
mod logs;
mod manifests;
mod many;
mod memory;
mod names;
mod network;
mod parsing;
mod pauses;
mod places;
mod power;
mod races;
mod report_floods;
mod rot;
mod silence;
mod sources;
mod stale;
mod target;
mod timeouts;
mod unread;
mod wrong_bytes;

use crate::support::case::Case;

/// Every case, by row.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = [
        absence::CASES,
        addresses::CASES,
        coordinator::CASES,
        crash::CASES,
        crowds::CASES,
        descriptions::CASES,
        disk::CASES,
        false_claims::CASES,
        full_disk::CASES,
        logs::CASES,
        manifests::CASES,
        many::CASES,
        memory::CASES,
        names::CASES,
        network::CASES,
        parsing::CASES,
        pauses::CASES,
        places::CASES,
        power::CASES,
        races::CASES,
        report_floods::CASES,
        rot::CASES,
        silence::CASES,
        sources::CASES,
        stale::CASES,
        target::CASES,
        timeouts::CASES,
        unread::CASES,
        wrong_bytes::CASES,
    ]
    .concat();
    cases.sort_by_key(|case| case.row);
    cases
}
