//! Holds what scripts read against its documentation, `docs/scripting.md`.

use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../../docs/scripting.md");

/// Fields of the value, at any depth, that the document does not name.
pub(crate) fn undocumented(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let is_named = DOCUMENT.contains(&format!("`{name}`"));
                (!is_named).then(|| name.clone()).into_iter().chain(undocumented(value))
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(undocumented).collect(),
        _ => Vec::new(),
    }
}
