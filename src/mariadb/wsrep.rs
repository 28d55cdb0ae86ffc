//! Galera's own words about itself, as the server's status variables say them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// One sample of the `wsrep_%` status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GaleraStatus {
    /// `wsrep_ready`.
    pub ready: bool,
    /// `wsrep_connected`.
    pub connected: bool,
    /// `wsrep_cluster_status` is Primary.
    pub primary: bool,
    /// `wsrep_local_state`: 1 joining, 2 donor, 3 joined, 4 synced.
    pub local_state: u32,
    /// `wsrep_cluster_state_uuid`; `None` for the nil UUID.
    pub cluster_uuid: Option<String>,
    /// `wsrep_cluster_conf_id`; `None` outside a primary component.
    pub conf_id: Option<u64>,
    /// `wsrep_cluster_size`.
    pub size: u32,
    /// `wsrep_last_committed`.
    pub last_committed: Option<u64>,
    /// `wsrep_replicated`: write-sets that this member's clients have made since it was started.
    pub replicated: Option<u64>,
    /// `wsrep_replicated_bytes` and `wsrep_received_bytes`: all write-sets since it was started, in bytes.
    pub written_bytes: Option<u64>,
    /// `wsrep_local_recv_queue`: write-sets not yet applied.
    pub recv_queue: u64,
    /// `wsrep_local_cached_downto`: the lowest write-set that this member can still give to a returning one.
    pub cached_downto: Option<u64>,
    /// `wsrep_incoming_addresses`.
    pub incoming: String,
    /// `wsrep_provider_version`.
    pub provider_version: String,
}

impl GaleraStatus {
    /// From the rows of `SHOW GLOBAL STATUS LIKE 'wsrep%'`.
    pub fn from_rows(rows: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| rows.get(name).map(String::as_str).unwrap_or_default();
        // -1 and unsigned -1 mean that there is none.
        let number = |name: &str| text(name).parse::<u64>().ok().filter(|n| *n != u64::MAX);
        let uuid = text("wsrep_cluster_state_uuid").to_ascii_lowercase();
        Self {
            ready: text("wsrep_ready") == "ON",
            connected: text("wsrep_connected") == "ON",
            primary: text("wsrep_cluster_status") == "Primary",
            local_state: text("wsrep_local_state").parse().unwrap_or(0),
            cluster_uuid: (!uuid.is_empty() && uuid != super::grastate::NIL).then_some(uuid),
            conf_id: number("wsrep_cluster_conf_id"),
            size: text("wsrep_cluster_size").parse().unwrap_or(0),
            last_committed: number("wsrep_last_committed"),
            replicated: number("wsrep_replicated"),
            written_bytes: number("wsrep_replicated_bytes")
                .zip(number("wsrep_received_bytes"))
                .map(|(own, others)| own.saturating_add(others)),
            recv_queue: number("wsrep_local_recv_queue").unwrap_or(0),
            cached_downto: number("wsrep_local_cached_downto"),
            incoming: text("wsrep_incoming_addresses").to_owned(),
            provider_version: text("wsrep_provider_version").to_owned(),
        }
    }

    /// The addresses behind [`Self::incoming`] ("10.0.0.9:3306,[fd00::9]:3306"). Empty when a member does not tell its
    /// address (`AUTO`, or nothing), or when the list is not that of the view: one with a gap says nothing about who is
    /// missing. The provider does not add those who join while this member waits for its copy (seen with 26.4.23).
    pub fn view(&self) -> BTreeSet<IpAddr> {
        let address = |entry: &str| {
            let host = entry.rsplit_once(':').map_or(entry, |(host, _port)| host);
            host.trim_start_matches('[').trim_end_matches(']').parse().ok()
        };
        let view = self.incoming.split(',').map(|entry| address(entry.trim())).collect::<Option<BTreeSet<_>>>();
        view.filter(|view| view.len() == self.size as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_is_known_whole_or_not_at_all() {
        let view = |size: u32, incoming: &str| {
            let status = GaleraStatus { size, incoming: incoming.to_owned(), ..GaleraStatus::default() };
            status.view().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(view(2, "10.0.0.10:3306,10.0.0.9:3306"), ["10.0.0.9", "10.0.0.10"]);
        assert_eq!(view(1, "[fd00::9]:3306"), ["fd00::9"]);
        assert_eq!(view(2, "10.0.0.9:3306,AUTO"), Vec::<String>::new());
        assert_eq!(view(2, "10.0.0.9:3306,"), Vec::<String>::new());
        assert_eq!(view(1, ""), Vec::<String>::new());
        assert_eq!(view(3, "10.0.0.10:3306,10.0.0.9:3306"), Vec::<String>::new(), "the third joined meanwhile");
    }

    #[test]
    fn a_member_without_quorum_is_not_primary_although_it_answers() {
        let rows = [
            ("wsrep_ready", "OFF"),
            ("wsrep_connected", "ON"),
            ("wsrep_cluster_status", "non-Primary"),
            ("wsrep_cluster_conf_id", "18446744073709551615"),
            ("wsrep_cluster_size", "1"),
            ("wsrep_local_state", "0"),
            ("wsrep_cluster_state_uuid", "6a1f0d52-8f2e-11ee-b9d1-0242ac120002"),
            ("wsrep_last_committed", "12"),
        ];
        let status = GaleraStatus::from_rows(&rows.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        assert!(!status.primary && !status.ready && status.connected);
        assert_eq!((status.conf_id, status.size, status.last_committed), (None, 1, Some(12)));
        assert!(status.cluster_uuid.is_some());
    }
}
