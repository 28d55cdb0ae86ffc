//! The network tools: a unit's addresses and its ports.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::relations::RELATION;
use crate::jujuc::flags::{Flags, ToolError, failure, usage};
use crate::jujuc::output::{FORMAT, OUTPUT, Outcome, nothing, say};
use crate::uniter::context::Context;

pub(super) fn get(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(
        args,
        &[RELATION, FORMAT, OUTPUT],
        &[&["bind-address"], &["ingress-address"], &["egress-subnets"], &["primary-address"]],
    )?;
    flags.at_most(1)?;
    let binding = flags.rest.first().ok_or_else(|| usage("no arguments specified"))?;
    let charm = &context.snapshot.applications[&context.unit.app].charm;
    let known = binding == "juju-info"
        || [&charm.peers, &charm.provides, &charm.requires].iter().any(|role| role.contains_key(binding))
        || charm.extra_bindings.contains(binding);
    if !known {
        return Err(failure(format!("no network config found for binding {binding:?}")));
    }
    let address = context.snapshot.address_for(&context.unit, binding);
    let cidr = address.rsplit_once('.').map(|(net, _)| format!("{net}.0/24")).unwrap_or_default();
    let mut chosen = Map::new();
    for (flag, value) in [
        ("bind-address", json!(address)),
        ("ingress-address", json!(address)),
        ("egress-subnets", json!([format!("{address}/32")])),
        ("primary-address", json!(address)),
    ] {
        if flags.switch(flag) {
            chosen.insert(flag.to_owned(), value);
        }
    }
    let value = match chosen.len() {
        0 => json!({
            "bind-addresses": [{"mac-address": "", "interface-name": "host0",
                "addresses": [{"hostname": "", "value": address, "cidr": cidr}]}],
            "egress-subnets": [format!("{address}/32")],
            "ingress-addresses": [address],
        }),
        1 => chosen.into_iter().next().map_or(Value::Null, |(_, value)| value),
        _ => Value::Object(chosen),
    };
    say(&value, &flags, "smart")
}

pub(super) fn unit_get(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[])?;
    match flags.rest.first().map(String::as_str) {
        Some("private-address" | "public-address") => {
            let address = context.snapshot.address_of(&context.unit);
            say(&json!(address), &flags, "smart")
        }
        Some(other) => Err(usage(format!("unknown setting {other:?}"))),
        None => Err(usage("no setting specified")),
    }
}

pub(super) fn change_port(context: &mut Context, tool: &str, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[&["endpoints"]], &[])?;
    let port = flags.rest.first().ok_or_else(|| usage("no port or range specified"))?;
    context.buffered.ports.insert(parse_port(port)?, tool == "open-port");
    nothing()
}

pub(super) fn opened_ports(context: &Context, args: &[String]) -> Outcome {
    let flags = Flags::parse(args, &[FORMAT, OUTPUT], &[&["endpoints"]])?;
    let mut ports: BTreeSet<String> = context.snapshot.units[&context.unit].ports.clone();
    for (port, open) in &context.buffered.ports {
        if *open {
            ports.insert(port.clone());
        } else {
            ports.remove(port);
        }
    }
    say(&json!(ports), &flags, "smart")
}

fn parse_port(text: &str) -> Result<String, ToolError> {
    let wrong = || usage(format!("expected <port>[/<protocol>] or <from>-<to>[/<protocol>] or icmp; got {text:?}"));
    if text == "icmp" {
        return Ok(text.to_owned());
    }
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let ports: Vec<u32> = range.split('-').map(|p| p.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    let ordered = matches!(ports.as_slice(), [p] if (1..=65535).contains(p))
        || matches!(ports.as_slice(), [a, b] if *a >= 1 && a <= b && *b <= 65535);
    if ordered && ["tcp", "udp"].contains(&protocol) { Ok(format!("{range}/{protocol}")) } else { Err(wrong()) }
}
