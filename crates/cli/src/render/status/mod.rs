//! The state of a server for people: the server itself, its downloads, its shared files, its peers.
//! Every list is cut to a bounded length, and the rest is counted.

mod files;
mod listing;
mod more;
mod peers;

pub(crate) use files::state;
pub(crate) use listing::listing_for_scripts;

use tnet_control::Hello;
use tnet_peer::{Bound, Bounds, CoordinatorState, Listing, Status};

use super::paragraph::paragraph;
use super::terminal::Layout;
use super::units::{duration, grouped, size};

/// Files of a status that are shown at most, downloads included.
pub(crate) const MOST_FILES: u32 = files::MOST_DOWNLOADS + files::MOST_SHARED;

/// Columns of the names at the left.
const NAME_COLUMNS: usize = 13;

/// The lines of a status.
pub(crate) fn status_lines(hello: &Hello, status: &Status, layout: Layout) -> Vec<String> {
    let named = |name: &str, phrases: &[String]| {
        paragraph(&format!("{name:<NAME_COLUMNS$}"), phrases, layout.columns)
    };
    let server = [format!("pid {}", hello.pid), format!("up {}", duration(status.uptime))];
    let mut lines = named("server", &server);
    if let Some(shortage) = status.shortage {
        lines.extend(named("warning", &[format!("{shortage}; {}", shortage.hint())]));
    }
    lines.extend(named("peers on", &peers_on(status)));
    lines.extend(named("coordinator", &coordinator(status)));
    if let Listing::Refused(problem) = status.coordinator_contact.listing {
        lines.extend(named("warning", &[listing::warning(problem)]));
    }
    lines.extend(named("traffic", &traffic(status)));
    lines.extend(named("slots", &slots(status)));
    lines.extend(files::downloads(status, layout));
    lines.extend(files::shared(status, layout));
    if !status.left_out.is_empty() {
        lines.push(String::new());
    }
    for (number, left_out) in status.left_out.iter().enumerate() {
        lines.extend(named(if number == 0 { "not shared" } else { "" }, &[left_out.to_string()]));
    }
    lines.extend(peers::connected(status, layout));
    lines.extend(peers::banned(status));
    // Last, because it is rarely needed and a terminal may have few rows.
    lines.push(String::new());
    lines.extend(named("in use", &in_use(&status.bounds)));
    lines
}

fn peers_on(status: &Status) -> Vec<String> {
    let listing = match &status.coordinator_contact.listing {
        Listing::Unknown | Listing::Nowhere => None,
        // It accepts connections only there.
        Listing::At(address) if address.ip().is_loopback() => {
            Some(format!("others on this machine are sent to {address}"))
        }
        Listing::At(address) => Some(format!("others are sent to {address}")),
        Listing::SameMachine { port } => Some(format!(
            "others are sent to port {port} of this machine, at the address at which they reach the coordinator"
        )),
        Listing::Refused(_) => Some("others are not sent here".to_owned()),
    };
    [status.listen.to_string()].into_iter().chain(listing).collect()
}

fn coordinator(status: &Status) -> Vec<String> {
    let contact = &status.coordinator_contact;
    let since = duration(contact.since);
    let state = match status.coordinator_state {
        CoordinatorState::None => "none".to_owned(),
        CoordinatorState::Connecting => format!("connecting for {since}"),
        CoordinatorState::Connected => format!("connected for {since}"),
        CoordinatorState::Unreachable => format!("unreachable for {since}"),
        CoordinatorState::OtherVersion => format!("speaks another version for {since}"),
        CoordinatorState::NotCoordinator => format!("is not a coordinator for {since}"),
    };
    let address = status.coordinator.as_ref().map(ToString::to_string);
    let is_connected = status.coordinator_state == CoordinatorState::Connected;
    let is_called = !is_connected && status.coordinator.is_some();
    let calls = is_called.then(|| "retrying".to_owned());
    let error = contact.last_error.as_ref().filter(|_| is_called);
    let report = contact.last_report.map(|ago| format!("last report {} ago", duration(ago)));
    let noun = if contact.files_reported == 1 { "file" } else { "files" };
    let reported =
        is_connected.then(|| format!("{} {noun} reported", grouped(contact.files_reported)));
    let error = error.map(|error| format!("last error: {error}"));
    address
        .into_iter()
        .chain([state])
        .chain(calls)
        .chain(report)
        .chain(reported)
        .chain(error)
        .collect()
}

fn traffic(status: &Status) -> Vec<String> {
    let mut phrases = vec![
        format!("{} sent", size(status.sent_bytes)),
        format!("{} received", size(status.received_bytes)),
        format!("{}/s up", size(status.up_per_second)),
        format!("{}/s down", size(status.down_per_second)),
    ];
    phrases.extend(files::limits(status.limits));
    phrases
}

fn slots(status: &Status) -> Vec<String> {
    let slots = &status.slots;
    vec![
        format!("{} of {} sending", slots.uploads, slots.uploads_most),
        format!("{} waiting for one", slots.waiting),
        format!("{} of {} receiving", slots.downloads, slots.downloads_most),
    ]
}

fn in_use(bounds: &Bounds) -> Vec<String> {
    let number = |bound: Bound, what: &str| {
        format!("{} of {} {what}", grouped(bound.used), grouped(bound.most))
    };
    let bytes =
        |bound: Bound, what: &str| format!("{} of {} {what}", size(bound.used), size(bound.most));
    let files = bounds.files.map(|files| number(files, "files"));
    [
        number(bounds.connections, "connections"),
        number(bounds.known_peers, "known peers"),
        number(bounds.open_files, "files kept open"),
        bytes(bounds.chunk_memory_bytes, "buffers"),
        bytes(bounds.storing_bytes, "to write"),
    ]
    .into_iter()
    .chain(files)
    .collect()
}

#[cfg(test)]
mod tests;
