//! The peer databags as text, and back. The format is numbered, because old and new charm revisions talk to each other
//! during a refresh: unknown keys are left alone, a higher number is treated as silence and named.
//!
//! Nothing that changes by itself (sequence numbers, sizes, view numbers) is published: every change wakes every unit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cluster::{
    Answer, AppBag, Credentials, DbInit, Epoch, Formation, Galera, History, Holds, LastView, LocalState, Peer,
    Position, Recovery, Report, Restart, Server, Unit,
};

/// A databag as Juju gives it.
pub type Bag = BTreeMap<String, String>;

/// The format that we write, and the highest that we read.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct OfferText {
    address: IpAddr,
    mysql_port: u16,
    group_port: u16,
    ist_port: u16,
    sst_port: u16,
    agent_port: u16,
    charm: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PositionText {
    holds: HoldsText,
    #[serde(default)]
    used_epoch: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    branch: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<AnswerText>,
    #[serde(default)]
    stalled: bool,
    #[serde(default)]
    credentials_seen: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what", content = "value")]
enum HoldsText {
    Nothing,
    History(String),
    Unclear(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct AnswerText {
    epoch: u32,
    position: Option<String>,
    #[serde(default)]
    view: BTreeMap<IpAddr, Option<String>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    since: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    halfway: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ViewText {
    server: ServerText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
}

/// One word for the server: what the others need to know of it, and nothing that changes with every write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ServerText {
    Stopped,
    Starting,
    Silent,
    NonPrimary,
    Joining,
    Joined,
    Donor,
    Synced,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FormationText {
    epoch: u32,
    name: String,
    members: BTreeMap<String, IpAddr>,
    founder: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    former: BTreeSet<IpAddr>,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
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

/// This unit's report as its databag.
pub fn write_report(report: &Report) -> Bag {
    let mut bag = Bag::new();
    bag.insert("format".to_owned(), FORMAT.to_string());
    bag.insert("db-init".to_owned(), report.db_init.to_string());
    let offer = report.address.map(|address| OfferText {
        address,
        mysql_port: 3306,
        group_port: 4567,
        ist_port: 4568,
        sst_port: 4444,
        agent_port: crate::AGENT_PORT,
        charm: env!("CARGO_PKG_VERSION").to_owned(),
    });
    // An empty value deletes the key: an offer can be taken back.
    bag.insert("offer".to_owned(), offer.map(|offer| json(&offer)).unwrap_or_default());
    let position = PositionText {
        holds: match &report.holds {
            Holds::Nothing => HoldsText::Nothing,
            Holds::History(uuid) => HoldsText::History(uuid.to_string()),
            Holds::Unclear(why) => HoldsText::Unclear(why.clone()),
        },
        used_epoch: report.used_epoch.0,
        branch: report.branch.0,
        answer: report.answer.as_ref().map(|answer| AnswerText {
            epoch: answer.epoch.0,
            position: answer.position.as_ref().map(ToString::to_string),
            view: answer.view.members.iter().map(|(at, unit)| (*at, unit.as_ref().map(Unit::to_string))).collect(),
            since: answer.view.since.0,
            halfway: answer.halfway,
        }),
        stalled: report.stalled,
        credentials_seen: report.credentials_seen,
    };
    bag.insert("position".to_owned(), json(&position));
    let (server, uuid) = match &report.server {
        Server::Stopped => (ServerText::Stopped, None),
        Server::Starting => (ServerText::Starting, None),
        Server::Silent(_) => (ServerText::Silent, None),
        Server::Answers(galera) if !galera.primary => (ServerText::NonPrimary, galera.uuid.clone()),
        Server::Answers(galera) => {
            let word = match galera.state {
                LocalState::Synced => ServerText::Synced,
                LocalState::Donor => ServerText::Donor,
                LocalState::Joined => ServerText::Joined,
                LocalState::Joining | LocalState::Undefined => ServerText::Joining,
            };
            (word, galera.uuid.clone())
        }
    };
    bag.insert("view".to_owned(), json(&ViewText { server, uuid: uuid.map(|u| u.to_string()) }));
    bag
}

/// Another unit's databag as its report.
pub fn read_peer(bag: &Bag) -> Peer {
    let Some(format) = bag.get("format") else {
        return Peer::Silent;
    };
    match read_report(format, bag) {
        Ok(report) => Peer::Said(report),
        Err(why) => Peer::Garbled(why),
    }
}

fn read_report(format: &str, bag: &Bag) -> Result<Report, String> {
    check_format(format)?;
    let db_init = bag.get("db-init").ok_or("db-init is missing")?;
    let db_init =
        db_init.parse().ok().and_then(DbInit::from_number).ok_or_else(|| format!("cannot read db-init {db_init:?}"))?;
    let offer: Option<OfferText> = bag.get("offer").map(|text| parse("offer", text)).transpose()?;
    let position: PositionText = parse("position", bag.get("position").ok_or("position is missing")?)?;
    let view: ViewText = parse("view", bag.get("view").ok_or("view is missing")?)?;
    Ok(Report {
        db_init,
        address: offer.map(|offer| offer.address),
        holds: match position.holds {
            HoldsText::Nothing => Holds::Nothing,
            HoldsText::History(uuid) => Holds::History(uuid.parse()?),
            HoldsText::Unclear(why) => Holds::Unclear(why),
        },
        used_epoch: Epoch(position.used_epoch),
        branch: Epoch(position.branch),
        server: read_server(&view)?,
        answer: match position.answer {
            None => None,
            Some(answer) => Some(Answer {
                epoch: Epoch(answer.epoch),
                position: answer.position.map(|text| text.parse::<Position>()).transpose()?,
                view: LastView {
                    members: answer
                        .view
                        .into_iter()
                        .map(|(address, unit)| Ok::<_, String>((address, unit.map(|unit| unit.parse()).transpose()?)))
                        .collect::<Result<_, _>>()?,
                    since: Epoch(answer.since),
                },
                halfway: answer.halfway,
            }),
        },
        stalled: position.stalled,
        credentials_seen: position.credentials_seen,
    })
}

fn read_server(view: &ViewText) -> Result<Server, String> {
    let galera = |primary, state| -> Result<Server, String> {
        Ok(Server::Answers(Galera {
            primary,
            connected: true,
            ready: matches!(state, LocalState::Synced | LocalState::Donor),
            state,
            uuid: view.uuid.as_deref().map(str::parse).transpose()?,
            seqno: None,
            conf_id: None,
            size: 0,
            view: BTreeSet::new(),
        }))
    };
    match view.server {
        ServerText::Stopped => Ok(Server::Stopped),
        ServerText::Starting => Ok(Server::Starting),
        ServerText::Silent => Ok(Server::Silent("by its own report".to_owned())),
        ServerText::NonPrimary => galera(false, LocalState::Undefined),
        ServerText::Joining => galera(true, LocalState::Joining),
        ServerText::Joined => galera(true, LocalState::Joined),
        ServerText::Donor => galera(true, LocalState::Donor),
        ServerText::Synced => galera(true, LocalState::Synced),
    }
}

/// What the leader has written, but for the credentials' values: those are read elsewhere and enter as `credentials`.
///
/// # Errors
/// Names the key that cannot be read. A bag that cannot be read must stop the hook: deciding without it could permit a
/// second formation.
pub fn read_app(bag: &Bag, credentials: Credentials) -> Result<AppBag, String> {
    if let Some(format) = bag.get("format") {
        check_format(format)?;
    }
    let formation: Option<FormationText> = bag.get("formation").map(|text| parse("formation", text)).transpose()?;
    let history: Option<HistoryText> = bag.get("history").map(|text| parse("history", text)).transpose()?;
    let restarted: Option<RestartText> = bag.get("restarted").map(|text| parse("restarted", text)).transpose()?;
    let last_epoch: Option<u32> = bag.get("last-epoch").map(|text| parse("last-epoch", text)).transpose()?;
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
                    forced: r.forced,
                })
            })
            .transpose()?,
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
    };
    entry("history", json(&text))
}

/// The open recovery; `None` closes it. What is remembered of it stays.
pub fn write_recovery(recovery: Option<&Recovery>) -> Bag {
    let text = recovery.map(|r| RecoveryText {
        epoch: r.epoch.0,
        members: r.members.iter().map(ToString::to_string).collect(),
        chosen: r
            .chosen
            .as_ref()
            .map(|(unit, position)| ChosenText { unit: unit.to_string(), position: position.to_string() }),
        forced: r.forced,
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

/// Where the passwords are.
pub fn write_credentials(credentials: &CredentialsText) -> Bag {
    entry("credentials", json(credentials))
}

fn entry(key: &str, value: String) -> Bag {
    Bag::from([("format".to_owned(), FORMAT.to_string()), (key.to_owned(), value)])
}

fn check_format(format: &str) -> Result<(), String> {
    match format.parse::<u32>() {
        Ok(number) if number <= FORMAT => Ok(()),
        Ok(number) => Err(format!("format {number} is newer than this charm revision reads ({FORMAT})")),
        Err(_) => Err(format!("cannot read format {format:?}")),
    }
}

fn parse<'a, T: Deserialize<'a>>(key: &str, text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|why| format!("cannot read {key}: {why}"))
}

fn json<T: Serialize>(value: &T) -> String {
    // These types hold only strings, numbers and maps with string keys, which always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6a1f0d52-8f2e-11ee-b9d1-0242ac120002";

    fn report() -> Report {
        Report {
            db_init: DbInit::Initialised,
            address: Some("10.0.0.9".parse().unwrap()),
            holds: Holds::History(UUID.parse().unwrap()),
            used_epoch: Epoch(1),
            branch: Epoch(3),
            server: Server::Answers(Galera {
                primary: true,
                connected: true,
                ready: true,
                state: LocalState::Synced,
                uuid: Some(UUID.parse().unwrap()),
                seqno: None,
                conf_id: None,
                size: 0,
                view: BTreeSet::new(),
            }),
            answer: Some(Answer {
                epoch: Epoch(4),
                position: Some(format!("{UUID}:17").parse().unwrap()),
                view: LastView {
                    members: [("10.0.0.9".parse().unwrap(), "db/0".parse().ok()), ("10.0.0.10".parse().unwrap(), None)]
                        .into(),
                    since: Epoch(2),
                },
                halfway: true,
            }),
            stalled: false,
            credentials_seen: 2,
        }
    }

    #[test]
    fn a_report_survives_the_databag() {
        match read_peer(&write_report(&report())) {
            Peer::Said(read) => assert_eq!(read, report()),
            other @ (Peer::Silent | Peer::Garbled(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_changes_with_every_write_is_not_published() {
        let mut moved = report();
        if let Server::Answers(galera) = &mut moved.server {
            (galera.seqno, galera.conf_id, galera.size) = (Some(99), Some(7), 3);
        }
        assert_eq!(write_report(&moved), write_report(&report()));
    }

    #[test]
    fn a_bag_with_only_jujus_own_keys_is_silence() {
        let bag = Bag::from([("ingress-address".to_owned(), "10.0.0.9".to_owned())]);
        assert!(matches!(read_peer(&bag), Peer::Silent));
    }

    #[test]
    fn a_newer_format_and_a_torn_value_are_named() {
        for (key, value, said) in [
            ("format", "2", "format 2 is newer than this charm revision reads (1)"),
            ("db-init", "7", "cannot read db-init \"7\""),
            ("position", "{", "cannot read position: EOF while parsing an object at line 1 column 1"),
        ] {
            let mut bag = write_report(&report());
            bag.insert(key.to_owned(), value.to_owned());
            match read_peer(&bag) {
                Peer::Garbled(why) => assert_eq!(why, said),
                other @ (Peer::Silent | Peer::Said(_)) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_leaders_word_survives_the_databag() {
        let formation = Formation {
            epoch: Epoch(1),
            name: "db".to_owned(),
            members: [("db/0".parse().unwrap(), "10.0.0.9".parse().unwrap())].into(),
            founder: "db/0".parse().unwrap(),
            former: ["10.0.0.8".parse().unwrap()].into(),
        };
        let recovery = Recovery {
            epoch: Epoch(2),
            members: ["db/0".parse().unwrap()].into(),
            chosen: Some(("db/0".parse().unwrap(), format!("{UUID}:5").parse().unwrap())),
            forced: true,
        };
        let history = History {
            uuid: UUID.parse().unwrap(),
            epoch: Epoch(2),
            branch: Epoch(2),
            kept: ["db/0".parse().unwrap()].into(),
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
