//! Keys and values as a tool is given them: as arguments, in a file, on standard input.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::controller::Controller;
use crate::jujuc::Call;
use crate::jujuc::flags::{ToolError, failure, usage};
use crate::uniter::context::Context;

/// Arguments of the form key=value.
pub(super) fn pairs(args: &[String]) -> Result<BTreeMap<String, String>, ToolError> {
    let mut read = BTreeMap::new();
    for arg in args {
        let (key, value) = arg
            .split_once('=')
            .filter(|(k, _)| !k.is_empty())
            .ok_or_else(|| usage(format!("expected \"key=value\", got {arg:?}")))?;
        if read.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(usage(format!("key {key:?} specified more than once")));
        }
    }
    Ok(read)
}

/// A file of the caller's, or its standard input.
pub(super) fn file_text(
    controller: &Controller,
    context: &Context,
    call: &Call,
    name: &str,
) -> Result<Option<String>, ToolError> {
    if name == "-" {
        return Ok(call.stdin.clone());
    }
    let path = Path::new(&call.cwd).join(name);
    let machine = context.snapshot.units[&context.unit].machine;
    let view = controller
        .machines
        .view(machine)
        .ok_or_else(|| failure(format!("open {}: the machine is down", path.display())))?;
    let on_host = view.join(path.strip_prefix("/").unwrap_or(&path));
    std::fs::read_to_string(&on_host).map(Some).map_err(|why| failure(format!("open {}: {why}", path.display())))
}

/// A YAML or JSON map of scalars as texts.
pub(super) fn scalars(text: &str) -> Result<BTreeMap<String, String>, ToolError> {
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let values: BTreeMap<String, Value> = serde_json::from_str(text)
        .or_else(|_| serde_yaml::from_str(text))
        .map_err(|why| failure(format!("cannot parse file: {why}")))?;
    values
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Null => Ok((key, String::new())),
            Value::Bool(_) | Value::Number(_) => Ok((key, value.to_string())),
            Value::Array(_) | Value::Object(_) => Err(failure(format!("cannot parse file: {key} is not a scalar"))),
        })
        .collect()
}
