//! The list of wanted files, as other programs write it: one per line.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tnet_fileinfo::shown;

use crate::command::fileinfo::blocking;
use crate::config::typed::FileArgument;
use crate::exit::Exit;
use crate::failure::{Failure, file_failure};

/// Longest list in bytes: a million long paths.
const MAX_LIST_LEN: u64 = 256 << 20;

/// Reads the list to its end. `-` is stdin.
pub(super) async fn read(path: PathBuf) -> Result<Vec<FileArgument>, Failure> {
    blocking(move || {
        let text = read_now(&path, MAX_LIST_LEN).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => {
                let cause = format!("the list is longer than {} MiB", MAX_LIST_LEN >> 20);
                Failure::new(Exit::Usage, cause).or_hint("divide it")
            }
            _ => file_failure("read the list", &path, &error),
        })?;
        parse(&text)
    })
    .await
}

fn read_now(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path)?)
    };
    source.by_ref().take(longest + 1).read_to_end(&mut text)?;
    if text.len() as u64 > longest {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// A path may contain any byte but a line end, so spaces belong to it, except around it.
fn parse(text: &[u8]) -> Result<Vec<FileArgument>, Failure> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let named = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    named
        .map(|line| {
            let line = OsStr::from_bytes(line);
            FileArgument::parse(line).map_err(|error| {
                let cause = format!("{} in the list: {error}", shown(line));
                Failure::new(Exit::Usage, cause).or_hint("a path may be ./tree:NAME")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_path_or_a_hash_and_comments_are_neither() {
        let hash = "ab".repeat(32);
        let text = format!("# of today\n\n a b.fileinfo \r\n{hash}\n\u{e4}.fileinfo");
        assert_eq!(
            parse(text.as_bytes()).expect("nothing is wrong with it"),
            [
                FileArgument::Fileinfo("a b.fileinfo".into()),
                FileArgument::Hash(hash.parse().expect("a hash")),
                FileArgument::Fileinfo("\u{e4}.fileinfo".into()),
            ]
        );
        assert_eq!(parse(b"\n# nothing\n"), Ok(Vec::new()));
        let wrong = parse(b"a.fileinfo\ntree:\x1b12\n").expect_err("no hash").message();
        assert!(wrong.starts_with("tree:\\u{1b}12 in the list: "), "{wrong}");
    }

    #[test]
    fn a_list_without_an_end_is_refused() {
        let refused = read_now(Path::new("/dev/zero"), 1000).expect_err("too long");
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
    }

    #[tokio::test]
    async fn a_list_that_is_not_there_is_named() {
        let failure = read("/not/there".into()).await.expect_err("no such file");
        assert!(
            failure.exit == Exit::NotFound && failure.message().contains("/not/there"),
            "{failure:?}"
        );
    }
}
