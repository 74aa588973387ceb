//! What to download, and where to: from the command line and the list, checked as a whole before
//! anything begins. A mistake in one of several files is reported for that file, and the others are
//! downloaded.

use std::time::Duration;

use tnet_control::{GetRequest, Source};
use tnet_fileinfo::{Described, FileHash};
use tnet_peer::Limits;

use super::collisions::{Occupancy, OutputPaths};
use super::{list, target};
use crate::command::fileinfo;
use crate::config::absolute;
use crate::config::typed::{FileArgument, Get};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::units::shown_path;

/// One file or tree to download. Its description is read again when its download starts: those of
/// many files would not fit into memory.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: GetRequest,
    pub(super) hash: FileHash,
    /// In bytes; unknown for a bare hash and for a tree.
    pub(super) size: Option<u64>,
    /// Why it is not tried.
    pub(super) refused: Option<Failure>,
}

impl Job {
    /// The name of the output.
    pub(super) fn name(&self) -> String {
        let out = &self.request.out;
        shown_path(out.file_name().map_or(out, |name| name.as_ref()))
    }
}

/// All files that the user wants, each once, in the order in which they were named.
#[derive(Debug)]
pub(super) struct Jobs {
    /// With the index of each in that order.
    pub(super) jobs: Vec<(usize, Job)>,
    pub(super) refused: Vec<Refused>,
    /// Whether more than one was named.
    pub(super) is_several: bool,
}

/// One of several that cannot be downloaded.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) order: usize,
    pub(super) wanted: FileArgument,
    pub(super) failure: Failure,
}

pub(super) async fn all(args: &Get) -> Result<Jobs, Failure> {
    let mut wanted = args.wanted.clone();
    if let Some(input) = &args.input {
        wanted.extend(list::read(input.clone()).await?);
    }
    if wanted.is_empty() {
        return Err(Failure::new(Exit::Usage, "the list is empty")
            .or_hint("name a .fileinfo or a hash in it, one a line"));
    }
    let is_several = wanted.len() > 1;
    let target = target::Target { given: args.output.clone(), several: is_several };
    target.check().await?;
    let (mut jobs, mut refused) = (Vec::new(), Vec::new());
    let mut outputs = OutputPaths::default();
    for (order, wanted) in wanted.into_iter().enumerate() {
        let mut job = match job(&wanted, &target, args).await {
            Ok(job) => job,
            Err(failure) if is_several => {
                refused.push(Refused { order, wanted, failure });
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let occupancy = if is_several {
            outputs.take(&job.request.out, job.hash).await?
        } else {
            Occupancy::Free
        };
        match occupancy {
            Occupancy::Free => {}
            Occupancy::Same => continue,
            Occupancy::ByAnother(failure) => job.refused = Some(failure),
        }
        jobs.push((order, job));
    }
    Ok(Jobs { jobs, refused, is_several })
}

async fn job(wanted: &FileArgument, target: &target::Target, args: &Get) -> Result<Job, Failure> {
    let described = match wanted {
        FileArgument::Fileinfo(path) => Some(fileinfo::read_any(path).await?),
        FileArgument::Hash(_) | FileArgument::Tree(_) => None,
    };
    let out = target.of(wanted, described.as_ref()).await?;
    let (source, hash) = match wanted {
        FileArgument::Fileinfo(path) => {
            let info = described.as_ref().map(Described::info).expect("it was read above");
            (Source::Fileinfo(absolute(path)?), info.hash())
        }
        FileArgument::Hash(hash) => (Source::Hash(*hash), *hash),
        FileArgument::Tree(tree) => (Source::Tree(*tree), tree.manifest()),
    };
    let size = match &described {
        Some(Described::File(info)) => Some(info.size()),
        // That of the manifest is known.
        Some(Described::Tree(_)) | None => None,
    };
    let request = GetRequest {
        overwrite: args.overwrite,
        update: args.update,
        reuse: args.reuse.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
        timeout: (args.timeout > Duration::ZERO).then_some(args.timeout),
        limits: Limits { up: args.limit_up.flatten(), down: args.limit_down.flatten() },
        priority: args.priority.into(),
        allow_outside_links: args.allow_outside_links,
        umask: umask(),
        ..GetRequest::new(source, out)
    };
    Ok(Job { request, hash, size, refused: None })
}

/// The umask, where the system tells it without changing it.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    umask_of(&status)
}

fn umask_of(status: &str) -> Option<u32> {
    let text = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(text.trim(), 8).ok().filter(|umask| *umask <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_umask_is_read_from_the_status() {
        assert_eq!(umask_of("Name:\ttnet\nUmask:\t0027\nState:\tR\n"), Some(0o027));
        for status in ["", "Umask:", "Umask:\t9", "Umask:\t10000"] {
            assert_eq!(umask_of(status), None, "{status:?}");
        }
    }
}
