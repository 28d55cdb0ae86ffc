//! The network tools: a unit's addresses in the space that an endpoint is bound to.

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::Run;
use crate::jujuc::flags::{FORMAT, Flag, OUTPUT, RELATION, Spec, Takes, failure, usage};
use crate::jujuc::output::Outcome;

pub(super) const GET: Spec = Spec {
    name: "network-get",
    args: "<binding-name> [--ingress-address] [--bind-address] [--egress-subnets]",
    summary: "Get network config.",
    flags: &[
        FORMAT,
        OUTPUT,
        RELATION,
        Flag {
            names: &["bind-address"],
            takes: Takes::Nothing,
            usage: "get the address for the binding on which the unit should listen",
        },
        Flag { names: &["ingress-address"], takes: Takes::Nothing, usage: "get the ingress address for the binding" },
        Flag { names: &["egress-subnets"], takes: Takes::Nothing, usage: "get the egress subnets for the binding" },
        Flag {
            names: &["primary-address"],
            takes: Takes::Nothing,
            usage: "(deprecated) get the primary address for the binding",
        },
    ],
    details: "The binding is an endpoint or an extra binding of the charm. Without a flag everything is printed; with one,\n\
        its bare value; with several, a map of them.",
};
pub(super) const UNIT_GET: Spec = Spec {
    name: "unit-get",
    args: "<setting>",
    summary: "Print public-address or private-address.",
    flags: &[FORMAT, OUTPUT],
    details: "Deprecated: see network-get.",
};

/// Its first interface as the machine has it now: the name, and the hardware's address.
fn interface(run: &Run<'_>) -> (String, String) {
    let unknown = || ("host0".to_owned(), String::new());
    let machine = run.context.snapshot.units.get(&run.context.unit).map(|unit| unit.machine);
    let Some(net) = machine.and_then(|id| run.controller.machines.view(id)).map(|view| view.join("sys/class/net"))
    else {
        return unknown();
    };
    let mut names: Vec<PathBuf> = fs::read_dir(net).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    names.sort();
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str().filter(|name| *name != "lo")?.to_owned();
        Some((name, fs::read_to_string(path.join("address")).ok()?.trim().to_owned()))
    };
    names.into_iter().find_map(read).unwrap_or_else(unknown)
}

pub(super) fn get(run: &mut Run<'_>) -> Outcome {
    let binding = run.flags.rest.first().cloned().ok_or_else(|| usage("no arguments specified"))?;
    if binding.is_empty() {
        return Err(usage("no binding name specified"));
    }
    run.flags.at_most(1)?;
    run.named_relation()?;
    let charm = &run.context.snapshot.applications[&run.context.unit.app].charm;
    let known = binding == "juju-info"
        || [&charm.peers, &charm.provides, &charm.requires].iter().any(|role| role.contains_key(&binding))
        || charm.extra_bindings.contains(&binding);
    let address = run.context.snapshot.address_for(&run.context.unit, &binding);
    if !known || address.is_empty() {
        return Err(failure(format!("no network config found for binding {binding:?}")));
    }
    let egress = json!([format!("{address}/32")]);
    let mut chosen = Map::new();
    for (flag, value) in [
        ("bind-address", json!(address)),
        ("ingress-address", json!(address)),
        ("egress-subnets", egress.clone()),
        ("primary-address", json!(address)),
    ] {
        if run.flags.switch(flag) {
            chosen.insert(flag.to_owned(), value);
        }
    }
    match chosen.len() {
        0 => {}
        1 => return run.say(&chosen.into_iter().next().map_or(Value::Null, |(_, value)| value)),
        _ => return run.say(&Value::Object(chosen)),
    }
    let (name, hardware) = interface(run);
    let cidr = address.rsplit_once('.').map(|(net, _)| format!("{net}.0/24")).unwrap_or_default();
    if run.format() == "json" {
        return run.say(&json!({
            "bind-addresses": [{"mac-address": hardware, "interface-name": name,
                "addresses": [{"hostname": "", "value": address, "cidr": cidr}]}],
            "egress-subnets": egress,
            "ingress-addresses": [address],
        }));
    }
    // In YAML the keys keep the order of Go's struct, and older spellings stand beside the newer ones.
    let hardware = if hardware.is_empty() { "\"\"".to_owned() } else { format!("{hardware:?}") };
    run.say_text(format!(
        "bind-addresses:\n- mac-address: {hardware}\n  interface-name: {name}\n  addresses:\n  - hostname: \"\"\n    \
         value: {address}\n    cidr: {cidr}\n    address: {address}\n  macaddress: {hardware}\n  interfacename: {name}\n\
         egress-subnets:\n- {address}/32\ningress-addresses:\n- {address}\n"
    ))
}

pub(super) fn unit_get(run: &mut Run<'_>) -> Outcome {
    let setting = run.flags.rest.first().cloned().ok_or_else(|| usage("no setting specified"))?;
    if !["private-address", "public-address"].contains(&setting.as_str()) {
        return Err(usage(format!("unknown setting {setting:?}")));
    }
    run.flags.at_most(1)?;
    let address = run.context.snapshot.address_of(&run.context.unit);
    if address.is_empty() {
        return Err(failure(format!("no {} address available", setting.replace("-address", ""))));
    }
    run.say(&json!(address))
}
