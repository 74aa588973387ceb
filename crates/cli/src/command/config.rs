//! `tnet config show`: every setting, its value, and where that comes from.

use serde_json::json;

use crate::args::{ConfigCommand, Global};
use crate::exit::Failure;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::table::aligned;
use crate::render::units::{json_path, shown_path};
use crate::settings;
use crate::settings_file::{SETTINGS, Setting};

/// A setting as it holds.
struct Shown {
    key: &'static str,
    value: String,
    from: String,
}

pub(crate) fn run(
    command: ConfigCommand,
    global: &Global,
    output: Output,
) -> Result<Report, Failure> {
    let ConfigCommand::Show = command;
    let shown =
        SETTINGS.iter().map(|setting| shown(setting, global)).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|row| vec![row.key.to_owned(), row.value.clone(), row.from.clone()])
        .collect();
    for line in aligned(&rows, &[]) {
        output.data(&line);
    }
    match &global.file.path {
        Some(path) => output.note(&format!("settings are read from {}", shown_path(path))),
        None => output.note("there is no config.toml; `tnet help config` says where it would be"),
    }
    let settings: Vec<_> = shown
        .iter()
        .map(|row| json!({ "key": row.key, "value": row.value, "from": row.from }))
        .collect();
    let file = global.file.path.as_ref().map(|path| json_path(path));
    Ok(fields(json!({ "settings": settings, "file": file })))
}

fn shown(setting: &Setting, global: &Global) -> Result<Shown, Failure> {
    let Setting { key, argument, variable, default } = *setting;
    let given = global.given.get(argument);
    let written = global.file.get(key);
    let (value, from) = match (given, written) {
        (Some(given), _) => {
            let from = match (given.from_environment, variable) {
                (true, Some(variable)) => variable.to_owned(),
                _ => format!("--{}", argument.replace('_', "-")),
            };
            (given.text.clone(), from)
        }
        (None, Some(written)) => (written.text.clone(), global.file.place(written.line)),
        (None, None) if key == "state-dir" => {
            (shown_path(&settings::state_dir(global)?), "default".to_owned())
        }
        (None, None) => (default.to_owned(), "default".to_owned()),
    };
    Ok(Shown { key, value, from })
}
