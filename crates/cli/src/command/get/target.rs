//! The output path of a file: the one that the user gave, or the file's own name in a directory.

use std::path::{Path, PathBuf};

use tnet_fileinfo::{Described, FileInfo, SpecialName, shown};

use crate::command::fileinfo::blocking;
use crate::config::absolute;
use crate::config::typed::FileArgument;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::units::shown_path;

/// The argument -o, for all files of the command.
pub(super) struct Target {
    /// As the user typed it.
    pub(super) given: Option<PathBuf>,
    /// With several files it can only be a directory.
    pub(super) several: bool,
}

impl Target {
    /// Checks that it can be the target of all files.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        if self.given.as_deref().is_some_and(|out| out.as_os_str() == "-") {
            let cause = "a file cannot be downloaded to stdout, since its chunks come in any order";
            return Err(Failure::new(Exit::Usage, cause)
                .or_hint("name a file with -o, which ./- may be too"));
        }
        let Some(out) = self.given.clone().filter(|_| self.several) else { return Ok(()) };
        blocking(move || if is_directory(&out) { Ok(()) } else { Err(no_directory(&out)) }).await
    }

    /// The absolute output path of this file or tree.
    pub(super) async fn of(
        &self,
        wanted: &FileArgument,
        described: Option<&Described>,
    ) -> Result<PathBuf, Failure> {
        let own_name = own_name(wanted, described.map(Described::info));
        let is_tree = matches!(wanted, FileArgument::Tree(_))
            || matches!(described, Some(Described::Tree(_)));
        let (given, several) = (self.given.clone(), self.several);
        let chosen = blocking(move || match given {
            None => own_name,
            // The directory that is named is the tree itself.
            Some(out) if is_tree && !several => Ok(out),
            Some(out) if is_directory(&out) => Ok(out.join(own_name?)),
            Some(out) if several => Err(no_directory(&out)),
            Some(out) => Ok(out),
        })
        .await?;
        absolute(&chosen)
    }
}

fn own_name(wanted: &FileArgument, info: Option<&FileInfo>) -> Result<PathBuf, Failure> {
    let from = match wanted {
        FileArgument::Hash(hash) => return Ok(hash.to_string().into()),
        FileArgument::Tree(tree) => return Ok(tree.manifest().to_string().into()),
        FileArgument::Fileinfo(path) => path,
    };
    let described = shown_path(from);
    let refused = |cause: String| Failure::new(Exit::Usage, cause).about(from);
    let (name, special) = match info.and_then(FileInfo::name) {
        Some(name) => (name.as_str().to_owned(), name.special()),
        // A name that is not portable may still be valid here, where the user has the description.
        None => {
            let name = name_of_description(from).ok_or_else(|| {
                refused(format!("{described} has no name for the file")).or_hint("name it with -o")
            })?;
            (name.to_owned(), SpecialName::of(name))
        }
    };
    match special {
        None => Ok(name.into()),
        Some(special) => {
            let cause = format!("{described} would name the file \"{}\", {special}", shown(&name));
            Err(refused(cause).or_hint("choose its name with -o FILE"))
        }
    }
}

/// The name of the described file, if the description still has its original name.
fn name_of_description(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_suffix(".fileinfo")?;
    (!name.is_empty() && !name.chars().any(char::is_control)).then_some(name)
}

fn no_directory(out: &Path) -> Failure {
    let shown = shown_path(out);
    let cause = format!("{shown} is no directory, and several files cannot be one");
    Failure::new(Exit::Usage, cause).about(out).or_hint("name a directory")
}

/// A path that ends with a slash means a directory, whether or not it exists.
fn is_directory(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tnet_fileinfo::scan::unwatched;
    use tnet_fileinfo::{FileName, scan_file};

    fn info() -> FileInfo {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let info = scan_file(file.path(), None, &unwatched).expect("readable");
        info.with_name(FileName::new("a.iso").ok())
    }

    async fn of(given: Option<&str>, several: bool, info: &FileInfo) -> Result<PathBuf, Failure> {
        let target = Target { given: given.map(PathBuf::from), several };
        let described = Described::File(info.clone());
        target.of(&FileArgument::Fileinfo("x.fileinfo".into()), Some(&described)).await
    }

    #[tokio::test]
    async fn the_files_own_name_is_used_where_the_user_gave_none() {
        let here = std::env::current_dir().expect("there");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = dir.path().to_str().expect("text");
        let info = info();
        for (given, expected) in [
            (None, here.join("a.iso")),
            (Some("b.iso"), here.join("b.iso")),
            (Some(dir), Path::new(dir).join("a.iso")),
            (Some("not/there/"), here.join("not/there/a.iso")),
            (Some("/b.iso"), "/b.iso".into()),
        ] {
            assert_eq!(of(given, false, &info).await.expect("a target"), expected, "{given:?}");
        }
        let hash: tnet_fileinfo::FileHash = "ab".repeat(32).parse().expect("a hash");
        let own = Target { given: None, several: true }.of(&FileArgument::Hash(hash), None).await;
        assert_eq!(own.expect("a target"), here.join(hash.to_string()));
    }

    #[tokio::test]
    async fn a_tree_is_the_directory_that_was_named_whether_it_is_there_or_not() {
        let here = std::env::current_dir().expect("there");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let described = Described::Tree(info());
        for (given, several, expected) in [
            (None, false, here.join("a.iso")),
            (Some("b"), false, here.join("b")),
            (Some("b/"), false, here.join("b")),
            (dir.path().to_str(), false, dir.path().to_owned()),
            (dir.path().to_str(), true, dir.path().join("a.iso")),
        ] {
            let target = Target { given: given.map(PathBuf::from), several };
            let wanted = FileArgument::Fileinfo("x.fileinfo".into());
            let out = target.of(&wanted, Some(&described)).await.expect("a target");
            assert_eq!(out.components().as_path(), expected, "{given:?}");
        }
    }

    #[tokio::test]
    async fn stdout_is_refused_as_a_target() {
        for several in [false, true] {
            let stdout = Target { given: Some("-".into()), several };
            let failure = stdout.check().await.expect_err("chunks come in any order");
            assert!(
                failure.exit == Exit::Usage && failure.message().contains("stdout"),
                "{failure:?}"
            );
        }
        let named = Target { given: Some("./-".into()), several: false };
        named.check().await.expect("a file of that name");
    }

    #[tokio::test]
    async fn several_files_need_a_directory() {
        let failure = of(Some("b.iso"), true, &info()).await.expect_err("one name for several");
        assert!(
            failure.exit == Exit::Usage && failure.message().contains("directory"),
            "{failure:?}"
        );
        of(Some("not/there/"), true, &info()).await.expect("it ends like a directory");
    }

    #[tokio::test]
    async fn a_special_name_is_accepted_only_from_the_user() {
        for name in [".bashrc", "-rf", "x.FileInfo", "a.partial", "a.partial.journal"] {
            let info = info().with_name(FileName::new(name).ok());
            for given in [None, Some("not/there/")] {
                let failure = of(given, false, &info).await.expect_err(name);
                assert!(
                    failure.exit == Exit::Usage && failure.message().contains("-o"),
                    "{failure:?}"
                );
            }
            of(Some(name), false, &info).await.expect("the user named it");
        }
    }

    #[tokio::test]
    async fn without_a_name_that_of_the_description_is_used_or_the_user_has_to_give_one() {
        let nameless = info().with_name(None);
        let here = std::env::current_dir().expect("there");
        let target = Target { given: None, several: false };
        let named = async |path: &str| {
            target
                .of(&FileArgument::Fileinfo(path.into()), Some(&Described::File(nameless.clone())))
                .await
        };
        for (path, name) in [("a/log-10:00:00.fileinfo", "log-10:00:00"), ("aux.fileinfo", "aux")] {
            assert_eq!(named(path).await, Ok(here.join(name)), "{path}");
        }
        for path in [
            "description",
            ".fileinfo",
            "..fileinfo",
            "-rf.fileinfo",
            "a\nb.fileinfo",
            "a.partial.fileinfo",
        ] {
            let failure = named(path).await.expect_err(path);
            assert!(failure.exit == Exit::Usage && failure.message().contains("-o"), "{failure:?}");
        }
        of(Some("b"), false, &nameless).await.expect("a name was given");
    }
}
