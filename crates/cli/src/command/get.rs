//! `tnet get`: files, each from many peers. The local server downloads them and goes on seeding, or
//! this process does.

mod downloader;
mod foreground;
mod handed_over;
mod job;
mod list;
mod several;
mod shortage;
mod target;
mod twice;

use tnet_fileinfo::shown;
use tokio_util::sync::CancellationToken;

use self::downloader::Downloader;
use self::job::{Job, Jobs};
use crate::args::{Get, Global};
use crate::exit::{Exit, Failure};
use crate::render::Output;
use crate::render::output::Report;
use crate::render::progress::{DownloadView, show_summary, summary_report};
use crate::render::units::shown_path;

pub(crate) async fn run(
    args: Get,
    global: &Global,
    output: Output,
    stop: CancellationToken,
) -> Result<Report, Failure> {
    // All are looked at before any server is started: what is wrong with them is the user's first
    // question.
    let wanted = job::all(&args).await?;
    if wanted.jobs.is_empty() {
        return several::none(wanted, output);
    }
    let downloader = Downloader::start(&args, wanted.is_several, global, output, &stop).await?;
    let result = match wanted {
        Jobs { mut jobs, is_several: false, .. } => {
            let (_, only) = jobs.remove(0);
            one(&only, &downloader, output, &stop).await
        }
        wanted => {
            Box::pin(several::run(wanted, args.parallel.into(), &downloader, output, &stop)).await
        }
    };
    downloader.end(result.is_ok(), output, &stop).await;
    result
}

async fn one(
    job: &Job,
    downloader: &Downloader,
    output: Output,
    stop: &CancellationToken,
) -> Result<Report, Failure> {
    let mut view = DownloadView::new(output);
    let result = tokio::select! {
        result = downloader.fetch(job, &mut view, output, stop) => result,
        never = shortage::watch(downloader, output, |what| output.complaint(what)) => match never {},
    };
    view.clear();
    let summary = result.map_err(|failure| with_hint(failure, &shown_path(&job.request.out)))?;
    show_summary(output, &summary);
    output.event("complete", summary_report(&summary));
    Ok(summary_report(&summary))
}

/// What the user can do about each way in which a download fails.
fn with_hint(failure: Failure, out: &str) -> Failure {
    let hint = match failure.exit {
        Exit::NoHolder => {
            "is a machine that has it running `tnet start-server`, with the same --coordinator?"
                .to_owned()
        }
        Exit::Incomplete => {
            format!("what arrived is kept in {out}.partial: run the same command again to continue")
        }
        Exit::Network => "check --coordinator".to_owned(),
        // A full disk says so itself.
        Exit::Disk => {
            "check the disk or choose another with -o, then run the same command again".to_owned()
        }
        _ => return failure,
    };
    failure.or_hint(&hint)
}

/// This command once more, as it can be pasted into a shell.
fn same_command() -> String {
    let words: Vec<String> =
        std::env::args_os().map(|word| quoted(&shown(&word).to_string())).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+[]".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_repeated_as_a_shell_would_read_it() {
        for (word, shown) in [
            ("get", "get"),
            ("/srv/a.iso", "/srv/a.iso"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn a_failure_that_says_what_to_do_keeps_its_own_words() {
        let own = Failure::new(Exit::Network, "unreachable; is it running?");
        assert_eq!(with_hint(own.clone(), "out"), own);
        let bare = with_hint(Failure::new(Exit::Incomplete, "stalled"), "out");
        assert!(bare.message.contains("out.partial"), "{}", bare.message);
    }
}
