//! Reloads the config file of a running service, on SIGHUP. A setting takes effect only if the file
//! has another value than before and no flag or variable overrides it; settings that need a restart
//! are named in the log.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tnet_peer::LimitsChange;

use super::file::{ConfigFile, SETTINGS, UsedBy};
use super::resolve::Config;
use super::typed::{Limit, parse_limit};
use crate::failure::Failure;

/// What a service needs to reload its settings.
#[derive(Debug)]
pub(crate) struct Reloader {
    /// The file that the user named, if any.
    named: Option<PathBuf>,
    /// Whose settings they are.
    used_by: UsedBy,
    /// Ids of arguments given as flags or variables, which override the file.
    explicit: BTreeSet<String>,
    known: ConfigFile,
}

/// The effect of a changed config file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Takes effect now.
    pub(crate) limits: LimitsChange,
    /// Takes effect after a restart.
    pub(crate) later: Vec<&'static str>,
}

impl Reloader {
    /// `explicit` are names or ids of arguments.
    pub(crate) fn new(
        config: &Config,
        used_by: UsedBy,
        explicit: impl IntoIterator<Item = String>,
    ) -> Self {
        // Errors in the file were reported at the start.
        let known = ConfigFile::find(config.config_file.as_deref())
            .map(|found| found.file)
            .unwrap_or_default();
        let explicit = explicit.into_iter().map(|argument| argument.replace('-', "_")).collect();
        Self { named: config.config_file.clone(), used_by, explicit, known }
    }

    /// Reads the file again. On an error nothing changes.
    pub(crate) fn read(&mut self) -> Result<Changes, Failure> {
        let found = ConfigFile::find(self.named.as_deref())?;
        let changes = self.changes(&found.file)?;
        self.known = found.file;
        Ok(changes)
    }

    fn changes(&self, new: &ConfigFile) -> Result<Changes, Failure> {
        let text = |file: &ConfigFile, key: &str| file.get(key).map(|written| written.text.clone());
        let mut changes = Changes::default();
        for setting in SETTINGS.iter().filter(|setting| setting.used_by == self.used_by) {
            let key = setting.key;
            let is_same = text(&self.known, key) == text(new, key);
            if is_same || self.explicit.contains(setting.argument) {
                continue;
            }
            let rate =
                |limit: Option<Limit>| Some(limit.flatten().map_or(0, std::num::NonZeroU64::get));
            match key {
                "limit-up" => changes.limits.up = rate(new.parsed(key, parse_limit)?),
                "limit-down" => changes.limits.down = rate(new.parsed(key, parse_limit)?),
                later => changes.later.push(later),
            }
        }
        Ok(changes)
    }
}

impl Changes {
    /// In words, for the log.
    pub(crate) fn told(&self) -> String {
        let Self { limits, later } = self;
        let rates = [("limit-up", limits.up), ("limit-down", limits.down)];
        let now: Vec<&str> =
            rates.into_iter().filter(|(_, rate)| rate.is_some()).map(|(key, _)| key).collect();
        match (now.as_slice(), later.as_slice()) {
            ([], []) => "settings read again: nothing changed".to_owned(),
            (now, []) => format!("settings read again: {} changed", now.join(" and ")),
            ([], later) => {
                format!(
                    "settings read again: {} changed, which needs a restart",
                    later.join(" and ")
                )
            }
            (now, later) => format!(
                "settings read again: {} changed; {} too, which needs a restart",
                now.join(" and "),
                later.join(" and ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::file::parse;

    fn file(text: &str) -> ConfigFile {
        parse(Path::new("/c.toml"), text).expect("it makes sense")
    }

    fn reloader(known: &str, explicit: &[&str]) -> Reloader {
        let explicit = explicit.iter().map(|argument| (*argument).to_owned()).collect();
        Reloader { named: None, used_by: UsedBy::Server, explicit, known: file(known) }
    }

    #[test]
    fn only_what_the_file_says_otherwise_than_before_changes() {
        let known = "limit-up = \"1M\"\nlimit-down = \"2M\"\ncoordinator = \"a\"";
        let changes = |new: &str, explicit: &[&str]| reloader(known, explicit).changes(&file(new));
        assert_eq!(changes(known, &[]), Ok(Changes::default()));
        let limits = LimitsChange { up: Some(3 << 20), down: Some(0) };
        let new = "limit-up = \"3M\"\ncoordinator = \"b\"\ncoordinator-listen = \"7\"";
        assert_eq!(changes(new, &[]), Ok(Changes { limits, later: vec!["coordinator"] }));
        let limits = LimitsChange { up: None, down: Some(0) };
        assert_eq!(
            changes(new, &["limit_up", "coordinator"]),
            Ok(Changes { limits, later: vec![] })
        );
        changes("limit-up = \"fast\"", &[]).expect_err("no rate");
    }

    #[test]
    fn an_outcome_is_one_sentence() {
        let told = |new: &str| reloader("", &[]).changes(&file(new)).expect("understood").told();
        assert_eq!(told(""), "settings read again: nothing changed");
        assert_eq!(told("limit-up = \"1M\""), "settings read again: limit-up changed");
        assert_eq!(told("dir = \"/a\""), "settings read again: dir changed, which needs a restart");
        assert_eq!(
            told("limit-down = \"1M\"\ndir = \"/a\""),
            "settings read again: limit-down changed; dir too, which needs a restart"
        );
    }
}
