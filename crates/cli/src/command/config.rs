//! `tnet config show`: every setting, its value, and where that comes from.

use serde_json::json;

use crate::config::typed::ConfigCommand;
use crate::config::{Config, SETTINGS, Setting};
use crate::context::Context;
use crate::failure::Failure;
use crate::render::output::{Report, fields};
use crate::render::table::aligned;
use crate::render::units::{json_path, shown_path};

/// A setting as it holds.
struct Shown {
    key: &'static str,
    value: String,
    from: String,
}

pub(crate) fn run(
    command: ConfigCommand,
    config: &Config,
    context: &Context,
) -> Result<Report, Failure> {
    let (ConfigCommand::Show, output) = (command, context.output);
    let shown =
        SETTINGS.iter().map(|setting| shown(setting, config)).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|row| vec![row.key.to_owned(), row.value.clone(), row.from.clone()])
        .collect();
    for line in aligned(&rows, &[]) {
        output.data(&line);
    }
    match &config.merged.file.path {
        Some(path) => output.note(&format!("settings are read from {}", shown_path(path))),
        None => output.note("there is no config.toml; `tnet help config` says where it would be"),
    }
    let settings: Vec<_> = shown
        .iter()
        .map(|row| json!({ "key": row.key, "value": row.value, "from": row.from }))
        .collect();
    let file = config.merged.file.path.as_ref().map(|path| json_path(path));
    Ok(fields(json!({ "settings": settings, "file": file })))
}

fn shown(setting: &Setting, config: &Config) -> Result<Shown, Failure> {
    let (text, origin) = config.merged.value(setting);
    let value = match text {
        Some(text) => text.to_owned(),
        None if setting.key == "state-dir" => shown_path(&config.state_dir()?),
        None => setting.default.to_owned(),
    };
    Ok(Shown { key: setting.key, value, from: origin.to_string() })
}
