//! Rules that Juju has for a charm's files as a whole: what may stand in `metadata.yaml`, `manifest.yaml` and
//! `lxd-profile.yaml`, which bases a charm has, and which hooks it may bring.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Archive, Charm, CharmError, numbers, storage, yaml};

const ROLES: [&str; 3] = ["provides", "requires", "peers"];
/// Keys of the older format of charms, which knew no manifest.
const OLD_KEYS: [&str; 3] = ["series", "min-juju-version", "deployment"];
const SYSTEMS: [&str; 7] = ["ubuntu", "centos", "debian", "opensuse", "genericlinux", "windows", "osx"];
const UNIT_HOOKS: [&str; 20] = [
    "install",
    "start",
    "config-changed",
    "upgrade-charm",
    "update-status",
    "stop",
    "remove",
    "leader-elected",
    "leader-deposed",
    "leader-settings-changed",
    "collect-metrics",
    "meter-status-changed",
    "action",
    "pre-series-upgrade",
    "post-series-upgrade",
    "secret-changed",
    "secret-rotate",
    "secret-expired",
    "secret-remove",
    "collect-status",
];

pub(super) fn wrong(why: impl std::fmt::Display) -> CharmError {
    CharmError(format!("metadata.yaml: {why}"))
}

fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value[key].as_object().into_iter().flatten()
}

/// Checks what the typed reading of `metadata.yaml` passes over.
pub(super) fn check(metadata: &Value, has_manifest: bool, agent_version: &str) -> Result<(), CharmError> {
    let name = metadata["name"].as_str().unwrap_or_default();
    if let Some(containers) = metadata["containers"].as_object().filter(|all| !all.is_empty()) {
        let list = containers.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(wrong(format_args!(
            "charm {name:?} is for Kubernetes: it has containers ({list}), and juju-local has machines only"
        )));
    }
    let old: Vec<&str> = OLD_KEYS.into_iter().filter(|key| !metadata[*key].is_null()).collect();
    if has_manifest && !old.is_empty() {
        return Err(wrong(format_args!(
            "ambiguous metadata: {} belongs to charms without manifest.yaml; drop it",
            old.join(", ")
        )));
    }
    if let Some(least) = metadata["min-juju-version"].as_str() {
        if numbers(agent_version) < numbers(least) {
            return Err(wrong(format_args!(
                "charm's min version ({least}) is higher than this juju model's version ({agent_version})"
            )));
        }
    }
    if !["root", "sudoer", "non-root"].contains(&metadata["charm-user"].as_str().unwrap_or("root")) {
        return Err(wrong(format_args!("charm-user {} is not root, sudoer or non-root", metadata["charm-user"])));
    }
    let subordinate = metadata["subordinate"] == true;
    for role in ROLES {
        for (endpoint, body) in entries(metadata, role) {
            check_endpoint(role, endpoint, body, subordinate)?;
        }
    }
    check_extra_bindings(&metadata["extra-bindings"])?;
    for (store, body) in entries(metadata, "storage") {
        storage::check(name, store, body)?;
    }
    metadata["assumes"].as_array().into_iter().flatten().try_for_each(check_assumption)
}

fn check_endpoint(role: &str, endpoint: &str, body: &Value, subordinate: bool) -> Result<(), CharmError> {
    let place = format!("{role}: {endpoint}");
    if !(body.is_string() || body.is_object()) {
        return Err(wrong(format_args!(
            "{place}: write an interface, or a map with interface, limit, optional, scope"
        )));
    }
    let scope = &body["scope"];
    let container = scope == "container";
    if !(container || scope.is_null() || scope == "global") {
        return Err(wrong(format_args!("{place}: scope {scope} is not global or container")));
    }
    // A subordinate's own end may be called as what every charm has.
    let reserved = endpoint == "juju" || endpoint.starts_with("juju-");
    if reserved && !(subordinate && role == "requires" && container) {
        return Err(wrong(format_args!("{role}: endpoint name {endpoint:?} is reserved; rename it")));
    }
    if !(body["limit"].is_null() || body["limit"].is_u64()) {
        return Err(wrong(format_args!("{place}: limit {} is not a whole number", body["limit"])));
    }
    if !(body["optional"].is_null() || body["optional"].is_boolean()) {
        return Err(wrong(format_args!("{place}: optional {} is not true or false", body["optional"])));
    }
    Ok(())
}

fn check_extra_bindings(bindings: &Value) -> Result<(), CharmError> {
    match bindings {
        Value::Null => Ok(()),
        Value::Object(map) if map.is_empty() => Err(wrong("extra-bindings is empty; drop it")),
        Value::Object(map) => match map.iter().find(|(name, value)| name.is_empty() || !value.is_null()) {
            Some((name, _)) => Err(wrong(format_args!("extra-bindings: {name:?} has to be a name without a value"))),
            None => Ok(()),
        },
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(wrong("extra-bindings is not a map of names"))
        }
    }
}

/// `k8s-api`, `juju >= 3.6`, `juju < 4`, and lists of them under any-of and all-of.
fn check_assumption(assumption: &Value) -> Result<(), CharmError> {
    let unread =
        || wrong(format_args!("assumes: cannot read {assumption}; write juju >= 3.6, juju < 4, any-of or all-of"));
    match assumption {
        Value::String(text) => match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            [_] => Ok(()),
            [_, ">=" | "<", version] if version.starts_with(|c: char| c.is_ascii_digit()) => Ok(()),
            _ => Err(unread()),
        },
        Value::Object(map) if map.len() == 1 => {
            let (key, list) = map.iter().next().ok_or_else(unread)?;
            let list = list.as_array().filter(|list| !list.is_empty()).ok_or_else(unread)?;
            if key != "any-of" && key != "all-of" {
                return Err(unread());
            }
            list.iter().try_for_each(check_assumption)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(unread()),
    }
}

/// Checks `manifest.yaml`: each base has a known name and a channel, and one of them is for this machine's processor.
pub(super) fn check_manifest(manifest: &Value) -> Result<(), CharmError> {
    let wrong = |why: String| CharmError(format!("manifest.yaml: {why}"));
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64el",
        other => other,
    };
    let mut elsewhere = BTreeSet::new();
    let bases = manifest["bases"].as_array().map(Vec::as_slice).unwrap_or_default();
    for base in bases {
        let name = base["name"].as_str().unwrap_or_default();
        if !SYSTEMS.contains(&name) {
            return Err(wrong(format!("base name {} is not one of {}", base["name"], SYSTEMS.join(", "))));
        }
        if super::plain(&base["channel"]).is_empty() {
            return Err(wrong(format!("base {name}: channel is missing; write for example 24.04/stable")));
        }
        let architectures: Vec<String> =
            base["architectures"].as_array().into_iter().flatten().map(super::plain).collect();
        if !architectures.is_empty() && !architectures.iter().any(|a| a == here || a == "all") {
            elsewhere.insert(architectures.join(", "));
        } else {
            elsewhere.clear();
            break;
        }
    }
    if elsewhere.is_empty() {
        return Ok(());
    }
    let list = elsewhere.into_iter().collect::<Vec<_>>().join(", ");
    Err(wrong(format!("the charm is for {list}, and this machine is {here}; pack it for {here}")))
}

/// Checks `lxd-profile.yaml` as Juju does; whether there is one.
///
/// # Errors
/// Names what Juju refuses in it, unless it is forced.
pub fn check_profile(archive: &mut Archive, force: bool) -> Result<bool, CharmError> {
    let Some(text) = archive.text("lxd-profile.yaml")? else {
        return Ok(false);
    };
    let profile: Value = yaml("lxd-profile.yaml", &text)?;
    let refused = |what: String| CharmError(format!("invalid lxd-profile.yaml: contains {what}"));
    let empty = Map::new();
    let config = profile["config"].as_object().unwrap_or(&empty);
    let key = config.keys().find(|key| ["boot", "limits", "migration"].iter().any(|start| key.starts_with(start)));
    let kinds = ["unix-char", "unix-block", "gpu", "usb"];
    let device = entries(&profile, "devices").find(|(_, body)| !kinds.contains(&super::plain(&body["type"]).as_str()));
    match (key, device) {
        (Some(key), _) if !force => Err(refused(format!("config value {key:?}"))),
        (_, Some((_, body))) if !force => Err(refused(format!("device type {}", body["type"]))),
        (Some(_) | None, Some(_) | None) => Ok(true),
    }
}

/// Every hook that a charm with this metadata can be called for: a file of such a name can always be run.
pub(super) fn hook_names(metadata: &Value) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = UNIT_HOOKS.map(str::to_owned).into();
    let mut add = |key: &str, ends: &[&str]| {
        for (name, _) in entries(metadata, key) {
            names.extend(ends.iter().map(|end| format!("{name}-{end}")));
        }
    };
    for role in ROLES {
        let ends = ["relation-created", "relation-joined", "relation-changed", "relation-departed", "relation-broken"];
        add(role, &ends);
    }
    add("storage", &["storage-attached", "storage-detaching"]);
    names
}

impl Charm {
    /// Checks a base that the operator asks for.
    ///
    /// # Errors
    /// When the charm's manifest does not name it, unless it is forced.
    pub fn check_base(&self, base: &str, force: bool) -> Result<(), CharmError> {
        let plain = |base: &str| base.trim_end_matches("/stable").to_owned();
        if force || self.bases.is_empty() || self.bases.iter().any(|own| plain(own) == plain(base)) {
            return Ok(());
        }
        let own = self.bases.iter().map(|own| plain(own)).collect::<Vec<_>>().join(", ");
        Err(CharmError(format!("base {base:?} is not supported by the charm, which has {own}; use --force to try it")))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::archive::tests::archive;
    use super::*;
    use crate::charm_files::tests::check;
    use expect_test::{Expect, expect};

    pub(in crate::charm_files) fn refused(metadata: &str, expected: Expect) {
        check(&[&format!("metadata.yaml +{metadata}")], expected);
    }

    #[test]
    fn endpoints() {
        refused(
            "provides: {a: {interface: b, limit: 2, optional: true, scope: global}}",
            expect![[r#"db ["ubuntu@24.04/stable"] {}"#]],
        );
        refused(
            "requires: {a: {interface: b, scope: near}}",
            expect![[r#"metadata.yaml: requires: a: scope "near" is not global or container"#]],
        );
        refused(
            "requires: {a: {interface: b, limit: many}}",
            expect![[r#"metadata.yaml: requires: a: limit "many" is not a whole number"#]],
        );
        refused(
            "requires: {juju-x: {interface: b}}",
            expect![[r#"metadata.yaml: requires: endpoint name "juju-x" is reserved; rename it"#]],
        );
        refused(
            "peers: {a: [b]}",
            expect!["metadata.yaml: peers: a: write an interface, or a map with interface, limit, optional, scope"],
        );
        refused("extra-bindings: {}", expect!["metadata.yaml: extra-bindings is empty; drop it"]);
        refused(
            "extra-bindings: {a: b}",
            expect![[r#"metadata.yaml: extra-bindings: "a" has to be a name without a value"#]],
        );
        refused(
            "peers: {a: b}\nextra-bindings: {a: }",
            expect![[
                r#"metadata.yaml: endpoint "a" is there twice; names are unique over provides, requires and peers"#
            ]],
        );
    }

    #[test]
    fn kinds_of_charms() {
        refused(
            "containers: {web: {}}",
            expect![[
                r#"metadata.yaml: charm "db" is for Kubernetes: it has containers (web), and juju-local has machines only"#
            ]],
        );
        refused(
            "min-juju-version: 2.9.0",
            expect![
                "metadata.yaml: ambiguous metadata: min-juju-version belongs to charms without manifest.yaml; drop it"
            ],
        );
        refused(
            "charm-user: nobody",
            expect![[r#"metadata.yaml: charm-user "nobody" is not root, sudoer or non-root"#]],
        );
        refused(
            "assumes: [juju > 3]",
            expect![[
                r#"metadata.yaml: assumes: cannot read "juju > 3"; write juju >= 3.6, juju < 4, any-of or all-of"#
            ]],
        );
        refused(
            "assumes: [{any-of: []}]",
            expect![[
                r#"metadata.yaml: assumes: cannot read {"any-of":[]}; write juju >= 3.6, juju < 4, any-of or all-of"#
            ]],
        );
        refused("unknown: [1, 2]\ntags: [x]", expect![[r#"db ["ubuntu@24.04/stable"] {}"#]]);
    }

    #[test]
    fn manifests() {
        let manifest = |text: &str, expected: Expect| check(&[&format!("manifest.yaml 644 {text}")], expected);
        manifest(
            "bases: [{name: beos, channel: '5'}]",
            expect![[
                r#"manifest.yaml: base name "beos" is not one of ubuntu, centos, debian, opensuse, genericlinux, windows, osx"#
            ]],
        );
        manifest(
            "bases: [{name: ubuntu}]",
            expect!["manifest.yaml: base ubuntu: channel is missing; write for example 24.04/stable"],
        );
        let other = "bases: [{name: ubuntu, channel: 24.04/stable, architectures: [s390x]}]";
        let file = archive(&[
            "metadata.yaml 644 {name: db, summary: s, description: d}",
            "dispatch 755",
            &format!("manifest.yaml 644 {other}"),
        ]);
        let read = Archive::open(file.path()).and_then(|mut archive| Charm::read(&mut archive, "3.6.12"));
        assert!(read.unwrap_err().0.starts_with("manifest.yaml: the charm is for s390x, and this machine is "));
    }

    #[test]
    fn profiles() {
        let check = |text: &str, force: bool| {
            let file = archive(&[&format!("lxd-profile.yaml 644 {text}")]);
            let checked = Archive::open(file.path()).and_then(|mut archive| check_profile(&mut archive, force));
            checked.map_or_else(|why| why.0, |there| there.to_string())
        };
        assert_eq!(check("{config: {security.nesting: 'true'}, devices: {a: {type: gpu}}}", false), "true");
        assert_eq!(
            check("{config: {limits.cpu: 1}}", false),
            r#"invalid lxd-profile.yaml: contains config value "limits.cpu""#
        );
        assert_eq!(
            check("{devices: {a: {type: disk}}}", false),
            r#"invalid lxd-profile.yaml: contains device type "disk""#
        );
        assert_eq!(check("{devices: {a: {type: disk}}}", true), "true");
    }

    #[test]
    fn bases() {
        let charm = Charm {
            bases: vec!["ubuntu@22.04/stable".to_owned(), "ubuntu@24.04/stable".to_owned()],
            ..Charm::default()
        };
        assert!(charm.check_base("ubuntu@24.04", false).is_ok());
        let why = charm.check_base("ubuntu@20.04", false).unwrap_err().0;
        assert_eq!(
            why,
            r#"base "ubuntu@20.04" is not supported by the charm, which has ubuntu@22.04, ubuntu@24.04; use --force to try it"#
        );
        assert!(charm.check_base("ubuntu@20.04", true).is_ok());
    }
}
