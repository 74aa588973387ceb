//! A download handed to the local server, which is started if there is none. This process only watches: when it goes,
//! the download goes on.

use std::time::Instant;

use tnet_peer::control::{Client, ConnectError, Followed, Following, GetRequest, Hello, RequestError};
use tnet_peer::{Progress, Summary};
use tokio_util::sync::CancellationToken;

use crate::args::Global;
use crate::background::{self, Launch};
use crate::command::peer::OnTaken;
use crate::exit::{Exit, Failure};
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::progress::{DownloadView, show_summary, summary_report};
use crate::render::units::{percent, shown_path};
use crate::settings;

pub(super) async fn run(
    request: GetRequest,
    global: &Global,
    output: Output,
    stop: CancellationToken,
) -> Result<Report, Failure> {
    let client = server(global, output, &stop).await?;
    let pid = client.hello().pid;
    let following = tokio::select! {
        following = client.get(request) => following?,
        () = stop.cancelled() => return Err(Failure::interrupted("interrupted before the server took the download")),
    };
    output.event(
        "started",
        fields(serde_json::json!({ "pid": pid, "path": following.out().to_string_lossy() })),
    );
    let mut view = DownloadView::new(output);
    match watch(following, &mut view, &stop).await {
        Watched::Done(summary) => {
            view.clear();
            show_summary(output, &summary);
            Ok(summary_report(&summary))
        }
        Watched::Failed(error) => {
            view.clear();
            Err(match error {
                RequestError::Lost => Failure::new(Exit::Incomplete, format!("the server, pid {pid}, ended")),
                other => other.into(),
            })
        }
        Watched::Interrupted(progress, out) => {
            view.clear();
            Err(interrupted(pid, progress.as_ref(), &out))
        }
    }
}

/// The running server, or a new one.
async fn server(global: &Global, output: Output, stop: &CancellationToken) -> Result<Client, Failure> {
    let state_dir = settings::state_dir(global)?;
    match Client::connect(&state_dir).await {
        Ok(client) => {
            warn_of_differences(client.hello(), global, output).await?;
            Ok(client)
        }
        Err(ConnectError::NotRunning { .. }) => {
            // Nobody has to know its port in advance; but a port that was named has to be that one.
            let on_taken = if global.listen.is_some() { OnTaken::Fail } else { OnTaken::AnyPort };
            let launch = Launch { dir: None, state_dir: state_dir.clone(), on_taken };
            let hello = background::start(launch, global, stop).await?.hello;
            output.note(&format!(
                "started a server, pid {}, which goes on seeding afterwards; `tnet kill-server` stops it",
                hello.pid
            ));
            Ok(Client::connect(&state_dir).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Flags that a running server cannot follow any more would otherwise be ignored without a word.
async fn warn_of_differences(hello: &Hello, global: &Global, output: Output) -> Result<(), Failure> {
    let note = |what: &str, has: String, flag: &str| {
        output.note(&format!(
            "the running server, pid {}, {what} {has}, and {flag} does not change that; `tnet kill-server` stops it",
            hello.pid
        ));
    };
    if global.coordinator.is_some() {
        let wanted = settings::coordinator(global).await?;
        if hello.coordinator != Some(wanted) {
            let has = hello.coordinator.map_or_else(|| "none".to_owned(), |address| address.to_string());
            note("uses the coordinator", has, "--coordinator");
        }
    }
    match global.listen {
        Some(wanted) if wanted.port() != 0 && wanted != hello.listen => {
            note("listens on", hello.listen.to_string(), "--listen");
        }
        _ => {}
    }
    Ok(())
}

enum Watched {
    Done(Summary),
    Failed(RequestError),
    Interrupted(Option<Progress>, std::path::PathBuf),
}

async fn watch(mut following: Following, view: &mut DownloadView, stop: &CancellationToken) -> Watched {
    let mut latest = None;
    loop {
        tokio::select! {
            next = following.next() => match next {
                Ok(Followed::Progress(progress)) => {
                    view.show(Instant::now(), &progress);
                    latest = Some(progress);
                }
                Ok(Followed::Done(summary)) => return Watched::Done(summary),
                Err(error) => return Watched::Failed(error),
            },
            () = stop.cancelled() => return Watched::Interrupted(latest, following.out().to_owned()),
        }
    }
}

fn interrupted(pid: u32, progress: Option<&Progress>, out: &std::path::Path) -> Failure {
    let percent = progress.map_or(0, |progress| percent(progress.bytes_done, progress.bytes_total));
    Failure::interrupted(format!(
        "no longer watching at {percent} %; the server, pid {pid}, goes on with {}: the same command watches again, \
         `tnet status` shows it, `tnet kill-server` stops it and keeps what is there",
        shown_path(out)
    ))
}
