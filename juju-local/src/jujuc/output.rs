//! What a tool answers, and how it prints: smart, yaml, json.

use serde_json::Value;

use super::flags::{Flags, ToolError, failure, usage};

/// A tool's success.
pub(super) enum Said {
    Text(String),
    NeedStdin,
}

pub(super) type Outcome = Result<Said, ToolError>;

/// The flags of every reading tool.
pub(super) const FORMAT: &[&str] = &["format"];
pub(super) const OUTPUT: &[&str] = &["o", "output"];

pub(super) fn nothing() -> Outcome {
    Ok(Said::Text(String::new()))
}

/// A value in the format that the flags ask for.
pub(super) fn say(value: &Value, flags: &Flags, default: &str) -> Outcome {
    if flags.value("o").is_some() {
        return Err(failure("--output is not supported by juju-local; redirect the output"));
    }
    print(value, flags.value("format"), default).map(Said::Text)
}

/// A value in the asked format.
fn print(value: &Value, format: Option<&str>, default: &str) -> Result<String, ToolError> {
    match format.unwrap_or(default) {
        "json" => Ok(format!("{}\n", json(value))),
        "yaml" => Ok(if value.is_null() { String::new() } else { yaml(value) }),
        "smart" => Ok(smart(value)),
        other => Err(usage(format!("invalid value {other:?} for option --format: unknown format {other:?}"))),
    }
}

/// JSON as Go writes it: `<`, `>` and `&` escaped.
pub(super) fn json(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

pub(super) fn yaml(value: &Value) -> String {
    let mut text = serde_yaml::to_string(value).unwrap_or_default();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn smart(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => String::new(),
        Value::String(text) => format!("{text}\n"),
        Value::Bool(true) => "True\n".to_owned(),
        Value::Bool(false) => "False\n".to_owned(),
        Value::Number(number) => format!("{number}\n"),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(|item| format!("{item}\n")).collect()
        }
        Value::Array(_) | Value::Object(_) => yaml(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_of_formats() {
        let shown = |value: Value| {
            ["smart", "json", "yaml"].map(|format| print(&value, Some(format), "smart").map_err(|e| e.message).unwrap())
        };
        assert_eq!(shown(json!("text")), ["text\n", "\"text\"\n", "text\n"]);
        assert_eq!(shown(json!("")), ["", "\"\"\n", "\"\"\n"]);
        assert_eq!(shown(json!(null)), ["", "null\n", ""]);
        assert_eq!(shown(json!(["a", "b"])), ["a\nb\n", "[\"a\",\"b\"]\n", "- a\n- b\n"]);
        assert_eq!(shown(json!([])), ["", "[]\n", "[]\n"]);
        assert_eq!(shown(json!(true)), ["True\n", "true\n", "true\n"]);
        assert_eq!(json(&json!("<&>")), "\"\\u003c\\u0026\\u003e\"");
    }
}
