//! The application's databag: what the leader has permitted, and what is remembered of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::format::{self, Format};
use super::plan::PlanText;
use super::turn::TurnText;
use super::{Bag, is_zero, json, parse};
use crate::cluster::{
    AppBag, Cause, Credentials, Ended, Epoch, Formation, History, Plan, Position, Recovery, Replaced, Restart, Restore,
    Source, Turn, Unit,
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FormationText {
    epoch: u32,
    name: String,
    members: BTreeMap<String, IpAddr>,
    founder: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    former: BTreeSet<IpAddr>,
    #[serde(default, skip_serializing_if = "is_default")]
    lower_case_table_names: u8,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct HistoryText {
    uuid: String,
    epoch: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    branch: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kept: Vec<String>,
    /// By branch: which one it began behind, and at which sequence number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    begins: BTreeMap<u32, (u32, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    restores: BTreeSet<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<ReplacedText>,
    #[serde(default, skip_serializing_if = "is_zero")]
    confirmed: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ReplacedText {
    branch: u32,
    unit: String,
    position: String,
    since: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RestoreText {
    epoch: u32,
    #[serde(flatten)]
    to: SourceText,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

/// Either a backup or what was before a restore.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SourceText {
    Backup(String),
    Before(u32),
}

impl From<&Source> for SourceText {
    fn from(source: &Source) -> Self {
        match source {
            Source::Backup(id) => Self::Backup(id.clone()),
            Source::Before(branch) => Self::Before(branch.0),
        }
    }
}

impl From<SourceText> for Source {
    fn from(text: SourceText) -> Self {
        match text {
            SourceText::Backup(id) => Self::Backup(id),
            SourceText::Before(branch) => Self::Before(Epoch(branch)),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RecoveryText {
    epoch: u32,
    members: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chosen: Option<ChosenText>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forced: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    restores: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    from: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<ChosenText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RestartText {
    epoch: u32,
    unit: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ChosenText {
    unit: String,
    position: String,
}

/// Where the shared passwords are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CredentialsText {
    /// The secret that holds them; absent where Juju has no secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<String>,
    /// The values themselves, only where Juju has no secrets (2.9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<BTreeMap<String, String>>,
    /// Rises with every change of a password.
    pub generation: u32,
    /// Up to this generation, older passwords are no longer accepted.
    pub settled: u32,
}

/// What the leader has written, but for the credentials' values: those are read elsewhere and enter as `credentials`.
///
/// # Errors
/// Names the key that cannot be read. A bag that cannot be read must stop the hook: deciding without it could permit a
/// second formation.
pub fn read_app(bag: &Bag, credentials: Credentials) -> Result<AppBag, String> {
    if let Some(format) = bag.get(format::FORMAT) {
        format::check(format)?;
    }
    let formation: Option<FormationText> = bag.get("formation").map(|text| parse("formation", text)).transpose()?;
    let history: Option<HistoryText> = bag.get("history").map(|text| parse("history", text)).transpose()?;
    let restarted: Option<RestartText> = bag.get("restarted").map(|text| parse("restarted", text)).transpose()?;
    let last_epoch: Option<u32> = bag.get("last-epoch").map(|text| parse("last-epoch", text)).transpose()?;
    let restore: Option<RestoreText> = bag.get("restore").map(|text| parse("restore", text)).transpose()?;
    let ended: Option<RestoreText> = bag.get("restored").map(|text| parse("restored", text)).transpose()?;
    let recovery: Option<RecoveryText> = bag.get("recovery").map(|text| parse("recovery", text)).transpose()?;
    Ok(AppBag {
        formation: formation
            .map(|f| -> Result<Formation, String> {
                Ok(Formation {
                    epoch: Epoch(f.epoch),
                    name: f.name,
                    members: f
                        .members
                        .into_iter()
                        .map(|(unit, address)| Ok::<_, String>((unit.parse()?, address)))
                        .collect::<Result<_, _>>()?,
                    founder: f.founder.parse()?,
                    former: f.former,
                    lower_case_table_names: f.lower_case_table_names,
                })
            })
            .transpose()?,
        credentials,
        history: history
            .map(|h| -> Result<History, String> {
                Ok(History {
                    uuid: h.uuid.parse()?,
                    epoch: Epoch(h.epoch),
                    branch: Epoch(h.branch),
                    kept: h.kept.iter().map(|unit| unit.parse()).collect::<Result<_, _>>()?,
                    begins: h.begins.into_iter().map(|(on, (from, at))| (Epoch(on), (Epoch(from), at))).collect(),
                    former: h.former.iter().map(|uuid| uuid.parse()).collect::<Result<_, _>>()?,
                    restores: h.restores.into_iter().map(Epoch).collect(),
                    replaced: h
                        .replaced
                        .map(|r| {
                            let (unit, position) = (r.unit.parse()?, r.position.parse()?);
                            Ok::<_, String>(Replaced { branch: Epoch(r.branch), unit, position, since_s: r.since })
                        })
                        .transpose()?,
                    confirmed: Epoch(h.confirmed),
                })
            })
            .transpose()?,
        restarted: restarted
            .map(|r| Ok::<_, String>(Restart { epoch: Epoch(r.epoch), unit: r.unit.parse()? }))
            .transpose()?,
        last_epoch: Epoch(last_epoch.unwrap_or(0)),
        recovery: recovery
            .map(|r| -> Result<Recovery, String> {
                Ok(Recovery {
                    epoch: Epoch(r.epoch),
                    members: r.members.iter().map(|unit| unit.parse()).collect::<Result<_, _>>()?,
                    chosen: r.chosen.map(|c| Ok::<_, String>((c.unit.parse()?, c.position.parse()?))).transpose()?,
                    cause: match (r.forced, r.restores) {
                        (_, true) => Cause::Restore,
                        (true, false) => Cause::Force,
                        (false, false) => Cause::Outage,
                    },
                    from: Epoch(r.from),
                    before: r.before.map(|b| Ok::<_, String>((b.unit.parse()?, b.position.parse()?))).transpose()?,
                })
            })
            .transpose()?,
        restore: restore
            .map(|r| Ok::<_, String>(Restore { epoch: Epoch(r.epoch), to: r.to.into(), unit: r.unit.parse()? }))
            .transpose()?,
        ended: ended.map(|r| Ended {
            epoch: Epoch(r.epoch),
            to: r.to.into(),
            problem: r.problem,
            at_s: r.at.unwrap_or(0),
        }),
        turn: bag.get("turn").map(|text| parse::<TurnText>("turn", text)?.try_into()).transpose()?,
        plan: bag.get("plan").map(|text| parse::<PlanText>("plan", text)?.try_into()).transpose()?,
    })
}

/// Where the passwords are, from the application databag.
///
/// # Errors
/// When the key is there and cannot be read.
pub fn read_credentials(bag: &Bag) -> Result<Option<CredentialsText>, String> {
    bag.get("credentials").map(|text| parse("credentials", text)).transpose()
}

/// The permission to form, as the application databag's keys.
pub fn write_formation(formation: &Formation) -> Bag {
    let text = FormationText {
        epoch: formation.epoch.0,
        name: formation.name.clone(),
        members: formation.members.iter().map(|(unit, address)| (unit.to_string(), *address)).collect(),
        founder: formation.founder.to_string(),
        former: formation.former.clone(),
        lower_case_table_names: formation.lower_case_table_names,
    };
    entry("formation", json(&text))
}

/// The application's history.
pub fn write_history(history: &History) -> Bag {
    let text = HistoryText {
        uuid: history.uuid.to_string(),
        epoch: history.epoch.0,
        branch: history.branch.0,
        kept: history.kept.iter().map(ToString::to_string).collect(),
        begins: history.begins.iter().map(|(branch, (from, behind))| (branch.0, (from.0, *behind))).collect(),
        former: history.former.iter().map(ToString::to_string).collect(),
        restores: history.restores.iter().map(|branch| branch.0).collect(),
        replaced: history.replaced.as_ref().map(|replaced| ReplacedText {
            branch: replaced.branch.0,
            unit: replaced.unit.to_string(),
            position: replaced.position.to_string(),
            since: replaced.since_s,
        }),
        confirmed: history.confirmed.0,
    };
    entry("history", json(&text))
}

/// The open recovery; `None` closes it. What is remembered of it stays.
pub fn write_recovery(recovery: Option<&Recovery>) -> Bag {
    let chosen =
        |(unit, position): &(Unit, Position)| ChosenText { unit: unit.to_string(), position: position.to_string() };
    let text = recovery.map(|r| RecoveryText {
        epoch: r.epoch.0,
        members: r.members.iter().map(ToString::to_string).collect(),
        chosen: r.chosen.as_ref().map(chosen),
        forced: r.by_force(),
        restores: r.cause == Cause::Restore,
        from: r.from.0,
        before: r.before.as_ref().map(chosen),
    });
    let mut bag = entry("recovery", text.map(|text| json(&text)).unwrap_or_default());
    if let Some(recovery) = recovery {
        bag.insert("last-epoch".to_owned(), recovery.epoch.to_string());
        if let Some((unit, _)) = &recovery.chosen {
            let text = RestartText { epoch: recovery.epoch.0, unit: unit.to_string() };
            bag.insert("restarted".to_owned(), json(&text));
        }
    }
    bag
}

/// The decision to go back to data of an earlier time; what became of the one before is forgotten with it.
pub fn write_restore(restore: &Restore) -> Bag {
    let (epoch, unit) = (restore.epoch.0, restore.unit.to_string());
    let text = RestoreText { epoch, to: (&restore.to).into(), unit, problem: None, at: None };
    let mut bag = entry("restore", json(&text));
    bag.insert("restored".to_owned(), String::new());
    bag.insert("last-epoch".to_owned(), restore.epoch.to_string());
    bag
}

/// What became of the decision to go back.
pub fn write_ended(ended: &Ended) -> Bag {
    let (to, problem) = ((&ended.to).into(), ended.problem.clone());
    let text = RestoreText { epoch: ended.epoch.0, to, unit: String::new(), problem, at: Some(ended.at_s) };
    let mut bag = entry("restored", json(&text));
    bag.insert("restore".to_owned(), String::new());
    bag
}

/// Nothing is said of it any more.
pub fn forget_ended() -> Bag {
    entry("restored", String::new())
}

/// Whose turn it is.
pub fn write_turn(turn: &Turn) -> Bag {
    entry("turn", json(&TurnText::from(turn)))
}

/// Planned backups.
pub fn write_plan(plan: &Plan) -> Bag {
    entry("plan", json(&PlanText::from(plan)))
}

/// Where the passwords are.
pub fn write_credentials(credentials: &CredentialsText) -> Bag {
    entry("credentials", json(credentials))
}

fn entry(key: &str, value: String) -> Bag {
    Bag::from([(key.to_owned(), value)])
}

/// Makes changes into what the leader writes: in a format that everybody reads, and with what a newer revision has written
/// into lasting values. An older one that leads for a while must not make the others forget it.
pub fn keep_unknown(before: &Bag, mut changes: Bag, format: Format) -> Bag {
    for (key, after) in &mut changes {
        let Some(before) = before.get(key) else { continue };
        let kept = match key.as_str() {
            "formation" => format::with_unknown::<FormationText>(before, after),
            "history" => format::with_unknown::<HistoryText>(before, after),
            "plan" => format::with_unknown::<PlanText>(before, after),
            // A decision of its own each time.
            _ => None,
        };
        if let Some(kept) = kept {
            *after = kept;
        }
    }
    if !changes.is_empty() {
        changes.extend(format.entries());
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6a1f0d52-8f2e-11ee-b9d1-0242ac120002";

    #[test]
    fn an_older_leader_keeps_what_a_newer_one_has_written() {
        let mut history = History::first(UUID.parse().unwrap(), Epoch(1));
        history.branch = Epoch(3);
        let mut bag = write_history(&history);
        let newer = bag["history"].replace("}", ",\"sealed\":[1,2]}");
        bag.insert("history".to_owned(), newer);
        let mut after = read_app(&bag, Credentials::Absent).unwrap().history.unwrap();
        (after.branch, after.epoch) = (Epoch(0), Epoch(4));
        let wrote = keep_unknown(&bag, write_history(&after), Format::default());
        assert_eq!(wrote["history"], format!("{{\"epoch\":4,\"sealed\":[1,2],\"uuid\":\"{UUID}\"}}"));
        assert_eq!(wrote["format"], "1");
        let known = keep_unknown(&write_history(&history), write_history(&after), Format::default());
        assert!(!known["history"].contains("branch"), "what this revision takes back is gone");
        assert!(keep_unknown(&bag, Bag::new(), Format::default()).is_empty());
    }

    #[test]
    fn the_leaders_word_survives_the_databag() {
        let formation = Formation {
            epoch: Epoch(1),
            name: "db".to_owned(),
            members: [("db/0".parse().unwrap(), "10.0.0.9".parse().unwrap())].into(),
            founder: "db/0".parse().unwrap(),
            former: ["10.0.0.8".parse().unwrap()].into(),
            lower_case_table_names: 1,
        };
        let recovery = Recovery {
            epoch: Epoch(2),
            members: ["db/0".parse().unwrap()].into(),
            chosen: Some(("db/0".parse().unwrap(), format!("{UUID}:5").parse().unwrap())),
            cause: Cause::Force,
            from: Epoch(1),
            before: Some(("db/1".parse().unwrap(), format!("{UUID}:6").parse().unwrap())),
        };
        let history = History {
            uuid: UUID.parse().unwrap(),
            epoch: Epoch(2),
            branch: Epoch(2),
            kept: ["db/0".parse().unwrap()].into(),
            begins: [(Epoch(2), (Epoch(0), 440))].into(),
            former: ["11111111-2222-3333-4444-555555555555".parse().unwrap()].into(),
            restores: [Epoch(2)].into(),
            replaced: Some(Replaced {
                branch: Epoch(2),
                unit: "db/1".parse().unwrap(),
                position: format!("{UUID}:6").parse().unwrap(),
                since_s: 1_800_000_000,
            }),
            confirmed: Epoch(1),
        };
        let mut bag = write_formation(&formation);
        bag.extend(write_history(&history));
        bag.extend(write_recovery(Some(&recovery)));
        let read = read_app(&bag, Credentials::Absent).unwrap();
        assert_eq!(read.formation, Some(formation));
        assert_eq!(read.recovery, Some(recovery));
        bag.extend(write_recovery(None));
        // An empty value deletes the key.
        bag.retain(|_, value| !value.is_empty());
        let closed = read_app(&bag, Credentials::Absent).unwrap_or_default();
        let restarted = Some(Restart { epoch: Epoch(2), unit: "db/0".parse().unwrap() });
        assert_eq!((closed.restarted, closed.last_epoch), (restarted, Epoch(2)), "a closed recovery is remembered");
        assert_eq!(read.history, Some(history));
        bag.insert("formation".to_owned(), "{}".to_owned());
        assert!(read_app(&bag, Credentials::Absent).is_err(), "deciding without it could permit a second formation");
    }
}
