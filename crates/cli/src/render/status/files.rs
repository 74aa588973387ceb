//! Files: what is being downloaded, with a map each, and what else is here.

use std::cmp::Reverse;
use std::num::NonZeroU64;
use std::path::Path;

use tnet_peer::{DamagedFile, FileStatus, Limits, Phase, Priority, Progress, Status};

use super::super::chunk_map::chunk_map_line;
use super::super::paragraph::paragraph;
use super::super::progress::phase_name;
use super::super::table::aligned;
use super::super::terminal::Layout;
use super::super::units::{count, duration, grouped, percent, shown_path, size, time_left};
use super::more::and_more;

/// Downloads that are shown.
pub(super) const MOST_DOWNLOADS: u32 = 50;

/// Other files that are shown.
pub(super) const MOST_SHARED: u32 = 20;

const INDENT: usize = 4;

pub(super) fn downloads(status: &Status, layout: Layout) -> Vec<String> {
    let mut files: Vec<&FileStatus> =
        status.files.iter().filter(|file| file.is_download()).collect();
    let total = status.downloads_total.max(files.len() as u64);
    if total == 0 {
        return Vec::new();
    }
    files.truncate(MOST_DOWNLOADS as usize);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut lines = vec![String::new(), count(total, "download")];
    for file in &files {
        lines.push(format!("  {}", fitted_path(&file.path, layout, 2)));
        let phrases = file
            .download
            .as_ref()
            .map_or_else(Vec::new, |progress| progress_phrases(file, progress));
        lines.extend(paragraph(&" ".repeat(INDENT), &phrases, layout.columns));
        if let Some(map) = &file.chunk_map {
            let places = layout.columns_within(INDENT + 2).unwrap_or(usize::MAX);
            lines.push(format!("    {}", chunk_map_line(map, places, layout.utf8)));
        }
        lines.extend(waiting(file));
    }
    lines.extend(and_more(total - files.len() as u64, "tnet ls", layout));
    lines
}

fn progress_phrases(file: &FileStatus, progress: &Progress) -> Vec<String> {
    let (done, total) = (progress.bytes_done, progress.bytes_total);
    let mut phrases = vec![
        short_hash(file),
        format!("{} %", percent(done, total)),
        format!("{} of {}", size(done), size(total)),
    ];
    match progress.phase {
        // The percentage says it.
        Phase::Downloading | Phase::Complete | Phase::Failed => {}
        phase => phrases.push(phase_name(phase).to_owned()),
    }
    if progress.bytes_checked < progress.bytes_to_check {
        let (checked, all) = (size(progress.bytes_checked), size(progress.bytes_to_check));
        phrases.push(format!("checked {checked} of {all}"));
    }
    phrases.push(format!("{}/s down", size(file.down_per_second)));
    if file.up_per_second > 0 {
        phrases.push(format!("{}/s up", size(file.up_per_second)));
    }
    phrases.push(count(file.peers.into(), "peer"));
    phrases.extend(settings(file));
    let map = file.chunk_map.iter();
    let under_way: u64 = map.flat_map(|map| &map.under_way).map(|chunks| u64::from(*chunks)).sum();
    if under_way > 0 {
        phrases.push(format!("{} under way", count(under_way, "chunk")));
    }
    let left = time_left(total.saturating_sub(done), file.down_per_second);
    phrases.extend(left.map(|left| format!("{} left", duration(left))));
    phrases
}

/// What a stalled download waits for.
fn waiting(file: &FileStatus) -> Option<String> {
    let progress = file.download.as_ref()?;
    Some(format!("    waiting {}: {}", duration(progress.quiet), progress.waiting?))
}

pub(super) fn shared(status: &Status, layout: Layout) -> Vec<String> {
    // The manifest of a tree is no file of its own.
    let is_shown = |file: &&FileStatus| !file.is_download() && !file.is_manifest;
    let mut files: Vec<&FileStatus> = status.files.iter().filter(is_shown).collect();
    let manifests = status.files.iter().filter(|file| file.is_manifest).count() as u64;
    let total = status
        .files_total
        .saturating_sub(status.downloads_total + manifests)
        .max(files.len() as u64);
    if total == 0 && status.downloads_total > 0 {
        return Vec::new();
    }
    // Activity decides which are shown, but not their order, which would change constantly.
    files.sort_by_key(|file| (file.idle.is_none(), file.idle, Reverse(file.sent_bytes)));
    files.truncate(MOST_SHARED as usize);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let more = total - files.len() as u64;
    let noun = if total == 1 { "shared file" } else { "shared files" };
    let title = match more {
        0 => format!("{} {noun}", grouped(total)),
        _ if files.iter().any(|file| file.idle.is_some()) => {
            format!("{} {noun}, those active last:", grouped(total))
        }
        _ => format!("{} {noun}, some of them:", grouped(total)),
    };
    let mut lines = vec![String::new(), title];
    let rows: Vec<Vec<String>> = files.iter().map(|file| shared_row(file)).collect();
    let table: Vec<String> = aligned(&without_empty_columns(&rows), &[1]);
    let fits =
        |line: &String| layout.columns.is_none_or(|columns| 2 + line.chars().count() <= columns);
    if table.iter().all(fits) {
        lines.extend(table.into_iter().map(|line| format!("  {line}")));
    } else {
        for (file, row) in files.iter().zip(rows) {
            lines.push(format!("  {}", fitted_path(&file.path, layout, 2)));
            let figures = row.len() - 1;
            let phrases: Vec<String> =
                row.into_iter().take(figures).filter(|cell| !cell.is_empty()).collect();
            lines.extend(paragraph(&" ".repeat(INDENT), &phrases, layout.columns));
        }
    }
    lines.extend(and_more(more, "tnet ls", layout));
    lines
}

/// The path is last, because paths are long and vary most in length.
fn shared_row(file: &FileStatus) -> Vec<String> {
    let rate = match file.up_per_second {
        0 => String::new(),
        rate => format!("{}/s up", size(rate)),
    };
    vec![
        short_hash(file),
        size(file.size),
        state(file),
        count(file.peers.into(), "peer"),
        rate,
        sent(file),
        shown_path(&file.path),
    ]
}

fn without_empty_columns(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    let is_used = |column: &usize| {
        rows.iter().any(|row| row.get(*column).is_some_and(|cell| !cell.is_empty()))
    };
    let columns = rows.first().map_or(0, Vec::len);
    let used: Vec<usize> = (0..columns).filter(is_used).collect();
    rows.iter().map(|row| used.iter().map(|column| row[*column].clone()).collect()).collect()
}

/// The state in a few words: whole, or how much of it is here; and its settings.
pub(crate) fn state(file: &FileStatus) -> String {
    let state = if file.chunks_done == file.chunks_total {
        "whole".to_owned()
    } else {
        format!("{} %", percent(file.chunks_done.into(), file.chunks_total.into()))
    };
    let paused = file.paused.then(|| "paused".to_owned());
    std::iter::once(state)
        .chain(damage(file))
        .chain(paused)
        .chain(settings(file))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Chunks that are not served because they are wrong or unreadable on the disk.
fn damage(file: &FileStatus) -> impl Iterator<Item = String> {
    let sum = |counted: fn(&DamagedFile) -> u32| {
        file.damaged.iter().map(|damaged| u64::from(counted(damaged))).sum()
    };
    let phrase = |chunks: u64, what: &str| {
        (chunks > 0).then(|| format!("{} {what}", count(chunks, "chunk")))
    };
    let wrong = phrase(sum(|damaged| damaged.wrong), "wrong on disk");
    let unreadable = phrase(sum(|damaged| damaged.unreadable), "unreadable");
    wrong.into_iter().chain(unreadable)
}

/// The file's settings, without a pause.
fn settings(file: &FileStatus) -> impl Iterator<Item = String> {
    let priority = match file.priority {
        Priority::High => Some("first".to_owned()),
        Priority::Normal => None,
        Priority::Low => Some("last".to_owned()),
    };
    priority.into_iter().chain(limits(file.limits))
}

/// Limits that are set.
pub(super) fn limits(limits: Limits) -> Option<String> {
    let rate = |rate: Option<NonZeroU64>, way: &str| {
        rate.map(|rate| format!("{}/s {way}", size(rate.get())))
    };
    let rates: Vec<String> =
        rate(limits.up, "up").into_iter().chain(rate(limits.down, "down")).collect();
    (!rates.is_empty()).then(|| format!("at most {}", rates.join(" and ")))
}

fn short_hash(file: &FileStatus) -> String {
    let digits = |hash: &str| hash.get(..8).unwrap_or(hash).to_owned();
    match file.tree.as_ref().and_then(|tree| tree.split_once(':')) {
        Some((prefix, hash)) => format!("{prefix}:{}", digits(hash)),
        None => digits(&file.hash),
    }
}

pub(super) fn sent(file: &FileStatus) -> String {
    match file.sent_bytes {
        0 => "sent nothing".to_owned(),
        bytes => format!("sent {:.2} copies ({})", file.sent_copies(), size(bytes)),
    }
}

/// Cuts the beginning of a path that is too long: its end says more.
fn fitted_path(path: &Path, layout: Layout, indent: usize) -> String {
    let text = shown_path(path);
    let len = text.chars().count();
    match layout.columns_within(indent) {
        Some(columns) if layout.fits_paths && len > columns => {
            let kept = columns.saturating_sub(layout.ellipsis().chars().count());
            format!("{}{}", layout.ellipsis(), text.chars().skip(len - kept).collect::<String>())
        }
        _ => text,
    }
}
