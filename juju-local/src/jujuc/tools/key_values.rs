//! Keys and values as a tool is given them: as arguments, in a file, on standard input.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Run;
use crate::jujuc::flags::{ToolError, failure, usage};
use crate::jujuc::output::{Outcome, Said};

/// Arguments of the form key=value.
fn pairs(args: &[String]) -> Result<BTreeMap<String, String>, ToolError> {
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

/// A YAML or JSON map of scalars as texts.
pub(super) fn scalars(text: &str) -> Result<BTreeMap<String, String>, ToolError> {
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    // What stands in the file may be a secret: the parser's own words could repeat it.
    let read: Option<BTreeMap<String, Value>> =
        serde_json::from_str(text).ok().or_else(|| serde_yaml::from_str(text).ok());
    read.ok_or_else(|| failure("cannot parse file: it is no YAML map of keys and values"))?
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Null => Ok((key, String::new())),
            Value::Bool(_) | Value::Number(_) => Ok((key, value.to_string())),
            Value::Array(_) | Value::Object(_) => {
                Err(failure(format!("cannot parse file: value of {key:?} is not a scalar")))
            }
        })
        .collect()
}

impl Run<'_> {
    /// What the arguments say over what `--file` says; `None` to ask for standard input first.
    pub(super) fn key_values(&self) -> Result<Option<BTreeMap<String, String>>, ToolError> {
        let given = pairs(&self.flags.rest)?;
        let mut values = match self.flags.text("file") {
            None => BTreeMap::new(),
            Some(name) => match self.read_file(name)? {
                None => return Ok(None),
                Some(text) => scalars(&text)?,
            },
        };
        values.extend(given);
        Ok(Some(values))
    }
}

pub(super) fn need_stdin() -> Outcome {
    Ok(Said::NeedStdin)
}
