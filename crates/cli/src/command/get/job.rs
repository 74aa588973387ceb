//! What is to be downloaded, and where to: read off the command line and the list, and looked at as a whole before
//! anything begins.

use std::time::Duration;

use tnet_fileinfo::{FileHash, FileInfo};
use tnet_peer::Limits;
use tnet_peer::control::{GetRequest, Source};

use super::twice::{Places, Taken};
use super::{list, target};
use crate::args::{Get, Wanted};
use crate::command::fileinfo;
use crate::exit::{Exit, Failure};
use crate::render::units::shown_path;
use crate::settings;

/// One file to download. Its description is read again when its turn comes: those of many would not fit into memory.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: GetRequest,
    pub(super) hash: FileHash,
    /// In bytes; none of a bare hash.
    pub(super) size: Option<u64>,
    /// Why it is not even tried.
    pub(super) refused: Option<Failure>,
}

impl Job {
    /// The name it will have.
    pub(super) fn name(&self) -> String {
        let out = &self.request.out;
        shown_path(out.file_name().map_or(out, |name| name.as_ref()))
    }
}

/// All that the user wants, each once, in the order in which it was named.
pub(super) async fn all(args: &Get) -> Result<Vec<Job>, Failure> {
    let mut wanted = args.wanted.clone();
    if let Some(input) = &args.input {
        wanted.extend(list::read(input.clone()).await?);
    }
    if wanted.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "the list is empty; name a .fileinfo or a hash in it, one a line",
        ));
    }
    let target = target::Target { given: args.output.clone(), several: wanted.len() > 1 };
    let mut jobs: Vec<Job> = Vec::new();
    let mut places = Places::default();
    for wanted in wanted {
        let mut job = job(wanted, &target, args).await?;
        match places.take(&job.request.out, job.hash).await? {
            Taken::Free => {}
            Taken::Same => continue,
            Taken::ByAnother(failure) => job.refused = Some(failure),
        }
        jobs.push(job);
    }
    Ok(jobs)
}

async fn job(wanted: Wanted, target: &target::Target, args: &Get) -> Result<Job, Failure> {
    let info = match &wanted {
        Wanted::Fileinfo(path) => Some(fileinfo::read(path).await?),
        Wanted::Hash(_) => None,
    };
    let out = target.of(&wanted, info.as_ref()).await?;
    let (source, hash) = match wanted {
        Wanted::Fileinfo(path) => {
            let hash = info.as_ref().map(FileInfo::hash).expect("it was read above");
            (Source::Fileinfo(settings::absolute(&path)?), hash)
        }
        Wanted::Hash(hash) => (Source::Hash(hash), hash),
    };
    let request = GetRequest {
        source,
        out,
        overwrite: args.overwrite,
        timeout: (args.timeout > Duration::ZERO).then_some(args.timeout),
        follow: true,
        limits: Limits { up: args.limit_up.flatten(), down: args.limit_down.flatten() },
        priority: args.priority.into(),
    };
    Ok(Job { request, hash, size: info.as_ref().map(FileInfo::size), refused: None })
}
