//! Reads `config.toml`. A file that cannot be understood is an error that names the line, so that
//! no setting is silently ignored.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, Xdg};
use toml::{Spanned, Value};

use crate::exit::Exit;
use crate::failure::{Failure, file_failure};
use crate::render::units::shown_path;

/// The config file of the whole machine.
const OF_THE_MACHINE: &str = "/etc/tnet/config.toml";

/// Bytes of a config file at most.
const LONGEST: u64 = 1 << 20;

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The service that uses it.
    pub(crate) used_by: UsedBy,
    /// Its name in the file.
    pub(crate) key: &'static str,
    /// The id of its argument: the flag with `_` for `-`.
    pub(crate) argument: &'static str,
    /// Its environment variable, if there is one.
    pub(crate) variable: Option<&'static str>,
    /// The default, as it is shown.
    pub(crate) default: &'static str,
}

/// The service that a setting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsedBy {
    Server,
    Coordinator,
}

/// The arguments of the rate limits.
pub(crate) const RATES: [&str; 2] = ["limit_up", "limit_down"];

/// All settings. A new one is a line here and in `config/resolve.rs`; one of a server also in the
/// arguments of `background.rs`.
pub(crate) const SETTINGS: [Setting; 11] = {
    use UsedBy::{Coordinator, Server};
    [
        setting(Server, "coordinator", "coordinator", Some("TNET_COORDINATOR"), "127.0.0.1:7400"),
        setting(Server, "listen", "listen", None, "[::]:7401"),
        setting(Server, "advertise", "advertise", None, "none"),
        setting(Coordinator, "coordinator-listen", "listen", None, "[::]:7400"),
        setting(Coordinator, "allow-advertise", "allow_advertise", None, "private networks"),
        setting(
            Server,
            "state-dir",
            "state_dir",
            Some("TNET_STATE_DIR"),
            "tnet in the XDG state directory",
        ),
        setting(Server, "dir", "dir", None, "none"),
        setting(Server, "limit-up", "limit_up", None, "none"),
        setting(Server, "limit-down", "limit_down", None, "none"),
        setting(Server, "max-peers", "max_peers", None, "1000"),
        setting(Coordinator, "coordinator-memory", "memory", None, "a share of the memory"),
    ]
};

const fn setting(
    used_by: UsedBy,
    key: &'static str,
    argument: &'static str,
    variable: Option<&'static str>,
    default: &'static str,
) -> Setting {
    Setting { used_by, key, argument, variable, default }
}

/// The content of a config file.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    /// None if there is no file.
    pub(crate) path: Option<PathBuf>,
    values: BTreeMap<&'static str, Written>,
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) text: String,
    /// Counted from one.
    pub(crate) line: usize,
}

/// The result of looking for a config file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) file: ConfigFile,
    /// Default files that cannot be read, which count as absent.
    pub(crate) notes: Vec<String>,
}

impl ConfigFile {
    /// Reads the file that was named, else the user's, else the machine's.
    pub(crate) fn find(named: Option<&Path>) -> Result<Found, Failure> {
        if let Some(path) = named {
            let file = read(path)?
                .ok_or_else(|| file_failure("read", path, &io::ErrorKind::NotFound.into()))?;
            return Ok(Found { file, notes: Vec::new() });
        }
        let of_user = Xdg::new().ok().map(|base| base.config_dir().join("tnet/config.toml"));
        Self::first_of(of_user.into_iter().chain([OF_THE_MACHINE.into()]))
    }

    /// The user did not name these, so those that cannot be read, as in the home of another user,
    /// count as absent.
    fn first_of(paths: impl IntoIterator<Item = PathBuf>) -> Result<Found, Failure> {
        let mut notes = Vec::new();
        for path in paths {
            match open(&path) {
                Ok(None) => {}
                Ok(Some(text)) => return Ok(Found { file: parse(&path, &text)?, notes }),
                Err(failure) => {
                    notes.push(format!("{failure}; going on without those settings"));
                }
            }
        }
        Ok(Found { file: Self::default(), notes })
    }

    /// The value of a setting.
    pub(crate) fn get(&self, key: &str) -> Option<&Written> {
        self.values.get(key)
    }

    /// The value of a setting, parsed as its flag is.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Failure> {
        let Some(Written { text, line }) = self.get(key) else { return Ok(None) };
        parse(text).map(Some).map_err(|error| {
            let place = self.place(*line);
            Failure::new(Exit::Usage, format!("{place}: {key} = {text:?} is invalid: {error}"))
        })
    }

    /// A line of the file, as `path:line`.
    pub(crate) fn place(&self, line: usize) -> String {
        let path = self.path.as_deref().map_or_else(String::new, shown_path);
        format!("{path}:{line}")
    }
}

/// None if there is no such file.
fn read(path: &Path) -> Result<Option<ConfigFile>, Failure> {
    open(path)?.map(|text| parse(path, &text)).transpose()
}

/// Its text; none if there is no such file.
fn open(path: &Path) -> Result<Option<String>, Failure> {
    let failed = |error: &io::Error| file_failure("read the settings in", path, error);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // The directory of another user.
        Err(error) => return Err(failed(&error)),
    };
    if !metadata.is_file() || metadata.len() > LONGEST {
        let cause = format!("{} is no file of settings", shown_path(path));
        return Err(Failure::new(Exit::Usage, cause).or_hint("name another one with --config"));
    }
    fs::read_to_string(path).map(Some).map_err(|error| failed(&error))
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<ConfigFile, Failure> {
    let mut file = ConfigFile { path: Some(path.to_owned()), values: BTreeMap::new() };
    let line_of =
        |at: usize| 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
    let refused = |file: &ConfigFile, line: usize, why: &str| {
        Failure::new(Exit::Usage, format!("{}: {why}", file.place(line)))
    };
    let table: BTreeMap<Spanned<String>, Spanned<Value>> =
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            refused(
                &file,
                line,
                &format!("{}; see `tnet help config`", error.message().trim_end_matches('.')),
            )
        })?;
    for (key, value) in table {
        let line = line_of(key.span().start);
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key.get_ref().as_str())
        else {
            let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
            let why =
                format!("there is no setting {:?}; there are {}", key.get_ref(), known.join(", "));
            return Err(refused(&file, line, &why));
        };
        let text = match value.into_inner() {
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            _ => {
                return Err(refused(
                    &file,
                    line,
                    &format!("{} has to be a text or a number", setting.key),
                ));
            }
        };
        file.values.insert(setting.key, Written { text, line });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<ConfigFile, Failure> {
        parse(Path::new("/c.toml"), text)
    }

    #[test]
    fn a_setting_is_known_with_its_line() {
        let file = parsed("# mine\ncoordinator = \"10.0.0.1\"\n\nmax-peers = 50\n")
            .expect("it makes sense");
        assert_eq!(file.get("coordinator"), Some(&Written { text: "10.0.0.1".into(), line: 2 }));
        assert_eq!(file.get("max-peers"), Some(&Written { text: "50".into(), line: 4 }));
        assert_eq!(file.get("listen"), None);
        assert_eq!(file.place(4), "/c.toml:4");
    }

    #[test]
    fn an_error_names_its_line() {
        for (text, says) in [
            (
                "\ncolour = \"red\"",
                "/c.toml:2: there is no setting \"colour\"; there are coordinator, ",
            ),
            ("\n\ndir = [1]", "/c.toml:3: dir has to be a text or a number"),
            ("listen = ", "/c.toml:1: "),
            ("dir = \"a\"\ndir = \"b\"", "/c.toml:2: duplicate key"),
        ] {
            let failure = parsed(text).expect_err(text);
            assert!(
                failure.exit == Exit::Usage && failure.message().starts_with(says),
                "{}",
                failure.message()
            );
        }
        let file = parsed("max-peers = \"many\"").expect("text");
        let failure = file.parsed("max-peers", str::parse::<u16>).expect_err("no number");
        assert!(
            failure.message().starts_with("/c.toml:1: max-peers = \"many\""),
            "{}",
            failure.message()
        );
    }

    #[test]
    fn a_default_file_that_cannot_be_read_counts_as_absent() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (file, good) = (dir.path().join("file"), dir.path().join("good.toml"));
        fs::write(&file, "x").expect("written");
        fs::write(&good, "max-peers = 5").expect("written");
        // Below a file; a directory; no text; not there at all.
        let binary = dir.path().join("binary");
        fs::write(&binary, b"\xff\xfe").expect("written");
        let found = ConfigFile::first_of([
            file.join("config.toml"),
            dir.path().to_owned(),
            binary,
            dir.path().join("none"),
            good.clone(),
        ]);
        let found = found.expect("the last one can be read");
        assert_eq!(
            (found.file.path.as_ref(), found.notes.len()),
            (Some(&good), 3),
            "{:?}",
            found.notes
        );
        fs::write(&good, "max-peers = ").expect("written");
        ConfigFile::first_of([good]).expect_err("what can be read has to make sense");
    }

    #[test]
    fn a_named_file_has_to_exist() {
        let failure = ConfigFile::find(Some(Path::new("/not/there.toml"))).expect_err("it is not");
        assert!(failure.exit == Exit::NotFound && failure.message().contains("/not/there.toml"));
        assert!(
            ConfigFile::find(Some(Path::new("/")))
                .expect_err("a directory")
                .message()
                .contains("--config")
        );
    }
}
