//! Removing units, applications and machines, and telling what goes with them: beforehand with `--dry-run`.

use clap::Args;
use serde_json::Value;

use super::Session;
use super::args::{Removal, confirm};
use super::client::say;
use super::show::{text, units};
use crate::api::Request;

/// What is removed, and how.
#[derive(Debug, Args)]
pub(super) struct Going {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    removal: Removal,
}

pub(super) fn of_units(session: &Session, names: Vec<String>, destroy: bool, going: &Going) -> anyhow::Result<()> {
    let model = Model::ask(session, destroy)?;
    let told = names.iter().map(|unit| model.unit(unit)).collect::<anyhow::Result<Vec<_>>>()?;
    if !going.dry_run {
        confirm(&going.removal, &format!("remove {}", names.join(" ")))?;
        session.ask(&Request::RemoveUnit { units: names, force: going.removal.force, destroy_storage: destroy })?;
    }
    told.iter().for_each(|lines| say(lines));
    Ok(())
}

pub(super) fn of_applications(
    session: &Session,
    names: Vec<String>,
    destroy: bool,
    going: &Going,
) -> anyhow::Result<()> {
    let model = Model::ask(session, destroy)?;
    if !going.dry_run {
        confirm(&going.removal, &format!("remove application {}", names.join(" ")))?;
    }
    for application in names {
        let told = model.application(&application)?;
        if !going.dry_run {
            let force = going.removal.force;
            session.ask(&Request::RemoveApplication { application, force, destroy_storage: destroy })?;
        }
        say(&told);
    }
    Ok(())
}

pub(super) fn of_machines(session: &Session, machines: Vec<String>, going: &Going) -> anyhow::Result<()> {
    let model = Model::ask(session, false)?;
    let told = machines.iter().map(|id| model.machine(id)).collect::<anyhow::Result<Vec<_>>>()?;
    if !going.dry_run {
        confirm(&going.removal, &format!("remove machine {}", machines.join(" ")))?;
        session.ask(&Request::RemoveMachine { machines, force: going.removal.force })?;
    }
    told.iter().for_each(|lines| say(lines));
    Ok(())
}

/// What the model has, before anything is removed.
struct Model {
    status: Value,
    storage: Value,
    destroy: bool,
}

impl Model {
    fn ask(session: &Session, destroy: bool) -> anyhow::Result<Self> {
        let (status, storage) = (session.ask(&Request::Status)?, session.ask(&Request::Storage)?);
        Ok(Self { status, storage, destroy })
    }

    fn unit(&self, name: &str) -> anyhow::Result<String> {
        if !units(&self.status).any(|(unit, _)| unit == name) {
            anyhow::bail!("unit {name:?} not found");
        }
        Ok(lines(format!("will remove unit {name}"), self.with(name)))
    }

    fn application(&self, name: &str) -> anyhow::Result<String> {
        if self.status["applications"].get(name).is_none() {
            anyhow::bail!("application {name:?} not found");
        }
        let of_it = |unit: &&String| unit.split_once('/').is_some_and(|(app, _)| app == name);
        let own: Vec<&String> = units(&self.status).map(|(unit, _)| unit).filter(of_it).collect();
        Ok(lines(format!("will remove application {name}"), self.all(&own)))
    }

    fn machine(&self, id: &str) -> anyhow::Result<String> {
        if self.status["machines"].get(id).is_none() {
            anyhow::bail!("machine {id} not found");
        }
        let on: Vec<&String> =
            units(&self.status).filter(|(_, unit)| text(unit, &["machine"]) == id).map(|(name, _)| name).collect();
        Ok(lines(format!("will remove machine {id}"), self.all(&on)))
    }

    /// Units, and what goes with them.
    fn all(&self, units: &[&String]) -> Vec<String> {
        let own = units.iter().map(|unit| format!("remove unit {unit}"));
        own.chain(units.iter().flat_map(|unit| self.with(unit))).collect()
    }

    /// A unit's storage.
    fn with(&self, unit: &str) -> Vec<String> {
        let what = if self.destroy { "remove" } else { "detach" };
        let all = self.storage["storage"].as_object().into_iter().flatten();
        let own = all.filter(|(_, body)| body["attachments"]["units"].get(unit).is_some());
        own.map(|(id, _)| format!("{what} storage {id}")).collect()
    }
}

fn lines(first: String, others: Vec<String>) -> String {
    others.into_iter().fold(first, |told, other| format!("{told}\n- will {other}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn model(destroy: bool) -> Model {
        let units = json!({"db/0": {"machine": "0", "subordinates": {"log/0": {}}}, "db/1": {"machine": "1"}});
        let status = json!({"machines": {"0": {}, "1": {}}, "applications": {"db": {"units": units}, "log": {}}});
        let on = |unit: &str| json!({"attachments": {"units": {unit: {"location": "/srv"}}}});
        let storage = json!({"storage": {"data/0": on("db/0"), "data/1": on("db/1"), "data/2": {}}});
        Model { status, storage, destroy }
    }

    fn check(told: anyhow::Result<String>, expected: Expect) {
        expected.assert_eq(&told.unwrap_or_else(|why| why.to_string()));
    }

    #[test]
    fn what_goes() {
        let kept = model(false);
        check(
            kept.unit("db/0"),
            expect![[r"
                will remove unit db/0
                - will detach storage data/0"]],
        );
        check(kept.unit("db/7"), expect![[r#"unit "db/7" not found"#]]);
        check(
            model(true).application("db"),
            expect![[r"
                will remove application db
                - will remove unit db/0
                - will remove unit db/1
                - will remove storage data/0
                - will remove storage data/1"]],
        );
        check(
            kept.application("log"),
            expect![[r"
                will remove application log
                - will remove unit log/0"]],
        );
        check(kept.application("web"), expect![[r#"application "web" not found"#]]);
        check(
            kept.machine("1"),
            expect![[r"
                will remove machine 1
                - will remove unit db/1
                - will detach storage data/1"]],
        );
        check(kept.machine("9"), expect!["machine 9 not found"]);
    }
}
