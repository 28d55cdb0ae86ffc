//! `config.yaml`: a charm's options, and the values that are given for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Archive, Charm, CharmError, numbers, yaml};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigOption {
    pub kind: String,
    pub default: Option<Value>,
    pub description: String,
}

#[derive(Deserialize)]
struct ConfigText {
    options: Option<BTreeMap<String, OptionText>>,
}

#[derive(Deserialize)]
struct OptionText {
    #[serde(rename = "type")]
    kind: Option<String>,
    default: Option<Value>,
    description: Option<String>,
}

pub(super) fn read(archive: &mut Archive, agent_version: &str) -> Result<BTreeMap<String, ConfigOption>, CharmError> {
    let Some(text) = archive.text("config.yaml")? else {
        return Ok(BTreeMap::new());
    };
    let config: ConfigText = yaml("config.yaml", &text)?;
    let options = config.options.ok_or_else(|| CharmError("config.yaml: options is missing".to_owned()))?;
    let mut read = BTreeMap::new();
    for (name, option) in options {
        let kind = option.kind.unwrap_or_else(|| "string".to_owned());
        let default = option.default.filter(|d| !d.is_null());
        let fits = match (kind.as_str(), &default) {
            ("string" | "int" | "float" | "boolean" | "secret", None) => true,
            ("string", Some(value)) => value.is_string(),
            ("secret", Some(value)) => value.as_str().is_some_and(|v| v.is_empty() || v.starts_with("secret:")),
            ("int", Some(value)) => value.is_i64() || value.is_u64(),
            ("float", Some(value)) => value.is_number(),
            ("boolean", Some(value)) => value.is_boolean(),
            _ => {
                return Err(CharmError(format!(
                    "config.yaml: option {name}: type {kind:?} is not string, int, float, boolean or secret"
                )));
            }
        };
        if !fits {
            return Err(CharmError(format!("config.yaml: option {name}: default does not fit type {kind}")));
        }
        if kind == "secret" && numbers(agent_version) < numbers("3.3") {
            return Err(CharmError(format!(
                "config.yaml: option {name}: type secret needs Juju 3.3; the model is at {agent_version}"
            )));
        }
        read.insert(name, ConfigOption { kind, default, description: option.description.unwrap_or_default() });
    }
    Ok(read)
}

impl Charm {
    /// Types a value given as text for an option, as the command line does.
    ///
    /// # Errors
    /// Names the option, its type and the value, in Juju's words.
    pub fn parse_option(&self, name: &str, value: &Value) -> Result<Value, CharmError> {
        let option = self.config.get(name).ok_or_else(|| CharmError(format!("unknown option {name:?}")))?;
        let wrong = || CharmError(format!("option {name:?} expected {}, got {value}", option.kind));
        let Some(text) = value.as_str() else {
            // A file has types of its own.
            return match (option.kind.as_str(), value) {
                ("int", Value::Number(number)) if number.is_i64() => Ok(value.clone()),
                ("float", Value::Number(number)) => number.as_f64().map(float).ok_or_else(wrong),
                ("boolean", Value::Bool(_)) => Ok(value.clone()),
                _ => Err(wrong()),
            };
        };
        match option.kind.as_str() {
            "int" => text.trim().parse::<i64>().map(Value::from).map_err(|_| wrong()),
            "float" => match text.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(float(number)),
                Ok(_) | Err(_) => Err(wrong()),
            },
            "boolean" => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "t" | "1" => Ok(Value::Bool(true)),
                "false" | "f" | "0" => Ok(Value::Bool(false)),
                _ => Err(wrong()),
            },
            "secret" if !text.is_empty() && !text.starts_with("secret:") => Err(wrong()),
            _ => Ok(Value::String(text.to_owned())),
        }
    }
}

/// As Go prints it: a whole number has no fraction.
#[expect(clippy::cast_possible_truncation, reason = "whole, and far smaller than the largest")]
fn float(number: f64) -> Value {
    const LARGEST: f64 = 1e15;
    if number.fract() == 0.0 && number.abs() < LARGEST { Value::from(number as i64) } else { Value::from(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charm_files::tests::{check, check_at};
    use expect_test::{Expect, expect};
    use serde_json::json;

    #[test]
    fn options() {
        let config = |text: &str, expected: Expect| check(&[&format!("config.yaml 644 {text}")], expected);
        config("{}", expect!["config.yaml: options is missing"]);
        config(
            "options: {n: {type: int, default: 1.5}}",
            expect!["config.yaml: option n: default does not fit type int"],
        );
        config(
            "options: {n: {type: int, default: ''}}",
            expect!["config.yaml: option n: default does not fit type int"],
        );
        config(
            "options: {s: {type: secret, default: x}}",
            expect!["config.yaml: option s: default does not fit type secret"],
        );
        config(
            "options: {s: {type: text}}",
            expect![[r#"config.yaml: option s: type "text" is not string, int, float, boolean or secret"#]],
        );
        check_at(
            "2.9.49",
            &["config.yaml 644 options: {s: {type: secret}}"],
            expect!["config.yaml: option s: type secret needs Juju 3.3; the model is at 2.9.49"],
        );
    }

    #[test]
    fn option_values() {
        let option = |kind: &str| ConfigOption { kind: kind.to_owned(), default: None, description: String::new() };
        let kinds = ["int", "float", "boolean", "string", "secret"];
        let charm = Charm { config: kinds.iter().map(|k| ((*k).to_owned(), option(k))).collect(), ..Charm::default() };
        let check = |name: &str, text: &str, expected: &str| {
            let got = charm.parse_option(name, &text.into()).map_or_else(|why| why.0, |value| value.to_string());
            assert_eq!(got, expected);
        };
        check("int", "5", "5");
        check("int", "-1", "-1");
        check("int", "banana", r#"option "int" expected int, got "banana""#);
        check("float", "1", "1");
        check("float", "0.5", "0.5");
        check("float", "1e400", r#"option "float" expected float, got "1e400""#);
        check("float", "nan", r#"option "float" expected float, got "nan""#);
        check("boolean", "True", "true");
        check("boolean", "yes", r#"option "boolean" expected boolean, got "yes""#);
        check("string", "5", "\"5\"");
        check("secret", "secret:abc", "\"secret:abc\"");
        check("secret", "plain", r#"option "secret" expected secret, got "plain""#);
        check("colour", "red", r#"unknown option "colour""#);
        let of_file = |name: &str, value: Value, expected: &str| {
            let got = charm.parse_option(name, &value).map_or_else(|why| why.0, |value| value.to_string());
            assert_eq!(got, expected);
        };
        of_file("int", json!(5), "5");
        of_file("int", json!(5.5), r#"option "int" expected int, got 5.5"#);
        of_file("float", json!(5), "5");
        of_file("boolean", json!(true), "true");
        of_file("string", json!([1]), r#"option "string" expected string, got [1]"#);
        of_file("string", json!(5), r#"option "string" expected string, got 5"#);
    }
}
