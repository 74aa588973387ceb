//! Connected and banned peers.

use std::cmp::Reverse;
use std::time::Duration;

use tnet_peer::{Ban, ConnectionStatus, Status};

use super::super::paragraph::paragraph;
use super::super::table::aligned;
use super::super::terminal::Layout;
use super::super::units::{count, duration, size};
use super::more::and_more;

/// Connections that are shown to people; scripts get all.
const MOST_PEERS: usize = 50;

/// Titles of the columns after the address.
const COLUMNS: [&str; 6] = ["down", "up", "received", "sent", "round trip", ""];

pub(super) fn connected(status: &Status, layout: Layout) -> Vec<String> {
    let mut peers: Vec<&ConnectionStatus> = status.peers.iter().collect();
    peers.sort_by_key(|peer| Reverse(peer.down_per_second.saturating_add(peer.up_per_second)));
    peers.truncate(MOST_PEERS);
    // Sorted by rate their order would change constantly.
    peers.sort_by_key(|peer| (peer.address.is_none(), peer.address));
    let title = count(status.peers.len() as u64, "connected peer");
    let mut lines = vec![String::new()];
    let rows: Vec<Vec<String>> = peers.iter().map(|peer| peer_row(peer)).collect();
    if rows.is_empty() {
        lines.push(title);
        return lines;
    }
    let head = std::iter::once(title.clone()).chain(COLUMNS.map(str::to_owned)).collect();
    let indented = rows.iter().map(|row| [&[format!("  {}", row[0])], &row[1..]].concat());
    let table =
        aligned(&std::iter::once(head).chain(indented).collect::<Vec<_>>(), &[1, 2, 3, 4, 5]);
    let fits = |line: &String| layout.columns.is_none_or(|columns| line.chars().count() <= columns);
    if table.iter().all(fits) {
        lines.extend(table);
    } else {
        lines.push(title);
        for row in rows {
            lines.push(format!("  {}", row[0]));
            lines.extend(paragraph("    ", &phrases(&row[1..]), layout.columns));
        }
    }
    lines.extend(and_more((status.peers.len() - peers.len()) as u64, "--json", layout));
    lines
}

/// The cells of a row with their titles; empty cells are left out.
fn phrases(cells: &[String]) -> Vec<String> {
    let told = cells.iter().zip(COLUMNS).filter(|(cell, _)| !matches!(cell.as_str(), "" | "-"));
    told.map(|(cell, column)| format!("{column} {cell}").trim_start().to_owned()).collect()
}

fn peer_row(peer: &ConnectionStatus) -> Vec<String> {
    let address = peer
        .address
        .map_or_else(|| "(accepts no connections)".to_owned(), |address| address.to_string());
    let mut remarks = Vec::new();
    if peer.stalled {
        remarks.push("stalled".to_owned());
    }
    if peer.corrupt > 0 {
        remarks.push(format!("{} corrupt", peer.corrupt));
    }
    vec![
        address,
        rate(peer.down_per_second),
        rate(peer.up_per_second),
        size(peer.bytes_received),
        size(peer.bytes_sent),
        peer.round_trip.map_or_else(|| "-".to_owned(), round_trip),
        remarks.join(", "),
    ]
}

fn rate(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        bytes => format!("{}/s", size(bytes)),
    }
}

/// In tenths of a millisecond below 10 ms; never zero.
fn round_trip(time: Duration) -> String {
    match time.as_micros().div_ceil(100).max(1) {
        tenths @ ..100 => format!("{}.{} ms", tenths / 10, tenths % 10),
        _ => duration(time),
    }
}

pub(super) fn banned(status: &Status) -> Vec<String> {
    if status.bans.is_empty() {
        return Vec::new();
    }
    let row = |ban: &Ban| {
        vec![
            ban.address.to_string(),
            ban.reason.clone(),
            format!("{} left", duration(ban.remaining)),
        ]
    };
    let rows: Vec<Vec<String>> = status.bans.iter().map(row).collect();
    let title = [String::new(), count(status.bans.len() as u64, "banned peer")];
    title
        .into_iter()
        .chain(aligned(&rows, &[]).into_iter().map(|line| format!("  {line}")))
        .collect()
}
