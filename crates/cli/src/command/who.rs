//! `tnet who`: what the coordinator knows of the peers that hold a file.

use std::time::Duration;

use serde_json::json;
use tnet_control::START_HOLDER;
use tnet_peer::{CoordinatorAddress, CoordinatorQuery, Holders, NamedHolder};

use super::fileinfo::{self, no_file};
use crate::config::Config;
use crate::config::typed::{FileArgument, Who};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::output::{Report, fields};
use crate::render::table::aligned;
use crate::render::units::count;

/// Holders that a coordinator names at most.
const MOST_NAMED: usize = 50;

/// For the connection, and for the answer.
const WITHIN: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: Who, config: &Config, context: &Context) -> Result<Report, Failure> {
    let output = context.output;
    let hash = match &args.wanted {
        None => None,
        Some(FileArgument::Hash(hash)) => Some(*hash),
        Some(FileArgument::Tree(tree)) => return Err(no_file(*tree)),
        Some(FileArgument::Fileinfo(path)) => Some(fileinfo::read(path).await?.hash()),
    };
    let address = config.coordinator()?;
    let mut query = CoordinatorQuery::open(address.clone(), WITHIN).await?;
    let Some(hash) = hash else {
        output.outcome(&format!("the coordinator at {address} answers"));
        return Ok(fields(json!({ "coordinator": address })));
    };
    let holders = query.holders(hash).await?;
    if holders.full + holders.partial == 0 {
        let cause = format!("the coordinator at {address} knows no peer that has {}", hash.short());
        return Err(Failure::new(Exit::NoHolder, cause).or_hint(START_HOLDER));
    }
    for line in lines(&address, &holders) {
        output.data(&line);
    }
    let has = |holder: &NamedHolder| if holder.is_full { "full" } else { "partial" };
    let named =
        holders.named.iter().map(|holder| json!({ "address": holder.address, "has": has(holder) }));
    Ok(fields(json!({
        "coordinator": address,
        "hash": hash.to_string(),
        "full": holders.full,
        "partial": holders.partial,
        "holders": named.collect::<Vec<_>>(),
    })))
}

fn lines(coordinator: &CoordinatorAddress, holders: &Holders) -> Vec<String> {
    let mut lines = vec![format!(
        "{} the whole file, {} a part, says the coordinator at {coordinator}",
        have(holders.full),
        holders.partial
    )];
    let mut named = holders.named.clone();
    named.sort_by_key(|holder| holder.address);
    let rows: Vec<Vec<String>> = named.iter().map(row).collect();
    lines.extend(aligned(&rows, &[]).into_iter().map(|line| format!("  {line}")));
    let shown = u32::try_from(named.len()).unwrap_or(u32::MAX);
    let more = holders.full.saturating_add(holders.partial).saturating_sub(shown);
    // A coordinator names all it can, up to that number.
    match more {
        0 => {}
        _ if named.len() >= MOST_NAMED => lines.push(format!("  … and {more} more")),
        _ => lines.push(format!("  … and {more} more that cannot be reached from here")),
    }
    lines
}

fn have(peers: u32) -> String {
    format!("{} {}", count(peers.into(), "peer"), if peers == 1 { "has" } else { "have" })
}

fn row(holder: &NamedHolder) -> Vec<String> {
    let holds = if holder.is_full { "whole" } else { "a part" };
    vec![holder.address.to_string(), holds.to_owned()]
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn holders_are_listed_by_address_and_those_not_named_are_counted() {
        let at = |last, is_full| NamedHolder { address: ([10, 0, 0, last], 7401).into(), is_full };
        let holders = Holders { full: 1, partial: 4, named: vec![at(12, false), at(3, true)] };
        assert_eq!(
            lines(&SocketAddr::from(([10, 0, 0, 1], 7400)).into(), &holders),
            [
                "1 peer has the whole file, 4 a part, says the coordinator at 10.0.0.1:7400",
                "  10.0.0.3:7401   whole",
                "  10.0.0.12:7401  a part",
                "  … and 3 more that cannot be reached from here",
            ]
        );
    }
}
