//! Downloads handed to the local server, which is started if there is none. This process only watches: when it goes,
//! the downloads go on.

use std::path::PathBuf;
use std::time::Instant;

use tnet_peer::control::{Client, Followed, Following, Hello, RequestError};
use tnet_peer::{Progress, Shortage, Summary};
use tokio_util::sync::CancellationToken;

use super::job::Job;
use crate::args::Global;
use crate::background::{self, Launch, Running, Started};
use crate::command::peer::OnTaken;
use crate::exit::{Exit, Failure};
use crate::render::Output;
use crate::render::output::fields;
use crate::render::progress::DownloadView;
use crate::render::units::{json_path, percent, shown_path};
use crate::settings;

/// A server that runs.
pub(super) struct Server {
    state_dir: PathBuf,
    pid: u32,
}

impl Server {
    /// The running one, or a new one.
    pub(super) async fn find(
        global: &Global,
        output: Output,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let state_dir = settings::state_dir(global)?;
        // Nobody has to know its port in advance; but a port that was named has to be that one.
        let on_taken = if global.listen.is_some() { OnTaken::Fail } else { OnTaken::AnyPort };
        // The rates that a `get` names are those of its files.
        let decided = global.given.keys().copied().filter(|argument| !argument.starts_with("limit"));
        let launch = Launch {
            dir: global.dir.as_deref().map(settings::absolute).transpose()?,
            state_dir: state_dir.clone(),
            on_taken,
            bounds: global.bounds,
            decided: decided.collect(),
        };
        let pid = match background::find_or_start(launch, global, output, stop).await? {
            Running::Found(client) => {
                warn_of_differences(client.hello(), global, output).await?;
                client.hello().pid
            }
            Running::Started(Started { hello: Hello { pid, .. }, .. }) => {
                output.note(&format!(
                    "started a server, pid {pid}, which goes on seeding afterwards; `tnet kill-server` stops it"
                ));
                pid
            }
        };
        Ok(Self { state_dir, pid })
    }

    /// Hands one file over and watches it.
    pub(super) async fn fetch(
        &self,
        job: &Job,
        view: &mut DownloadView,
        output: Output,
        stop: &CancellationToken,
    ) -> Result<Summary, Failure> {
        let following = tokio::select! {
            following = self.hand_over(job) => following?,
            () = stop.cancelled() => {
                return Err(Failure::interrupted("interrupted before the server took the download"));
            }
        };
        output.event(
            "started",
            fields(serde_json::json!({ "pid": self.pid, "path": json_path(following.out()) })),
        );
        match watch(following, view, stop).await {
            Watched::Done(summary) => Ok(summary),
            Watched::Failed(RequestError::Lost) => {
                Err(Failure::new(Exit::Incomplete, format!("the server, pid {}, ended", self.pid)))
            }
            Watched::Failed(error) => Err(error.into()),
            Watched::Interrupted(progress, out) => Err(self.interrupted(progress.as_ref(), &out)),
        }
    }

    pub(super) async fn shortage(&self) -> Option<Shortage> {
        Client::connect(&self.state_dir).await.ok()?.status(Some(0)).await.ok()?.shortage
    }

    async fn hand_over(&self, job: &Job) -> Result<Following, Failure> {
        let client = Client::connect(&self.state_dir).await?;
        Ok(client.get(job.request.clone()).await?)
    }

    fn interrupted(&self, progress: Option<&Progress>, out: &std::path::Path) -> Failure {
        let percent = progress.map_or(0, |progress| percent(progress.bytes_done, progress.bytes_total));
        Failure::interrupted(format!(
            "no longer watching at {percent} %; the server, pid {}, goes on with {}: the same command watches again, \
             `tnet status` shows it, `tnet kill-server` stops it and keeps what is there",
            self.pid,
            shown_path(out)
        ))
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
    Interrupted(Option<Progress>, PathBuf),
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
