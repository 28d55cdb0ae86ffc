//! `actions.yaml`: a charm's actions and the schemas of their parameters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Archive, CharmError, schema, yaml};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionSpec {
    pub description: String,
    /// A JSON-Schema object for the parameters.
    pub schema: Value,
    /// May run beside hooks and other actions.
    pub parallel: bool,
    /// Actions of one group run one at a time; empty for none.
    #[serde(default)]
    pub execution_group: String,
}

pub(super) fn read(archive: &mut Archive) -> Result<BTreeMap<String, ActionSpec>, CharmError> {
    let Some(text) = archive.text("actions.yaml")? else {
        return Ok(BTreeMap::new());
    };
    let actions: BTreeMap<String, Value> = yaml("actions.yaml", &text)?;
    let mut read = BTreeMap::new();
    for (name, body) in actions {
        let fine = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if !fine || name == "juju" || name.starts_with("juju-") {
            return Err(CharmError(format!("actions.yaml: {name:?} is not a permitted action name")));
        }
        check(&name, &body)?;
        let field = |key: &str| body.get(key).cloned().unwrap_or(Value::Null);
        let mut schema = serde_json::Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert(
            "properties".to_owned(),
            if field("params").is_object() { field("params") } else { Value::Object(serde_json::Map::new()) },
        );
        // Whatever Juju has no use for itself is part of the schema.
        const OWN: [&str; 6] = ["description", "params", "parallel", "execution-group", "title", "type"];
        for (key, value) in body.as_object().into_iter().flatten().filter(|(key, _)| !OWN.contains(&key.as_str())) {
            schema.insert(key.clone(), value.clone());
        }
        schema::check(&Value::Object(schema.clone()))
            .map_err(|why| CharmError(format!("actions.yaml: {name}: {why}")))?;
        read.insert(
            name,
            ActionSpec {
                description: field("description").as_str().unwrap_or("No description").trim().to_owned(),
                schema: Value::Object(schema),
                parallel: field("parallel").as_bool().unwrap_or(false),
                execution_group: field("execution-group").as_str().unwrap_or_default().to_owned(),
            },
        );
    }
    Ok(read)
}

/// Checks the kinds of what stands in an action.
fn check(name: &str, body: &Value) -> Result<(), CharmError> {
    let wrong = |why: &str| Err(CharmError(format!("actions.yaml: {name}: {why}")));
    let absent = |key: &str| body.get(key).is_none_or(Value::is_null);
    let texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    match body {
        Value::Null | Value::Object(_) => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return wrong("it is not a map"),
    }
    if !absent("params") && !body["params"].is_object() {
        return wrong("params is not a map of parameters");
    }
    if !absent("required") && !texts(&body["required"]) {
        return wrong("required is not a list of parameters' names");
    }
    if !absent("parallel") && !body["parallel"].is_boolean() {
        return wrong("parallel is not true or false");
    }
    for key in ["description", "execution-group"] {
        if !absent(key) && !body[key].is_string() {
            return wrong(&format!("{key} is not a text"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::charm_files::tests::check;
    use expect_test::{Expect, expect};

    #[test]
    fn actions() {
        let actions = |text: &str, expected: Expect| check(&[&format!("actions.yaml 644 {text}")], expected);
        actions("{backup: , restore: {params: }}", expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
        actions("{backup: [x]}", expect!["actions.yaml: backup: it is not a map"]);
        actions("{backup: {params: [x]}}", expect!["actions.yaml: backup: params is not a map of parameters"]);
        actions(
            "{backup: {required: x}}",
            expect!["actions.yaml: backup: required is not a list of parameters' names"],
        );
        actions("{backup: {parallel: often}}", expect!["actions.yaml: backup: parallel is not true or false"]);
        actions(
            "{a: {params: {x: {anyOf: [{$ref: y}]}}}}",
            expect!["actions.yaml: a: cannot use $ref in properties.x.anyOf: Juju refuses it"],
        );
        actions("{juju-run: {}}", expect![[r#"actions.yaml: "juju-run" is not a permitted action name"#]]);
        actions(
            "{a: {params: {x: {$ref: y}}}}",
            expect![[r#"actions.yaml: a: cannot use $ref in properties.x: Juju refuses it"#]],
        );
        actions(
            "{a: {params: {x: {type: text}}}}",
            expect![[
                r#"actions.yaml: a: cannot use type "text" in properties.x: use string, integer, number, boolean, object, array or null"#
            ]],
        );
    }
}
