//! Rules for `storage` in metadata.yaml.

use serde_json::Value;

use super::rules::wrong;
use super::{CharmError, StorageSpec};

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

impl StorageSpec {
    /// Whether a size that somebody asks for holds what the charm needs at least.
    ///
    /// # Errors
    /// Both sizes, in Juju's words.
    pub fn is_enough(&self, size: Option<&str>) -> Result<(), String> {
        let bytes = |size: Option<&str>| size.and_then(crate::machine::size_in_bytes);
        match (bytes(self.minimum_size.as_deref()), bytes(size)) {
            (Some(least), Some(asked)) if asked < least => {
                let mb = |bytes: u64| bytes.div_ceil(1 << 20);
                Err(format!("minimum storage size is {} MB, {} MB specified", mb(least), mb(asked)))
            }
            _ => Ok(()),
        }
    }

    /// Why units that have it cannot go on with what another revision of the charm says of it.
    #[must_use]
    pub fn cannot_become(&self, new: &Self) -> Option<String> {
        let most = |count: Option<u32>| count.map_or_else(|| "unbounded".to_owned(), |count| count.to_string());
        let fewer = new.maximum_count.is_some_and(|new| self.maximum_count.is_none_or(|old| new < old));
        if self.kind != new.kind {
            return Some(format!("type changed from {:?} to {:?}", self.kind, new.kind));
        }
        if self.location != new.location {
            return Some(format!("location changed from {:?} to {:?}", self.location, new.location));
        }
        if new.minimum_count > self.minimum_count {
            let (old, new) = (self.minimum_count, new.minimum_count);
            return Some(format!("range contracted: min increased from {old} to {new}"));
        }
        if fewer {
            let (old, new) = (most(self.maximum_count), most(new.maximum_count));
            return Some(format!("range contracted: max decreased from {old} to {new}"));
        }
        let spread = !self.location.is_empty() && !self.multiple && new.multiple;
        spread.then(|| "with location changed from single to multiple".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::refused;
    use crate::charm_files::StorageSpec;
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

    #[test]
    fn sizes_and_other_revisions() {
        let spec = |location: &str, least: u32, most: Option<u32>| StorageSpec {
            kind: "filesystem".to_owned(),
            location: location.to_owned(),
            minimum_size: Some("64M".to_owned()),
            minimum_count: least,
            maximum_count: most,
            multiple: most != Some(1),
        };
        let one = spec("/srv", 1, Some(1));
        assert_eq!(one.is_enough(None), Ok(()));
        assert_eq!(one.is_enough(Some("64M")), Ok(()));
        assert_eq!(one.is_enough(Some("10M")), Err("minimum storage size is 64 MB, 10 MB specified".to_owned()));
        let check = |old: &StorageSpec, new: &StorageSpec, expected: &str| {
            assert_eq!(old.cannot_become(new).unwrap_or_default(), expected);
        };
        check(&one, &one, "");
        check(&one, &spec("/opt", 1, Some(1)), r#"location changed from "/srv" to "/opt""#);
        check(&one, &spec("/srv", 0, Some(3)), "with location changed from single to multiple");
        let many = spec("", 0, None);
        check(&many, &spec("", 0, Some(3)), "range contracted: max decreased from unbounded to 3");
        check(&many, &spec("", 1, None), "range contracted: min increased from 0 to 1");
        check(&spec("", 0, Some(2)), &many, "");
    }
}
