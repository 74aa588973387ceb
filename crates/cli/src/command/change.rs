//! `tnet limit`, `pause`, `resume`, `priority` and `rm`: changes to a running server.

use std::ffi::OsStr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tnet_control::Client;
use tnet_fileinfo::FileHash;
use tnet_fileinfo::tree::TreeHash;
use tnet_peer::{FileChange, FileStatus, Limits, LimitsChange};

use super::status::no_server;
use crate::config::typed::{FileNames, Level, LimitArgs};
use crate::config::{Config, absolute};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::output::{Report, fields};
use crate::render::units::{shown_path, size};

/// Least digits of a hash that name a file.
const LEAST_DIGITS: usize = 4;

/// What stands before the digits of a tree.
const OF_TREE: &str = "tree:";

/// What is done with files.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FileAction {
    Pause,
    Resume,
    Priority(Level),
    Remove,
}

impl FileAction {
    fn file_change(self) -> Option<FileChange> {
        match self {
            Self::Pause => Some(FileChange::Pause),
            Self::Resume => Some(FileChange::Resume),
            Self::Priority(level) => Some(FileChange::Priority { level: level.into() }),
            Self::Remove => None,
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Priority(Level::Low) => "low priority",
            Self::Priority(Level::Normal) => "normal priority",
            Self::Priority(Level::High) => "high priority",
            Self::Remove => "removed",
        }
    }
}

pub(crate) async fn apply(
    args: FileNames,
    action: FileAction,
    config: &Config,
    context: &Context,
) -> Result<Report, Failure> {
    let output = context.output;
    let state_dir = config.state_dir()?;
    let files = files_of(&state_dir).await?;
    // A failure does not stop the others.
    let (mut changed, mut failures): (Vec<&FileStatus>, Vec<Failure>) = (Vec::new(), Vec::new());
    for name in &args.files {
        match one(&files, name, &changed, action, &state_dir, context).await {
            Ok(file) => changed.push(file),
            Err(failure) => failures.push(failure),
        }
    }
    let (count, failed) = (args.files.len(), failures.len());
    let mut failures = failures.into_iter();
    match failures.next() {
        None => {
            let changed: Vec<Value> = changed
                .iter()
                .map(|file| json!({ "hash": file.hash, "path": file.path }))
                .collect();
            Ok(fields(json!({ "files": changed, "done": action.done() })))
        }
        Some(only) if count == 1 => Err(only),
        Some(first) => {
            output.complaint(&first.message());
            failures.for_each(|failure| output.complaint(&failure.message()));
            let message = format!("{failed} of {count} files failed, the reasons are above");
            Err(Failure::new(first.exit, message))
        }
    }
}

async fn one<'a>(
    files: &'a [FileStatus],
    name: &OsStr,
    changed: &[&FileStatus],
    action: FileAction,
    state_dir: &Path,
    context: &Context,
) -> Result<&'a FileStatus, Failure> {
    let file = find(files, name)?;
    let (client, hash) = (connect(state_dir).await?, hash_of(file)?);
    // Two names of one content are changed once.
    let is_done = changed.iter().any(|other| other.hash == file.hash);
    let found = match action.file_change() {
        _ if is_done => true,
        Some(change) => client.update_file(hash, change).await?,
        None => client.unshare(hash).await?,
    };
    if !found {
        return Err(gone(file));
    }
    let output = context.output;
    output.outcome(&format!("{}: {}", shown_path(&file.path), action.done()));
    if matches!(action, FileAction::Remove) && file.is_download() {
        output.note(&format!(
            "what arrived of it is kept in {}.partial; `tnet get` continues from there",
            shown_path(&file.path)
        ));
    }
    Ok(file)
}

pub(crate) async fn limit(
    args: LimitArgs,
    config: &Config,
    context: &Context,
) -> Result<Report, Failure> {
    let output = context.output;
    let state_dir = config.state_dir()?;
    let change = LimitsChange { up: args.up, down: args.down };
    let (what, limits) = match &args.file {
        None => ("the server".to_owned(), connect(&state_dir).await?.limit(change).await?),
        Some(name) => {
            let files = files_of(&state_dir).await?;
            let file = find(&files, name)?;
            let update = FileChange::Limits(change);
            if change != LimitsChange::default()
                && !connect(&state_dir).await?.update_file(hash_of(file)?, update).await?
            {
                return Err(gone(file));
            }
            (shown_path(&file.path), file.limits.changed(change))
        }
    };
    let Limits { up, down } = limits;
    output.data(&format!("{what}: up {}, down {}", shown_rate(up), shown_rate(down)));
    Ok(fields(json!({ "limits": limits })))
}

/// Without the manifests of trees, which go with their payloads.
async fn files_of(state_dir: &Path) -> Result<Vec<FileStatus>, Failure> {
    let mut files = connect(state_dir).await?.files().await?;
    files.retain(|file| !file.is_manifest);
    Ok(files)
}

async fn connect(state_dir: &Path) -> Result<Client, Failure> {
    Client::connect(state_dir).await.map_err(no_server)
}

fn shown_rate(rate: Option<NonZeroU64>) -> String {
    rate.map_or_else(|| "no limit".to_owned(), |rate| format!("{}/s", size(rate.get())))
}

/// The hash that the server is told: of a tree, that of its manifest.
fn hash_of(file: &FileStatus) -> Result<FileHash, Failure> {
    let name = file.name_elsewhere();
    let hash = match &file.tree {
        Some(tree) => tree.parse().ok().map(TreeHash::manifest),
        None => file.hash.parse().ok(),
    };
    hash.ok_or_else(|| {
        Failure::new(Exit::Other, format!("the server sent an invalid hash, {name:?}"))
    })
}

fn gone(file: &FileStatus) -> Failure {
    let path = shown_path(&file.path);
    Failure::new(Exit::NotFound, format!("{path} has gone meanwhile"))
        .about(&file.path)
        .or_hint("see `tnet ls`")
}

/// Finds a file by its path, by the end of its path, or by the first digits of its hash.
fn find<'a>(files: &'a [FileStatus], name: &OsStr) -> Result<&'a FileStatus, Failure> {
    let path = absolute(&PathBuf::from(name))?;
    if let Some(file) = files.iter().find(|file| file.path == path) {
        return Ok(file);
    }
    let text = name.to_str().map(|text| text.strip_prefix(OF_TREE).unwrap_or(text));
    let digits = text.filter(|text| {
        text.len() >= LEAST_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    let digits = digits.map(str::to_ascii_lowercase);
    let is_meant = |file: &&FileStatus| {
        let name_elsewhere = file.name_elsewhere();
        let hash = name_elsewhere.strip_prefix(OF_TREE).unwrap_or(name_elsewhere);
        digits.as_ref().is_some_and(|digits| hash.starts_with(digits)) || file.path.ends_with(name)
    };
    let mut meant: Vec<&FileStatus> = files.iter().filter(is_meant).collect();
    // One content may be here in several chunk sizes.
    meant.dedup_by(|a, b| a.hash == b.hash);
    let shown = shown_path(Path::new(name));
    match meant.as_slice() {
        [file] => Ok(file),
        [] => {
            let cause = format!("the server has no file {shown:?}");
            Err(Failure::new(Exit::NotFound, cause).or_hint("`tnet ls` lists what it has"))
        }
        [first, second, ..] => {
            let (first, second) = (shown_path(&first.path), shown_path(&second.path));
            let cause = format!("{shown:?} may mean {first} or {second}");
            Err(Failure::new(Exit::Usage, cause).or_hint("write more of the hash, or the path"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(digit: char, path: &str) -> FileStatus {
        let json = json!({
            "hash": digit.to_string().repeat(64), "path": path, "size": 1, "chunk_size": 65536, "chunks_total": 1,
            "chunks_done": 1, "peers": 0, "download": null, "swarm": [],
            "traffic": tnet_peer::Traffic::default(),
        });
        serde_json::from_value(json).expect("as the server says it")
    }

    #[test]
    fn a_file_is_named_by_its_path_its_end_or_its_hash() {
        let files = [
            file('a', "/srv/one/debian.iso"),
            file('b', "/srv/two/debian.iso"),
            file('c', "/srv/abba"),
        ];
        let found =
            |name: &str| find(&files, OsStr::new(name)).map(|file| file.hash.chars().next());
        for (name, digit) in [
            ("/srv/two/debian.iso", 'b'),
            ("one/debian.iso", 'a'),
            ("bbbb", 'b'),
            ("CCCC", 'c'),
            // A file's name comes before digits.
            ("/srv/abba", 'c'),
        ] {
            assert_eq!(found(name), Ok(Some(digit)), "{name}");
        }
        assert_eq!(found("debian.iso").map_err(|failure| failure.exit), Err(Exit::Usage));
        let tree = FileStatus {
            tree: Some(format!("tree:{}", "e".repeat(64))),
            ..file('d', "/srv/models")
        };
        for name in ["eeee", "tree:eeee", "models"] {
            let found = find(std::slice::from_ref(&tree), OsStr::new(name)).map(hash_of);
            let hash = found.expect("found").expect("a hash");
            assert_eq!(hash.to_string(), "e".repeat(64), "{name}");
        }
        for name in ["nothing", "aaa", "dddd"] {
            assert_eq!(
                found(name).map_err(|failure| failure.exit),
                Err(Exit::NotFound),
                "{name:?}"
            );
        }
    }
}
