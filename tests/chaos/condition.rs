//! Whether something is so now, and what was seen instead.

use std::time::Duration;

use mysql::prelude::Queryable as _;

use super::client::log_in_within;
use super::ledger::{ANSWER, was_not_done};
use super::play::Scene;
use super::script::Condition;

impl Scene<'_> {
    /// An error says what was seen.
    pub(crate) fn holds(&mut self, condition: &Condition) -> Result<(), String> {
        match condition {
            Condition::Healthy(app) => {
                let unit_count = self.m.app(app).units.len();
                if unit_count == 0 {
                    return Err(format!("{app} has no units"));
                }
                let uuid = self.m.sees_one_cluster(app, unit_count)?;
                self.healthy(app, uuid);
                Ok(())
            }
            Condition::Says { unit, text } => {
                let (unit, text) = (self.filled(unit), self.filled(text));
                let units = self.m.app(unit.split('/').next().unwrap_or_default()).units;
                let said = units.into_iter().find(|u| u.name == unit).map(|u| u.message).unwrap_or_default();
                so(said.contains(&text), || format!("{unit} says {said:?}"))
            }
            Condition::AppSays { app, text } => {
                let (now, text) = (self.m.app(app), self.filled(text));
                so(now.message.contains(&text), || now.described())
            }
            Condition::Sees { unit, size } => {
                let unit = self.filled(unit);
                let (status, seen) =
                    (self.galera(&unit, "wsrep_cluster_status")?, self.galera(&unit, "wsrep_cluster_size")?);
                so(status == "Primary" && seen == size.to_string(), || format!("{unit} sees {seen}, {status}"))
            }
            Condition::State { unit, state } => {
                let unit = self.filled(unit);
                let seen = self.galera(&unit, "wsrep_local_state_comment")?;
                so(seen == *state, || format!("{unit} is {seen}"))
            }
            Condition::Refuses(unit) => match self.write_once(unit) {
                Ok(()) => Err(format!("{unit} takes writes")),
                // Where no server listens yet, nothing is taken either.
                Err(why) => {
                    let text = why.to_string();
                    so(was_not_done(&why) || text.contains("Connection refused"), || text)
                }
            },
            Condition::Serves(unit) => self.write_once(unit).map_err(|why| why.to_string()),
            Condition::Log { app, text } => {
                let text = self.filled(text);
                let log = self.m.attempt(&["debug-log", "--replay", "--level", "DEBUG"]).out;
                let tag = format!("unit-{app}-");
                let said = log.lines().skip(self.log_before).any(|line| line.starts_with(&tag) && line.contains(&text));
                so(said, || format!("no unit of {app} has logged {text:?}"))
            }
            Condition::Journal { unit, service, text } => {
                let (unit, text) = (self.filled(unit), self.filled(text));
                let read = format!("journalctl --unit {service} --since @{} --no-pager --output cat", self.began);
                let journal = self.m.attempt(&["ssh", &unit, &read]);
                so(journal.out.contains(&text), || format!("{unit} has not written {text:?} {}", journal.err.trim()))
            }
            Condition::Gone(who) => {
                let who = self.filled(who);
                let app = who.split('/').next().unwrap_or_default();
                let units = self.m.app(app).units;
                let there = if who.contains('/') { units.iter().any(|u| u.name == who) } else { !units.is_empty() };
                if !there && !who.contains('/') {
                    self.forget(app);
                }
                so(!there, || format!("{who} is still there"))
            }
            Condition::Units { app, count } => {
                let units = self.m.app(app).units.len();
                so(units == *count, || format!("{app} has {units} units"))
            }
            Condition::Runs { app, text } => {
                for unit in self.m.app(app).units {
                    let (address, password) = self.door(&unit.name)?;
                    let mut conn = log_in_within(address, &password, ANSWER).map_err(|why| why.to_string())?;
                    let options: Option<String> =
                        conn.query_first("SELECT @@GLOBAL.wsrep_provider_options").map_err(|why| why.to_string())?;
                    so(options.is_some_and(|said| said.contains(text)), || format!("{} does not yet", unit.name))?;
                }
                Ok(())
            }
            Condition::Apart(a, b) => {
                let uuid = |app: &String| self.clusters.get(app).map(|c| c.uuid.clone()).unwrap_or_default();
                so(uuid(a) != uuid(b), || format!("{a} and {b} are one cluster"))?;
                for (app, other) in [(a, b), (b, a)] {
                    for unit in self.clusters[app].addresses.keys() {
                        let (address, password) = self.door(unit)?;
                        let mut conn = log_in_within(address, &password, Duration::from_secs(10))
                            .map_err(|why| why.to_string())?;
                        let foreign: Option<u64> = conn
                            .query_first(format!("SELECT COUNT(*) FROM chaos.written WHERE writer LIKE '%:{other}/%'"))
                            .map_err(|why| why.to_string())?;
                        so(foreign == Some(0), || format!("{unit} has {foreign:?} rows of {other}"))?;
                        let members: Option<(String, String)> = conn
                            .query_first("SHOW GLOBAL STATUS LIKE 'wsrep_incoming_addresses'")
                            .map_err(|why| why.to_string())?;
                        let members = members.map(|(_, list)| list).unwrap_or_default();
                        let mixed =
                            self.clusters[other].addresses.values().any(|ip| members.contains(&format!("{ip}:")));
                        so(!mixed, || format!("{unit} has {members} as members"))?;
                    }
                }
                Ok(())
            }
        }
    }

    /// A write that nobody counts: its writer has a name of its own.
    fn write_once(&self, unit: &str) -> Result<(), mysql::Error> {
        let unit = self.filled(unit);
        let (address, password) = self.door(&unit).map_err(|why| mysql::Error::from(std::io::Error::other(why)))?;
        let mut conn = log_in_within(address, &password, ANSWER)?;
        conn.query_drop("INSERT INTO chaos.written (writer, number) VALUES ('probe', 0)")
    }
}

fn so(so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if so { Ok(()) } else { Err(otherwise()) }
}
