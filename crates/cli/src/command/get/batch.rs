//! Several files in one command: a few at a time, all of them tried, with a summary at the end.

use std::collections::HashMap;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};
use tnet_fileinfo::FileHash;
use tnet_peer::Summary;

use super::collisions::Written;
use super::downloader::Downloader;
use super::job::{Job, Jobs, Refused};
use super::rerun::same_command;
use super::shortage;
use crate::config::typed::FileArgument;
use crate::context::Context;
use crate::error_fields::ErrorFields;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::Output;
use crate::render::batch::{BatchView, Tally};
use crate::render::output::{Report, fields};
use crate::render::summary::summary_report;
use crate::render::units::json_path;

pub(super) async fn run(
    wanted: Jobs,
    at_once: usize,
    downloader: &Downloader,
    context: &Context,
) -> Result<Report, Failure> {
    let output = context.output;
    let (view, refused) = begin(&wanted, output);
    let all = all(wanted.jobs, at_once, &view, downloader, context);
    let failure = tokio::select! {
        failure = all => failure,
        never = shortage::watch(downloader, output, |what| view.tell(what)) => match never {},
    };
    let first_failure = [refused, failure].into_iter().flatten().min_by_key(|(order, _)| *order);
    end(view, first_failure, output, context.stop.is_cancelled())
}

/// Reports a batch of which no file can be downloaded.
pub(super) fn none(wanted: Jobs, output: Output) -> Result<Report, Failure> {
    let (view, refused) = begin(&wanted, output);
    end(view, refused, output, false)
}

/// Reports the files that cannot be downloaded at all; returns the first of them.
fn begin(wanted: &Jobs, output: Output) -> (BatchView, Option<(usize, Failure)>) {
    let Jobs { jobs, refused, .. } = wanted;
    let bytes_known = jobs.iter().filter_map(|(_, job)| job.size).sum();
    let view = BatchView::new(output, jobs.len() + refused.len(), bytes_known);
    for Refused { wanted, failure, .. } in refused {
        let named = match wanted {
            FileArgument::Fileinfo(path) => failure.clone().named(path),
            FileArgument::Hash(_) | FileArgument::Tree(_) => {
                failure.clone().during(&wanted.to_string())
            }
        };
        view.failed(&named.message());
        let (wanted, error) = (wanted.to_string(), error_fields(failure));
        output.event("failed", fields(json!({ "wanted": wanted, "error": error })));
    }
    (view, refused.first().map(|refused| (refused.order, refused.failure.clone())))
}

fn end(
    view: BatchView,
    first_failure: Option<(usize, Failure)>,
    output: Output,
    is_interrupted: bool,
) -> Result<Report, Failure> {
    let tally = view.end();
    output.event("summary", account(&tally));
    if is_interrupted && tally.complete + tally.failed < tally.files {
        let cause =
            format!("interrupted with {} of {} files complete", tally.complete, tally.files);
        return Err(
            Failure::interrupted(cause).or_hint(format!("continue with: {}", same_command()))
        );
    }
    match first_failure {
        None => Ok(account(&tally)),
        Some((_, first)) => Err(Failure::new(
            first.exit,
            format!("{} of {} files failed, the reasons are above", tally.failed, tally.files),
        )
        .or_hint("the same command gets what is missing")),
    }
}

/// Tries all files; returns the first failure in the order in which they were named.
async fn all(
    jobs: Vec<(usize, Job)>,
    at_once: usize,
    view: &BatchView,
    downloader: &Downloader,
    context: &Context,
) -> Option<(usize, Failure)> {
    let mut first_failure = None;
    let written = Written::default();
    for round in rounds(jobs) {
        let fetch = async |(order, job): (usize, Job)| {
            let result = fetch(&job, &written, view, downloader, context).await;
            (order, job, result)
        };
        let waiting =
            stream::iter(round).take_while(|_| std::future::ready(!context.stop.is_cancelled()));
        let mut ended = std::pin::pin!(waiting.map(fetch).buffer_unordered(at_once));
        while let Some((order, job, result)) = ended.next().await {
            match result {
                Ok(summary) => {
                    view.complete(&summary, job.size);
                    context.output.event("complete", summary_report(&summary));
                }
                // Reported once for all of them.
                Err(failure) if failure.exit == Exit::Interrupted => {}
                Err(failure) => {
                    view.failed(&failure.message());
                    context.output.event("failed", failed(&job, &failure));
                    if first_failure
                        .as_ref()
                        .is_none_or(|(earlier, _): &(usize, Failure)| order < *earlier)
                    {
                        first_failure = Some((order, failure));
                    }
                }
            }
        }
    }
    first_failure
}

/// Splits the jobs into rounds with each content at most once: a content that is wanted under
/// several names is downloaded in the first round and copied in the later ones.
fn rounds(jobs: Vec<(usize, Job)>) -> Vec<Vec<(usize, Job)>> {
    let mut rounds: Vec<Vec<(usize, Job)>> = Vec::new();
    let mut seen: HashMap<FileHash, usize> = HashMap::new();
    for (order, job) in jobs {
        let times = seen.entry(job.hash).or_default();
        if *times == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[*times].push((order, job));
        *times += 1;
    }
    rounds
}

async fn fetch(
    job: &Job,
    written: &Written,
    view: &BatchView,
    downloader: &Downloader,
    context: &Context,
) -> Result<Summary, Failure> {
    let out = &job.request.out;
    if let Some(failure) = &job.refused {
        return Err(failure.clone());
    }
    written.check(out, job.hash).await?;
    let mut view = view.row(&job.name(), job.size);
    let result = downloader.fetch(job, &mut view, context).await;
    view.clear();
    if result.is_ok() {
        written.note(out, job.hash).await;
    }
    result.map_err(|failure| failure.named(out))
}

fn failed(job: &Job, failure: &Failure) -> Report {
    fields(json!({
        "path": json_path(&job.request.out),
        "hash": job.hash.to_string(),
        "error": error_fields(failure),
    }))
}

fn error_fields(failure: &Failure) -> Value {
    json!(ErrorFields::from(failure))
}

fn account(tally: &Tally) -> Report {
    fields(json!({
        "files": tally.files,
        "complete": tally.complete,
        "failed": tally.failed,
        "bytes_total": tally.bytes,
        "bytes_downloaded": tally.downloaded,
        "bytes_wasted": tally.wasted,
        "seconds": tally.elapsed.as_secs_f64(),
        "bytes_per_second": tally.per_second(),
    }))
}

#[cfg(test)]
mod tests {
    use tnet_control::{GetRequest, Source};

    use super::*;
    use crate::render::units::shown_path;

    fn job(content: u8, out: &str) -> Job {
        let hash = FileHash::from_bytes([content; 32]);
        Job {
            request: GetRequest::new(Source::Hash(hash), out.into()),
            hash,
            size: None,
            refused: None,
        }
    }

    #[test]
    fn a_file_wanted_twice_is_copied_after_it_was_downloaded() {
        let jobs = vec![job(1, "/a"), job(2, "/b"), job(1, "/c"), job(1, "/d"), job(2, "/e")];
        let outs = |round: &Vec<(usize, Job)>| -> Vec<String> {
            round
                .iter()
                .map(|(order, job)| format!("{order}{}", shown_path(&job.request.out)))
                .collect()
        };
        let rounds: Vec<Vec<String>> =
            rounds(jobs.into_iter().enumerate().collect()).iter().map(outs).collect();
        assert_eq!(rounds, [vec!["0/a", "1/b"], vec!["2/c", "4/e"], vec!["3/d"]]);
    }
}
