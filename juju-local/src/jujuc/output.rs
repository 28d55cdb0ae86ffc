//! What a tool answers, and how it prints: smart, yaml, json; to its caller or into a file of the machine's.

use serde_json::Value;

use super::flags::{Takes, ToolError};
use super::go_yaml::{document, go_number};
use super::tools::Run;

/// A tool's success.
pub(super) enum Said {
    Text(String),
    /// It wants to read its standard input: call again with it.
    NeedStdin,
}

pub(super) type Outcome = Result<Said, ToolError>;

pub(super) fn nothing() -> Outcome {
    Ok(Said::Text(String::new()))
}

impl Run<'_> {
    /// The format that is asked for, or this tool's own.
    pub(super) fn format(&self) -> &str {
        let own = self.spec.flags.iter().find_map(|flag| match flag.takes {
            Takes::OneOf(known) => known.first().copied(),
            Takes::Nothing | Takes::Text(_) | Takes::Number | Takes::Id => None,
        });
        self.flags.value("format").or(own).unwrap_or("smart")
    }

    /// A value in that format, where the flags want it.
    pub(super) fn say(&self, value: &Value) -> Outcome {
        self.say_text(printed(value, self.format()))
    }

    pub(super) fn say_text(&self, text: String) -> Outcome {
        match self.flags.text("o") {
            None => Ok(Said::Text(text)),
            Some(file) => {
                self.write_file(file, &text)?;
                nothing()
            }
        }
    }
}

fn printed(value: &Value, format: &str) -> String {
    match format {
        "json" => format!("{}\n", json(value)),
        "yaml" if value.is_null() => String::new(),
        "yaml" => document(value),
        _ => smart(value),
    }
}

/// JSON as Go writes it: what could end a script in a page is escaped, whole floats have no fraction.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Number(number) => go_number(number),
        Value::Array(list) => format!("[{}]", list.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| format!("{}:{}", text(key), json(value));
            format!("{{{}}}", map.iter().map(pair).collect::<Vec<_>>().join(","))
        }
        Value::String(word) => text(word),
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

fn text(word: &str) -> String {
    let plain = Value::from(word).to_string();
    [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")]
        .into_iter()
        .fold(plain, |plain, (mark, escape)| plain.replace(mark, escape))
}

fn smart(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => String::new(),
        Value::String(text) => format!("{text}\n"),
        Value::Bool(true) => "True\n".to_owned(),
        Value::Bool(false) => "False\n".to_owned(),
        Value::Number(number) => format!("{}\n", go_number(number)),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(|item| format!("{item}\n")).collect()
        }
        Value::Array(_) | Value::Object(_) => document(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn the_table_of_formats() {
        let shown = |value: Value| ["smart", "json", "yaml"].map(|format| printed(&value, format));
        assert_eq!(shown(value!("text")), ["text\n", "\"text\"\n", "text\n"]);
        assert_eq!(shown(value!("")), ["", "\"\"\n", "\"\"\n"]);
        assert_eq!(shown(value!("80")), ["80\n", "\"80\"\n", "\"80\"\n"]);
        assert_eq!(shown(value!(null)), ["", "null\n", ""]);
        assert_eq!(shown(value!(["a", "b"])), ["a\nb\n", "[\"a\",\"b\"]\n", "- a\n- b\n"]);
        assert_eq!(shown(value!([])), ["", "[]\n", "[]\n"]);
        assert_eq!(shown(value!({})), ["{}\n", "{}\n", "{}\n"]);
        assert_eq!(shown(value!(true)), ["True\n", "true\n", "true\n"]);
        assert_eq!(shown(value!(1.0)), ["1\n", "1\n", "1\n"]);
        assert_eq!(
            shown(value!({"b": "1", "a": 2})),
            ["a: 2\nb: \"1\"\n", "{\"a\":2,\"b\":\"1\"}\n", "a: 2\nb: \"1\"\n"]
        );
        assert_eq!(json(&value!("<&>\u{2028}")), "\"\\u003c\\u0026\\u003e\\u2028\"");
    }
}
