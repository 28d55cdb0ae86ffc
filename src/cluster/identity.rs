//! Names and numbers with a meaning: units, cluster UUIDs, positions and epochs.

use std::fmt;
use std::str::FromStr;

/// A unit's name, `app/3`. Ordered by application, then by number, so that `db/10` comes after `db/9`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    app: String,
    number: u32,
}

impl Unit {
    /// The application's name.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The number behind the slash. Juju never gives it twice on machines.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("cannot read {text:?} as a unit name like app/0");
        let (app, number) = text.split_once('/').ok_or_else(wrong)?;
        if app.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Self { app: app.to_owned(), number: number.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.number)
    }
}

/// The UUID of one history of writes (Galera's state UUID). Never the nil UUID: "no history" is the absence of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterUuid(String);

impl ClusterUuid {
    /// The text in lower case, 36 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterUuid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let well_formed = text.len() == 36
            && text.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            });
        if !well_formed {
            return Err(format!("cannot read {text:?} as a cluster UUID"));
        }
        if text.bytes().all(|b| b == b'0' || b == b'-') {
            return Err("cannot take the nil UUID for a history".to_owned());
        }
        Ok(Self(text))
    }
}

impl fmt::Display for ClusterUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a copy of the data has come: sequence numbers are comparable only within one history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The history.
    pub uuid: ClusterUuid,
    /// The number of the last write-set in it.
    pub seqno: u64,
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("cannot read {text:?} as a position uuid:seqno");
        let (uuid, seqno) = text.rsplit_once(':').ok_or_else(wrong)?;
        Ok(Self { uuid: uuid.parse()?, seqno: seqno.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uuid, self.seqno)
    }
}

/// Numbers the permissions to bootstrap. Zero means that none was ever given or used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The longest name of a group. Source: MariaDB documentation of `wsrep_cluster_name`.
const GROUP_NAME_LENGTH_MAX: usize = 32;

/// The name under which servers on a branch of the history find each other. A member that was left behind uses the name of
/// its own branch, so that it cannot join, and mix its writes in, before it has learnt that it was.
pub fn group_name(cluster: &str, branch: Epoch) -> String {
    if branch == Epoch::default() {
        return cluster.to_owned();
    }
    let suffix = format!("-b{branch}");
    let kept: String = cluster.chars().take(GROUP_NAME_LENGTH_MAX - suffix.len()).collect();
    kept + &suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_ordered_by_number_and_not_by_text() {
        let mut units: Vec<Unit> = ["db/10", "db/9", "db/2"].iter().map(|u| u.parse().unwrap()).collect();
        units.sort();
        assert_eq!(units.iter().map(Unit::to_string).collect::<Vec<_>>(), ["db/2", "db/9", "db/10"]);
    }

    #[test]
    fn nil_and_torn_uuids_are_no_history() {
        for text in ["00000000-0000-0000-0000-000000000000", "", "6a1f", "6a1f0d52-8f2e-11ee-b9d1-0242ac12000"] {
            assert!(text.parse::<ClusterUuid>().is_err(), "{text}");
        }
        assert!("6A1F0D52-8f2e-11ee-b9d1-0242ac120002".parse::<ClusterUuid>().is_ok());
    }

    #[test]
    fn each_branch_has_its_own_group_and_no_name_is_too_long() {
        let long = "a-name-of-thirty-two-characters-";
        let name = |cluster: &str, branch| group_name(cluster, Epoch(branch));
        assert_eq!((name("db", 0), name("db", 2)), ("db".to_owned(), "db-b2".to_owned()));
        assert_eq!((name(long, 0), name(long, 12)), (long.to_owned(), format!("{}-b12", &long[..28])));
    }

    #[test]
    fn a_negative_seqno_is_no_position() {
        assert!("6a1f0d52-8f2e-11ee-b9d1-0242ac120002:-1".parse::<Position>().is_err());
    }
}
