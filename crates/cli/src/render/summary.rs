//! The outcome of a download, for people and for scripts.

use serde_json::json;
use tnet_peer::{CorruptPeer, Summary, TimeShares};

use super::output::{Output, Report, fields};
use super::units::{self, count, duration, rate, size};

/// A peer that sent wrong chunks, and how many.
pub(super) fn corrupt_peer_words(peer: &CorruptPeer) -> String {
    let address = match peer.address {
        Some(address) => address.to_string(),
        None => "a peer that accepts no connections".to_owned(),
    };
    format!(
        "{address}: it sent {} with wrong bytes, which were thrown away",
        count(peer.corrupt.into(), "chunk")
    )
}

/// The peers that sent wrong chunks to a complete download; none if no peer did.
fn corrupt_peers_line(summary: &Summary) -> Option<String> {
    let first = summary.corrupt_peers.first()?;
    let more = match summary.corrupt_peers.len() - 1 {
        0 => String::new(),
        others => format!("; and {}", count(others as u64, "other peer")),
    };
    let verb = if first.banned { "banned" } else { "beware of" };
    Some(format!("{verb} {}{more}", corrupt_peer_words(first)))
}

/// Whether the whole content was here, so that nothing was downloaded.
fn was_there(summary: &Summary) -> bool {
    summary.traffic.arrived == 0 && summary.bytes_resumed == summary.bytes_total
}

/// The sentence at the end.
fn summary_line(summary: &Summary) -> String {
    let path = units::shown_path(&summary.path);
    let total = size(summary.bytes_total);
    if was_there(summary) {
        return format!("{path} is complete and verified ({total}); nothing had to be downloaded");
    }
    let fetched = summary.bytes_total.saturating_sub(summary.bytes_resumed);
    let mut line = format!(
        "{path}: {total} in {} ({}) from {}",
        duration(summary.elapsed),
        rate(fetched, summary.elapsed),
        count(summary.traffic.sources.into(), "peer"),
    );
    if summary.bytes_resumed > 0 {
        line.push_str(&format!(", {} resumed", size(summary.bytes_resumed)));
    }
    if summary.bytes_damaged > 0 {
        line.push_str(&format!(
            ", {} damaged on disk and fetched again",
            size(summary.bytes_damaged)
        ));
    }
    line.push_str(&format!(", {} wasted", size(summary.traffic.bytes_wasted)));
    line
}

/// Where the time went; none if nothing was downloaded.
fn time_line(summary: &Summary) -> Option<String> {
    let TimeShares { wire, peers, disk, verification } = summary.time;
    let [wire, peers, disk, verification] = units::shares([wire, peers, disk, verification]);
    (!was_there(summary)).then(|| {
        format!(
            "time: {wire} % wire, {peers} % peers, {disk} % disk, {verification} % verification"
        )
    })
}

/// Prints the outcome of a download.
pub(crate) fn show_summary(output: Output, summary: &Summary) {
    let line = summary_line(summary);
    show_notes(output, summary);
    match time_line(summary) {
        Some(time) => output.outcome_of_two(&line, &time),
        None => output.outcome(&line),
    }
}

/// Prints the outcome of one of several downloads, without the shares of time.
pub(super) fn show_summary_of_one(output: Output, summary: &Summary) {
    show_notes(output, summary);
    output.outcome(&summary_line(summary));
}

fn show_notes(output: Output, summary: &Summary) {
    for note in corrupt_peers_line(summary).iter().chain(&summary.notes) {
        output.note(note);
    }
}

/// The same for scripts.
pub(crate) fn summary_report(summary: &Summary) -> Report {
    let fetched = summary.bytes_total.saturating_sub(summary.bytes_resumed);
    let mut report = fields(json!({
        "path": units::json_path(&summary.path),
        "bytes_total": summary.bytes_total,
        "bytes_resumed": summary.bytes_resumed,
        "bytes_damaged": summary.bytes_damaged,
        "bytes_wasted": summary.traffic.bytes_wasted,
        "sources": summary.traffic.sources,
        "from": summary.sources,
        "seconds": summary.elapsed.as_secs_f64(),
        "time": {
            "wire_seconds": summary.time.wire.as_secs_f64(),
            "peers_seconds": summary.time.peers.as_secs_f64(),
            "disk_seconds": summary.time.disk.as_secs_f64(),
            "verification_seconds": summary.time.verification.as_secs_f64(),
        },
        "verify_busy_seconds": summary.verify_busy.as_secs_f64(),
        "bytes_per_second": units::per_second(fetched, summary.elapsed),
        "already_complete": was_there(summary),
        "traffic": summary.traffic,
        "corrupt_peers": summary.corrupt_peers,
    }));
    if !summary.notes.is_empty() {
        report.insert("notes".to_owned(), json!(summary.notes));
    }
    report
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tnet_peer::Traffic;

    use super::super::documented::undocumented;
    use super::*;

    fn summary(resumed: u64) -> Summary {
        Summary {
            path: "/a".into(),
            bytes_total: 4 << 20,
            bytes_resumed: resumed,
            bytes_damaged: 0,
            elapsed: Duration::from_secs(2),
            time: TimeShares {
                wire: Duration::from_millis(1500),
                peers: Duration::from_millis(480),
                disk: Duration::from_millis(15),
                verification: Duration::from_millis(5),
            },
            verify_busy: Duration::from_millis(40),
            traffic: Traffic { arrived: 3, sources: 2, bytes_wasted: 512, ..Traffic::default() },
            sources: Vec::new(),
            corrupt_peers: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn corrupt_peer(banned: bool) -> CorruptPeer {
        CorruptPeer { address: Some(([10, 0, 0, 7], 7401).into()), corrupt: 2, banned }
    }

    #[test]
    fn a_peer_that_sent_wrong_chunks_is_named() {
        assert_eq!(corrupt_peers_line(&summary(0)), None);
        let line = |corrupt_peers| {
            corrupt_peers_line(&Summary { corrupt_peers, ..summary(0) }).expect("there is one")
        };
        assert_eq!(
            line(vec![corrupt_peer(true)]),
            "banned 10.0.0.7:7401: it sent 2 chunks with wrong bytes, which were thrown away"
        );
        let two = line(vec![corrupt_peer(false), corrupt_peer(false)]);
        assert!(
            two.starts_with("beware of 10.0.0.7:7401") && two.ends_with("; and 1 other peer"),
            "{two}"
        );
    }

    #[test]
    fn the_last_line_says_time_rate_peers_and_waste() {
        assert_eq!(
            summary_line(&summary(0)),
            "/a: 4 MiB in 2.0 s (2 MiB/s) from 2 peers, 512 B wasted"
        );
    }

    #[test]
    fn the_last_line_says_where_the_time_went() {
        let line = time_line(&summary(0)).expect("something was downloaded");
        assert_eq!(line, "time: 75 % wire, 24 % peers, 1 % disk, 0 % verification");
        assert!(line.len() <= 80);
        let report = summary_report(&summary(0));
        assert_eq!(
            (&report["time"]["wire_seconds"], &report["seconds"]),
            (&1.5.into(), &2.0.into())
        );
    }

    #[test]
    fn resumed_bytes_are_named_and_not_counted_as_speed() {
        assert_eq!(
            summary_line(&summary(2 << 20)),
            "/a: 4 MiB in 2.0 s (1 MiB/s) from 2 peers, 2 MiB resumed, 512 B wasted"
        );
        assert_eq!(summary_report(&summary(2 << 20))["bytes_per_second"], 1 << 20);
    }

    #[test]
    fn bytes_that_were_damaged_on_the_disk_are_named() {
        let damaged = Summary { bytes_damaged: 64 << 10, ..summary(1 << 20) };
        assert!(summary_line(&damaged).contains(", 64 KiB damaged on disk and fetched again"));
        assert_eq!(summary_report(&damaged)["bytes_damaged"], 64 << 10);
    }

    #[test]
    fn a_file_that_was_there_is_not_called_downloaded() {
        let there = Summary { traffic: Traffic::default(), ..summary(4 << 20) };
        assert!(summary_line(&there).contains("nothing had to be downloaded"));
        assert_eq!(time_line(&there), None);
        assert_eq!(summary_report(&there)["already_complete"], true);
        assert_eq!(summary_report(&summary(0))["already_complete"], false);
    }

    #[test]
    fn every_field_of_the_result_is_documented() {
        let notes = vec!["a note".to_owned()];
        let report = summary_report(&Summary { notes, ..summary(0) });
        assert_eq!(undocumented(&report.into()), Vec::<String>::new());
    }
}
