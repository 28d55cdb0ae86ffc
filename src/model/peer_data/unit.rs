//! A unit's own databag: its report, and what the others read of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::format::{self, Format};
use super::plan::MadeText;
use super::turn::TurnedText;
use super::{Bag, is_zero, json, parse};
use crate::cluster::{
    Answer, Bringing, Brought, DbInit, Epoch, Galera, Holds, LastView, LocalState, Peer, Position, Report, Server,
    Turned, Unit,
};

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
    #[serde(default, skip_serializing_if = "is_zero")]
    objects: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    brought: Option<BroughtText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BroughtText {
    epoch: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stands: bool,
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
    /// Earlier revisions of this charm tell donors apart.
    #[serde(alias = "donor")]
    Synced,
}

/// This unit's report as its databag.
pub fn write_report(report: &Report, format: Format) -> Bag {
    let mut bag: Bag = format.entries().into_iter().chain([Format::reads()]).collect();
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
            stands: answer.stands,
        }),
        stalled: report.stalled,
        credentials_seen: report.credentials_seen,
        objects: report.objects.0,
        brought: report.brought.as_ref().map(|brought| {
            let (ready, problem) = match &brought.result {
                Bringing::Working | Bringing::Interrupted => (None, None),
                Bringing::Ready(position) => (Some(position.to_string()), None),
                Bringing::Failed(why) => (None, Some(why.clone())),
            };
            BroughtText { epoch: brought.epoch.0, ready, problem }
        }),
    };
    bag.insert("position".to_owned(), json(&position));
    let made = report.made.as_ref().map(|made| json(&MadeText::from(made)));
    bag.insert("backup".to_owned(), made.unwrap_or_default());
    let turned = (report.turned != Turned::default()).then(|| json(&TurnedText::from(&report.turned)));
    bag.insert("turn".to_owned(), turned.unwrap_or_default());
    let (server, uuid) = match &report.server {
        Server::Stopped => (ServerText::Stopped, None),
        Server::Starting => (ServerText::Starting, None),
        Server::Silent(_) => (ServerText::Silent, None),
        Server::Answers(galera) if !galera.primary => (ServerText::NonPrimary, galera.uuid.clone()),
        Server::Answers(galera) => {
            let word = match galera.state {
                // A donor is a full member all the same, and while others join it turns from one to the other all the time.
                LocalState::Synced | LocalState::Donor => ServerText::Synced,
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
    let Some(format) = bag.get(format::FORMAT) else {
        return Peer::Silent;
    };
    match read_report(format, bag) {
        Ok(report) => Peer::Said(report),
        Err(why) => Peer::Garbled(why),
    }
}

fn read_report(format: &str, bag: &Bag) -> Result<Report, String> {
    format::check(format)?;
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
                stands: answer.stands,
            }),
        },
        stalled: position.stalled,
        credentials_seen: position.credentials_seen,
        objects: Epoch(position.objects),
        brought: position.brought.map(read_brought).transpose()?,
        made: bag.get("backup").map(|text| parse::<MadeText>("backup", text)).transpose()?.map(Into::into),
        turned: bag
            .get("turn")
            .map(|text| parse::<TurnedText>("turn", text))
            .transpose()?
            .map(Into::into)
            .unwrap_or_default(),
    })
}

fn read_brought(text: BroughtText) -> Result<Brought, String> {
    let result = match (text.ready, text.problem) {
        (Some(position), _) => Bringing::Ready(position.parse()?),
        (None, Some(why)) => Bringing::Failed(why),
        (None, None) => Bringing::Working,
    };
    Ok(Brought { epoch: Epoch(text.epoch), result })
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
        ServerText::Synced => galera(true, LocalState::Synced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Made;

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
                stands: true,
            }),
            stalled: false,
            turned: Turned { options: "7f".to_owned(), number: 3, waits: true, refused: Some("it ends".to_owned()) },
            credentials_seen: 2,
            objects: Epoch(7),
            made: Some(Made {
                number: 4,
                id: Some("2026-11-22T10:00:00Z".to_owned()),
                full: true,
                verified: false,
                problem: None,
            }),
            brought: Some(Brought { epoch: Epoch(8), result: Bringing::Ready(format!("{UUID}:17").parse().unwrap()) }),
        }
    }

    #[test]
    fn a_report_survives_the_databag() {
        match read_peer(&write_report(&report(), Format::default())) {
            Peer::Said(read) => assert_eq!(read, report()),
            other @ (Peer::Silent | Peer::Garbled(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_donor_is_a_full_member_also_in_an_earlier_revisions_words() {
        let mut bag = write_report(&report(), Format::default());
        if let Some(view) = bag.get_mut("view") {
            *view = view.replace("synced", "donor");
            assert!(view.contains("donor"));
        }
        assert!(matches!(read_peer(&bag), Peer::Said(read) if read == report()));
    }

    #[test]
    fn what_changes_with_every_write_is_not_published() {
        let mut moved = report();
        if let Server::Answers(galera) = &mut moved.server {
            (galera.seqno, galera.conf_id, galera.size) = (Some(99), Some(7), 3);
            galera.state = LocalState::Donor;
        }
        assert_eq!(write_report(&moved, Format::default()), write_report(&report(), Format::default()));
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
            let mut bag = write_report(&report(), Format::default());
            bag.insert(key.to_owned(), value.to_owned());
            match read_peer(&bag) {
                Peer::Garbled(why) => assert_eq!(why, said),
                other @ (Peer::Silent | Peer::Said(_)) => panic!("{other:?}"),
            }
        }
    }
}
