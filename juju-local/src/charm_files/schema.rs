//! Action parameters against their JSON schema (the parts of draft 4 that charms use), defaults inserted.

use serde_json::{Map, Value};

/// Checks parameters and fills in defaults. `closed` is what a missing `additionalProperties` means: open in Juju 2.9
/// and 3, closed in 4.
///
/// # Errors
/// Names the parameter and what is allowed.
pub fn validate_params(schema: &Value, params: &Value, closed: bool) -> Result<Value, String> {
    fit("", schema, params, closed)
}

/// Checks a schema itself, as Juju does when it reads a charm.
///
/// # Errors
/// Names the place and what is wrong there.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    check_keys("", schema)?;
    check_part("", schema)
}

/// Juju refuses references at any depth.
fn check_keys(path: &str, part: &Value) -> Result<(), String> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match part {
        Value::Object(map) => map.iter().try_for_each(|(key, inner)| {
            if key == "$ref" || key == "$schema" {
                let place = if path.is_empty() { "the action" } else { path };
                return Err(format!("cannot use {key} in {place}: Juju refuses it"));
            }
            check_keys(&below(key), inner)
        }),
        Value::Array(list) => list.iter().try_for_each(|inner| check_keys(path, inner)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// What a draft-4 schema may say and this does not look at: a charm that counts on it is told so.
const UNCHECKED: [&str; 3] = ["patternProperties", "dependencies", "definitions"];

const KINDS: [&str; 7] = ["string", "integer", "number", "boolean", "object", "array", "null"];

fn check_part(path: &str, part: &Value) -> Result<(), String> {
    let place = if path.is_empty() { "the action" } else { path };
    let Some(map) = part.as_object() else {
        return Ok(());
    };
    if let Some(key) = UNCHECKED.iter().find(|key| map.contains_key(**key)) {
        return Err(format!("cannot use {key} in {place}: juju-local does not check it"));
    }
    if let Some(pattern) = map.get("pattern").and_then(Value::as_str) {
        regex_lite::Regex::new(pattern).map_err(|why| format!("cannot use pattern {pattern:?} in {place}: {why}"))?;
    }
    let kinds = map.get("type").map(|kind| kind.as_array().cloned().unwrap_or_else(|| vec![kind.clone()]));
    for kind in kinds.into_iter().flatten() {
        if !kind.as_str().is_some_and(|kind| KINDS.contains(&kind)) {
            return Err(format!(
                "cannot use type {kind} in {place}: use string, integer, number, boolean, object, array or null"
            ));
        }
    }
    for (name, inner) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { format!("properties.{name}") } else { format!("{path}.properties.{name}") };
        check_part(&path, inner)?;
    }
    for key in ["items", "not", "additionalProperties", "anyOf", "allOf", "oneOf"] {
        let inner =
            map.get(key).map(|inner| inner.as_array().map_or_else(|| vec![inner], |list| list.iter().collect()));
        for inner in inner.into_iter().flatten() {
            check_part(&format!("{path}.{key}"), inner)?;
        }
    }
    Ok(())
}

fn fit(path: &str, schema: &Value, value: &Value, closed: bool) -> Result<Value, String> {
    let shown = if path.is_empty() { "parameters".to_owned() } else { path.to_owned() };
    if let Some(kind) = schema.get("type") {
        let kinds: Vec<&str> = match kind {
            Value::String(one) => vec![one],
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
        };
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_kind(kind, value)) {
            return Err(format!(
                "validation failed: (root).{shown} : must be of type {}, given {value}",
                kinds.join(" or ")
            ));
        }
    }
    if let Some(Value::Array(allowed)) = schema.get("enum") {
        if !allowed.contains(value) {
            let list = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(format!("validation failed: (root).{shown} : must be one of {list}, given {value}"));
        }
    }
    alternatives(&shown, schema, value, closed)?;
    if let Some(number) = value.as_f64() {
        let step = schema.get("multipleOf").and_then(Value::as_f64).filter(|step| *step > 0.0);
        if step.is_some_and(|step| (number / step).fract().abs() > f64::EPSILON) {
            return Err(format!(
                "validation failed: (root).{shown} : must be a multiple of {}, given {value}",
                schema["multipleOf"]
            ));
        }
        // In draft 4 "exclusive" is a word beside the limit.
        let excluded = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
        let least = schema.get("minimum").and_then(Value::as_f64);
        if least.is_some_and(|least| number < least || (number <= least && excluded("exclusiveMinimum"))) {
            let how = if excluded("exclusiveMinimum") { "more than" } else { "at least" };
            return Err(format!(
                "validation failed: (root).{shown} : must be {how} {}, given {value}",
                schema["minimum"]
            ));
        }
        let most = schema.get("maximum").and_then(Value::as_f64);
        if most.is_some_and(|most| number > most || (number >= most && excluded("exclusiveMaximum"))) {
            let how = if excluded("exclusiveMaximum") { "less than" } else { "at most" };
            return Err(format!(
                "validation failed: (root).{shown} : must be {how} {}, given {value}",
                schema["maximum"]
            ));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if schema.get("minLength").and_then(Value::as_u64).is_some_and(|min| length < min) {
            return Err(format!(
                "validation failed: (root).{shown} : must have at least {} characters, given {length}",
                schema["minLength"]
            ));
        }
        if schema.get("maxLength").and_then(Value::as_u64).is_some_and(|max| length > max) {
            return Err(format!(
                "validation failed: (root).{shown} : must have at most {} characters, given {length}",
                schema["maxLength"]
            ));
        }
    }
    if let (Some(text), Some(pattern)) = (value.as_str(), schema.get("pattern").and_then(Value::as_str)) {
        if !regex_lite::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text)) {
            return Err(format!("validation failed: (root).{shown} : must match {pattern:?}, given {value}"));
        }
    }
    if let Some(items) = value.as_array() {
        let count = items.len() as u64;
        for (key, word, wrong) in
            [("minItems", "least", u64::lt as fn(&u64, &u64) -> bool), ("maxItems", "most", u64::gt)]
        {
            if let Some(limit) = schema.get(key).and_then(Value::as_u64).filter(|limit| wrong(&count, limit)) {
                return Err(format!(
                    "validation failed: (root).{shown} : must have at {word} {limit} items, given {count}"
                ));
            }
        }
    }
    if let Some(items) = value.as_array().filter(|_| schema.get("uniqueItems") == Some(&Value::Bool(true))) {
        if (1..items.len()).any(|i| items[..i].contains(&items[i])) {
            return Err(format!("validation failed: (root).{shown} : must not have the same item twice"));
        }
    }
    match value {
        Value::Object(map) => object(path, schema, map, closed).map(Value::Object),
        Value::Array(items) => {
            let item_schema = schema.get("items").cloned().unwrap_or(Value::Bool(true));
            let checked: Result<Vec<Value>, String> = items
                .iter()
                .enumerate()
                .map(|(i, item)| fit(&format!("{path}[{i}]"), &item_schema, item, closed))
                .collect();
            Ok(Value::Array(checked?))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(value.clone()),
    }
}

/// `anyOf`, `allOf`, `oneOf` and `not`.
fn alternatives(shown: &str, schema: &Value, value: &Value, closed: bool) -> Result<(), String> {
    let fitting = |key: &str| {
        let list = schema.get(key)?.as_array()?;
        Some((list.iter().filter(|part| fit("", part, value, closed).is_ok()).count(), list.len()))
    };
    let wrong = |how: &str| Err(format!("validation failed: (root).{shown} : must validate {how}, given {value}"));
    match (fitting("anyOf"), fitting("allOf"), fitting("oneOf")) {
        (Some((0, _)), _, _) => wrong("at least one schema (anyOf)"),
        (_, Some((some, all)), _) if some < all => wrong("all the schemas (allOf)"),
        (_, _, Some((some, _))) if some != 1 => wrong("one and only one schema (oneOf)"),
        _ if schema.get("not").is_some_and(|part| fit("", part, value, closed).is_ok()) => {
            Err(format!("validation failed: (root).{shown} : must not validate the schema (not), given {value}"))
        }
        _ => Ok(()),
    }
}

fn object(path: &str, schema: &Value, map: &Map<String, Value>, closed: bool) -> Result<Map<String, Value>, String> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let mut checked = Map::new();
    let others = schema.get("additionalProperties");
    // A schema for all others lets them in.
    let open = others.map_or(!closed, |others| others.as_bool().unwrap_or(true));
    for (key, value) in map {
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match properties.get(key) {
            Some(schema) => {
                checked.insert(key.clone(), fit(&inner, schema, value, closed)?);
            }
            None if open => {
                let value = match others.filter(|others| others.is_object()) {
                    Some(schema) => fit(&inner, schema, value, closed)?,
                    None => value.clone(),
                };
                checked.insert(key.clone(), value);
            }
            None => {
                let known = properties.keys().cloned().collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "none".to_owned() } else { known };
                return Err(format!(
                    "validation failed: (root) : additional property {inner:?} is not allowed; known parameters: {known}"
                ));
            }
        }
    }
    for (key, schema) in properties {
        if let (false, Some(default)) = (checked.contains_key(key), schema.get("default")) {
            checked.insert(key.clone(), default.clone());
        }
    }
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !checked.contains_key(required) {
            return Err(format!("validation failed: (root) : {required:?} property is missing and required"));
        }
    }
    Ok(checked)
}

fn is_kind(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters() {
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["name"], "properties": {
            "name": {"type": "string", "minLength": 2}, "size": {"type": "integer", "minimum": 1, "default": 3}, "how": {"enum": ["a", "b"]}}});
        let check = |params: Value| match validate_params(&schema, &params, false) {
            Ok(value) => value.to_string(),
            Err(why) => why,
        };
        assert_eq!(check(json!({"name": "xy"})), r#"{"name":"xy","size":3}"#);
        assert_eq!(check(json!({})), "validation failed: (root) : \"name\" property is missing and required");
        assert_eq!(check(json!({"name": 5})), "validation failed: (root).name : must be of type string, given 5");
        assert_eq!(
            check(json!({"name": "x"})),
            "validation failed: (root).name : must have at least 2 characters, given 1"
        );
        assert_eq!(
            check(json!({"name": "xy", "size": 0})),
            "validation failed: (root).size : must be at least 1, given 0"
        );
        assert_eq!(
            check(json!({"name": "xy", "how": "c"})),
            "validation failed: (root).how : must be one of \"a\", \"b\", given \"c\""
        );
        assert_eq!(
            check(json!({"name": "xy", "nmae": 1})),
            "validation failed: (root) : additional property \"nmae\" is not allowed; known parameters: how, name, size"
        );
    }

    #[test]
    fn nested_and_limited() {
        let schema = json!({"type": "object", "properties": {
            "host": {"type": "string", "pattern": "^[a-z.]+$"}, "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": true},
            "hosts": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
            "deep": {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}, "y": {"default": "z"}}}}});
        let check = |params: Value, closed: bool| match validate_params(&schema, &params, closed) {
            Ok(value) => value.to_string(),
            Err(why) => why.trim_start_matches("validation failed: ").to_owned(),
        };
        assert_eq!(check(json!({"host": "a.b", "other": 1}), false), r#"{"host":"a.b","other":1}"#);
        assert!(check(json!({"other": 1}), true).contains("\"other\" is not allowed"));
        assert_eq!(check(json!({"host": "A"}), false), r#"(root).host : must match "^[a-z.]+$", given "A""#);
        assert_eq!(check(json!({"ratio": 0}), false), "(root).ratio : must be more than 0, given 0");
        assert_eq!(check(json!({"hosts": []}), false), "(root).hosts : must have at least 1 items, given 0");
        assert_eq!(check(json!({"hosts": ["a", 1]}), false), "(root).hosts[1] : must be of type string, given 1");
        assert_eq!(check(json!({"deep": {"x": 1}}), false), r#"{"deep":{"x":1,"y":"z"}}"#);
        assert_eq!(check(json!({"deep": {}}), false), "(root) : \"x\" property is missing and required");
    }

    #[test]
    fn alternatives_and_others() {
        let schema = json!({"type": "object", "additionalProperties": {"type": "integer"}, "properties": {
            "any": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 3}]}, "no": {"not": {"enum": ["x"]}},
            "step": {"multipleOf": 5}, "set": {"type": "array", "uniqueItems": true}}});
        let check = |params: Value| match validate_params(&schema, &params, false) {
            Ok(value) => value.to_string(),
            Err(why) => why.trim_start_matches("validation failed: ").to_owned(),
        };
        assert_eq!(check(json!({"any": 3, "more": 1})), r#"{"any":3,"more":1}"#);
        assert_eq!(check(json!({"any": 2})), "(root).any : must validate at least one schema (anyOf), given 2");
        assert_eq!(check(json!({"no": "x"})), "(root).no : must not validate the schema (not), given \"x\"");
        assert_eq!(check(json!({"step": 7})), "(root).step : must be a multiple of 5, given 7");
        assert_eq!(check(json!({"set": [1, 1]})), "(root).set : must not have the same item twice");
        assert_eq!(check(json!({"more": "x"})), "(root).more : must be of type integer, given \"x\"");
    }
}
