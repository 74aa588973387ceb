//! Limits, priorities and pauses, as the owner sets them.

use tnet_fileinfo::{FileHash, shown_path};
use tnet_swarm::{FileKey, Input};

use super::{Engine, keys_of};
use crate::api::{FileChange, Limits, LimitsChange, Priority};

/// Settings of one file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FileSettings {
    pub(super) limits: Limits,
    pub(super) priority: Priority,
    pub(super) is_paused: bool,
}

impl Engine {
    /// New limits of the whole process; answers what they are.
    pub(super) fn limit(&mut self, change: LimitsChange) -> Limits {
        self.limits = self.limits.changed(change);
        self.feed(Input::Limit { file: None, limits: self.limits.into() });
        self.limits
    }

    /// Changes the settings of a content, for every geometry in which it is served; with the
    /// manifest of a tree, those of its payload too. False: it is not known.
    pub(super) fn update_file(&mut self, hash: &FileHash, change: FileChange) -> bool {
        if let Some(payload) = self.payload_of(hash) {
            self.update_file(&payload, change);
        }
        let keys = keys_of(&self.by_hash, hash);
        for file in &keys {
            self.change_file(*file, change);
        }
        if matches!(change, FileChange::Pause | FileChange::Resume) {
            self.report(hash);
            self.unwatch_if_settled(*hash);
        }
        !keys.is_empty()
    }

    pub(super) fn change_file(&mut self, file: FileKey, change: FileChange) {
        let now = self.now;
        let Some(entry) = self.files.get_mut(&file) else { return };
        let settings = &mut entry.settings;
        let input = match change {
            FileChange::Limits(limits) => {
                settings.limits = settings.limits.changed(limits);
                Input::Limit { file: Some(file), limits: settings.limits.into() }
            }
            FileChange::Priority { level } => {
                settings.priority = level;
                Input::Prioritise { file, priority: level.into() }
            }
            FileChange::Pause if settings.is_paused => return,
            FileChange::Resume if !settings.is_paused => return,
            FileChange::Pause => {
                settings.is_paused = true;
                tracing::info!(path = %shown_path(&entry.source.path()), "paused");
                Input::Pause { file }
            }
            FileChange::Resume => {
                settings.is_paused = false;
                if let Some(running) = &mut entry.running {
                    // Patience begins anew.
                    running.last_stored = now;
                    running.options.coordinator_within = None;
                }
                tracing::info!(path = %shown_path(&entry.source.path()), "resumed");
                Input::Resume { file }
            }
        };
        self.feed(input);
        if change == FileChange::Resume {
            self.check_next();
        }
    }
}
