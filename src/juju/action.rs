//! A running action: what the operator gave, and what they get back.

use std::collections::BTreeMap;

use serde_json::Value;

use super::tool::{self, Error};

/// The parameters, defaults filled in.
///
/// # Errors
/// When no action is running.
pub fn params() -> Result<BTreeMap<String, Value>, Error> {
    Ok(tool::read::<Option<_>>("action-get", &[])?.unwrap_or_default())
}

/// Adds to the results; nested objects become nested results, and everything else becomes text. Keys are lower case
/// letters, digits and hyphens.
///
/// The tool takes results from its arguments only, so they are in the process list for the milliseconds that it runs.
/// That is Juju's own way to return a password, and the one place where one of ours is an argument.
///
/// # Errors
/// When no action is running, or a key is not permitted.
pub fn set(results: &BTreeMap<String, Value>) -> Result<(), Error> {
    let mut args = Vec::new();
    for (key, value) in results {
        flatten(key, value, &mut args);
    }
    if args.is_empty() {
        return Ok(());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    tool::run("action-set", &args, None).map(drop)
}

/// Marks the action as failed. The process goes on, and should end with 0.
///
/// # Errors
/// When no action is running.
pub fn fail(message: &str) -> Result<(), Error> {
    tool::run("action-fail", &["--", message], None).map(drop)
}

/// A line of progress, which the operator sees at once.
///
/// # Errors
/// When no action is running.
pub fn log(message: &str) -> Result<(), Error> {
    tool::run("action-log", &["--", message], None).map(drop)
}

fn flatten(key: &str, value: &Value, args: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                flatten(&format!("{key}.{field}"), value, args);
            }
        }
        Value::String(text) => args.push(format!("{key}={text}")),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => args.push(format!("{key}={value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_results_become_dotted_keys() {
        let results: BTreeMap<String, Value> = serde_json::from_str(
            r#"{"size":3,"members":{"db-0":{"state":"Synced","ready":true,"note":null},"db-1":{}},"text":"a=b\n-c"}"#,
        )
        .unwrap();
        let mut args = Vec::new();
        for (key, value) in &results {
            flatten(key, value, &mut args);
        }
        assert_eq!(args, ["members.db-0.ready=true", "members.db-0.state=Synced", "size=3", "text=a=b\n-c"]);
    }
}
