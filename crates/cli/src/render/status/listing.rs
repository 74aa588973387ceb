//! A coordinator that sends no peer to this one: how it is told.

use serde_json::{Value, json};
use tnet_peer::{Listing, ListingProblem};

/// The problem and what to do, in one line.
pub(super) fn warning(problem: ListingProblem) -> String {
    format!("others do not find this peer: {problem}; {}", problem.hint())
}

/// The listing in JSON: a problem has its words beside its fields.
pub(crate) fn listing_for_scripts(listing: &Listing) -> Value {
    let mut value = json!(listing);
    if let Listing::Refused(problem) = listing {
        let refused = &mut value["refused"];
        refused["cause"] = problem.to_string().into();
        refused["hint"] = problem.hint().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_refusal_names_its_cure() {
        let [ip, seen] = [IpAddr::from([10, 0, 0, 9]), IpAddr::from([198, 51, 100, 2])];
        let port = 7401;
        let outside = |is_advertised| ListingProblem::OutsideNetworks { ip, seen, is_advertised };
        for (problem, cure) in [
            (outside(true), "start it with --allow-advertise 10.0.0.9, or leave out --advertise"),
            (
                outside(false),
                "start it with --allow-advertise 10.0.0.9, or leave out the address in --listen",
            ),
            (ListingProblem::AddressGone { ip, port }, "use --listen 7401"),
            (ListingProblem::ListensLocally { ip, port }, "use --listen 7401"),
            (
                ListingProblem::AdvertisesLocal { ip },
                "give --advertise an address at which they reach this one",
            ),
            (
                ListingProblem::Forwarded { seen },
                "give --advertise the address at which others reach this machine",
            ),
            (
                ListingProblem::OtherFamily { ip, port, seen },
                "use --listen 7401, or name the coordinator by an address of the other kind",
            ),
        ] {
            let warning = warning(problem);
            assert!(warning.ends_with(&format!("; {cure}")), "{warning}");
        }
    }

    #[test]
    fn a_script_reads_a_problem_in_fields() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let problem = ListingProblem::ListensLocally { ip, port: 7401 };
        let expected = json!({ "refused": {
            "problem": "listens_locally",
            "ip": "127.0.0.1",
            "port": 7401,
            "cause": "we accept at 127.0.0.1 only, where others on the network do not reach us",
            "hint": "use --listen 7401",
        } });
        assert_eq!(listing_for_scripts(&Listing::Refused(problem)), expected);
        assert_eq!(listing_for_scripts(&Listing::Nowhere), json!("nowhere"));
    }
}
