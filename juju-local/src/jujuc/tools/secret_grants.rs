//! Who else may read a secret.

use super::Run;
use crate::jujuc::flags::{Flag, RELATION, Spec, Takes, ToolError, usage};
use crate::jujuc::output::{Outcome, nothing};
use crate::model::{Grantee, UnitName};
use crate::uniter::context::SecretChange;

pub(super) const GRANT: Spec = Spec {
    name: "secret-grant",
    args: "<ID>",
    summary: "Grant access to a secret.",
    flags: &[RELATION, Flag { names: &["unit"], takes: Takes::Text(""), usage: "the unit to grant access" }],
    details: "Lets the application on the other side of a relation read it, or one of its units. That ends with the relation.",
};
pub(super) const REVOKE: Spec = Spec {
    name: "secret-revoke",
    args: "<ID>",
    summary: "Revoke access to a secret.",
    flags: &[
        RELATION,
        Flag { names: &["app", "application"], takes: Takes::Text(""), usage: "the application to revoke access" },
        Flag { names: &["unit"], takes: Takes::Text(""), usage: "the unit to revoke access" },
    ],
    details: "Takes it back from an application with all its units, or from one unit.",
};

fn unit(run: &Run<'_>) -> Result<Option<UnitName>, ToolError> {
    let text = run.flags.text("unit");
    text.map(|text| UnitName::try_from(text.to_owned()).map_err(|_| usage(format!("unit {text:?} not valid"))))
        .transpose()
}

pub(super) fn grant(run: &mut Run<'_>) -> Outcome {
    let id = run.secret_uri()?;
    let relation = run.relation()?;
    let application = run.context.snapshot.relations[&relation].remote_app(&run.context.unit.app);
    let to = match unit(run)? {
        None => Grantee::Application(application),
        Some(unit) if unit.app == application => Grantee::Unit(unit),
        Some(unit) => {
            let unit = unit.to_string();
            return Err(usage(format!("cannot specify unit {unit:?} in relation to application {application:?}")));
        }
    };
    run.flags.at_most(1)?;
    run.managed(&id)?;
    run.context.buffered.secrets.push(SecretChange::Grant { id, to, relation: Some(relation) });
    nothing()
}

pub(super) fn revoke(run: &mut Run<'_>) -> Outcome {
    let id = run.secret_uri()?;
    let (app, unit) = (run.flags.text("app").map(ToOwned::to_owned), unit(run)?);
    if app.is_some() && unit.is_some() {
        return Err(usage("specify only one of application or unit"));
    }
    let hook = run.context.kind.hook().and_then(|hook| hook.relation);
    let relation = run.named_relation()?.or(hook);
    if relation.is_some() && app.is_some() {
        return Err(usage("do not specify both relation and app"));
    }
    let remote = relation.map(|id| run.context.snapshot.relations[&id].remote_app(&run.context.unit.app));
    let to = match (unit, app.or(remote)) {
        (Some(unit), _) => Grantee::Unit(unit),
        (None, Some(app)) => Grantee::Application(app),
        (None, None) => return Err(usage("missing relation or application or unit")),
    };
    run.flags.at_most(1)?;
    run.managed(&id)?;
    run.context.buffered.secrets.push(SecretChange::Grant { id, to, relation: None });
    nothing()
}
