//! YAML as Go's library writes it, because charms' scripts compare it: lists are not indented, texts that would be read
//! as something else are in double quotes, texts of several lines are blocks.

use serde_json::{Number, Value};

/// A whole document with its newline.
pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, Place::Top, &mut out);
    out
}

/// The fields of a struct, in their own order, two columns in.
pub(super) fn fields(fields: &[(&str, Value)]) -> String {
    let mut out = String::new();
    for (key, value) in fields {
        let one = Value::Object([((*key).to_owned(), value.clone())].into_iter().collect());
        write(&one, 2, Place::Top, &mut out);
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    /// Behind `key:`.
    Key,
    /// Behind `-`.
    Item,
}

fn write(value: &Value, indent: usize, place: Place, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut first = place == Place::Item;
            if place == Place::Key {
                out.push('\n');
            }
            for (key, value) in map {
                pad(if first { 0 } else { indent }, out);
                first = false;
                out.push_str(&scalar(key, indent + 2));
                out.push(':');
                let nested = matches!(value, Value::Array(list) if !list.is_empty())
                    || matches!(value, Value::Object(map) if !map.is_empty());
                if !nested {
                    out.push(' ');
                }
                // A list stands right below its key, a map two columns in.
                let deeper = if value.is_array() { indent } else { indent + 2 };
                write(value, deeper, Place::Key, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let mut first = place == Place::Item;
            if place == Place::Key {
                out.push('\n');
            }
            for value in list {
                pad(if first { 0 } else { indent }, out);
                first = false;
                out.push_str("- ");
                write(value, indent + 2, Place::Item, out);
            }
        }
        Value::Object(_) => out.push_str("{}\n"),
        Value::Array(_) => out.push_str("[]\n"),
        Value::Null => out.push_str("null\n"),
        Value::Bool(on) => out.push_str(if *on { "true\n" } else { "false\n" }),
        Value::Number(number) => {
            out.push_str(&go_number(number));
            out.push('\n');
        }
        Value::String(text) => {
            out.push_str(&scalar(text, if place == Place::Top { 2 } else { indent }));
            out.push('\n');
        }
    }
}

fn pad(columns: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', columns));
}

/// A number as Go prints it: whole floats have no fraction.
pub(super) fn go_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
        Some(_) | None => number.to_string(),
    }
}

fn scalar(text: &str, indent: usize) -> String {
    let printable = text.chars().all(|c| c == '\n' || !c.is_control());
    if !printable {
        return quoted(text);
    }
    if text.contains('\n') {
        let trailing_space = text.lines().any(|line| line.ends_with(' ')) || text.starts_with('\n');
        return if trailing_space { quoted(text) } else { block(text, indent) };
    }
    if reads_as_something_else(text) {
        return quoted(text);
    }
    if plain_is_allowed(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            c if c.is_control() => out.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn block(text: &str, indent: usize) -> String {
    let body = text.trim_end_matches('\n');
    let ending = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let hint = if text.starts_with(' ') { "2" } else { "" };
    let mut out = format!("|{hint}{ending}");
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(indent, &mut out);
            out.push_str(line);
        }
    }
    out.extend(std::iter::repeat_n('\n', (text.len() - body.len()).saturating_sub(1)));
    out
}

/// Null, booleans in all their spellings, numbers, times: without quotes they would not come back as texts.
fn reads_as_something_else(text: &str) -> bool {
    const WORDS: [&str; 12] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "<<"];
    let lower = text.to_ascii_lowercase();
    let number = |text: &str| {
        let bare = text.strip_prefix(['+', '-']).unwrap_or(text).replace('_', "");
        let radix =
            |prefix: &str, radix| bare.strip_prefix(prefix).is_some_and(|d| u64::from_str_radix(d, radix).is_ok());
        let decimal = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') && bare.parse::<f64>().is_ok();
        decimal || radix("0x", 16) || radix("0o", 8) || radix("0b", 2) || [".inf", ".nan"].contains(&bare.as_str())
    };
    // 190:20:30, and 2026-01-01.
    let digits_and = |mark: char| {
        text.contains(mark) && text.split(mark).all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    WORDS.contains(&lower.as_str())
        || number(&lower)
        || digits_and(':')
        || (digits_and('-') && text.len() == 10)
        || (text.len() >= 19 && text.parse::<jiff::Timestamp>().is_ok())
}

fn plain_is_allowed(text: &str) -> bool {
    const MARKS: &str = "#,[]{}&*!|>'\"%@`";
    let alone = |c: char| text.starts_with(c) && (text.len() == 1 || text[1..].starts_with(' '));
    !text.starts_with(|c: char| MARKS.contains(c) || c == ' ')
        && !text.ends_with([' ', ':'])
        && !['-', '?', ':'].into_iter().any(alone)
        && !text.starts_with("---")
        && !text.starts_with("...")
        && !text.contains(": ")
        && !text.contains(" #")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(value: Value, expected: Expect) {
        let text = document(&value);
        // What is written must be readable as what it was.
        assert_eq!(serde_yaml::from_str::<Value>(&text).unwrap(), value, "{text}");
        expected.assert_eq(&text);
    }

    #[test]
    fn documents() {
        check(
            json!({"a": {"b": [1, {"c": "d", "e": ["f", []]}]}, "g": {}, "h": [], "i": null, "j": true}),
            expect![[r#"
            a:
              b:
              - 1
              - c: d
                e:
                - f
                - []
            g: {}
            h: []
            i: null
            j: true
        "#]],
        );
        check(
            json!([["a"], {"b": {"c": "x\ny"}}]),
            expect![[r#"
            - - a
            - b:
                c: |-
                  x
                  y
        "#]],
        );
        check(
            json!("one\ntwo\n"),
            expect![[r#"
            |
              one
              two
        "#]],
        );
    }

    #[test]
    fn texts() {
        for (text, expected) in [
            ("plain text", "plain text"),
            ("10.0.0.1", "10.0.0.1"),
            ("80/tcp", "80/tcp"),
            ("80", "\"80\""),
            ("1.5", "\"1.5\""),
            ("-1e3", "\"-1e3\""),
            ("0x1f", "\"0x1f\""),
            ("", "\"\""),
            ("True", "\"True\""),
            ("yes", "\"yes\""),
            ("12:30", "\"12:30\""),
            ("2026-01-01", "\"2026-01-01\""),
            ("secret:abc", "secret:abc"),
            ("a: b", "'a: b'"),
            ("a #b", "'a #b'"),
            ("- a", "'- a'"),
            ("-a", "-a"),
            ("*", "'*'"),
            (" x", "' x'"),
            ("it's", "it's"),
            ("'q'", "'''q'''"),
            ("tab\there", "\"tab\\there\""),
        ] {
            assert_eq!(scalar(text, 2), expected, "{text:?}");
        }
        assert_eq!(go_number(&Number::from_f64(2.0).unwrap()), "2");
        assert_eq!(go_number(&Number::from_f64(1.5).unwrap()), "1.5");
    }
}
