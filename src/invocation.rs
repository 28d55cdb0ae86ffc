//! Who called us, and for what: the only reader of the environment that Juju gives.
//! `JUJU_DISPATCH_PATH` is believed first and the program's own name second, so that an archive of links and one with
//! a single `dispatch` behave the same.

use crate::cluster::Unit;
use crate::host;

/// Why this process was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// One pass: observe, decide, act, publish.
    Hook(HookName),
    /// An operator's request.
    Action(String),
    /// A command line of our own: agent, probe, notification, start arguments.
    Command,
}

/// A hook, as far as the charm tells them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookName {
    /// The charm's code was replaced.
    UpgradeCharm,
    /// This unit goes away, by whichever sign came first.
    Leaving,
    /// The last hook: what is left on the machine goes, but for the data.
    Remove,
    /// A volume that the server needs is (again) there.
    VolumeAttached,
    /// A revision of one of our secrets that nobody uses any more.
    SecretRemove {
        /// The secret's address.
        secret: String,
        /// The revision.
        revision: u64,
    },
    /// Anything else that asks for a look around.
    Ordinary(String),
    /// A name that this charm does not know: newer Juju, or a mistake. Nothing is done, and that is success.
    Unknown(String),
}

const ORDINARY: [&str; 7] = [
    "install",
    "leader-elected",
    "config-changed",
    "start",
    "update-status",
    "secret-changed",
    // Our own: the node agent has seen something that Juju does not show yet.
    "agent-event",
];

/// The peer endpoint's name in metadata.yaml.
pub const PEER_ENDPOINT: &str = "database-peers";

/// The binding whose network clients come in by.
pub const CLIENT_BINDING: &str = "database";

/// Reads the environment and the program's own name.
pub fn read(program: &str) -> Invocation {
    let dispatch = host::env("JUJU_DISPATCH_PATH").filter(|path| !path.is_empty());
    classify(dispatch.as_deref(), program, host::env("JUJU_UNIT_NAME"), host::env("JUJU_DEPARTING_UNIT"))
}

fn classify(dispatch: Option<&str>, program: &str, me: Option<String>, departing: Option<String>) -> Invocation {
    let path = dispatch.unwrap_or(program);
    let mut parts = path.rsplit('/');
    let (name, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match kind {
        "actions" => Invocation::Action(name.to_owned()),
        "hooks" => Invocation::Hook(hook(name, me, departing)),
        _ => Invocation::Command,
    }
}

/// What a hook's name, and who departs in it, means to this charm.
pub fn hook(name: &str, me: Option<String>, departing: Option<String>) -> HookName {
    match name {
        "upgrade-charm" => return HookName::UpgradeCharm,
        // The server cannot run without any of these three: the first one that goes ends it.
        "stop" | "data-storage-detaching" | "logs-storage-detaching" | "temp-storage-detaching" => {
            return HookName::Leaving;
        }
        "data-storage-attached" | "logs-storage-attached" | "temp-storage-attached" => return HookName::VolumeAttached,
        "remove" => return HookName::Remove,
        "secret-remove" => {
            return HookName::SecretRemove {
                secret: host::env("JUJU_SECRET_ID").unwrap_or_default(),
                revision: host::env("JUJU_SECRET_REVISION").and_then(|text| text.parse().ok()).unwrap_or(0),
            };
        }
        _ => {}
    }
    if let Some(event) = name.strip_prefix(PEER_ENDPOINT).and_then(|rest| rest.strip_prefix("-relation-")) {
        return match event {
            // Juju says "a peer departs" and "you depart" with the same hook; only this variable tells them apart.
            "departed" if departing.is_some() && departing == me => HookName::Leaving,
            "created" | "joined" | "changed" | "departed" => HookName::Ordinary(name.to_owned()),
            _ => HookName::Unknown(name.to_owned()),
        };
    }
    let backups = name.starts_with("archive-storage-") || name.starts_with("s3-parameters-relation-");
    if backups || ORDINARY.contains(&name) {
        return HookName::Ordinary(name.to_owned());
    }
    HookName::Unknown(name.to_owned())
}

/// The model's UUID, as Juju tells every hook and action; empty where it does not.
pub fn model_uuid() -> String {
    host::env("JUJU_MODEL_UUID").unwrap_or_default()
}

/// Which action this is, for whoever reads later who asked.
pub fn action() -> String {
    let word = |name: &str| host::env(name).filter(|value| !value.is_empty());
    let id = word("JUJU_ACTION_UUID").unwrap_or_else(|| "unknown".to_owned());
    format!("action {} {id}", word("JUJU_ACTION_NAME").unwrap_or_default())
}

/// The charm's directory, from `JUJU_CHARM_DIR`.
pub fn charm_dir() -> String {
    host::env("JUJU_CHARM_DIR").unwrap_or_default()
}

/// This unit's name, from `JUJU_UNIT_NAME`.
///
/// # Errors
/// When Juju did not call us, or gave a name that is none.
pub fn unit_name() -> anyhow::Result<Unit> {
    let name = host::env("JUJU_UNIT_NAME").ok_or_else(|| {
        anyhow::anyhow!("cannot tell the unit's name: JUJU_UNIT_NAME is not set, was this started by Juju?")
    })?;
    name.parse().map_err(|why: String| anyhow::anyhow!(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dispatch: Option<&str>, program: &str, departing: &str, expected: &str) {
        let departing = (!departing.is_empty()).then(|| departing.to_owned());
        let said = match classify(dispatch, program, Some("db/0".to_owned()), departing) {
            Invocation::Hook(hook) => format!("{hook:?}"),
            Invocation::Action(name) => format!("action {name}"),
            Invocation::Command => "command".to_owned(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn the_dispatch_path_outranks_the_programs_name() {
        check(Some("hooks/start"), "/c/dispatch", "", "Ordinary(\"start\")");
        check(Some("hooks/agent-event"), "/c/hooks/update-status", "", "Ordinary(\"agent-event\")");
        check(Some("actions/get-password"), "/c/dispatch", "", "action get-password");
        check(None, "/c/hooks/install", "", "Ordinary(\"install\")");
        check(None, "/usr/local/bin/mariadb-galera", "", "command");
    }

    #[test]
    fn my_leaving_and_a_peers_are_told_apart() {
        check(Some("hooks/database-peers-relation-departed"), "", "db/0", "Leaving");
        check(
            Some("hooks/database-peers-relation-departed"),
            "",
            "db/1",
            "Ordinary(\"database-peers-relation-departed\")",
        );
        check(Some("hooks/data-storage-detaching"), "", "", "Leaving");
        check(Some("hooks/temp-storage-detaching"), "", "", "Leaving");
        check(Some("hooks/archive-storage-detaching"), "", "", "Ordinary(\"archive-storage-detaching\")");
    }

    #[test]
    fn unknown_hooks_are_not_errors() {
        check(Some("hooks/leader-settings-changed"), "", "", "Unknown(\"leader-settings-changed\")");
        check(Some("hooks/database-peers-relation-broken"), "", "", "Unknown(\"database-peers-relation-broken\")");
    }
}
