//! Downloads through the local server, which is started if there is none. This process only follows
//! them: they go on when it ends.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tnet_control::{
    Client, Fault, FaultKind, Followed, Following, HandedFiles, Hello, RequestError, Source,
    make_state_dir,
};
use tnet_peer::store::{FileLocation, OutDirectory};
use tnet_peer::{DownloadError, Progress, Shortage, Summary};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::job::Job;
use crate::background::{self, Launch, ServerAccess, Started};
use crate::command::fileinfo::{self, blocking};
use crate::config::{Config, RATES};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, file_failure};
use crate::local_peer::PortConflict;
use crate::render::Output;
use crate::render::output::fields;
use crate::render::progress::DownloadView;
use crate::render::units::{json_path, percent, shown_path};

/// Pause before a server that has too many followers is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A running server.
pub(crate) struct Server {
    state_dir: PathBuf,
    pid: u32,
}

impl Server {
    /// Finds the running server, or starts one.
    pub(crate) async fn find(config: &Config, context: &Context) -> Result<Self, Failure> {
        let state_dir = config.state_dir()?;
        // Others learn the port from the coordinator; but a port that the user named is required.
        let on_conflict =
            if config.listen.is_some() { PortConflict::Fail } else { PortConflict::UseAnyPort };
        // The rate flags of `get` are for its files, not for the server.
        let explicit = config.merged.typed_arguments().filter(|argument| !RATES.contains(argument));
        let dir = state_dir.clone();
        // Without a state directory the user can still download in the foreground.
        let made = blocking(move || make_state_dir(&dir).map_err(Failure::from)).await;
        made.map_err(|failure| {
            failure.and_hint("or download without a server, with --foreground")
        })?;
        let launch = Launch {
            dir: config.share_dir()?,
            state_dir: state_dir.clone(),
            on_conflict,
            explicit: explicit.collect(),
        };
        let pid = match background::find_or_start(launch, config, context).await? {
            ServerAccess::Found(client) => {
                warn_of_differences(client.hello(), config, context.output)?;
                client.hello().pid
            }
            ServerAccess::Started(Started { hello: Hello { pid, .. }, .. }) => {
                context.output.note(&format!(
                    "started a server, pid {pid}, which goes on seeding afterwards; `tnet kill-server` stops it"
                ));
                pid
            }
        };
        Ok(Self { state_dir, pid })
    }

    /// Requests one file and follows it.
    pub(super) async fn fetch(
        &self,
        job: &Job,
        view: &mut DownloadView,
        context: &Context,
    ) -> Result<Summary, Failure> {
        let Context { output, stop } = context;
        let out = job.request.out.clone();
        let place = blocking(move || {
            OutDirectory::open(&out)
                .map_err(|error| Fault::of_download(&DownloadError::Open(error), &out).into())
        });
        let place = place.await?;
        let following = tokio::select! {
            following = self.hand_over(job, &place, *output) => following?,
            () = stop.cancelled() => {
                return Err(Failure::interrupted("interrupted before the server took the download"));
            }
        };
        output.event(
            "started",
            fields(serde_json::json!({ "pid": self.pid, "path": json_path(following.out()) })),
        );
        match watch(following, view, stop).await {
            Watched::Done(summary) => self.found(summary, &job.request.out, place, *output).await,
            Watched::Failed(RequestError::Lost) => {
                let cause = format!("the server, pid {}, ended", self.pid);
                Err(Fault::new(FaultKind::Incomplete, cause).or_continue(&job.request.out).into())
            }
            Watched::Failed(error) => Err(self.with_sandbox(error, &place)),
            Watched::Interrupted(progress, out) => Err(self.interrupted(progress.as_ref(), &out)),
        }
    }

    pub(super) async fn shortage(&self) -> Option<Shortage> {
        Client::connect(&self.state_dir).await.ok()?.status(Some(0)).await.ok()?.shortage
    }

    /// Sends the request with open files, since the server may see other files under these paths.
    /// Retries while the server has too many followers.
    async fn hand_over(
        &self,
        job: &Job,
        place: &OutDirectory,
        output: Output,
    ) -> Result<Following, Failure> {
        let description = match &job.request.source {
            Source::Fileinfo(path) => Some(fileinfo::open(path).await?),
            Source::Hash(_) | Source::Tree(_) => None,
        };
        let handed = HandedFiles {
            description: description.as_ref().map(AsFd::as_fd),
            directory: Some(place.directory()),
        };
        let mut is_told = false;
        loop {
            let client = Client::connect(&self.state_dir).await?;
            match client.get_with(job.request.clone(), &handed).await {
                Err(RequestError::Fault(fault)) if fault.temporary => {
                    if !std::mem::replace(&mut is_told, true) {
                        output.note(&format!("waiting for the server, pid {}: {fault}", self.pid));
                    }
                    sleep(ASK_AGAIN).await;
                }
                answer => return answer.map_err(|error| self.with_sandbox(error, place)),
            }
        }
    }

    /// Checks that the file is at its path. A server, perhaps an older one, may have written it
    /// where this process does not see it.
    async fn found(
        &self,
        mut summary: Summary,
        asked: &Path,
        place: OutDirectory,
        output: Output,
    ) -> Result<Summary, Failure> {
        // The path in the summary may be the new one already.
        let (size, shown) = (summary.bytes_total, shown_path(asked));
        let found = blocking(move || Ok(place.find(size))).await?;
        match found {
            Ok(FileLocation::AtItsPath) => {}
            Ok(FileLocation::At(path)) => {
                output.complaint(&format!(
                    "the directory of {shown} was moved meanwhile: the file is {}",
                    shown_path(&path)
                ));
                summary.path = path;
            }
            Ok(FileLocation::Nowhere) => {
                let cause = format!(
                    "the server, pid {}, says that {shown} is whole, and it is not there: it was \
                     removed meanwhile, something was mounted over its directory, or the server \
                     sees other files than you do",
                    self.pid
                );
                return Err(Failure::new(Exit::NotFound, cause)
                    .about(asked)
                    .or_hint("use --foreground, or another directory with -o"));
            }
            Err(error) => return Err(file_failure("find", &summary.path, &error)),
        }
        Ok(summary)
    }

    /// If only the server may not write there, it runs as another user, or in a sandbox.
    fn with_sandbox(&self, error: RequestError, place: &OutDirectory) -> Failure {
        let is_refused =
            matches!(&error, RequestError::Fault(fault) if fault.kind == FaultKind::NotAllowed);
        let failure = Failure::from(error);
        if !is_refused || !place.is_writable() {
            return failure;
        }
        failure.and_hint(format!(
            "you may write there and the server, pid {}, may not: let the user it runs as write \
             there, or, if systemd runs it and its sandbox is the cause, name the directory in \
             ReadWritePaths= of its unit",
            self.pid
        ))
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

/// Notes which flags have no effect because a server already runs with other settings.
fn warn_of_differences(hello: &Hello, config: &Config, output: Output) -> Result<(), Failure> {
    let note = |what: &str, has: String, flag: &str| {
        output.note(&format!(
            "the running server, pid {}, {what} {has}, and {flag} does not change that; `tnet kill-server` stops it",
            hello.pid
        ));
    };
    if config.coordinator.is_some() {
        let wanted = config.coordinator()?;
        if hello.coordinator.as_ref() != Some(&wanted) {
            let has = hello
                .coordinator
                .as_ref()
                .map_or_else(|| "none".to_owned(), |address| address.to_string());
            note("uses the coordinator", has, "--coordinator");
        }
    }
    match config.listen {
        Some(wanted) if wanted.port() != 0 && wanted != hello.listen => {
            note("listens on", hello.listen.to_string(), "--listen");
        }
        _ => {}
    }
    if let Some(wanted) = config.advertise.map(|address| address.to_string())
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
