//! Rules for `storage` in metadata.yaml.

use serde_json::Value;

use super::CharmError;
use super::rules::wrong;

/// Checks one entry of `storage`.
pub(super) fn check(charm: &str, store: &str, body: &Value) -> Result<(), CharmError> {
    let place = format!("storage {store}");
    let named = store.starts_with(|c: char| c.is_ascii_lowercase())
        && !store.ends_with('-')
        && store.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !named {
        return Err(wrong(format_args!("{place}: the name is not lower-case letters, digits and hyphens")));
    }
    for key in ["shared", "read-only"] {
        let value = &body[key];
        if !(value.is_null() || value.is_boolean()) {
            return Err(wrong(format_args!("{place}: {key} {value} is not true or false")));
        }
    }
    if body["shared"] == true {
        return Err(wrong(format_args!("charm {charm:?} store {store:?}: shared storage support not implemented")));
    }
    if body["read-only"] == true {
        return Err(wrong(format_args!("{place}: read-only storage is not supported by juju-local")));
    }
    if let Some(location) = body["location"].as_str() {
        if body["type"] == "block" {
            return Err(wrong(format_args!("{place}: location may not be specified for \"block\" storage")));
        }
        if !location.starts_with('/') || location.split('/').any(|part| part == "..") {
            return Err(wrong(format_args!("{place}: location {location:?} is not an absolute path")));
        }
        if hides_the_system(location) {
            return Err(wrong(format_args!(
                "{place}: location {location:?} would hide what the machine needs; take a folder of its own, below /srv for example"
            )));
        }
    }
    let least = super::plain(&body["minimum-size"]);
    if !least.is_empty() && crate::machine::size_in_bytes(&least).is_none() {
        return Err(wrong(format_args!("{place}: minimum-size {least:?} is no size; write for example 500M or 2G")));
    }
    for property in body["properties"].as_array().into_iter().flatten() {
        if property != "transient" {
            return Err(wrong(format_args!("{place}: property {property} is not transient, the only one there is")));
        }
    }
    Ok(())
}

/// Whether a filesystem that is mounted there hides what a machine boots from, or what Juju keeps on it.
fn hides_the_system(location: &str) -> bool {
    const WITH_ALL_BELOW: [&str; 6] = ["dev", "proc", "run", "sys", "var/lib/juju/agents", "var/lib/juju/run"];
    const THEMSELVES: [&str; 17] = [
        "",
        "bin",
        "boot",
        "etc",
        "lib",
        "lib64",
        "sbin",
        "usr",
        "usr/bin",
        "usr/lib",
        "usr/lib64",
        "usr/sbin",
        "usr/share",
        "var",
        "var/lib",
        "var/lib/juju",
        "var/lib/juju/storage",
    ];
    let parts: Vec<&str> = location.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let path = parts.join("/");
    THEMSELVES.contains(&path.as_str())
        || WITH_ALL_BELOW
            .iter()
            .any(|top| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::refused;
    use expect_test::{Expect, expect};

    #[test]
    fn each_key_is_checked() {
        let check = |body: &str, expected: Expect| {
            refused(&format!("storage: {{data: {{type: filesystem, {body}}}}}"), expected)
        };
        check(
            "multiple: {range: 0-3}, properties: [transient], minimum-size: 1G",
            expect![[r#"db ["ubuntu@24.04/stable"] {}"#]],
        );
        check("multiple: {range: 1+}", expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
        check("multiple: {range: 2}", expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
        check(
            "multiple: {range: 3-1}",
            expect![[r#"metadata.yaml: storage data: range "3-1" is none; write 2, 0-3, 1+ or 1-"#]],
        );
        check(
            "multiple: {range: few}",
            expect![[r#"metadata.yaml: storage data: range "few" is none; write 2, 0-3, 1+ or 1-"#]],
        );
        check("multiple: {}", expect!["metadata.yaml: storage data: range null is none; write 2, 0-3, 1+ or 1-"]);
        check(
            "shared: true",
            expect![[r#"metadata.yaml: charm "db" store "data": shared storage support not implemented"#]],
        );
        check(
            "read-only: true",
            expect!["metadata.yaml: storage data: read-only storage is not supported by juju-local"],
        );
        check(
            "properties: [fast]",
            expect![[r#"metadata.yaml: storage data: property "fast" is not transient, the only one there is"#]],
        );
        check(
            "minimum-size: big",
            expect![[r#"metadata.yaml: storage data: minimum-size "big" is no size; write for example 500M or 2G"#]],
        );
        check(
            "location: //etc/./",
            expect![[
                r#"metadata.yaml: storage data: location "//etc/./" would hide what the machine needs; take a folder of its own, below /srv for example"#
            ]],
        );
        check(
            "location: /run/x",
            expect![[
                r#"metadata.yaml: storage data: location "/run/x" would hide what the machine needs; take a folder of its own, below /srv for example"#
            ]],
        );
        check("location: /etc/db", expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
        check("location: srv", expect![[r#"metadata.yaml: storage data: location "srv" is not an absolute path"#]]);
        refused(
            "storage: {data: {type: block, location: /x}}",
            expect![[r#"metadata.yaml: storage data: location may not be specified for "block" storage"#]],
        );
        refused(
            "storage: {Data: {type: filesystem}}",
            expect!["metadata.yaml: storage Data: the name is not lower-case letters, digits and hyphens"],
        );
    }
}
