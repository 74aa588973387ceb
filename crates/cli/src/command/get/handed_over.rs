//! Downloads handed to the local server, which is started if there is none. This process only
//! watches: when it goes, the downloads go on.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tnet_control::{
    Client, Followed, Following, Handed, Hello, RequestError, Source, make_state_dir,
};
use tnet_peer::store::{OutDirectory, Whereabouts};
use tnet_peer::{DownloadError, Progress, Shortage, Summary};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::job::Job;
use crate::args::Global;
use crate::background::{self, Launch, Running, Started};
use crate::command::fileinfo::{self, blocking};
use crate::command::peer::OnTaken;
use crate::exit::{Exit, Failure, file_failure};
use crate::render::Output;
use crate::render::output::fields;
use crate::render::progress::DownloadView;
use crate::render::units::{json_path, percent, shown_path};
use crate::settings;

/// Pause before a server that has no place for another is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

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
        let decided =
            global.given.keys().copied().filter(|argument| !argument.starts_with("limit"));
        let dir = state_dir.clone();
        // The server is a convenience here: whoever has no place for one is not lost.
        let made = blocking(move || make_state_dir(&dir).map_err(Failure::from)).await;
        made.map_err(|failure| Failure {
            message: format!(
                "{}; or download without a server, with --foreground",
                failure.message
            ),
            ..failure
        })?;
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
        let out = job.request.out.clone();
        let place = blocking(move || {
            OutDirectory::open(&out).map_err(|error| DownloadError::Open(error).into())
        });
        let place = place.await?;
        let following = tokio::select! {
            following = self.hand_over(job, &place, output) => following?,
            () = stop.cancelled() => {
                return Err(Failure::interrupted("interrupted before the server took the download"));
            }
        };
        output.event(
            "started",
            fields(serde_json::json!({ "pid": self.pid, "path": json_path(following.out()) })),
        );
        match watch(following, view, stop).await {
            Watched::Done(summary) => self.found(summary, &job.request.out, place, output).await,
            Watched::Failed(RequestError::Lost) => {
                Err(Failure::new(Exit::Incomplete, format!("the server, pid {}, ended", self.pid)))
            }
            Watched::Failed(error) => Err(self.with_sandbox(error.into(), &place)),
            Watched::Interrupted(progress, out) => Err(self.interrupted(progress.as_ref(), &out)),
        }
    }

    pub(super) async fn shortage(&self) -> Option<Shortage> {
        Client::connect(&self.state_dir).await.ok()?.status(Some(0)).await.ok()?.shortage
    }

    /// With what is open here, since the server may see other files under those paths. When it has
    /// no place for another who watches, this waits for its turn.
    async fn hand_over(
        &self,
        job: &Job,
        place: &OutDirectory,
        output: Output,
    ) -> Result<Following, Failure> {
        let description = match &job.request.source {
            Source::Fileinfo(path) => Some(fileinfo::open(path).await?),
            Source::Hash(_) => None,
        };
        let handed = Handed {
            description: description.as_ref().map(AsFd::as_fd),
            directory: Some(place.directory()),
        };
        let mut is_told = false;
        loop {
            let client = Client::connect(&self.state_dir).await?;
            match client.get_with(job.request.clone(), &handed).await {
                Err(RequestError::Fault(fault)) if fault.passes => {
                    if !std::mem::replace(&mut is_told, true) {
                        output.note(&format!(
                            "waiting for the server, pid {}: {}",
                            self.pid, fault.message
                        ));
                    }
                    sleep(ASK_AGAIN).await;
                }
                answer => return answer.map_err(|error| self.with_sandbox(error.into(), place)),
            }
        }
    }

    /// Only what is there is done: the server, an older one perhaps, may have written where we do
    /// not see it.
    async fn found(
        &self,
        mut summary: Summary,
        asked: &Path,
        place: OutDirectory,
        output: Output,
    ) -> Result<Summary, Failure> {
        // What the server says of the path may be the new one already.
        let (size, shown) = (summary.bytes_total, shown_path(asked));
        let found = blocking(move || Ok(place.find(size))).await?;
        match found {
            Ok(Whereabouts::AtItsPath) => {}
            Ok(Whereabouts::At(path)) => {
                output.complaint(&format!(
                    "the directory of {shown} was moved meanwhile: the file is {}",
                    shown_path(&path)
                ));
                summary.path = path;
            }
            Ok(Whereabouts::Nowhere) => {
                let message = format!(
                    "the server, pid {}, says that {shown} is whole, and it is not there: it was removed meanwhile, \
                     something was mounted over its directory, or the server sees other files than you do; use --foreground, or another directory with -o",
                    self.pid
                );
                return Err(Failure::new(Exit::NotFound, message));
            }
            Err(error) => return Err(file_failure("find", &summary.path, &error)),
        }
        Ok(summary)
    }

    /// What is not allowed to the server alone is so because it runs as another user, or because of
    /// its service manager.
    fn with_sandbox(&self, failure: Failure, place: &OutDirectory) -> Failure {
        if failure.exit != Exit::NotAllowed || !place.is_writable() {
            return failure;
        }
        let message = format!(
            "{}; you may write there and the server, pid {}, may not: let the user it runs as write there, or, \
             if systemd runs it and its sandbox is the cause, name the directory in ReadWritePaths= of its unit",
            failure.message, self.pid
        );
        Failure::new(failure.exit, message)
    }

    fn interrupted(&self, progress: Option<&Progress>, out: &Path) -> Failure {
        let percent =
            progress.map_or(0, |progress| percent(progress.bytes_done, progress.bytes_total));
        Failure::interrupted(format!(
            "no longer watching at {percent} %; the server, pid {}, goes on with {}: the same command watches again, \
             `tnet status` shows it, `tnet kill-server` stops it and keeps what is there",
            self.pid,
            shown_path(out)
        ))
    }
}

/// Flags that a running server cannot follow any more would otherwise be ignored without a word.
async fn warn_of_differences(
    hello: &Hello,
    global: &Global,
    output: Output,
) -> Result<(), Failure> {
    let note = |what: &str, has: String, flag: &str| {
        output.note(&format!(
            "the running server, pid {}, {what} {has}, and {flag} does not change that; `tnet kill-server` stops it",
            hello.pid
        ));
    };
    if global.coordinator.is_some() {
        let wanted = settings::coordinator(global)?;
        if hello.coordinator.as_ref() != Some(&wanted) {
            let has = hello
                .coordinator
                .as_ref()
                .map_or_else(|| "none".to_owned(), |address| address.to_string());
            note("uses the coordinator", has, "--coordinator");
        }
    }
    match global.listen {
        Some(wanted) if wanted.port() != 0 && wanted != hello.listen => {
            note("listens on", hello.listen.to_string(), "--listen");
        }
        _ => {}
    }
    if let Some(wanted) = global.advertise.map(|address| address.to_string())
        && hello.advertise.as_ref() != Some(&wanted)
    {
        note(
            "is advertised at",
            hello.advertise.clone().unwrap_or("where it is seen".to_owned()),
            "--advertise",
        );
    }
    Ok(())
}

enum Watched {
    Done(Summary),
    Failed(RequestError),
    Interrupted(Option<Progress>, PathBuf),
}

async fn watch(
    mut following: Following,
    view: &mut DownloadView,
    stop: &CancellationToken,
) -> Watched {
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
