//! What each hook tool does: a module for each family of tools, and here the table of them all. Reads come from the
//! hook's own view of the model; writes are buffered, but for statuses, versions and logs, which Juju applies at once.

mod actions;
mod config;
mod goal_state;
mod key_values;
mod leadership;
mod legacy;
mod log;
mod network;
mod ports;
mod relations;
mod resources;
mod secret_grants;
mod secret_reads;
mod secret_writes;
mod status;
mod storage;
mod unit_state;

use super::flags::{Flags, Spec, failure};
use super::output::{Outcome, Said};
use super::{Call, tools_of};
use crate::controller::Controller;
use crate::uniter::context::Context;

/// One call of a tool.
pub(super) struct Run<'a> {
    pub(super) controller: &'a Controller,
    pub(super) context: &'a mut Context,
    pub(super) call: &'a Call,
    pub(super) spec: &'static Spec,
    pub(super) flags: Flags,
}

/// A tool: how it is called, and what it does.
type Tool = (&'static Spec, fn(&mut Run<'_>) -> Outcome);

const TABLE: &[Tool] = &[
    (&actions::FAIL, actions::fail),
    (&actions::GET, actions::get),
    (&actions::LOG, actions::log),
    (&actions::SET, actions::set),
    (&config::GET, config::get),
    (&goal_state::GET, goal_state::get),
    (&leadership::ASK, leadership::ask),
    (&leadership::GET, leadership::get),
    (&leadership::SET, leadership::set),
    (&legacy::CREDENTIAL, legacy::credential),
    (&legacy::METRIC, legacy::metric),
    (&log::LOG, log::log),
    (&log::REBOOT, log::reboot),
    (&network::GET, network::get),
    (&network::UNIT_GET, network::unit_get),
    (&ports::OPEN, ports::open),
    (&ports::CLOSE, ports::close),
    (&ports::OPENED, ports::opened),
    (&relations::GET, relations::get),
    (&relations::IDS, relations::ids),
    (&relations::LIST, relations::list),
    (&relations::MODEL, relations::model),
    (&relations::SET, relations::set),
    (&resources::GET, resources::get),
    (&secret_grants::GRANT, secret_grants::grant),
    (&secret_grants::REVOKE, secret_grants::revoke),
    (&secret_reads::GET, secret_reads::get),
    (&secret_reads::IDS, secret_reads::ids),
    (&secret_reads::INFO, secret_reads::info),
    (&secret_writes::ADD, secret_writes::add),
    (&secret_writes::REMOVE, secret_writes::remove),
    (&secret_writes::SET, secret_writes::set),
    (&status::GET, status::get),
    (&status::SET, status::set),
    (&status::VERSION, status::set_version),
    (&storage::ADD, storage::add),
    (&storage::GET, storage::get),
    (&storage::LIST, storage::list),
    (&unit_state::DELETE, unit_state::delete),
    (&unit_state::GET, unit_state::get),
    (&unit_state::SET, unit_state::set),
];

/// Runs one tool.
pub(super) fn call(controller: &Controller, context: &mut Context, call: &Call) -> Outcome {
    if !tools_of(context.snapshot.major()).contains(&call.tool.as_str()) {
        return Err(failure(format!("bad request: unknown command: {:?}", call.tool)));
    }
    let Some((spec, run)) = TABLE.iter().find(|(spec, _)| spec.name == call.tool) else {
        return Err(legacy::refused(&call.tool));
    };
    let flags = Flags::parse(spec, &call.args)?;
    if flags.help {
        return Ok(Said::Text(spec.help()));
    }
    run(&mut Run { controller, context, call, spec, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_known() {
        for major in [2, 3, 4] {
            for tool in tools_of(major) {
                let legacy = super::super::LEGACY_TOOLS.contains(&tool);
                assert!(legacy || TABLE.iter().any(|(spec, _)| spec.name == tool), "{tool}");
            }
        }
        for (spec, _) in TABLE {
            assert!([2, 3, 4].into_iter().any(|major| tools_of(major).contains(&spec.name)), "{}", spec.name);
        }
    }
}
