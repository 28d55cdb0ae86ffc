//! The environment of a hook: exactly what Juju gives, and nothing inherited.

use std::collections::BTreeMap;

use crate::model::State;

use super::context::{Context, Kind};

/// Where hook tools connect, as seen from inside the machine.
pub(super) fn socket_in_machine(tag: &str) -> String {
    format!("/var/lib/juju/run/{tag}.socket")
}

/// All variables of one run.
pub(super) fn environment(context: &Context) -> BTreeMap<String, String> {
    let state = &context.snapshot;
    let unit = &context.unit;
    let tag = unit.tag();
    let charm_dir = format!("/var/lib/juju/agents/{tag}/charm");
    let mut env = BTreeMap::new();
    let mut set = |key: &str, value: &str| {
        env.insert(key.to_owned(), value.to_owned());
    };
    set("JUJU_CHARM_DIR", &charm_dir);
    set("CHARM_DIR", &charm_dir);
    set("JUJU_CONTEXT_ID", &context.id);
    set("JUJU_AGENT_SOCKET_ADDRESS", &socket_in_machine(&tag));
    set("JUJU_AGENT_SOCKET_NETWORK", "unix");
    set("JUJU_UNIT_NAME", &unit.to_string());
    set("JUJU_MODEL_UUID", &state.uuid);
    set("JUJU_MODEL_NAME", &state.name);
    set("JUJU_API_ADDRESSES", "127.0.0.1:17070");
    if state.major() < 4 {
        set("JUJU_SLA", "unsupported");
    }
    set("JUJU_MACHINE_ID", &state.units.get(unit).map(|u| u.machine.to_string()).unwrap_or_default());
    let principal = state.units.get(unit).and_then(|u| u.principal.as_ref());
    set("JUJU_PRINCIPAL_UNIT", &principal.map(ToString::to_string).unwrap_or_default());
    set("JUJU_AVAILABILITY_ZONE", "");
    set("JUJU_VERSION", &state.setting("agent-version"));
    set("CLOUD_API_VERSION", "");
    for proxy in ["http", "https", "ftp", "no"] {
        set(&format!("JUJU_CHARM_{}_PROXY", proxy.to_uppercase()), &state.setting(&format!("juju-{proxy}-proxy")));
        // The older kind of settings, which the charm's own programs follow without asking it.
        let legacy = state.setting(&format!("{proxy}-proxy"));
        if !legacy.is_empty() {
            set(&format!("{proxy}_proxy"), &legacy);
            set(&format!("{}_PROXY", proxy.to_uppercase()), &legacy);
        }
    }
    // Juju 4 sets these when it traces, and only then.
    if state.major() >= 4 && state.setting("trace") == "true" {
        set("JUJU_TRACE_ID", &crate::model::random_hex(32));
        set("JUJU_SPAN_ID", &crate::model::random_hex(16));
        set("JUJU_TRACE_FLAGS", "1");
    }
    set("LANG", "C.UTF-8");
    set("TERM", "tmux-256color");
    set("DEBIAN_FRONTEND", "noninteractive");
    set("APT_LISTCHANGES_FRONTEND", "none");
    set("PATH", &format!("/var/lib/juju/tools/{tag}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    set("JUJU_HOOK_NAME", "");
    match &context.kind {
        Kind::Hook(hook) => {
            set("JUJU_HOOK_NAME", &hook.name);
            set("JUJU_DISPATCH_PATH", &format!("hooks/{}", hook.name));
            if let Some(relation) = hook.relation {
                let endpoint = endpoint(state, relation, &unit.app);
                set("JUJU_RELATION", &endpoint);
                set("JUJU_RELATION_ID", &format!("{endpoint}:{relation}"));
                set("JUJU_REMOTE_APP", hook.remote_app.as_deref().unwrap_or_default());
                set("JUJU_REMOTE_UNIT", &hook.remote_unit.as_ref().map(ToString::to_string).unwrap_or_default());
            }
            if let Some(departing) = &hook.departing_unit {
                set("JUJU_DEPARTING_UNIT", &departing.to_string());
            }
            if let Some(id) = &hook.storage {
                set("JUJU_STORAGE_ID", id);
                if let Some(storage) = state.storage.get(id) {
                    set("JUJU_STORAGE_LOCATION", &storage.location);
                    set("JUJU_STORAGE_KIND", &storage.kind);
                }
            }
            if let Some(id) = &hook.secret {
                set("JUJU_SECRET_ID", &format!("secret:{id}"));
                let label = state.secrets.get(id).map(|secret| secret.label_for(unit));
                set("JUJU_SECRET_LABEL", label.unwrap_or_default());
                if let Some(revision) = hook.secret_revision {
                    set("JUJU_SECRET_REVISION", &revision.to_string());
                }
            }
        }
        Kind::Action { task, name, .. } => {
            set("JUJU_DISPATCH_PATH", &format!("actions/{name}"));
            set("JUJU_ACTION_NAME", name);
            set("JUJU_ACTION_UUID", &task.to_string());
            set("JUJU_ACTION_TAG", &format!("action-{task}"));
        }
        Kind::Commands => {}
    }
    env
}

fn endpoint(state: &State, relation: u32, app: &str) -> String {
    state.relations.get(&relation).and_then(|r| r.endpoint_of(app)).map(|e| e.name.clone()).unwrap_or_default()
}
