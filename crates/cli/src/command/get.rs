//! `tnet get`: downloads files, each from many peers, through the local server, which seeds
//! afterwards, or in this process.

mod batch;
mod collisions;
mod downloader;
mod in_process;
mod job;
mod list;
mod rerun;
mod shortage;
mod target;
mod via_server;

use self::downloader::Downloader;
use self::job::{Job, Jobs};
pub(super) use self::via_server::Server;
use crate::config::Config;
use crate::config::typed::Get;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::output::Report;
use crate::render::progress::DownloadView;
use crate::render::summary::{show_summary, summary_report};

pub(crate) async fn run(args: Get, config: &Config, context: &Context) -> Result<Report, Failure> {
    // All are checked before any server is started, so that mistakes are reported at once.
    let wanted = job::all(&args).await?;
    if wanted.jobs.is_empty() {
        return batch::none(wanted, context.output);
    }
    let downloader = Downloader::start(&args, wanted.is_several, config, context).await?;
    let result = match wanted {
        Jobs { mut jobs, is_several: false, .. } => {
            let (_, only) = jobs.remove(0);
            one(&only, &downloader, context).await
        }
        wanted => Box::pin(batch::run(wanted, args.parallel.into(), &downloader, context)).await,
    };
    downloader.end(result.is_ok(), context).await;
    result
}

async fn one(job: &Job, downloader: &Downloader, context: &Context) -> Result<Report, Failure> {
    let output = context.output;
    let mut view = DownloadView::new(output);
    let result = tokio::select! {
        result = downloader.fetch(job, &mut view, context) => result,
        never = shortage::watch(downloader, output, |what| output.complaint(what)) => match never {},
    };
    view.clear();
    let summary = result?;
    show_summary(output, &summary);
    output.event("complete", summary_report(&summary));
    Ok(summary_report(&summary))
}
