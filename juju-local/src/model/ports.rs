//! Ports that a unit has opened: ranges of a protocol, for all endpoints of its application or for some.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// `80/tcp`, `8000-8100/udp`, `icmp`; ordered as Juju lists them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    protocol: String,
    from: u16,
    to: u16,
}

impl std::str::FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "icmp" {
            return Ok(Self { protocol: text.to_owned(), from: 0, to: 0 });
        }
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        if !["tcp", "udp"].contains(&protocol) {
            return Err(format!("invalid protocol {protocol:?}, expected \"tcp\", \"udp\", or \"icmp\""));
        }
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let port = |text: &str| text.parse::<u32>().map_err(|_| format!("invalid port {text:?}"));
        let (from, to) = (port(from)?, port(to)?);
        let wrong = |why: &str| format!("invalid port range {from}-{to}/{protocol}: {why}");
        if from > to {
            return Err(wrong("from port must not be above to port"));
        }
        match (u16::try_from(from), u16::try_from(to)) {
            (Ok(from), Ok(to)) if from > 0 => Ok(Self { protocol: protocol.to_owned(), from, to }),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Err(wrong("ports go from 1 to 65535")),
        }
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { protocol, from, to } = self;
        match (protocol.as_str(), from == to) {
            ("icmp", _) => f.write_str("icmp"),
            (_, true) => write!(f, "{from}/{protocol}"),
            (_, false) => write!(f, "{from}-{to}/{protocol}"),
        }
    }
}

impl PortRange {
    fn overlaps(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.from <= other.to && other.from <= self.to
    }
}

/// Opened (true) and closed ranges by endpoint; an empty name stands for all endpoints.
pub type PortChanges = BTreeMap<(String, PortRange), bool>;

/// Changes as a list: JSON has no other keys than texts.
pub mod port_list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::PortChanges;

    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(changes: &PortChanges, to: S) -> Result<S::Ok, S::Error> {
        changes.iter().collect::<Vec<_>>().serialize(to)
    }

    /// # Errors
    /// When it is no such list.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PortChanges, D::Error> {
        Vec::deserialize(from).map(|list: Vec<_>| list.into_iter().collect())
    }
}

/// What is open, by endpoint; an empty name stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub struct Ports(BTreeMap<String, BTreeSet<PortRange>>);

/// On disk; models of before had no endpoints.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    ByEndpoint(BTreeMap<String, BTreeSet<PortRange>>),
    ForAll(BTreeSet<PortRange>),
}

impl From<Kept> for Ports {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::ByEndpoint(map) => Self(map),
            Kept::ForAll(ranges) => Self([(String::new(), ranges)].into()),
        }
    }
}

impl Ports {
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// Each range once.
    pub fn ranges(&self) -> BTreeSet<PortRange> {
        self.0.values().flatten().cloned().collect()
    }

    /// The endpoints that a range is open for; one empty name for all of them.
    pub fn endpoints_of<'a>(&'a self, range: &'a PortRange) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(_, ranges)| ranges.contains(range)).map(|(endpoint, _)| endpoint.as_str())
    }

    /// A range that is in the way of this one. Itself is in nobody's way.
    pub fn conflict(&self, range: &PortRange) -> Option<PortRange> {
        self.ranges().into_iter().find(|open| open != range && open.overlaps(range))
    }

    /// One that is in its way although it is the same: on another unit.
    pub fn overlap(&self, range: &PortRange) -> Option<PortRange> {
        self.ranges().into_iter().find(|open| open.overlaps(range))
    }

    /// Opens and closes. `all` are the application's endpoints: what was open for all of them and is closed for one stays
    /// open for the others.
    pub fn apply(&mut self, changes: &PortChanges, all: &[String]) {
        for ((endpoint, range), open) in changes {
            let everywhere = self.0.get("").is_some_and(|ranges| ranges.contains(range));
            if endpoint.is_empty() {
                for ranges in self.0.values_mut() {
                    ranges.remove(range);
                }
                if *open {
                    self.insert("", range);
                }
            } else if *open && !everywhere {
                self.insert(endpoint, range);
            } else if !*open {
                if everywhere {
                    let others = all.iter().filter(|other| *other != endpoint);
                    others.for_each(|other| self.insert(other, range));
                }
                for closed in ["", endpoint] {
                    if let Some(ranges) = self.0.get_mut(closed) {
                        ranges.remove(range);
                    }
                }
            }
        }
        self.0.retain(|_, ranges| !ranges.is_empty());
    }

    fn insert(&mut self, endpoint: &str, range: &PortRange) {
        self.0.entry(endpoint.to_owned()).or_default().insert(range.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |text: &str| text.parse::<PortRange>().map_or_else(|why| why, |range| range.to_string());
        assert_eq!(check("80"), "80/tcp");
        assert_eq!(check("80-90/udp"), "80-90/udp");
        assert_eq!(check("icmp"), "icmp");
        assert_eq!(check("90-80"), "invalid port range 90-80/tcp: from port must not be above to port");
        assert_eq!(check("0"), "invalid port range 0-0/tcp: ports go from 1 to 65535");
        assert_eq!(check("70000"), "invalid port range 70000-70000/tcp: ports go from 1 to 65535");
        assert_eq!(check("http"), "invalid port \"http\"");
        assert_eq!(check("80/sctp"), "invalid protocol \"sctp\", expected \"tcp\", \"udp\", or \"icmp\"");
    }

    #[test]
    fn endpoints() {
        let all = ["db".to_owned(), "web".to_owned()];
        let mut ports = Ports::default();
        let mut check = |endpoint: &str, port: &str, open: bool, expected: &str| {
            ports.apply(&[((endpoint.to_owned(), port.parse().unwrap()), open)].into(), &all);
            let shown: Vec<String> = ports
                .ranges()
                .iter()
                .map(|range| format!("{range} {:?}", ports.endpoints_of(range).collect::<Vec<_>>()))
                .collect();
            assert_eq!(shown.join(" "), expected);
        };
        check("db", "80", true, r#"80/tcp ["db"]"#);
        check("web", "80", true, r#"80/tcp ["db", "web"]"#);
        check("", "80", true, r#"80/tcp [""]"#);
        check("web", "80", false, r#"80/tcp ["db"]"#);
        check("", "80", false, "");
    }

    #[test]
    fn models_of_before_are_read() {
        let ports: Ports = serde_json::from_str(r#"["80/tcp"]"#).unwrap();
        assert_eq!(serde_json::to_string(&ports).unwrap(), r#"{"":["80/tcp"]}"#);
    }
}
