//! Limits, priorities and pauses, as the owner sets them.

use tnet_fileinfo::{FileHash, shown_path};
use tnet_swarm::{FileKey, Input};

use super::{Engine, keys_of};
use crate::api::{Limits, LimitsChange, Priority, Wish};

/// What the owner wants of one file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Treatment {
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

    /// Treats a content differently from now on, in whatever chunks it is served. False: it is not
    /// known.
    pub(super) fn treat(&mut self, hash: &FileHash, wish: Wish) -> bool {
        let keys = keys_of(&self.by_hash, hash);
        for file in &keys {
            self.treat_file(*file, wish);
        }
        if matches!(wish, Wish::Pause | Wish::Resume) {
            self.report(hash);
            self.unwatch_if_settled(*hash);
        }
        !keys.is_empty()
    }

    pub(super) fn treat_file(&mut self, file: FileKey, wish: Wish) {
        let now = self.now;
        let Some(entry) = self.files.get_mut(&file) else { return };
        let treatment = &mut entry.treatment;
        let input = match wish {
            Wish::Limits(change) => {
                treatment.limits = treatment.limits.changed(change);
                Input::Limit { file: Some(file), limits: treatment.limits.into() }
            }
            Wish::Priority { level } => {
                treatment.priority = level;
                Input::Prioritise { file, priority: level.into() }
            }
            Wish::Pause if treatment.is_paused => return,
            Wish::Resume if !treatment.is_paused => return,
            Wish::Pause => {
                treatment.is_paused = true;
                tracing::info!(path = %shown_path(&entry.source.path()), "paused");
                Input::Pause { file }
            }
            Wish::Resume => {
                treatment.is_paused = false;
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
        if wish == Wish::Resume {
            self.check_next();
        }
    }
}
