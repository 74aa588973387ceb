//! Where the file goes: a name that the user gave, or the file's own in a directory.

use std::path::{Path, PathBuf};

use tnet_fileinfo::FileInfo;

use crate::args::{Get, Wanted};
use crate::command::fileinfo::blocking;
use crate::exit::{Exit, Failure};
use crate::settings;

/// The absolute path of the output.
pub(super) async fn choose(args: &Get, info: Option<&FileInfo>) -> Result<PathBuf, Failure> {
    let own_name = own_name(&args.wanted, info);
    let given = args.output.clone();
    let chosen = blocking(move || match given {
        None => own_name,
        // A path that ends like a directory is meant as one, whether it is there or not.
        Some(out) if out.is_dir() || ends_like_a_directory(&out) => Ok(out.join(own_name?)),
        Some(out) => Ok(out),
    })
    .await?;
    settings::absolute(&chosen)
}

fn own_name(wanted: &Wanted, info: Option<&FileInfo>) -> Result<PathBuf, Failure> {
    match wanted {
        Wanted::Hash(hash) => Ok(hash.to_string().into()),
        Wanted::Fileinfo(_) => {
            info.and_then(FileInfo::name).map(|name| AsRef::<Path>::as_ref(name).to_owned()).ok_or_else(
                || Failure::new(Exit::Usage, "the description has no name for the file; name it with -o"),
            )
        }
    }
}

fn ends_like_a_directory(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use tnet_fileinfo::scan::unwatched;
    use tnet_fileinfo::{FileName, scan_file};

    use crate::args::{Cli, Command};

    fn get(line: &[&str]) -> Get {
        match Cli::try_parse_from([&["tnet", "get"], line].concat()).expect("a valid line").command {
            Command::Get(get) => get,
            other => panic!("{other:?}"),
        }
    }

    fn info() -> FileInfo {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let info = scan_file(file.path(), None, &unwatched).expect("readable");
        info.with_name(FileName::new("a.iso").ok())
    }

    #[tokio::test]
    async fn the_files_own_name_is_used_where_the_user_gave_none() {
        let here = std::env::current_dir().expect("there");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = dir.path().to_str().expect("text");
        let hash = "ab".repeat(32);
        let info = info();
        for (line, expected) in [
            (&["x.fileinfo"][..], here.join("a.iso")),
            (&["x.fileinfo", "-o", "b.iso"], here.join("b.iso")),
            (&["x.fileinfo", "-o", dir], Path::new(dir).join("a.iso")),
            (&["x.fileinfo", "-o", "not/there/"], here.join("not/there/a.iso")),
            (&["x.fileinfo", "-o", "/b.iso"], "/b.iso".into()),
        ] {
            assert_eq!(choose(&get(line), Some(&info)).await.expect("a target"), expected, "{line:?}");
        }
        assert_eq!(choose(&get(&[&hash]), None).await.expect("a target"), here.join(&hash));
    }

    #[tokio::test]
    async fn without_any_name_the_user_is_asked_for_one() {
        let nameless = info().with_name(None);
        let failure = choose(&get(&["x.fileinfo"]), Some(&nameless)).await.expect_err("no name");
        assert!(failure.exit == Exit::Usage && failure.message.contains("-o"), "{failure:?}");
        choose(&get(&["x.fileinfo", "-o", "b"]), Some(&nameless)).await.expect("a name was given");
    }
}
